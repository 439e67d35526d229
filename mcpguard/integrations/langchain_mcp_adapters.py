"""langchain-mcp-adapters: a `MultiServerMCPClient` whose sessions are all guarded.

The framework opens a session for every tool call of `get_tools()`, and others for prompts and resources. A
`ToolCallInterceptor` would see tool calls only; here every session is guarded as soon as it is there, before
`initialize`, whichever method opens it. What a server is called in `connections` is what the policy calls it.

An HTTP header that a `ToolCallInterceptor` adds to a request is not sent; `Credentials` does that.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.guard import Guard

__all__ = ["guarded_client"]


def guarded_client(guard: "Guard", connections: dict[str, Any], **options: Any) -> Any:
    """A `MultiServerMCPClient` all of whose sessions are guarded.

    Args:
        guard: The guard.
        connections: As for `MultiServerMCPClient`, by the names that the policy has.
        options: Further arguments of `MultiServerMCPClient`.

    Raises:
        SeamError: If langchain-mcp-adapters is not installed.
    """
    base = framework("langchain_mcp_adapters.client", extra="langchain-mcp-adapters").MultiServerMCPClient
    load = framework("langchain_mcp_adapters.tools", extra="langchain-mcp-adapters").load_mcp_tools

    class GuardedClient(base):  # type: ignore[misc, valid-type]  # the class is known at run time only
        """A client that guards each session it opens."""

        @asynccontextmanager
        async def session(self, server_name: str, *, auto_initialize: bool = True) -> AsyncGenerator[Any]:
            """The base's, guarded."""
            async with super().session(server_name, auto_initialize=False) as session:
                guard.session(session, name=server_name)
                if auto_initialize:
                    await session.initialize()
                yield session

        async def get_tools(self, *, server_name: str | None = None) -> list[Any]:
            """The base's, each call in a guarded session of its own."""
            names = list(self.connections) if server_name is None else [server_name]
            return [tool for name in names for tool in await self._tools_of(name)]

        async def get_server_info(self, *, server_name: str | None = None) -> dict[str, Any]:
            """The base's, by guarded sessions."""
            found = {}
            for name in list(self.connections) if server_name is None else [server_name]:
                async with self.session(name, auto_initialize=False) as session:
                    found[name] = await session.initialize()
            return found

        async def _tools_of(self, name: str) -> list[Any]:
            tools: list[Any] = await load(
                _SessionPerCall(self, name),
                callbacks=self.callbacks,
                server_name=name,
                tool_interceptors=self.tool_interceptors,
                tool_name_prefix=self.tool_name_prefix,
                handle_tool_errors=self.handle_tool_errors,
            )
            return tools

    return GuardedClient(connections, **options)


class _SessionPerCall:
    """What `load_mcp_tools` needs of a session; each use opens one and closes it."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def list_tools(self, cursor: str | None = None) -> Any:
        async with self._client.session(self._name) as session:
            return await session.list_tools(cursor=cursor)

    async def call_tool(self, name: str, arguments: dict[str, Any], **options: Any) -> Any:
        failed: Exception | None = None
        result: Any = None
        async with self._client.session(self._name) as session:
            try:
                result = await session.call_tool(name, arguments, **options)
            except Exception as error:  # noqa: BLE001 - closing the session may lose it; raised below
                failed = error
        if failed is not None:
            raise failed
        return result
