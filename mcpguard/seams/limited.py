"""A transport under limits: the same streams, which end what a server keeps waiting and stop what floods.

No task stands between the SDK and the transport's streams: deadlines are those of the scope around the read
that the session is waiting in anyway. Transports of the SDK are replaced by ones that bound what they read
before they parse it; of any other, messages are measured when they arrive.

Above: every seam that has streams. Below: `watch`, which decides; `stdio` and `http`, which read.
"""

from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from math import inf
from types import TracebackType
from typing import Any, Final, Self, cast

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.line import Line
from mcpguard.seams import messages
from mcpguard.seams.brake import Brake
from mcpguard.seams.messages import CANCELLED, Key, Notification, Request, given_up_by
from mcpguard.seams.supervised import SupervisedTransport
from mcpguard.seams.watch import Tally, Watch

__all__ = ["LimitedRead", "LimitedTransport", "LimitedWrite", "limit_streams"]

CANCEL_SECONDS: Final = 1.0
"""How long telling the server that a request is given up may hold whoever gives it up."""


_OVER: Final = "the connection is closed; this was not sent"


class LimitedTransport:
    """A transport with its streams under limits; entering it enters the transport.

    Args:
        open_it: Makes the transport, given the watch over it; more than once where `can_return`.
        limits: What the server is held to.
        tally: Told of each limit that is hit.
        line: What is known of the line; None for nothing.
        is_parsed_here: Whether the transport parses within the limits.
        can_return: Whether a lost connection can be made again.
    """

    def __init__(
        self,
        open_it: Callable[[Watch], Any],
        limits: ConnectionLimits,
        tally: Tally,
        *,
        line: Line | None = None,
        is_parsed_here: bool = False,
        can_return: bool = False,
    ) -> None:
        self._open_it = open_it
        self._limits = limits
        self._tally = tally
        self._line = Line() if line is None else line
        self._is_parsed_here = is_parsed_here
        self._can_return = can_return
        self._entered: tuple[Any, Watch, anyio.CancelScope] | None = None

    async def __aenter__(self) -> tuple[Any, ...]:
        """What the transport yields, with its two streams under limits."""
        if self._entered is not None:
            raise RuntimeError("this transport is in use; every session needs one of its own")
        watch = Watch(self._limits, self._tally, anyio.current_time, is_parsed_here=self._is_parsed_here)
        watch.line = self._line
        scope = anyio.CancelScope()
        can_return = self._can_return and self._limits.reconnects > 0
        transport = SupervisedTransport(self._open_it, watch) if can_return else self._open_it(watch)
        scope.__enter__()
        try:
            yielded: Any = await transport.__aenter__()
        except BaseException as error:
            scope.__exit__(type(error), error, error.__traceback__)
            raise
        self._entered = transport, watch, scope
        if not isinstance(yielded, tuple | list) or len(yielded) < 2:
            return cast("tuple[Any, ...]", yielded)  # whoever guards it says what is wrong
        read, write, *more = yielded
        writer = LimitedWrite(write, watch)
        return (LimitedRead(read, watch, writer), writer, *more)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave the transport; what it leaves undone in time is cancelled."""
        if self._entered is None:
            raise RuntimeError("this transport was never entered")
        transport, watch, scope = self._entered
        self._entered = None
        watch.end("closed")
        scope.deadline = anyio.current_time() + self._limits.close_seconds
        raised: BaseException | None = None
        left: bool | None = None
        try:
            left = await transport.__aexit__(kind, error, trace)
        except BaseException as one:  # noqa: BLE001 - the scope must hear of it
            raised = one
        ended = raised or (None if left else error)
        is_ours = scope.__exit__(
            None if ended is None else type(ended), ended, None if ended is None else ended.__traceback__
        )
        if scope.cancelled_caught:
            watch.hit("close_seconds", "closing the connection took too long")
        if raised is not None and not is_ours:
            raise raised
        return bool(left) or (is_ours and raised is None)


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
                self.last_context = None
                return watch.own.popleft()
            if watch.ended is not None:
                watch.is_over = True
                raise anyio.EndOfStream
            if watch.refusals:
                await self._writer.refuse()
                continue
            until = watch.read_until
            if until < inf and until <= anyio.current_time():  # a flood is read without ever waiting
                watch.expire()
                continue
            item: Any = None
            with anyio.CancelScope(deadline=until) as scope:
                watch.reading = scope
                try:
                    item = await self._stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    watch.end("ended")
                    continue
                finally:
                    watch.reading = None
            if scope.cancelled_caught:
                watch.expire()
                continue
            passed = watch.received(item)
            if passed is not None:
                self._brake.release()
                self.last_context = getattr(self._stream, "last_context", None)
                return passed
            await self._brake.slow()

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
        with anyio.move_on_after(watch.limits.return_seconds):
            while watch.returning is not None and watch.ended is None:
                await watch.returning.wait()
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
