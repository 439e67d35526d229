"""autogen-ext: tools for agents, on a guarded session.

Without a session the framework's tools open one for each call, which nothing would guard; with one they use
that. It is guarded before `initialize`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]


@asynccontextmanager
async def guarded_tools(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> AsyncGenerator[list[Any]]:
    """Agents' tools for all that a server offers, until the block is left.

    Args:
        guard: The guard.
        server: `StdioServerParams`, `SseServerParams` or `StreamableHttpServerParams` of autogen-ext.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.

    Raises:
        SeamError: If autogen-ext is not installed with its extra `mcp`, or not with the SDK 1.x it needs.
    """
    mcp = framework("autogen_ext.tools.mcp", extra="autogen")
    async with mcp.create_mcp_server_session(server) as session:
        guard.session(session, name=name, run=run, shared=shared)
        await session.initialize()
        yield await mcp.mcp_server_tools(server, session=session)
