"""A transport with the test at both of its ends: single messages, in any order, as they are on the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from types import TracebackType
from typing import Any

import anyio
import pytest
from harness import V1, Around, watching

from mcpguard import Guard
from mcpguard.core.interceptor import Handles

Wire = dict[str, Any]

modern_client = pytest.mark.skipif(V1, reason="SDK 1.x has no 2026-07-28 client")

_message = import_module("mcp.shared.message")
CALLS: Handles = {("tools/call", "outbound")}
QUESTIONS: Handles = {("elicitation/create", "inbound"), ("sampling/createMessage", "inbound")}


def item_of(message: Wire, metadata: Any = None) -> Any:
    """A message as the SDK's streams carry it."""
    whole = {"jsonrpc": "2.0", **message}
    if V1:
        parsed = import_module("mcp.types").JSONRPCMessage.model_validate(whole)
    else:
        parsed = import_module("mcp.types.jsonrpc").jsonrpc_message_adapter.validate_python(whole)
    return _message.SessionMessage(parsed, metadata)


def message_of(item: Any) -> Wire:
    """A stream's item as it is on the wire."""
    dumped: Wire = item.message.model_dump(by_alias=True, mode="json", exclude_unset=not V1, exclude_none=V1)
    del dumped["jsonrpc"]
    return dumped


class Line:
    """A transport whose server is the test: a context manager that yields two streams, and maybe more."""

    def __init__(self, *more: Any, room: float = 0) -> None:
        self.more = more
        self.room = room
        self.left_with: BaseException | None = None
        self.times_left = 0

    async def __aenter__(self) -> Any:
        if V1:
            create: Any = anyio.create_memory_object_stream
        else:
            create = import_module("mcp.shared._context_streams").create_context_streams
        self.to_client, self.read = create(self.room)
        self.write, self.from_client = create(self.room)
        return self.read, self.write, *self.more

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.left_with = error
        self.times_left += 1
        for stream in (self.to_client, self.read, self.write, self.from_client):
            stream.close()
        return isinstance(error, KeyError)

    async def says(self, *messages: Wire) -> None:
        """The server sends messages."""
        for message in messages:
            await self.to_client.send(item_of(message))

    async def hears(self) -> Wire:
        """What the server is sent next."""
        with anyio.fail_after(10):
            return message_of(await self.from_client.receive())

    async def answers(self, **result: Any) -> Wire:
        """Answer the next request; which one that was."""
        asked = await self.hears()
        await self.says({"id": asked["id"], "result": result})
        return asked


class Client:
    """A client that is the test, on guarded streams."""

    def __init__(self, read: Any, write: Any) -> None:
        self.read = read
        self.write = write

    async def says(self, *messages: Wire, metadata: Any = None) -> None:
        """Send messages."""
        for message in messages:
            await self.write.send(item_of(message, metadata))

    async def calls(self, tool: str, id: int = 1, metadata: Any = None, **params: Any) -> None:
        """Ask for a tool to be called."""
        await self.says(
            {"id": id, "method": "tools/call", "params": {"name": tool, **params}}, metadata=metadata
        )

    async def cancels(self, id: int) -> Wire:
        """Cancel a request that is under way; the notification."""
        cancel = {"method": "notifications/cancelled", "params": {"requestId": id, "reason": "bored"}}
        await self.says(cancel)
        if V1:
            assert await self.hears() == {"id": id, "error": {"code": 0, "message": "Request cancelled"}}
        return cancel

    async def hears(self) -> Wire:
        """What the client reads next."""
        with anyio.fail_after(10):
            return message_of(await self.read.receive())


@asynccontextmanager
async def talking(guard: Guard, line: Line | None = None) -> AsyncIterator[tuple[Client, Line]]:
    """A client and a server, both in the test's hands, with a guarded transport between them."""
    line = Line(room=100) if line is None else line
    async with guard.transport(line, name="files") as (read, write, *_):
        yield Client(read, write), line


def passing(handles: Handles = CALLS) -> list[Any]:
    """The two ways through a chain: in steps, and in a task because of a layer."""
    return [watching(handles), Around(lambda call, call_next: call_next(call), handles)]


def result(id: int, **value: Any) -> Wire:
    """An answer."""
    return {"id": id, "result": value}


class Stopping:
    """A clock that fails after some readings: a fault in the guard's own machinery, not in an interceptor."""

    def __init__(self, readings: int) -> None:
        self.readings = readings

    def now(self) -> float:
        self.readings -= 1
        if self.readings < 0:
            raise OSError("no more time")
        return 0.0

    def time(self) -> float:
        return 0.0
