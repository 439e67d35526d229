"""What a client reads next: messages from the server and answers of the guard's own, in one order.

One message waits at a time; whoever puts the next one waits for its turn, so a server that floods is held
back as it is by a bare stream. Above: `relay` puts, the guarded stream reads.
"""

from collections import OrderedDict, deque
from contextvars import Context
from typing import Any, TypeAlias

import anyio

__all__ = ["Entry", "Inbox"]

Entry: TypeAlias = tuple[Any, Context | None]
"""A stream's item, and the context of whoever sent it, where the transport tells."""


class Inbox:
    """A queue with room for one, whose end is an exception; for one event loop."""

    __slots__ = ("_end", "_entries", "_readers", "_turns")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._turns: OrderedDict[anyio.Event, Entry] = OrderedDict()
        self._readers: set[anyio.Event] = set()
        self._end: Exception | None = None

    async def put(self, item: Any, context: Context | None = None) -> bool:
        """Add an item and wait until there is room for another; False once nobody will read it."""
        if self._end is not None:
            return False
        if not self._entries:
            self._entries.append((item, context))
            self._wake()
            return True
        turn = anyio.Event()
        self._turns[turn] = (item, context)
        try:
            await turn.wait()
        finally:
            self._turns.pop(turn, None)
        return True

    async def get(self) -> Entry:
        """The next item, in the order of `put`.

        Raises:
            Exception: What the inbox ended with, after everything put before has been read.
        """
        while not self._entries:
            if self._end is not None:
                raise self._end.with_traceback(None)
            arrival = anyio.Event()
            self._readers.add(arrival)
            try:
                await arrival.wait()
            finally:
                self._readers.discard(arrival)
        entry = self._entries.popleft()
        if self._turns:
            turn, following = self._turns.popitem(last=False)
            self._entries.append(following)
            turn.set()
        return entry

    def end(self, reason: Exception) -> None:
        """Let readers have what is there, and then `reason`; nothing more is added."""
        if self._end is None:
            self._end = reason
            self._wake()

    def close(self) -> None:
        """Nobody reads any more; whoever waits for room need not."""
        self.end(anyio.ClosedResourceError())
        self._entries.clear()
        for turn in self._turns:
            turn.set()
        self._turns.clear()

    def _wake(self) -> None:
        for arrival in self._readers:
            arrival.set()
