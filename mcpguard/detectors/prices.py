"""Money, and what calls cost by a list of prices: by tool, and by what an argument says.

Money is counted in micro-units, millionths of a currency's unit, in whole numbers; a price may be finer, and
what it comes to is rounded up. There is no exchange between currencies. Nothing here knows who pays, or what
has been spent.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from mcpguard.core.scope import Matcher, matcher
from mcpguard.core.wire import JSON, JSONObject

__all__ = [
    "MAX_AMOUNT",
    "MICRO",
    "OVER",
    "Money",
    "Price",
    "PriceList",
    "number",
    "pointer",
    "shown",
]

MICRO: Final = 1_000_000
"""Micro-units in one unit of a currency."""

MAX_AMOUNT: Final = 10**15
"""The most of anything that is counted: sums of some of it are exact even in a store's 64-bit floats."""

OVER: Final = MAX_AMOUNT + 1
"""What a call comes to that costs more than any budget may hold."""

MAX_KNOWN: Final = 2048
"""Tools whose price is remembered; a client that makes up names has it looked up anew."""

_MONEY: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,12}))? ([A-Z]{3,12})")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of money, exact to the millionth of a micro-unit.

    Args:
        picos: Millionths of a micro-unit. At least 0.
        currency: Its code, in capitals.
    """

    picos: int
    currency: str

    @classmethod
    def parse(cls, text: str) -> "Money":
        """Read `0.01 USD`: digits, up to 12 decimals, one space, a currency's code of 3 to 12 capitals.

        Raises:
            TypeError: If `text` is not text.
            ValueError: If it is written otherwise, negative, or a thousand million or more.
        """
        if not isinstance(text, str):
            raise TypeError(f"money is text such as '2.00 USD', not {type(text).__name__}")
        match = _MONEY.fullmatch(text)
        if match is None:
            raise ValueError(
                f"money is written like '2.00 USD', from 0 to 999999999 with up to 12 decimals, not {text!r}"
            )
        whole, decimals, currency = match.groups(default="")
        return cls(int(whole + decimals.ljust(12, "0")), currency)

    @property
    def micros(self) -> int:
        """In micro-units, rounded up."""
        return -(-self.picos // MICRO)

    def times(self, units: int | Decimal) -> int:
        """What so many cost, in micro-units, rounded up; at most `OVER`."""
        exact = units if isinstance(units, int) else Fraction(units)
        return min(int(-(-self.picos * exact // MICRO)), OVER)


def shown(micros: int) -> str:
    """Micro-units as people write them: two decimals, or as many as it takes."""
    whole, rest = divmod(micros, MICRO)
    decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{decimals}"


@dataclass(frozen=True, slots=True)
class Price:
    """What a call of some tools costs.

    Args:
        amount: Money for each call, or for each unit of `per_argument`: `0.01 USD`. It may be 0.
        servers: Names or globs of servers. Empty: all.
        tools: Names or globs of tools, as the server calls them. Empty: all.
        per_argument: The argument that says how many units a call takes: a number, or a list, which counts as
            many as it has members. A name, or a JSON pointer into the arguments (`/query/limit`).

    Raises:
        TypeError: If a member has another type.
        ValueError: If `amount` is not money, or a name is empty.
    """

    amount: str
    _: KW_ONLY
    servers: Collection[str] = ()
    tools: Collection[str] = ()
    per_argument: str | None = None
    money: Money = field(init=False, repr=False, compare=False)
    _server: Matcher = field(init=False, repr=False, compare=False)
    _tool: Matcher = field(init=False, repr=False, compare=False)
    _units: Callable[[JSON], JSON] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = self.per_argument
        if given is not None and not isinstance(given, str):
            raise TypeError(f"per_argument is the name of an argument, not {type(given).__name__}")
        if given == "":
            raise ValueError("per_argument is empty; leave it out for a price per call")
        units = None if given is None else pointer(given if given.startswith("/") else f"/{_escaped(given)}")
        for name, value in (
            ("money", Money.parse(self.amount)),
            ("_server", matcher(self.servers or ["*"])),
            ("_tool", matcher(self.tools or ["*"])),
            ("_units", units),
        ):
            object.__setattr__(self, name, value)

    def covers(self, server: str, tool: str) -> bool:
        """Whether it is about calls of `tool`."""
        return self._server(server) and self._tool(tool)

    def cost(self, arguments: JSONObject) -> int | None:
        """What a call costs, in micro-units; None if the arguments do not say how many units it takes."""
        if self._units is None:
            return self.money.micros
        units = _count(self._units(arguments))
        return None if units is None else self.money.times(units)


class PriceList:
    """Prices in one currency; the first that covers a tool is the tool's.

    Args:
        prices: Prices, or a mapping from a tool's name or glob to the money each call costs.
        currency: The code of the one currency.

    Raises:
        TypeError: If it holds something else.
        ValueError: If something is not money, or of another currency.
    """

    def __init__(self, prices: Mapping[str, str] | Sequence[Price], currency: str) -> None:
        if isinstance(prices, Mapping):
            prices = [Price(amount, tools=[tool]) for tool, amount in prices.items()]
        if isinstance(prices, str) or not all(isinstance(price, Price) for price in prices):
            raise TypeError("prices are a list of Price, or a mapping from tools to money")
        for price in prices:
            if price.money.currency != currency:
                raise ValueError(f"a price is in {price.money.currency}, and the budget in {currency}")
        self._prices = tuple(prices)
        self._known: dict[tuple[str, str], Price | None] = {}

    def __len__(self) -> int:
        return len(self._prices)

    def cost(self, server: str, tool: str, arguments: JSONObject) -> int | None:
        """What a call costs, in micro-units; None if no price covers it or its units are unknown."""
        key = (server, tool)
        try:
            price = self._known[key]
        except KeyError:
            price = next((one for one in self._prices if one.covers(server, tool)), None)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = price
        return None if price is None else price.cost(arguments)


def pointer(text: str) -> Callable[[JSON], JSON]:
    """A function that follows a JSON pointer (RFC 6901) into a value, and gives None where it leads nowhere.

    Raises:
        TypeError: If `text` is not text.
        ValueError: If it does not begin with a slash.
    """
    if not isinstance(text, str):
        raise TypeError(f"a JSON pointer is text such as '/usage/tokens', not {type(text).__name__}")
    if not text.startswith("/"):
        raise ValueError(f"a JSON pointer begins with a slash, such as '/usage/tokens'; not {text!r}")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]

    def follow(value: JSON) -> JSON:
        for step in steps:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, Sequence) and not isinstance(value, str) and _INDEX.fullmatch(step):
                value = value[int(step)] if int(step) < len(value) else None
            else:
                return None
        return value

    return follow


_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _count(value: JSON) -> int | Decimal | None:
    """How many units an argument stands for; None if it is not a number of something."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value)
    counted = number(value)
    return None if counted is None or counted < 0 else counted


def number(value: JSON) -> int | Decimal | None:
    """A finite number, exactly as it is written in decimals; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value
    return Decimal(repr(value)) if math.isfinite(value) else None
