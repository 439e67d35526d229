"""Where `mcpguard pin` has definitions from: servers that it starts or connects to, or files.

A file of servers is what agents' hosts read: `{"mcpServers": {"git": {"command": ..., "args": [...]}}}`, or
`{"url": ...}` for one over HTTP. Definitions are taken as they come over the wire.
"""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO, cast

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import PaginatedRequestParams

from mcpguard.core.call import Call
from mcpguard.core.errors import MCPGuardError
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.guard import Guard
from mcpguard.seams.session import sdk_major

__all__ = ["PinError", "listed_by", "read_listing", "read_servers"]

PATIENCE: Final = 60.0
"""Seconds for one server, its start included."""

MAX_PAGES: Final = 100
"""Pages of one list."""


class PinError(MCPGuardError):
    """Definitions cannot be had, or not be approved."""


class _Seen(Interceptor):
    """Keeps the definitions that pass, as they came."""

    filters = frozenset({("tools/list", "outbound")})

    def __init__(self) -> None:
        super().__init__()
        self.tools: list[JSONObject] = []

    def filter(self, call: Call, result: Result) -> Result:
        """Keep a page."""
        del call
        if result.value is not None:
            self.tools.extend(definitions(result.value))
        return result


def read_servers(path: Path) -> dict[str, Mapping[str, object]]:
    """The servers that a host's file names.

    Raises:
        PinError: If it cannot be read, or is no such file.
    """
    servers = _document(path).get("mcpServers")
    if not isinstance(servers, Mapping) or not all(isinstance(one, Mapping) for one in servers.values()):
        raise PinError(f'{path}: expected {{"mcpServers": {{name: {{"command": ...}} or {{"url": ...}}}}}}')
    return dict(cast("Mapping[str, Mapping[str, object]]", servers))


def read_listing(path: Path) -> list[JSONObject]:
    """The definitions in a file: the result of `tools/list`, or its `tools`.

    Raises:
        PinError: If it cannot be read, or holds no definitions.
    """
    return definitions(_document(path))


async def listed_by(name: str, options: Mapping[str, object], stderr: TextIO) -> list[JSONObject]:
    """Connect to a server and list its tools; what it writes to its standard error goes to `stderr`.

    Raises:
        PinError: If that fails, whatever fails.
    """
    seen = _Seen()
    try:
        with anyio.fail_after(PATIENCE):
            async with _session(Guard([seen]), name, options, stderr) as session:
                cursor = None
                for _ in range(MAX_PAGES):
                    page = await _page(session, cursor)
                    cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
                    if cursor is None:
                        return seen.tools
        raise PinError(f"{name}: its list of tools has more than {MAX_PAGES} pages")
    except PinError:
        raise
    except Exception as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise PinError(f"{name}: cannot be listed: {str(first) or type(first).__name__}") from error


def definitions(listing: JSONObject) -> list[JSONObject]:
    """The definitions in a `tools/list` result.

    Raises:
        PinError: If there are none, or one has no name.
    """
    tools = listing.get("tools")
    if not isinstance(tools, list | tuple):
        raise PinError("a list of tools holds no 'tools'")
    found = [tool for tool in tools if isinstance(tool, Mapping) and isinstance(tool.get("name"), str)]
    if len(found) != len(tools):
        raise PinError("a list of tools holds a definition without a name")
    return found


async def _page(session: Any, cursor: str | None) -> object:  # noqa: ANN401 - of either major
    if cursor is None:
        return await session.list_tools()
    if isinstance(session, ClientSession):
        return await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
    return await session.list_tools(cursor=cursor)


def _session(
    guard: Guard, name: str, options: Mapping[str, object], stderr: TextIO
) -> AbstractAsyncContextManager[Any]:
    """A session that is ready, on either major of the SDK."""
    url = options.get("url")
    if options.get("headers"):
        raise PinError(
            f"{name}: headers are not sent from here; list its tools with your own client, --listing"
        )
    if isinstance(url, str):
        if sdk_major() >= 2:
            return guard.client(url, name=name)
        from mcp.client.streamable_http import streamablehttp_client  # type: ignore[attr-defined,unused-ignore]

        return _Ready(guard, streamablehttp_client(url), name)
    command, arguments, environment = options.get("command"), options.get("args", []), options.get("env", {})
    if (
        not isinstance(command, str)
        or not isinstance(arguments, list)
        or not isinstance(environment, Mapping)
    ):
        raise PinError(f"{name}: expected a command with args and env, or a url")
    stdio = StdioServerParameters(
        command=command,
        args=[str(one) for one in cast("list[object]", arguments)],
        env={**os.environ, **{str(key): str(value) for key, value in environment.items()}},
    )
    return (
        guard.client(stdio_client(stdio, errlog=stderr), name=name)
        if sdk_major() >= 2
        else _Ready(guard, stdio_client(stdio, errlog=stderr), name)
    )


class _Ready(AbstractAsyncContextManager[ClientSession]):
    """A session of SDK 1.x, initialized."""

    def __init__(self, guard: Guard, transport: AbstractAsyncContextManager[Any], name: str) -> None:
        self._guard = guard
        self._transport = transport
        self._name = name

    async def __aenter__(self) -> ClientSession:
        read, write, *_ = await self._transport.__aenter__()
        self._session = self._guard.session(ClientSession(read, write), name=self._name)
        await self._session.__aenter__()
        await self._session.initialize()
        return self._session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.__aexit__(exc_type, exc, traceback)
        await self._transport.__aexit__(exc_type, exc, traceback)


def _document(path: Path) -> dict[str, JSON]:
    try:
        document: object = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PinError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise PinError(f"{path}: not JSON") from None
    if isinstance(document, list):
        return {"tools": document}
    if not isinstance(document, dict):
        raise PinError(f"{path}: expected a mapping or a list")
    return cast("dict[str, JSON]", document)
