"""What results tell of the usage of a call: its cost and its tokens.

It is the server's own claim, or what a function makes of it. What is no plausible amount is refused, so that
no NaN and no absurd figure is ever counted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final, cast

from mcpguard.core.call import Call
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON
from mcpguard.detectors.prices import MAX_AMOUNT, MICRO, Money, number, pointer

__all__ = ["Unreadable", "Usage", "UsageReader"]

TOLD: Final = ("cost", "tokens")
"""What a result may tell of its usage."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call has really used, as far as its result tells.

    Args:
        cost: Money (`0.0031 USD`), or a number in the units of the budget's currency. None: not told.
        tokens: Tokens. None: not told.
    """

    _: KW_ONLY
    cost: str | float | None = None
    tokens: int | None = None


class Unreadable(ValueError):  # noqa: N818 - it says what usage is
    """A result tells an amount that is none. Holds no value."""


class UsageReader:
    """Read usage from results, and count it.

    Args:
        usage: Where a result tells `cost` and `tokens`: JSON pointers into it; or a function that says.
        currency: The code of the one currency.

    Raises:
        TypeError: If `usage` is neither.
        ValueError: If it names something else than `cost` and `tokens`, or a pointer is none.
    """

    def __init__(
        self, usage: Mapping[str, str] | Callable[[Call, Result], Usage | None], currency: str
    ) -> None:
        self._currency = currency
        self._ask: Callable[[Call, Result], Usage | None] | None = None
        self._pointers: Mapping[str, Callable[[JSON], JSON]] = {}
        self.tells = frozenset(TOLD)
        if isinstance(usage, Mapping):
            paths = cast("Mapping[str, str]", cast("object", usage))
            self.tells = frozenset(paths)
            if not self.tells or not self.tells <= set(TOLD):
                raise ValueError(f"usage says where a result tells {' or '.join(TOLD)}, and nothing else")
            self._pointers = {name: pointer(path) for name, path in paths.items()}
        elif callable(usage):
            self._ask = usage
        else:
            raise TypeError(f"usage is a mapping or a function, not {type(usage).__name__}")

    def read(self, call: Call, result: Result) -> tuple[int | None, int | None]:
        """Micro-units and tokens that `result` tells; None for what it does not tell.

        Raises:
            Unreadable: If it tells no plausible amount.
            Exception: What the function raises.
        """
        told: dict[str, JSON] = {name: find(result.value) for name, find in self._pointers.items()}
        if self._ask is not None:
            said = self._ask(call, result)
            if isinstance(said, Usage):
                told = {"cost": said.cost, "tokens": said.tokens}
            elif said is not None:
                raise Unreadable(f"usage returned {type(said).__name__}, not Usage")
        cost = told.get("cost")
        micros = _money_told(cost, self._currency) if isinstance(cost, str) else _told(cost, "cost", MICRO)
        return micros, _told(told.get("tokens"), "number of tokens", 1)


def _told(value: JSON, what: str, times: int) -> int | None:
    if value is None:
        return None
    amount = number(value)
    if amount is None or amount < 0:
        raise Unreadable(f"a {what} that is not a number from 0")
    counted = math.ceil(amount * times)
    if counted > MAX_AMOUNT:
        raise Unreadable(f"a {what} beyond all measure")
    return counted


def _money_told(text: str, currency: str) -> int:
    try:
        money = Money.parse(text)
    except ValueError:
        raise Unreadable("a cost that is not money") from None
    if money.currency != currency:
        raise Unreadable("a cost in another currency")
    return money.micros
