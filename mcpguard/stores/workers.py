"""Worker threads for one kind of work, so many in each event loop; they keep no other work waiting."""

from typing import Final

import anyio
from anyio.lowlevel import RunVar

__all__ = ["Workers"]


class Workers:
    """Count the threads of one kind of work, by event loop.

    Args:
        kind: What they are for; one object for each kind.
    """

    def __init__(self, kind: str) -> None:
        self._limiter: Final = RunVar[anyio.CapacityLimiter](f"mcpguard_{kind}_workers")

    def limited_to(self, number: int) -> anyio.CapacityLimiter:
        """What limits them in the event loop that runs here; the first who asks there sets their number."""
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(number)
            self._limiter.set(limiter)
            return limiter
