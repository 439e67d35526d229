"""A guarded session on a server, for frameworks that take a session: made, entered and initialised.

On SDK 2.x it is that of a `mcp.Client`, so that servers of either era are spoken to in theirs. Above: the
integrations. Not here: frameworks that make sessions themselves.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import PaginatedRequestParams

from mcpguard.seams.session import sdk_major

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["entered_session", "guarded_client", "guarded_session", "listed", "transport_to"]


@asynccontextmanager
async def guarded_session(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> AsyncGenerator[Any]:
    """A guarded `ClientSession`, ready for use, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport: an async context manager
            that yields a read and a write stream.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
    """
    if sdk_major() > 1:
        async with guarded_client(guard, server, name=name, run=run, shared=shared) as client:
            yield client.session
        return
    async with entered_session(guard, server, name=name, run=run, shared=shared) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def entered_session(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> AsyncGenerator[Any]:
    """A guarded `ClientSession` that the framework initialises, which servers of both eras allow.

    Arguments as for `guarded_session`.
    """
    async with (
        transport_to(server) as (read, write, *_),
        guard.session(ClientSession(read, write), name=name, run=run, shared=shared) as session,
    ):
        yield session


def guarded_client(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> Any:
    """A guarded `mcp.Client`, not entered yet. Arguments as for `guarded_session`.

    Raises:
        SeamError: On SDK 1.x, which has no such class.
    """
    return guard.client(transport_to(server), name=name, run=run, shared=shared)


def transport_to(server: Any) -> Any:
    """The SDK's transport to a server, not entered yet; a transport is handed back."""
    if isinstance(server, StdioServerParameters):
        return stdio_client(server)
    if isinstance(server, str):
        module = import_module("mcp.client.streamable_http")
        connect = getattr(module, "streamable_http_client", None) or module.streamablehttp_client
        return connect(server)
    return server


async def listed(session: Any) -> list[Any]:
    """All tools of a session, over all pages."""
    tools: list[Any] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = (
            await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            if cursor
            else await session.list_tools()
        )
        tools += page.tools
        cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
        if cursor is None or cursor in seen:
            return tools
        seen.add(cursor)
