"""langchain.mcp: an `MCPAdapter` on a guarded FastMCP transport.

The adapter calls `client.session.call_tool` past the methods of its FastMCP client, so the guard stands below
both. A configuration of several servers is one server to the guard.
"""

from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_adapter"]


def guarded_adapter(
    guard: "Guard", transport: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> Any:
    """An `MCPAdapter` whose every session is guarded.

    Args:
        guard: The guard.
        transport: A FastMCP transport, or anything FastMCP infers one from.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.

    Raises:
        SeamError: If langchain is not installed with its extra `mcp`, or the transport is guarded already.
    """
    adapter = framework("langchain.mcp", extra="langchain").MCPAdapter
    return adapter(guard.fastmcp_transport(transport, name=name, run=run, shared=shared))
