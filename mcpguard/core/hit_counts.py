"""How often each server's connections have hit each of their limits, for `status()`.

Counts outlive the connections, which a server can end itself. Above: `Handle`, which the seams have.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

__all__ = ["HitCounts"]

MAX_SERVERS: Final = 1024
"""Servers that are counted for; the one that has hit nothing for longest makes room."""


class HitCounts:
    """Counts by server and limit. Limits have names of ours, so there are never many."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = Lock()

    def add(self, server: str, limit: str) -> None:
        """A connection to `server` has hit `limit`."""
        with self._lock:
            counts = self._counts.setdefault(server, {})
            counts[limit] = counts.get(limit, 0) + 1
            self._counts.move_to_end(server)
            if len(self._counts) > MAX_SERVERS:
                self._counts.popitem(last=False)

    def by_server(self) -> dict[str, dict[str, int]]:
        """How often each server that has hit any limit has hit which."""
        with self._lock:
            return {server: dict(counts) for server, counts in self._counts.items()}
