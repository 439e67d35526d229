"""llama-index: an `McpToolSpec` on a guarded session."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_session

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]


@asynccontextmanager
async def guarded_tools(
    guard: "Guard",
    server: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> AsyncGenerator[Any]:
    """llama-index's `McpToolSpec` for a server, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `McpToolSpec`.

    Raises:
        SeamError: If llama-index-tools-mcp is not installed.
    """
    spec = framework("llama_index.tools.mcp", extra="llama-index").McpToolSpec
    async with guarded_session(guard, server, name=name, run=run, shared=shared) as session:
        yield spec(client=session, **options)
