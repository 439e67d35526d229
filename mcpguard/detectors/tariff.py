"""What a call takes of a budget: held before it goes out, corrected by its answer.

Whatever is not known is held at its declared maximum, and stays so where no answer tells better. Nothing
here knows who pays, what has been spent, or whether a call was sent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mcpguard.core.call import Call
from mcpguard.core.result import Fate, Result
from mcpguard.core.wire import canonical
from mcpguard.detectors.prices import Money, Price, PriceList
from mcpguard.detectors.usage import Usage, UsageReader

__all__ = ["Expense", "Tariff"]


class Expense(NamedTuple):
    """What one call takes.

    Args:
        cost: Money, in micro-units.
        tokens: Tokens.
        bytes: Bytes.
    """

    cost: int = 0
    tokens: int = 0
    bytes: int = 0


class Tariff:
    """Say what calls take, of the things that are limited.

    Args:
        cost: The most that may be spent, or None if money is not limited; then nothing costs any.
        tokens: The same in tokens.
        bytes: The same in bytes.
        prices: What calls cost.
        usage: Where a result tells what was used.
        max_cost: Money held for a call whose cost is not known beforehand.
        max_tokens: Tokens held for each call.
        max_bytes: Bytes held for each call.

    Raises:
        TypeError: If an option has another type.
        ValueError: If nothing says what calls take, or an option says what nothing limits.
    """

    def __init__(
        self,
        *,
        cost: Money | None,
        tokens: int | None,
        bytes: int | None,
        prices: Mapping[str, str] | Sequence[Price],
        usage: Mapping[str, str] | Callable[[Call, Result], Usage | None] | None,
        max_cost: str | None,
        max_tokens: int | None,
        max_bytes: int | None,
    ) -> None:
        if cost is None and (prices or max_cost is not None):
            raise ValueError("prices and max_cost say what calls cost, which is not limited: give cost")
        currency = "" if cost is None else cost.currency
        most = None if max_cost is None else Money.parse(max_cost)
        if most is not None and most.currency != currency:
            raise ValueError(f"max_cost is in {most.currency}, and the budget in {currency}")
        if cost is not None and not prices and most is None:
            raise ValueError("cost is limited and nothing says what calls cost: give prices or max_cost")
        if usage is not None and cost is None and tokens is None:
            raise ValueError("usage tells cost and tokens, and neither is limited")
        self._prices = None if cost is None else PriceList(prices, currency)
        self._usage = None if usage is None else UsageReader(usage, currency)
        tells = frozenset[str]() if self._usage is None else self._usage.tells
        if tokens is not None and (max_tokens is None or "tokens" not in tells):
            raise ValueError("tokens needs max_tokens, held for each call, and usage, to tell what it took")
        if bytes is not None and max_bytes is None:
            raise ValueError("bytes needs max_bytes, held for each call until its result is there")
        _within(None if most is None else most.micros, None if cost is None else cost.micros, "cost")
        _within(max_tokens, tokens, "tokens")
        _within(max_bytes, bytes, "bytes")
        self._max_cost = None if most is None else most.micros
        self._counts = (cost is not None, tokens is not None, bytes is not None)
        self._most = Expense(self._max_cost or 0, max_tokens or 0, max_bytes or 0)
        is_held_whole = "cost" in tells and most is not None
        self.fixed: Expense | None = self._most if self._prices is None or is_held_whole else None
        """What is held for every call, if it is the same for all."""
        self.is_corrected = usage is not None or bytes is not None
        """Whether an answer may tell better than what was held."""

    def before(self, call: Call) -> Expense | None:
        """What is held for `call`; None if its cost is not known, and not how high it may be."""
        if self._prices is None or self.fixed is not None:
            return self._most
        cost = self._prices.cost(call.server, call.target or "", call.arguments)
        if cost is None:
            cost = self._max_cost
        return None if cost is None else Expense(cost, self._most.tokens, self._most.bytes)

    def after(self, call: Call, result: Result, held: Expense) -> Expense:
        """What `call` has taken.

        Raises:
            Unreadable: If the result tells an amount that is none.
            Exception: What a function that reads usage raises.
        """
        cost, tokens, size = held
        counts_cost, counts_tokens, counts_bytes = self._counts
        if result.fate is not Fate.ANSWERED:
            return held
        if self._usage is not None:
            told_cost, told_tokens = self._usage.read(call, result)
            cost = told_cost if told_cost is not None and counts_cost else cost
            tokens = told_tokens if told_tokens is not None and counts_tokens else tokens
        return Expense(cost, tokens, size_of(result) if counts_bytes else size)


def size_of(result: Result) -> int:
    """Bytes of what a server answered, in canonical JSON."""
    if result.error is not None:
        return len(canonical([result.error.message, result.error.data]))
    return 0 if result.value is None else len(canonical(result.value))


def _within(most: int | None, limit: int | None, what: str) -> None:
    if most is None:
        return
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"max_{what} is a whole number, not {most!r}")
    if limit is None:
        raise ValueError(f"max_{what} is held of {what}, which is not limited: give {what}")
    if not 0 <= most <= limit:
        raise ValueError(f"max_{what} is more than the whole budget, so that no call would be admitted")
