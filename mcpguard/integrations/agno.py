"""agno: an `MCPTools` on a guarded session.

Given a session it opens no other, so `refresh_connection` and `header_provider`, which would, are refused. It
initialises the session itself, as servers of both eras allow.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from mcpguard.core.errors import SeamError
from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import entered_session

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]

_OPENS_SESSIONS: Final = frozenset(
    {"refresh_connection", "header_provider", "command", "url", "server_params", "session"}
)
"""Options with which `MCPTools` connects by itself, or to something else."""


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
    """The `MCPTools` for a server, connected, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `MCPTools`.

    Raises:
        SeamError: If agno is not installed with its extra `mcp`, or an option would open another session.
    """
    tools = framework("agno.tools.mcp", extra="agno").MCPTools
    for option in sorted(_OPENS_SESSIONS & options.keys()):
        raise SeamError(f"{option}= makes agno open sessions that nothing guards; leave it out")
    async with (
        entered_session(guard, server, name=name, run=run, shared=shared) as session,
        tools(session=session, **options) as opened,
    ):
        yield opened
