"""What has been used of one account: sums, and the slices of a rolling window.

No lock, no clock and no I/O: the stores have them.
"""

from array import array
from collections.abc import Sequence
from typing import Final

from mcpguard.stores.store import MAX_AMOUNT, MEMBERS, SLICES, Account, Amounts, Limits

__all__ = ["Total"]

_LENGTH: Final = 1 + len(MEMBERS)


class Total:
    """What has been used of one account; of a rolling window, by its slices.

    Args:
        account: Whose it is; None for one of which nothing is used, and which never ends.
    """

    __slots__ = ("_slices", "ahead", "bytes", "calls", "cost", "ends_at", "latest", "tokens", "window")

    def __init__(self, account: Account | None) -> None:
        self.window = None if account is None else account.window
        self.ends_at = None if account is None else account.ends_at
        self.calls = self.cost = self.tokens = self.bytes = 0
        self.latest = self.ahead = 0
        self._slices: dict[int, list[int]] = {}

    def amounts(self) -> Amounts:
        """What has been used, as of the last `slide`."""
        return Amounts(calls=self.calls, cost=self.cost, tokens=self.tokens, bytes=self.bytes)

    def sums(self) -> tuple[int, int, int, int]:
        """What has been used, in the order of `MEMBERS`."""
        return self.calls, self.cost, self.tokens, self.bytes

    def short_of(self, limits: Limits, amounts: Amounts) -> str | None:
        """Which limit `amounts` would exceed."""
        most = limits.calls
        if most is not None and self.calls + amounts.calls > most:
            return "calls"
        most = limits.cost
        if most is not None and self.cost + amounts.cost > most:
            return "cost"
        most = limits.tokens
        if most is not None and self.tokens + amounts.tokens > most:
            return "tokens"
        most = limits.bytes
        if most is not None and self.bytes + amounts.bytes > most:
            return "bytes"
        return None

    def slide(self, now: float) -> None:
        """Forget the slices that have left the window.

        A clock that is put back by no more than a window is waited for; one that is put back further is
        followed, and what was used begins its way through the window where it was.
        """
        if self.window is None:
            return
        index = int(now * SLICES // self.window) + self.ahead
        if index < self.latest - SLICES:
            self.ahead += self.latest - index
        self.latest = max(self.latest, index)
        for index in [one for one in self._slices if one < self.latest - SLICES]:
            self._count([-amount for amount in self._slices.pop(index)])

    def roll(self, window: float | None, now: float) -> None:
        """Go on with another window; all that counts now counts as used just now."""
        self.slide(now)
        self.window, self._slices, self.latest, self.ahead = window, {}, 0, 0
        if window is not None:
            self.slide(now)
            self._note(self.latest, [self.calls, self.cost, self.tokens, self.bytes])

    def add(self, amounts: Amounts) -> None:
        """Count what is taken."""
        self.calls += amounts.calls
        self.cost += amounts.cost
        self.tokens += amounts.tokens
        self.bytes += amounts.bytes
        if self.window is not None:
            self._note(self.latest, [amounts.calls, amounts.cost, amounts.tokens, amounts.bytes])

    def correct(self, taken: Amounts, used: Amounts, taken_in: int) -> None:
        """Count `used` in place of what was `taken` in a slice, which may have left the window by now."""
        extra = [
            used.calls - taken.calls,
            used.cost - taken.cost,
            used.tokens - taken.tokens,
            used.bytes - taken.bytes,
        ]
        if self.window is None:
            self._count(extra)
            return
        less, more = [min(0, one) for one in extra], [max(0, one) for one in extra]
        if taken_in in self._slices:
            less = [max(one, -there) for one, there in zip(less, self._slices[taken_in], strict=True)]
            self._count(less)
            self._note(taken_in, less)
        self._count(more)
        self._note(self.latest, more)

    def refills_in(self, limits: Limits, amounts: Amounts, short: str, now: float) -> float | None:
        """Seconds until enough has left the window; None if that never happens."""
        window = self.window
        most, wanted = getattr(limits, short), getattr(amounts, short)
        if window is None or wanted > most:
            return None
        over = getattr(self, short) + wanted - most
        member = MEMBERS.index(short)
        for index in sorted(self._slices):
            over -= self._slices[index][member]
            if over <= 0:
                return max(0.0, (index - self.ahead + SLICES + 1) * window / SLICES - now)
        return None

    def is_over(self, now: float, time: float) -> bool:
        """Whether nothing depends on it any more."""
        if self.ends_at is not None:
            return self.ends_at <= time
        if self.window is None:
            return False
        self.slide(now)
        return not self._slices

    def dump(self) -> bytes:
        """The slices, for a file."""
        flat = array("q")
        for index, amounts in self._slices.items():
            flat.append(index)
            flat.extend([min(amount, MAX_AMOUNT) for amount in amounts])
        return flat.tobytes()

    def restore(self, slices: bytes) -> None:
        """Have the slices that `dump` gave.

        Raises:
            ValueError: If it gave something else.
        """
        flat = array("q", slices)
        if len(flat) % _LENGTH:
            raise ValueError("these are no slices")
        for place in range(0, len(flat), _LENGTH):
            index, *amounts = flat[place : place + _LENGTH]
            self._slices[index] = amounts

    def _count(self, extra: Sequence[int]) -> None:
        self.calls += extra[0]
        self.cost += extra[1]
        self.tokens += extra[2]
        self.bytes += extra[3]

    def _note(self, index: int, extra: Sequence[int]) -> None:
        known = self._slices.setdefault(index, [0, 0, 0, 0])
        for member, amount in enumerate(extra):
            known[member] += amount
