"""One open transport under guard: what passes between the client's streams and the server's.

Messages that meet no chain pass as they are, notifications after their checks. Requests that meet one are
the business of `outgoing` and `incoming`, in tasks of their own. Reading from the server is a task too, so
that an answer reaches its chain while the client is busy, and the guard's own answers reach the client while
the server says nothing.

Above: `transport`, the guarded streams. Below: `inbox`, what the client reads next; `messages`, the SDK's.
"""

from contextvars import Context
from typing import Any, Final

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from mcpguard.core.result import Denial
from mcpguard.core.wire import JSONObject
from mcpguard.seams import messages
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection
from mcpguard.seams.limits.screening import Left
from mcpguard.seams.messages import CANCELLED, Error, Notification, Request, Response
from mcpguard.seams.session import CACHE_BLIND_SPOT, sdk_major
from mcpguard.seams.streams.inbox import Inbox
from mcpguard.seams.streams.incoming import Incoming
from mcpguard.seams.streams.outgoing import Outgoing

__all__ = ["Relay"]

BLIND_SPOTS: Final = (
    "what a server asks for inside a result meets checks only; where a layer handles it, it is refused",
    "the caller's timeout goes on while layers wait, for a person too",
)


class Relay:
    """What a guard does between two pairs of streams.

    Args:
        read: The transport's stream of messages from the server.
        write: The transport's stream of messages to the server.
        tasks: Where chains run and the server is read; its owner enters and leaves it.
        binding: What the user said when wrapping.
    """

    def __init__(self, read: Any, write: Any, tasks: anyio.abc.TaskGroup, binding: Binding) -> None:
        self._read = read
        self._write = write
        self.inbox = Inbox()
        self.connection = Connection(
            binding,
            seam="transport",
            list_page=self._list_page,
            sees_input_dispatch=False,
            blind_spots=BLIND_SPOTS if sdk_major() < 2 else (*BLIND_SPOTS, CACHE_BLIND_SPOT),
        )
        self._reading = anyio.CancelScope()
        self._outgoing = Outgoing(self.connection, write, self.inbox, tasks)
        self._incoming = Incoming(self.connection, write, self.inbox, tasks)

    async def _list_page(self, params: JSONObject | None) -> JSONObject:
        return await self._outgoing.list_page(params)

    async def run(self) -> None:
        """Read from the server until it ends, or the client does."""
        reason: Exception = anyio.EndOfStream()
        with self._reading:
            async with anyio.create_task_group() as beside:
                reason = await self._read_all(beside)
            await self._outgoing.lose()
            self.inbox.end(reason)

    async def _read_all(self, beside: anyio.abc.TaskGroup) -> Exception:
        """Read until the server ends; what it ended with is what the client reads."""
        try:
            while True:
                item = await self._read.receive()
                context = getattr(self._read, "last_context", None)
                left: Left | None = getattr(self._read, "left", None)
                if left is None:
                    await self._receive(item, context)
                else:
                    beside.start_soon(self._receive_later, left, context)
        except Exception as reason:  # noqa: BLE001 - whatever it is
            return reason

    async def _receive_later(self, left: Left, context: Context | None) -> None:
        """Take an answer when the rest of what is to be done with it has been done."""
        await self._receive(await left(), context)

    def close(self) -> None:
        """The client reads no more: end what is under way."""
        self._reading.cancel()
        self._outgoing.close()
        self._incoming.close()
        self.inbox.close()

    async def send(self, item: Any) -> None:
        """Take one message from the client."""
        body = messages.body_of(item)
        kind = type(body)
        if kind is Request:
            chain = self.connection.chain(body.method)
            if chain is not None:
                await self._outgoing.ask(item, body, chain)
                return
            self._outgoing.passes(body)
        elif kind is Notification:
            await self._notify_server(item, body)
            return
        elif (kind is Response or kind is Error) and await self._incoming.take(item, body):
            return
        await self._write.send(item)

    async def _receive(self, item: Any, context: Context | None) -> None:
        """Take one message from the server, or what else its stream brings."""
        body = messages.body_of(item)
        kind = type(body)
        if kind is Request:
            chain = self.connection.inbound_chain(body.method)
            if chain is not None:
                await self._incoming.ask(item, body, chain, context)
                return
        elif kind is Notification:
            params: JSONObject | None = body.params
            admitted = self.connection.notify_in(body.method, params)
            if isinstance(admitted, Denial):
                return
            if body.method == CANCELLED and admitted is not None:
                admitted = self._incoming.cancel(admitted)
                if admitted is None:
                    return
            if admitted is not params:
                item = messages.notification(body.method, admitted, item.metadata)
        elif (kind is Response or kind is Error) and await self._outgoing.take(item, body, context):
            return
        await self.inbox.put(item, context)

    async def _notify_server(self, item: Any, body: Any) -> None:
        params: JSONObject | None = body.params
        if body.method == CANCELLED and params is not None:
            params = self._outgoing.cancel(params)
            if params is None:
                await checkpoint()
                return
        admitted = self.connection.notify_out(body.method, params)
        if isinstance(admitted, Denial):
            await checkpoint()
            return
        if admitted is not body.params:
            item = messages.notification(body.method, admitted, item.metadata)
        await self._write.send(item)
