"""FastMCP 3 and 4: a `fastmcp.Client` on a guarded transport.

The transport is what is guarded, because hosts call `client.session.call_tool` past the client's own methods.
`Guard.fastmcp_transport` is the same without the client, for what takes a transport.
"""

from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_client"]


def guarded_client(
    guard: "Guard",
    transport: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> Any:
    """A `fastmcp.Client` whose every session is guarded.

    Args:
        guard: The guard.
        transport: A FastMCP transport, or anything FastMCP infers one from.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `fastmcp.Client`.

    Raises:
        SeamError: If FastMCP is not installed, or the transport is guarded already.
    """
    client = framework("fastmcp.client", extra="fastmcp").Client
    return client(guard.fastmcp_transport(transport, name=name, run=run, shared=shared), **options)
