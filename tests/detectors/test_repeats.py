"""Repeats: what goes round in circles is found, what goes on is not."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.repeats import MAX_PERIOD, MAX_SEEN, Finding, Repeats, Unit


def unit(symbol: int, failure: tuple[int, int] | None = None) -> Unit:
    """One step that asks what it is."""
    return Unit(symbol, (symbol,), failure)


def last(symbols: list[int]) -> Finding | None:
    """What is found at the last of some steps."""
    repeats, found = Repeats(), None
    for symbol in symbols:
        found = repeats.observe(unit(symbol))
    return found


@pytest.mark.parametrize("period", range(1, MAX_PERIOD + 1))
def test_a_block_of_any_length_is_found_when_it_repeats(period: int) -> None:
    """After `n` times the block, `n` repeats of that length."""
    block = list(range(period))
    for times in (3, 5):
        found = last(block * times)
        assert found is not None
        assert (found.rule, found.count, found.period) in (
            ("period", times, period),
            ("nothing_new", period * (times - 1), 1),
        )


def test_a_walk_in_a_closed_set_brings_nothing_new() -> None:
    """No period, and no progress either."""
    found = last([1, 2, 3, 2, 1, 3, 3, 1])
    assert found == Finding("nothing_new", 5)


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=300))
def test_what_is_always_new_is_never_found(symbols: list[int]) -> None:
    """Reading many things is work."""
    repeats = Repeats()
    assert [repeats.observe(unit(symbol)) for symbol in symbols] == [None] * len(symbols)


@given(st.lists(st.integers(0, 3), max_size=60))
def test_a_period_is_what_the_suffix_really_repeats(symbols: list[int]) -> None:
    """The online rule agrees with looking at the whole sequence."""
    found = last(symbols)
    if found is not None and found.rule == "period":
        length = found.count * found.period
        block = symbols[-found.period :]
        assert symbols[-length:] == block * found.count


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_what_is_expected_is_what_is_found_when_it_comes(symbols: list[int]) -> None:
    """A call is judged before it is made as it would be after the same answer."""
    repeats = Repeats()
    for symbol in symbols[:-1]:
        repeats.observe(unit(symbol))
    expected = repeats.expected(symbols[-1], 0)
    found = repeats.observe(unit(symbols[-1]))
    assert expected == found or (found is None and expected is not None and expected.count < 2)


def test_one_tool_that_fails_in_one_way_is_found_whatever_it_is_given() -> None:
    """Other arguments, the same error."""
    repeats = Repeats()
    found = [repeats.observe(unit(number, (7, 1))) for number in range(4)]
    assert found[-1] == Finding("same_error", 4)
    assert repeats.expected(99, 7) == Finding("same_error", 5)
    assert repeats.expected(99, 8) is None
    repeats.observe(unit(50))
    assert repeats.expected(99, 7) is None


def test_its_size_does_not_grow_with_the_run() -> None:
    """At most 20 KB a run, however long it is."""
    repeats = Repeats()
    for number in range(10_000):
        repeats.observe(Unit(number, (number + 10**12,)))
    kept: Counter[int] = Counter()
    for name in Repeats.__slots__:
        value = getattr(repeats, name)
        kept[0] += sys.getsizeof(value)
        if isinstance(value, dict):
            assert len(value) == MAX_SEEN
            kept[0] += sum(sys.getsizeof(key) for key in value)
    kept[0] += MAX_PERIOD * (sys.getsizeof((1,)) + 100)
    assert kept[0] < 20_000
