"""A retry budget: what bounds the calls that retries add when a server is in trouble.

A bucket of tokens that failures empty and successes fill; when it is empty nothing is repeated. The amounts
are those of the AWS SDKs' standard retry mode. No clock, no locks.
"""

from typing import Final

__all__ = ["RetryTokens"]

CAPACITY: Final = 100
TRANSIENT: Final = 10
"""Tokens a repeated call takes after a failure."""
THROTTLE: Final = 5
"""Tokens it takes after the server asked for less."""


class RetryTokens:
    """One server's bucket."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = CAPACITY

    def take(self, *, is_throttled: bool) -> int:
        """Tokens for one more attempt, or 0 if there are not enough."""
        wanted = THROTTLE if is_throttled else TRANSIENT
        if wanted > self.left:
            return 0
        self.left -= wanted
        return wanted

    def give(self, tokens: int) -> None:
        """Put tokens back: what an attempt that succeeded had taken, or 1 for a call that needed none."""
        self.left = min(CAPACITY, self.left + tokens)
