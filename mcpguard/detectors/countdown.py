"""Time that runs down, and stands still while anybody has stopped it.

Whoever has one tells it the time, in seconds of one clock; nothing is ended here. No lock.
"""

from math import inf

__all__ = ["Countdown"]


class Countdown:
    """So many seconds, from now on.

    Args:
        seconds: What there is at first.
        now: The time.
        max_pause: Seconds it may stand still in all, while whoever stopped it does not say to go on.
    """

    __slots__ = ("_ends_at", "_pause_left", "_since", "_stops")

    def __init__(self, seconds: float, now: float, *, max_pause: float = inf) -> None:
        self._ends_at = now + seconds
        self._pause_left = max_pause
        self._since = now
        self._stops = 0

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has stopped it who did not say to go on."""
        return self._stops > 0

    @property
    def ends_at(self) -> float:
        """When nothing is left, if nobody stops it or says to go on before."""
        return self._ends_at + self._pause_left if self._stops else self._ends_at

    def rest(self, now: float) -> float:
        """Seconds that are left; 0 or less: none."""
        return self._ends_at + self._paused(now) - now

    def stop(self, now: float) -> None:
        """Stand still until everybody who did this has said to go on."""
        if not self._stops:
            self._since = now
        self._stops += 1

    def go_on(self, now: float) -> None:
        """Run down again, unless somebody else has stopped it."""
        if self._stops == 1:
            paused = self._paused(now)
            self._ends_at += paused
            self._pause_left -= paused
        self._stops -= 1

    def _paused(self, now: float) -> float:
        return min(max(now - self._since, 0.0), self._pause_left) if self._stops else 0.0
