"""A clock that stands still until a test moves it."""

import math
import threading

__all__ = ["FakeClock"]


class FakeClock:
    """Tell the time that the test has made; usable from any thread.

    Args:
        epoch: What `time()` says at first, in seconds since 1970, UTC. Setting the attribute `epoch` later is
            the wall clock being put forward or back: `time()` follows, `now()` does not.

    Raises:
        ValueError: If `epoch` is not a finite number.
    """

    def __init__(self, *, epoch: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._passed = 0.0
        self.epoch = epoch

    @property
    def epoch(self) -> float:
        """What `time()` said before the first `advance`, by the wall clock as it is set now."""
        return self._epoch

    @epoch.setter
    def epoch(self, seconds: float) -> None:
        self._epoch = _finite(seconds, "epoch")

    def now(self) -> float:
        """Seconds advanced so far."""
        return self._passed

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return self._epoch + self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass. Nothing is woken: a clock is read, not waited for.

        Raises:
            ValueError: If `seconds` is negative or not a finite number: monotonic time does not go back.
        """
        if _finite(seconds, "advance") < 0:
            raise ValueError(f"advance takes seconds, 0 or more, not {seconds!r}; set `epoch` to go back")
        with self._lock:
            self._passed += seconds

    def __repr__(self) -> str:
        return f"FakeClock(now={self.now()!r}, time={self.time()!r})"


def _finite(seconds: float, what: str) -> float:
    if not math.isfinite(seconds):
        raise ValueError(f"{what} takes a finite number of seconds, not {seconds!r}")
    return seconds
