"""A fake server's lines over memory streams, for the client session of whichever SDK is installed.

A message crosses as JSON in memory too: the client gets a copy, and what cannot be parsed reaches it as the
exception that its stdio transport would make of it. `mcp` is imported when a client connects.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from types import TracebackType
from typing import Any, TypeAlias

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from mcpguard.testing.connection import Connection, Lines

__all__ = ["MemoryClient", "Streams"]

Streams: TypeAlias = tuple[MemoryObjectReceiveStream[Any], MemoryObjectSendStream[Any]]
"""What a client session reads from and writes to. The items are the SDK's `SessionMessage`, or an exception:
`Any`, as the class differs between majors."""


class MemoryClient:
    """Connect one client: an async context manager that yields `(read, write)`; an SDK `Transport`.

    Args:
        opened: Makes the server's side of the connection, which is served until the context is left.
        closed: Told when it has been left.
    """

    def __init__(self, opened: Callable[[Lines], Connection], closed: Callable[[Connection], None]) -> None:
        self._opened = opened
        self._closed = closed
        self._entered: tuple[_MemoryLines, Connection, anyio.abc.TaskGroup] | None = None

    async def __aenter__(self) -> Streams:
        if self._entered is not None:
            raise RuntimeError("this connection is in use; every client needs a connect() of its own")
        lines = _MemoryLines()
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        connection = self._opened(lines)
        self._entered = lines, connection, tasks
        tasks.start_soon(connection.run)
        return lines.streams

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._entered is None:
            raise RuntimeError("this connection was never opened")
        lines, connection, tasks = self._entered
        self._entered = None
        tasks.cancel_scope.cancel()
        is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        try:
            if is_cancelled:
                return await tasks.__aexit__(kind, error, trace)
            # The group is not told of the test's own error, which it would wrap.
            await tasks.__aexit__(None, None, None)
        finally:
            lines.close_all()
            self._closed(connection)
        if error is None and connection.failures:
            raise connection.failures[0]
        return None


class _MemoryLines:
    """`Lines` over two pairs of memory streams."""

    def __init__(self) -> None:
        self._sdk = _sdk_messages()
        self._to_client, read = anyio.create_memory_object_stream[Any](math.inf)
        write, self._from_client = anyio.create_memory_object_stream[Any](0)
        self.streams: Streams = (read, write)

    async def receive(self) -> tuple[str, Mapping[str, str]]:
        message = await self._from_client.receive()
        return self._sdk.line_of(message), getattr(message.metadata, "headers", None) or {}

    async def send(self, line: str) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._to_client.send(self._sdk.message_of(line))

    def close(self) -> None:
        self._to_client.close()
        self._from_client.close()

    def close_all(self) -> None:
        self.close()
        for stream in self.streams:
            stream.close()


class _SdkMessages:
    """Lines to the SDK's messages and back, as its stdio transport does it."""

    def __init__(
        self, wrap: Callable[[Any], Any], parse: Callable[[str], Any], options: dict[str, bool]
    ) -> None:
        self._wrap = wrap
        self._parse = parse
        self._options = options

    def message_of(self, line: str) -> Any:
        try:
            return self._wrap(self._parse(line))
        except ValueError as error:
            return error

    def line_of(self, message: Any) -> str:
        line: str = message.message.model_dump_json(by_alias=True, **self._options)
        return line


@cache
def _sdk_messages() -> _SdkMessages:
    wrap = import_module("mcp.shared.message").SessionMessage
    if version("mcp").startswith("1."):
        model = import_module("mcp.types").JSONRPCMessage
        return _SdkMessages(wrap, model.model_validate_json, {"exclude_none": True})
    adapter = import_module("mcp.types.jsonrpc").jsonrpc_message_adapter
    return _SdkMessages(wrap, partial(adapter.validate_json, by_name=False), {"exclude_unset": True})
