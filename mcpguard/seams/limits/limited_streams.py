"""Two streams under limits: they end what a server keeps waiting, and stop what floods.

No task stands between the SDK and the transport's streams: deadlines are those of the scope around the read
that the session is waiting in anyway.

Above: `limited`, whole transports. Below: `watch`, which decides.
"""

from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import Any, Final, Self

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.seams import messages
from mcpguard.seams.limits.brake import Brake
from mcpguard.seams.limits.screening import Left, Listing
from mcpguard.seams.limits.watch import Tally, Watch
from mcpguard.seams.messages import CANCELLED, Key, Notification, Request, given_up_by

__all__ = ["LimitedRead", "LimitedWrite", "limit_streams"]

CANCEL_SECONDS: Final = 1.0
"""How long telling the server that a request is given up may hold whoever gives it up."""

TURN_SECONDS: Final = 0.005
"""After which others have their turn while a listing is looked through, which may have a thousand tools."""

_OVER: Final = "the connection is closed; this was not sent"


def limit_streams(
    read: Any, write: Any, limits: ConnectionLimits, tally: Tally
) -> tuple["LimitedRead", "LimitedWrite"]:
    """Two streams of somebody's transport, under limits; how they are closed remains its business."""
    watch = Watch(limits, tally, anyio.current_time, is_parsed_here=False)
    writer = LimitedWrite(write, watch)
    return LimitedRead(read, watch, writer), writer


class LimitedRead:
    """What the client reads in place of the transport's stream."""

    last_context: Context | None = None
    """The context of whoever sent the last message, where the transport tells (SDK 2.x)."""
    left: Left | None = None
    """What is left to do with the last message, for whoever can do it beside reading."""

    def __init__(self, stream: Any, watch: Watch, writer: "LimitedWrite") -> None:
        self._stream = stream
        self._watch = watch
        self._writer = writer
        self._brake = Brake()

    async def receive(self) -> Any:
        """The next message that may pass, or an answer in the server's place.

        Raises:
            EndOfStream: If the server has ended the stream, or the connection was given up.
            ClosedResourceError: If this end is closed.
        """
        watch = self._watch
        while True:
            if watch.own:
                self.last_context = self.left = None
                return watch.own.popleft()
            if watch.ended is not None and watch.hesitating:
                watch.decided = anyio.Event()
                await watch.decided.wait()
                continue
            if watch.ended is not None:
                watch.is_over = True
                raise anyio.EndOfStream
            if watch.refusals:
                await self._writer.refuse()
                continue
            if watch.hatch.item is not None:
                item, context = watch.hatch.take(), None
            else:
                item = await self._next()
                if item is None:
                    continue
                context = getattr(self._stream, "last_context", None)
            passed = watch.received(item)
            listing = watch.screening.take_listing()
            if listing is not None:
                passed = await _in_turns(listing)
            if passed is not None:
                self._brake.release()
                self.last_context = context
                self.left = watch.screening.take_left()
                return passed
            await self._brake.slow()

    async def _next(self) -> Any | None:
        """The next message of the stream; None where something else is to be looked at first."""
        watch = self._watch
        until = watch.read_until
        if until < inf and until <= anyio.current_time():  # a flood is read without ever waiting
            watch.expire()
            return None
        item: Any = None
        with anyio.CancelScope(deadline=until) as scope:
            watch.reading = scope
            try:
                item = await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                watch.end("ended")
                return None
            finally:
                watch.reading = None
        if scope.cancelled_caught:
            watch.expire()
            return None
        return None if watch.hatch.is_token(item) else item

    def close(self) -> None:
        """Let go of the stream."""
        self._stream.close()

    async def aclose(self) -> None:
        """Let go of the stream."""
        await self._stream.aclose()

    def clone(self) -> Self:
        """Another handle on the same stream."""
        return type(self)(self._stream.clone(), self._watch, self._writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


async def _in_turns(listing: Listing) -> Any:
    """What a listing is made into; others have their turn meanwhile."""
    until = anyio.current_time() + TURN_SECONDS
    while True:
        try:
            next(listing)
        except StopIteration as stop:
            return stop.value
        if anyio.current_time() > until:
            await checkpoint()
            until = anyio.current_time() + TURN_SECONDS


class LimitedWrite:
    """What the client writes to in place of the transport's stream."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch
        self._put_nowait: Callable[[Any], None] | None = getattr(stream, "send_nowait", None)

    async def send(self, item: Any) -> None:
        """Send a message; a request that the server leaves unread for too long is answered in its place.

        Raises:
            ClosedResourceError: If this end is closed.
            BrokenResourceError: If the client has been told that the connection is at its end.
        """
        watch = self._watch
        body = messages.body_of(item)
        kind = type(body)
        if watch.ended is not None:
            if watch.is_over or kind is not Request:
                raise anyio.BrokenResourceError(_OVER)
            watch.not_sent(body.id)
            await checkpoint()
            return
        if watch.memoir is not None:
            if kind is Request:
                watch.memoir.asked(item, body)
            elif kind is Notification:
                watch.memoir.notified(item, body)
        if watch.returning is not None and not await self._has_returned():
            if kind is Request:
                watch.not_sent(body.id)
            return
        if kind is Request:
            watch.asked(body)
            if watch.reading is not None and watch.reading.deadline > watch.read_until:
                watch.reading.deadline = watch.read_until
        elif kind is Notification and body.method == CANCELLED:
            watch.gave_up(given_up_by(body))
        try:
            await self._put(item, body, kind)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            if kind is not Request or watch.is_over:
                raise
            watch.not_sent(body.id)

    async def _put(self, item: Any, body: Any, kind: Any) -> None:
        """Put it on the stream; whoever writes the stream mostly waits for it, and no time is kept then."""
        if self._put_nowait is not None:
            await checkpoint_if_cancelled()
            with suppress(anyio.WouldBlock):
                self._put_nowait(item)
                return
        is_cancel = kind is Notification and body.method == CANCELLED
        patience = self._watch.limits.write_seconds
        with anyio.move_on_after(min(patience, CANCEL_SECONDS) if is_cancel else patience) as scope:
            await self._stream.send(item)
        if scope.cancelled_caught and not is_cancel:
            self.give_up(body.id if kind is Request else None)

    async def _has_returned(self) -> bool:
        """Wait for a connection that is coming back, for a bounded time."""
        watch = self._watch
        watch.hesitating += 1
        try:
            with anyio.move_on_after(watch.limits.return_seconds):
                while watch.returning is not None and watch.ended is None:
                    await watch.returning.wait()
        finally:
            watch.hesitating -= 1
            if not watch.hesitating and watch.decided is not None:
                watch.decided.set()
        return watch.returning is None and watch.ended is None

    async def refuse(self) -> None:
        """Answer the server's requests that were one too many."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while self._watch.refusals and self._watch.ended is None:
                await self.send(self._watch.refusals.popleft())
        self._watch.refusals.clear()

    def give_up(self, unsent: Key | None) -> None:
        """The server does not read: nothing more is written, and whatever waits is answered."""
        watch = self._watch
        watch.hit("write_seconds", "the server does not read: the connection is given up")
        if unsent is not None:
            watch.not_sent(unsent)
        watch.end("write_seconds")

    def close(self) -> None:
        """Let go of the stream."""
        self._stream.close()

    async def aclose(self) -> None:
        """Let go of the stream."""
        await self._stream.aclose()

    def clone(self) -> Self:
        """Another handle on the same stream."""
        return type(self)(self._stream.clone(), self._watch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()
