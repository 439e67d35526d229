"""Time, injected: what an interceptor or store may know of it."""

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


class Clock(Protocol):
    """Two readings of time. Both are in seconds."""

    def now(self) -> float:
        """Monotonic seconds, for intervals; the origin means nothing."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, UTC, for records."""
        ...


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM_CLOCK: Clock = SystemClock()
