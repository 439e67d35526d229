"""A transport that is made again when its connection is lost, behind streams that stay.

A task of its own keeps the connection open, since whoever opens one must close it. A new connection is
initialised as the client initialised the first, subscriptions and log level are set again, and the client is
told that the lists may have changed, so that it lists anew and pins are checked. What was in flight has
failed by then: nothing is sent a second time here.

Above: `limited`. Below: the transports; `lasting_streams`, what the client has; `memoir`, what a new
connection must be told.
"""

import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from types import TracebackType
from typing import Any, Final

import anyio
import anyio.abc

from mcpguard.core.result import WireError
from mcpguard.core.wire import LIFECYCLE
from mcpguard.detectors.listings import text_in
from mcpguard.seams import messages
from mcpguard.seams.limits.lasting_streams import LastingRead, LastingWrite
from mcpguard.seams.limits.memoir import Memoir
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.messages import Error, Request, Response

__all__ = ["SupervisedTransport"]

_log = logging.getLogger("mcpguard")

FIRST_PAUSE: Final = 0.2
"""Seconds before the first attempt; each further one waits up to twice as long (exponential, full jitter)."""

MAX_PAUSE: Final = 30.0
"""Seconds that a pause lasts at most."""

STABLE_SECONDS: Final = 30.0
"""Seconds after which a connection counts as sound, and the next loss of it as the first."""

HANDSHAKE_SECONDS: Final = 10.0
"""How long a new connection may take to be opened and initialised."""

MAX_EARLY: Final = 10
"""Requests of a server that are kept while it is initialised: what a client is asked then waits for it."""

MAX_EARLY_TEXT: Final = 2**16
"""Characters in one of them."""


class SupervisedTransport:
    """A transport whose streams outlive its connections.

    Args:
        open_it: Makes one connection, given the watch over all of them.
        watch: Told of losses; it knows what is in flight.
    """

    def __init__(self, open_it: Callable[[Watch], Any], watch: Watch) -> None:
        self._open_it = open_it
        self._watch = watch
        self._memoir = watch.memoir = Memoir()
        self._up = anyio.Event()
        self._down = anyio.Event()
        self._is_leaving = False
        self._opening: anyio.CancelScope | None = None
        """Around the connection of the moment, and bounded while that is opened."""
        self._streams: tuple[Any, Any] | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._more: tuple[Any, ...] = ()
        self.early: deque[Any] = deque()
        """What a new connection's server said while it was initialised."""

    async def __aenter__(self) -> tuple[Any, ...]:
        """Open the first connection.

        Raises:
            Exception: What the transport raises.
        """
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            await self._tasks.start(self._keep)
            stack.pop_all()
        self._watch.on_loss = self._lose
        return (LastingRead(self), LastingWrite(self), *self._more)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection of the moment."""
        self._is_leaving = True
        self._watch.on_loss = None
        self._down.set()
        self._up.set()
        if self._streams is None and self._opening is not None:
            self._opening.cancel()
        assert self._tasks is not None  # noqa: S101 - it was entered
        if error is not None and isinstance(error, anyio.get_cancelled_exc_class()):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)

    @property
    def streams(self) -> tuple[Any, Any] | None:
        """The streams of the connection of the moment, if there is one."""
        return self._streams

    async def current(self) -> tuple[Any, Any]:
        """The same; waits while there is none.

        Raises:
            EndOfStream: If there will be none any more.
        """
        while self._streams is None:
            if self._watch.ended is not None:
                raise anyio.EndOfStream
            await self._up.wait()
        return self._streams

    def is_current(self, stream: Any) -> bool:
        """Whether `stream` is one of the connection of the moment."""
        return self._streams is not None and stream in self._streams

    def lost(self, why: str) -> None:
        """The stream of the connection of the moment has ended."""
        self._watch.end(why)

    def _lose(self, why: str) -> None:
        """The connection of the moment is lost."""
        if self._streams is not None:
            self._streams = None
            self._up = anyio.Event()
            self._watch.returning = self._up
            self._watch.hit("connection_lost", f"the connection was lost: {why}")
            self._down.set()

    async def _keep(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Keep a connection open until the client leaves or there is none to be had."""
        failures = 0
        is_first = True
        while True:
            began = anyio.current_time()
            opening = self._opening = anyio.CancelScope(
                deadline=inf if is_first else began + HANDSHAKE_SECONDS
            )
            closing: tuple[Any, ...] = ()
            try:
                with opening:
                    async with self._open_it(self._watch) as yielded:
                        if not isinstance(yielded, tuple | list) or len(yielded) < 2:
                            raise TypeError("a transport yields a read and a write stream")
                        read, write, *more = yielded
                        closing = read, write
                        self._down = anyio.Event()
                        if not is_first:
                            await self._introduce(read, write)
                        opening.deadline = inf
                        if opening.cancel_called:
                            raise TimeoutError
                        if not is_first:
                            self._watch.hit("connection_restored", "the connection is there again")
                        self._more = tuple(more)
                        self._streams = read, write
                        self._watch.returning = None
                        self._up.set()
                        if is_first:
                            is_first = False
                            task_status.started()
                        await self._down.wait()
                if opening.cancelled_caught:
                    self._lose("TimeoutError")
            except Exception as error:
                if is_first:
                    raise
                _log.debug("a connection ended with %s", type(error).__name__)
                self._lose(type(error).__name__)
            finally:
                for stream in closing:  # the client's own closing ends at the streams that stay
                    stream.close()
            if anyio.current_time() - began > STABLE_SECONDS:
                failures = 0
            failures += 1
            if self._is_leaving:
                return
            if failures > self._watch.limits.reconnects:
                break
            pause = min(MAX_PAUSE, FIRST_PAUSE * 2**failures)
            with anyio.move_on_after(random.uniform(pause / 4, pause)):  # noqa: S311 - jitter
                await self._down_again()
            if self._is_leaving:
                return
        self._watch.hit("reconnects", "the connection did not come back")
        self._watch.on_loss = None
        self._watch.end("reconnects")
        self._up.set()

    async def _down_again(self) -> None:
        """Wait until the client leaves."""
        while not self._is_leaving:
            self._down = anyio.Event()
            await self._down.wait()

    async def _introduce(self, read: Any, write: Any) -> None:
        """Say to a new connection what the client said to the first.

        Raises:
            ConnectionError: If the server is not what it was.
        """
        self.early.clear()
        for item in self._memoir.handshake():
            await write.send(item)
            asked = messages.body_of(item)
            if getattr(asked, "id", None) is None:
                continue
            while True:
                said = await read.receive()
                body = messages.body_of(said)
                if type(body) in (Response, Error) and body.id == asked.id:
                    break
                if type(body) is Request:
                    await self._keep_early(said, body, write)
            if asked.method in LIFECYCLE and not self._memoir.is_same_server(body):
                raise ConnectionError("the server that came back is another, or of another version")
        self._watch.own.extend(self._memoir.changes())
        self._watch.wake()

    async def _keep_early(self, item: Any, body: Any, write: Any) -> None:
        """Keep what a server asks while it is initialised, or refuse it."""
        if len(self.early) < MAX_EARLY and text_in(body.params, MAX_EARLY_TEXT) <= MAX_EARLY_TEXT:
            self.early.append(item)
        else:
            self._watch.hit(
                "requests_per_second", "too many requests while it was initialised: one was refused"
            )
            await write.send(
                messages.error(body.id, WireError(-32000, "Too many requests, or too large, for now"))
            )
