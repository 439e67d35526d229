"""strands-agents: an `MCPClient` on a guarded transport.

The client runs its session on a thread of its own; calls come with the context of whoever makes them, so a
run that is bound around the agent holds there too.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_client"]


def guarded_client(
    guard: "Guard",
    transport: Callable[[], Any],
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> Any:
    """An `MCPClient` whose every session is guarded.

    Args:
        guard: The guard.
        transport: Makes a transport, as for `MCPClient`; called for every session.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `MCPClient`.

    Raises:
        SeamError: If strands-agents is not installed.
    """
    client = framework("strands.tools.mcp", extra="strands").MCPClient
    return client(lambda: guard.transport(transport(), name=name, run=run, shared=shared), **options)
