"""agent-framework: an MCP tool on a guarded `mcp.Client`.

A tool that makes its client itself also gets the SDK's response cache, which would answer one principal with
what another was given; it is handed a client here, which has none.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_client

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tool"]


@asynccontextmanager
async def guarded_tool(
    guard: "Guard",
    server: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> AsyncGenerator[Any]:
    """An MCP tool for a server, connected, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport.
        name: What policy, stores and audit call the server, and agents the tool.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `MCPStdioTool` that are not about its connection.

    Raises:
        SeamError: If agent-framework is not installed.
    """
    make = framework("agent_framework", extra="agent-framework").MCPStdioTool
    async with (
        guarded_client(guard, server, name=name, run=run, shared=shared) as client,
        make(name=name, mcp_client=client, **options) as tool,
    ):
        yield tool
