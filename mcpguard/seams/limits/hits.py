"""How limits that are hit become events: the first of each at once, the following ones counted.

A server that floods must not flood the record. What is counted apart has names of ours, so there are never
many. All are counted in the handle. Above: the seams, which make one for every connection.
"""

from dataclasses import dataclass
from typing import Final

from mcpguard.core.linked import Handle

__all__ = ["Hits"]

PAUSE: Final = 1.0
"""Seconds between two events about the same."""


@dataclass(slots=True)
class _Held:
    """What has been told of one limit, and what has not."""

    told_at: float
    reason: str
    more: int = 0


class Hits:
    """Reports the limits that one connection hits.

    Args:
        handle: The guard.
        server: What the user calls the server.
    """

    __slots__ = ("_handle", "_held", "_server")

    def __init__(self, handle: Handle, server: str) -> None:
        self._handle = handle
        self._server = server
        self._held: dict[tuple[str, str], _Held] = {}

    def tell(self, limit: str, reason: str, now: float, kind: str = "") -> None:
        """The limit called `limit` was hit, at `now`, in seconds of any steady clock.

        Args:
            kind: What is counted apart under this limit; one of few.
        """
        self._handle.hits.add(self._server, limit)
        held = self._held.get((limit, kind))
        if held is None:
            self._held[limit, kind] = _Held(now, reason)
            self._emit(limit, reason, 0)
            return
        held.reason = reason
        if now - held.told_at < PAUSE:
            held.more += 1
            return
        self._emit(limit, reason, held.more)
        held.told_at, held.more = now, 0

    def flush(self) -> None:
        """Tell what was only counted: the connection is at its end."""
        for (limit, _), held in self._held.items():
            if held.more:
                self._emit(limit, held.reason, held.more - 1)
                held.more = 0

    def _emit(self, limit: str, reason: str, more: int) -> None:
        self._handle.linked.emitter.about_state(
            interceptor="connection",
            mode=None,
            state=limit,
            reason=f"{reason} ({more} times more since the last such event)" if more else reason,
            server=self._server,
            target=None,
            tenant=None,
        )
