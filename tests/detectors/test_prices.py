"""Money and prices: exact, rounded up, in one currency; what is no amount is none."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.prices import MAX_AMOUNT, OVER, Money, Price, PriceList, pointer, shown


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2.00 USD", 2_000_000),
        ("2 USD", 2_000_000),
        ("0 USD", 0),
        ("0.000001 USD", 1),
        ("0.0000001 USD", 1),
        ("0.000000000001 USD", 1),
        ("1.0000011 USD", 1_000_002),
        ("999999999 USD", 999_999_999_000_000),
        ("0012.50 USD", 12_500_000),
    ],
)
def test_money_is_counted_in_micro_units_rounded_up(text: str, micros: int) -> None:
    """Rounding down would let a million small calls through for nothing."""
    money = Money.parse(text)
    assert (money.micros, money.currency) == (micros, "USD")


@pytest.mark.parametrize(
    "text",
    [
        "-1 USD",
        "+1 USD",
        "1e3 USD",
        "NaN USD",
        "inf USD",
        "1,000 USD",
        "1_000 USD",
        ".5 USD",
        "5. USD",
        "1000000000 USD",
        "0.0000000000001 USD",
        "1",
        "USD",
        "USD 1",
        "1USD",
        "1  USD",
        "1 usd",
        "1 $",
        "1 US",
        " 1 USD",
        "1 USD\n",
        "\u0661 USD",
        "1 \uff35\uff33\uff24",
        "",
    ],
)
def test_what_is_no_money_is_refused(text: str) -> None:
    """Negative, huge, too fine, and everything that a reader might take for something else."""
    with pytest.raises(ValueError, match="money is written like"):
        Money.parse(text)


@pytest.mark.parametrize("value", [1, 0.5, None, True, b"1 USD"])
def test_money_is_text(value: Any) -> None:
    """A number says no currency."""
    with pytest.raises(TypeError, match="money is text"):
        Money.parse(value)


@given(st.integers(0, MAX_AMOUNT))
def test_what_is_shown_is_read_again_as_the_same(micros: int) -> None:
    """Two decimals, or as many as it takes."""
    if micros < 10**15:
        assert Money.parse(f"{shown(micros)} USD").micros == micros


@given(st.integers(0, 10**21), st.one_of(st.integers(0, 10**18), st.decimals(0, 10**6, places=15)))
def test_many_units_cost_no_less_than_they_should(picos: int, units: int | Decimal) -> None:
    """And less than one micro-unit more."""
    cost = Money(picos, "USD").times(units)
    exact = picos * Fraction(units) / 1_000_000
    assert exact <= cost < exact + 1 or cost == OVER < exact


def cost(
    price: Price | dict[str, str], arguments: Any = None, tool: str = "crawl", server: str = "web"
) -> int | None:
    """What a call costs by one price."""
    prices = price if isinstance(price, dict) else [price]
    return PriceList(prices, "USD").cost(server, tool, arguments or {})


def test_a_call_costs_what_its_tool_does() -> None:
    """Names and globs, the first that covers it."""
    prices = {"crawl_fast": "0.10 USD", "crawl*": "0.05 USD", "*": "0 USD"}
    assert cost(prices, tool="crawl_fast") == 100_000
    assert cost(prices, tool="crawl_slow") == 50_000
    assert cost(prices, tool="read") == 0
    assert cost({"crawl*": "1 USD"}, tool="read") is None


def test_a_price_may_be_one_servers() -> None:
    """Two servers may call their tools the same."""
    prices = PriceList(
        [Price("1 USD", servers=["web"], tools=["search"]), Price("2 USD", tools=["search"])], "USD"
    )
    assert [prices.cost(server, "search", {}) for server in ("web", "git")] == [1_000_000, 2_000_000]
    assert prices.cost("web", "read", {}) is None


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (0, 0),
        (1, 1_000),
        (7, 7_000),
        (0.5, 500),
        (0.0001, 1),
        (2.0, 2_000),
        (["a", "b", "c"], 3_000),
        ((), 0),
        (10**30, OVER),
        (1e300, OVER),
    ],
)
def test_an_argument_says_how_many_units_a_call_takes(value: Any, micros: int) -> None:
    """A number, or a list; more than any budget holds stays more."""
    assert cost(Price("0.001 USD", per_argument="pages"), {"pages": value}) == micros


@pytest.mark.parametrize(
    "value", [-1, -0.5, float("nan"), float("inf"), float("-inf"), True, None, "7", "", {"n": 7}]
)
def test_an_argument_that_is_no_number_makes_the_cost_unknown(value: Any) -> None:
    """Unknown is not free: whoever asks decides what is held."""
    assert cost(Price("0.001 USD", per_argument="pages"), {"pages": value}) is None
    assert cost(Price("0.001 USD", per_argument="pages"), {}) is None


def test_an_argument_may_lie_deeper() -> None:
    """RFC 6901; a plain name with a slash in it is a name."""
    arguments = {"query": {"limits": [3, 5]}, "a/b~c": 2}
    assert cost(Price("1 USD", per_argument="/query/limits/1"), arguments) == 5_000_000
    assert cost(Price("1 USD", per_argument="/query/limits"), arguments) == 2_000_000
    assert cost(Price("1 USD", per_argument="/query/limits/2"), arguments) is None
    assert cost(Price("1 USD", per_argument="a/b~c"), arguments) == 2_000_000


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a/0", 1),
        ("/a/1/b", None),
        ("/a/01", None),
        ("/a/-", None),
        ("/a/99999999999", None),
        ("/x~1y", 2),
        ("/m~0n", 3),
        ("/", 4),
        ("/text/0", None),
        ("/no/way", None),
    ],
)
def test_a_pointer_leads_where_it_says_or_nowhere(path: str, found: Any) -> None:
    """RFC 6901, the array index without leading zeros."""
    assert pointer(path)({"a": [1, None], "x/y": 2, "m~n": 3, "": 4, "text": "abc"}) == found


def test_made_up_names_do_not_fill_the_memory() -> None:
    """Names of tools come from a model."""
    prices = PriceList({"*": "1 USD"}, "USD")
    assert {prices.cost("web", f"tool-{number}", {}) for number in range(10_000)} == {1_000_000}
    assert len(prices._known) <= 2048


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: PriceList({"a": "1 EUR"}, "USD"), ValueError, "a price is in EUR, and the budget in USD"),
        (lambda: PriceList("free", "USD"), TypeError, "prices are"),  # type: ignore[arg-type]
        (lambda: PriceList(["1 USD"], "USD"), TypeError, "prices are"),  # type: ignore[list-item]
        (lambda: PriceList({"": "1 USD"}, "USD"), ValueError, "empty name"),
        (lambda: PriceList({"a": 1}, "USD"), TypeError, "money is text"),  # type: ignore[dict-item]
        (lambda: Price("1 USD", tools="read"), TypeError, "single string"),
        (lambda: Price("one USD"), ValueError, "money is written like"),
        (lambda: Price("1 USD", per_argument=3), TypeError, "per_argument"),  # type: ignore[arg-type]
        (lambda: Price("1 USD", per_argument=""), ValueError, "per_argument"),
        (lambda: pointer("usage"), ValueError, "begins with a slash"),
        (lambda: pointer(3), TypeError, "a JSON pointer is text"),  # type: ignore[arg-type]
    ],
)
def test_misuse_is_refused_when_it_is_built(make: Any, error: type[Exception], text: str) -> None:
    """Messages say what would be accepted."""
    with pytest.raises(error, match=text):
        make()
