"""autogen-ext: tools for agents, on a guarded session.

Without a session the framework's tools open one for each call, which nothing would guard; with one they use
that. It is guarded before `initialize`. What the framework's tools are dumped as has the server in it and no
session, so these cannot be dumped.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.core.errors import SeamError
from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import listed

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]


@asynccontextmanager
async def guarded_tools(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> AsyncGenerator[list[Any]]:
    """Agents' tools for all that a server offers, until the block is left. They are no data.

    Args:
        guard: The guard.
        server: `StdioServerParams`, `SseServerParams` or `StreamableHttpServerParams` of autogen-ext.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.

    Raises:
        SeamError: If autogen-ext is not installed with its extra `mcp`, or not with the SDK 1.x it needs; if
            `server` is none of these.
    """
    mcp = framework("autogen_ext.tools.mcp", extra="autogen")
    adapter = _undumped(_adapter(mcp, server))
    async with mcp.create_mcp_server_session(server) as session:
        guard.session(session, name=name, run=run, shared=shared)
        await session.initialize()
        yield [adapter(server, tool, session) for tool in await listed(session)]


def _adapter(mcp: Any, server: Any) -> Any:
    """The framework's class of tools for a server."""
    for params, adapter in (
        (mcp.StdioServerParams, mcp.StdioMcpToolAdapter),
        (mcp.SseServerParams, mcp.SseMcpToolAdapter),
        (mcp.StreamableHttpServerParams, mcp.StreamableHttpMcpToolAdapter),
    ):
        if isinstance(server, params):
            return adapter
    raise SeamError(f"guarded_tools() takes server parameters of autogen-ext, not {type(server).__name__}")


def _undumped(adapter: Any) -> Any:
    """The same class, of tools that have no configuration."""

    class GuardedTool(adapter):  # type: ignore[misc]  # the class is known at run time only
        """A tool on a guarded session."""

        def _to_config(self) -> Any:
            """A guard is no data.

            Raises:
                TypeError: Always.
            """
            raise TypeError(
                "a guarded tool cannot be dumped as a component: make it again where that is loaded"
            )

    return GuardedTool
