"""dspy: tools on a guarded session."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_session, listed

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
    """Tools of dspy for all that a server offers, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `dspy.Tool.from_mcp_tool`.

    Raises:
        SeamError: If dspy is not installed.
    """
    convert = framework("dspy", extra="dspy").Tool.from_mcp_tool
    async with guarded_session(guard, server, name=name, run=run, shared=shared) as session:
        yield [convert(session, tool, **options) for tool in await listed(session)]
