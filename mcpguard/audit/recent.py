"""The entries a server has taken and may still lose in a crash. A state machine; it writes nothing itself.

Above: `postgres`, whose server answers before its disk has a batch where nobody asked for that.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from mcpguard.audit.stream import Entry

__all__ = ["Head", "Recent"]

Head = tuple[int, bytes]
"""Position and hash of a trail's last record."""

MAX_BYTES: Final = 32 * 2**20
"""What is held at most; a server that loses more than that is not gone on with."""


class Recent:
    """What was kept in the last `seconds`, to be kept again.

    Args:
        head: Where the trail stands.
        seconds: After that an entry is safe.
    """

    def __init__(self, head: Head, *, seconds: float) -> None:
        self.head = head
        self._floor = head
        self._seconds = seconds
        self._held: deque[tuple[float, Entry]] = deque()
        self._bytes = 0

    def add(self, entries: Sequence[Entry], now: float) -> None:
        """Entries that were kept at `now`, in monotonic seconds."""
        for entry in entries:
            self._held.append((now, entry))
            self._bytes += _size(entry)
        self.head = (entries[-1].seq, entries[-1].hashed)
        while self._held and (self._held[0][0] <= now - self._seconds or self._bytes > MAX_BYTES):
            _, safe = self._held.popleft()
            self._bytes -= _size(safe)
            self._floor = (safe.seq, safe.hashed)

    def after(self, head: Head) -> list[Entry] | None:
        """What a server that stands at `head` has lost; None if it has never stood there."""
        entries = [entry for _, entry in self._held]
        if head == self._floor:
            return entries
        for number, entry in enumerate(entries, start=1):
            if head == (entry.seq, entry.hashed):
                return entries[number:]
        return None


def _size(entry: Entry) -> int:
    return len(entry.body) + len(entry.payload or b"")
