"""How limits that are hit become events: the first of each at once, the following ones counted.

A server that floods must not flood the record. The names of limits are ours, so there are never many. All are
counted in the handle. Above: the seams, which make one for every connection.
"""

from typing import Final

from mcpguard.core.linked import Handle

__all__ = ["Hits"]

PAUSE: Final = 1.0
"""Seconds between two events about the same limit."""


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
        self._held: dict[str, tuple[float, int]] = {}

    def tell(self, limit: str, reason: str, now: float) -> None:
        """The limit called `limit` was hit, at `now`, in seconds of any steady clock."""
        self._handle.hits.add(self._server, limit)
        last, held = self._held.get(limit, (-PAUSE, 0))
        if now - last < PAUSE and limit in self._held:
            self._held[limit] = (last, held + 1)
            return
        self._held[limit] = (now, 0)
        more = f" ({held} times more since the last such event)" if held else ""
        self._handle.linked.emitter.about_state(
            interceptor="connection",
            mode=None,
            state=limit,
            reason=reason + more,
            server=self._server,
            target=None,
            tenant=None,
        )
