"""What an operator reads of requests that were refused: a line for each code, and seldom.

A client whose token has expired asks again and again, and anybody may ask without one, so lines are counted
rather than written. Nothing of a request is in them. Above: `endpoint`.
"""

import logging
from typing import Final

from mcpguard.core.clock import SYSTEM_CLOCK, Clock

__all__ = ["Refusals"]

_log: Final = logging.getLogger("mcpguard")

QUIET_SECONDS: Final = 10.0
"""Between two lines of one code."""


class Refusals:
    """Log refused requests.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def add(self, code: str) -> None:
        """A request was refused.

        Args:
            code: Why: one of the few that this package has.
        """
        now = self._clock.now()
        told = self._told.get(code)
        if told is not None and now - told < QUIET_SECONDS:
            self._untold[code] = self._untold.get(code, 0) + 1
            return
        self._told[code] = now
        untold = self._untold.pop(code, 0)
        more = f", and {untold} more since the last such line" if untold else ""
        _log.warning("refused a request: %s%s", code, more)
