"""langchain-mcp-adapters: a `MultiServerMCPClient` whose sessions are all guarded.

The framework opens a session for every tool call of `get_tools()`, and others for prompts and resources. A
`ToolCallInterceptor` would see tool calls only; here every session is guarded as soon as it is there, before
`initialize`, whichever method opens it. What a server is called in `connections` is what the policy calls it.

Where somebody else makes the client or the tools, `tool_call_interceptor` is a guard as a
`ToolCallInterceptor`: the tool calls are guarded, and nothing else.

An HTTP header that a `ToolCallInterceptor` adds to a request is not sent; `Credentials` does that.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.types import CallToolResult

from mcpguard.core.errors import SeamError
from mcpguard.core.wire import JSONObject, mutable_copy
from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard
    from mcpguard.seams.handed import HandedCalls

__all__ = ["guarded_client", "tool_call_interceptor"]


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
            opener: Any = super()
            async with opener.session(server_name, auto_initialize=False) as session:
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
            found: dict[str, Any] = {}
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


def tool_call_interceptor(guard: "Guard", *, run: "Run | None" = None) -> Any:
    """A `ToolCallInterceptor` that guards the calls it is handed. List it last, so that it is the innermost.

    Args:
        guard: The guard. What the framework calls a server is what its policy calls it.
        run: Binds every call to this run.

    Raises:
        SeamError: If langchain-mcp-adapters is not installed, or, when a call is made, if what comes back is
            another interceptor's message instead of a tool's result.
    """
    framework("langchain_mcp_adapters.interceptors", extra="langchain-mcp-adapters")
    handed: dict[str, HandedCalls] = {}

    async def intercept(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        answers: list[tuple[JSONObject, Any]] = []

        async def send(tool: str, arguments: dict[str, object]) -> JSONObject:
            answer = await handler(request.override(name=tool, args=arguments))
            if not isinstance(answer, CallToolResult):
                what = f"a {type(answer).__name__} came back from an inner interceptor; list the guard's last"
                raise SeamError(what)
            shaped: JSONObject = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
            answers.append((shaped, answer))
            return shaped

        name = request.server_name
        calls = handed.get(name) or handed.setdefault(
            name, guard.handed_calls(name=name, run=run, shared=True)
        )
        result = await calls.call(request.name, request.args, send)
        for shaped, answer in answers:
            if shaped is result:
                return answer
        return CallToolResult.model_validate(mutable_copy(result))

    return intercept


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
