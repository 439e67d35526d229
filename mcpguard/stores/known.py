"""What this process last saw of accounts that are kept outside it: what `look` and `peek` answer from.

No I/O and no lock: one dictionary, whose single operations are atomic. What others did since is not in it.
"""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from mcpguard.core.clock import Clock
from mcpguard.stores.store import MEMBERS, Account, Amounts, Limits, Refusal

__all__ = ["Known", "Sums", "sums"]

Sums: TypeAlias = tuple[int, int, int, int]
"""What has been used, in the order of `MEMBERS`."""

FRESH: Final = 1.0
"""Seconds for which what was seen speaks against a call; later it is asked for anew."""

MAX_KNOWN: Final = 4096
"""Accounts that are remembered before all are forgotten."""


class Known:
    """Remember what was seen last.

    Args:
        clock: Time, to know how old it is.
    """

    __slots__ = ("_clock", "_seen")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[Sums, float, float | None]] = {}

    def note(self, key: str, used: Sums, refills_in: float | None = None) -> None:
        """Remember what has been used of an account, and when there is more of it, if it refused."""
        if len(self._seen) >= MAX_KNOWN:
            self._seen.clear()
        now = self._clock.now()
        self._seen[key] = (used, now, None if refills_in is None else now + refills_in)

    def drop(self, key: str) -> None:
        """Forget an account."""
        self._seen.pop(key, None)

    def used(self, key: str) -> Amounts:
        """What had been used when it was last seen."""
        seen = self._seen.get(key)
        return _NOTHING if seen is None else amounts_of(seen[0])

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why a reserve would have been refused just now.

        Of a rolling window only the store knows when there is more: until it has said so, it is asked.
        """
        now = self._clock.now()
        for account in accounts:
            used, at, refills_at = self._seen.get(account.key, _NEVER)
            if now - at > FRESH:
                continue
            short = short_of(used, account.limits, amounts)
            if short is None:
                continue
            refills_in = None if refills_at is None else max(0.0, refills_at - now)
            if refills_in is None and account.window is not None and getattr(amounts, short):
                continue
            if refills_in is None and account.ends_at is not None:
                refills_in = max(0.0, account.ends_at - self._clock.time())
            return Refusal(account, amounts_of(used), short, refills_in)
        return None


def sums(amounts: Amounts) -> Sums:
    """The members of `amounts`, in order."""
    return amounts.calls, amounts.cost, amounts.tokens, amounts.bytes


def amounts_of(used: Sums) -> Amounts:
    """Sums as amounts."""
    return Amounts(calls=used[0], cost=used[1], tokens=used[2], bytes=used[3])


def short_of(used: Sums, limits: Limits, amounts: Amounts) -> str | None:
    """Which limit would be exceeded."""
    for what, already in zip(MEMBERS, used, strict=True):
        most: int | None = getattr(limits, what)
        if most is not None and already + getattr(amounts, what) > most:
            return what
    return None


_NOTHING: Final = Amounts()
_NEVER: Final = ((0, 0, 0, 0), -math.inf, None)
