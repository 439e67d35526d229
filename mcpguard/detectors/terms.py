"""The terms of a budget: how much of what, for whom and over what time, in numbers and in words.

What has been used, and by whom, is not known here. No sentence holds an argument or a result.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from mcpguard.core.verdict import Deny
from mcpguard.core.wire import JSON
from mcpguard.detectors.payers import PER, Per
from mcpguard.detectors.periods import Calendar, Every
from mcpguard.detectors.prices import MAX_AMOUNT, Money, shown

__all__ = ["COST_UNKNOWN", "EXHAUSTED", "NO_PRINCIPAL", "NO_RUN", "Terms"]

DEFAULT_CALLS: Final = 200
"""Calls a budget admits that limits nothing: more than an honest task makes, less than a stuck one."""

EXHAUSTED: Final = "budget_exhausted"
"""The code of a call that there is not enough left for."""

NO_RUN: Final = Deny(
    "no_run",
    reason="no run is bound to this call, so there is no budget to charge it to",
    message="Tools can only be called as part of a task, and none is open. Do not repeat this call.",
)
NO_PRINCIPAL: Final = Deny(
    "no_principal",
    reason="the budget depends on who calls, and nobody said",
    message="Tools can only be called on somebody's behalf, and nobody is known. Do not repeat this call.",
)
COST_UNKNOWN: Final = Deny(
    "cost_unknown",
    reason="no price says what this call costs, and no max_cost what it costs at most",
    message="What this call costs is not known beforehand, so it was refused. Do not repeat it unchanged.",
)

_WORDS: Final = {"calls": "tool calls", "cost": "money", "tokens": "tokens", "bytes": "bytes"}


class Terms:
    """What a budget allows.

    Args:
        per: What has the budget.
        calls: Tool calls. None: not limited.
        cost: Money. None: not limited.
        tokens: Tokens. None: not limited.
        bytes: Bytes. None: not limited.
        within: Seconds of a rolling window, or None.
        every: The calendar period, or None.
        timezone: IANA name of the zone whose calendar counts; None for UTC.
        warn_at: Share of each limit from which it is worth a warning; None for never.

    Raises:
        TypeError: If an option has another type.
        ValueError: If it is out of range, or two contradict each other.
    """

    def __init__(
        self,
        per: Per,
        *,
        calls: int | None,
        cost: str | None,
        tokens: int | None,
        bytes: int | None,
        within: float | None,
        every: Every | None,
        timezone: str | None,
        warn_at: float | None,
    ) -> None:
        if per not in PER:
            raise ValueError(f"per is one of {', '.join(PER)}, not {per!r}")
        if within is not None and every is not None:
            raise ValueError("a budget is rolling (within) or of the calendar (every), not both")
        if timezone is not None and every is None:
            raise ValueError("timezone says whose calendar counts, and without every none does")
        if cost is None and calls is None and tokens is None and bytes is None:
            calls = DEFAULT_CALLS
        self.per: Per = per
        self.money = None if cost is None else _exact(Money.parse(cost))
        micros = None if self.money is None else self.money.micros
        given = {"calls": calls, "cost": micros, "tokens": tokens, "bytes": bytes}
        self.limits: Mapping[str, int] = {
            what: _limit(limit, what) for what, limit in given.items() if limit is not None
        }
        self.within = None if within is None else _positive(within, "within")
        self.calendar = None if every is None else Calendar(every, "UTC" if timezone is None else timezone)
        share = None if warn_at is None else _positive(warn_at, "warn_at")
        if share is not None and share > 1:
            raise ValueError(f"warn_at is a share, more than 0 and at most 1; not {warn_at!r}")
        self.unwarned: Mapping[str, int] = {
            what: limit if share is None else _share(limit, share) - 1 for what, limit in self.limits.items()
        }
        """How much of each thing may be used without a warning."""

    def plain(self, what: str, amount: int) -> JSON:
        """An amount for a status: money as text, all else as a number."""
        return amount if what != "cost" or self.money is None else f"{shown(amount)} {self.money.currency}"

    def portion(self, what: str, part: int) -> str:
        """`2 of 10 tool calls`, `0.40 of 2.00 USD`."""
        limit = self.limits[what]
        if what == "cost" and self.money is not None:
            return f"{shown(part)} of {shown(limit)} {self.money.currency}"
        return f"{part} of {limit} {_WORDS[what]}"

    def left(self, used: Mapping[str, int]) -> str:
        """The line that tells a model what is left."""
        left = {what: max(limit - used[what], 0) for what, limit in self.limits.items()}
        return f"[Left for this {self._whose}: {', '.join(self.portion(*one) for one in left.items())}.]"

    def refused(self, label: str, what: str, *, used: int, taken: int, wait: float | None) -> Deny:
        """Why a call is refused.

        Args:
            label: Which account has not enough left.
            what: Of what.
            used: What has been used of it.
            taken: What the call would take.
            wait: Seconds until there is more; None for never, or nobody knows.
        """
        limit = self.limits[what]
        reason = f"{label} has used {self._used(what, used)}"
        budget = f"This {self._whose}'s budget of {_WORDS[what]}"
        if taken > limit:
            message = f"{budget} is too small for this call, even if nothing else is done. Ask for less."
            return Deny(
                EXHAUSTED, reason=f"{reason}, and this call takes more than all of it", message=message
            )
        state = "used up" if used >= limit else "nearly used up, and what is left is too little for this call"
        ending = "further calls will be refused." if wait is None else f"there is more in {wait:.0f} seconds."
        message = f"{budget} is {state}. Finish with what you have and say what is missing; {ending}"
        return Deny(EXHAUSTED, reason=reason, message=message, retry_after=wait)

    def warning(self, label: str, what: str, used: int) -> str:
        """That an account has little left."""
        return f"{label} has used {self._used(what, used)}"

    @property
    def _whose(self) -> str:
        return "task" if self.per == "run" else self.per

    def _used(self, what: str, used: int) -> str:
        return self.portion(what, used).replace(" of ", " of its ", 1)


def _limit(value: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{what} is at least 1, not {value}; `access` forbids tools altogether")
    if value > MAX_AMOUNT:
        raise ValueError(f"{what} is at most {MAX_AMOUNT}, not {value}")
    return value


def _exact(money: Money) -> Money:
    if money.picos % 1_000_000:
        raise ValueError("a budget of money is exact to six decimals")
    if not money.picos:
        raise ValueError("cost is more than 0; `access` forbids tools altogether")
    return money


def _positive(value: float, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{what} is a number, not {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is more than 0 and finite, not {value!r}")
    return float(value)


def _share(limit: int, share: float) -> int:
    """The share as it is written in decimals, rounded up."""
    return math.ceil(limit * Fraction(str(share)))
