"""What a client reads next: messages from the server and answers of the guard's own, in one order.

The server's messages have room for one: whoever brings the next waits for its turn, so that a server that
floods is held back as it is by a bare stream. Above: `relay` fills it, the guarded stream reads it.
"""

from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

__all__ = ["Inbox", "give_way"]

_Entry: TypeAlias = tuple[Any, Context | None, anyio.Event | None]
"""An item, the context of whoever sent it where the transport tells, and who waits for its turn."""


class Inbox:
    """A queue whose end is an exception; for one event loop."""

    __slots__ = ("_arrival", "_end", "_entries")

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._end: Exception | None = None
        self._arrival: anyio.Event | None = None
        """What readers wait for, while any do."""

    async def put(self, item: Any, context: Context | None = None) -> None:
        """Add an item, and wait until it is the next; once the inbox has ended, do nothing."""
        if not self._entries or self._end is not None:
            self._add((item, context, None))
            return
        turn = anyio.Event()
        entry = (item, context, turn)
        self._add(entry)
        try:
            await turn.wait()
        except BaseException:
            with suppress(ValueError):
                self._entries.remove(entry)
            raise

    def push(self, item: Any) -> None:
        """Add an item without waiting; once the inbox has ended, do nothing."""
        self._add((item, None, None))

    async def get(self) -> tuple[Any, Context | None]:
        """The next item.

        Raises:
            Exception: What the inbox ended with, after everything added before has been read.
        """
        if self._entries:
            await give_way()  # to what the item before has started
        while not self._entries:
            if self._end is not None:
                raise self._end.with_traceback(None)
            if self._arrival is None:
                self._arrival = anyio.Event()
            await self._arrival.wait()
        item, context, _ = self._entries.popleft()
        self._let_next()
        return item, context

    def end(self, reason: Exception) -> None:
        """Let readers have what is there, and then `reason`."""
        if self._end is None:
            self._end = reason
            self._wake()

    def close(self) -> None:
        """Nobody reads any more: whoever waits for a turn need not."""
        self.end(anyio.ClosedResourceError())
        while self._entries:
            self._let_next()
            self._entries.popleft()

    def _add(self, entry: _Entry) -> None:
        if self._end is None:
            self._entries.append(entry)
            self._wake()

    def _let_next(self) -> None:
        turn = self._entries[0][2] if self._entries else None
        if turn is not None:
            turn.set()

    def _wake(self) -> None:
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None


async def give_way() -> None:
    """Let tasks that were woken or started go on until they wait, so that what follows stays behind them.

    Twice, because trio runs what is ready in any order.
    """
    await checkpoint()
    await checkpoint()
