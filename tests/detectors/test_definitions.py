"""Definitions and pins: one digest for one definition, and every difference is found."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpguard.core.wire import definition_digest
from mcpguard.detectors.definitions import changed_members, changes
from mcpguard.detectors.pins import Pins, pinned

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DEFINITIONS = st.dictionaries(
    st.sampled_from(["title", "description", "inputSchema", "_meta", "x"]), VALUES
).map(lambda members: {"name": "tool", **members})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(one=DEFINITIONS, other=DEFINITIONS)
def test_two_definitions_have_one_digest_if_and_only_if_nothing_differs(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """What the digest sees, the diff shows, and the other way round."""
    is_same = definition_digest(one) == definition_digest(other)
    assert is_same == (not changes(one, other)) == (not changed_members(one, other))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(definition=DEFINITIONS)
def test_a_lock_keeps_every_definition(definition: dict[str, Any]) -> None:
    """Lone surrogates, control characters and empty keys included."""
    pins = Pins()
    pins.add("s", "tool", pinned(definition))
    pins.sealed.add("s")
    assert Pins.parse(pins.dump()) == pins


def test_the_digest_tells_apart_what_json_tells_apart() -> None:
    """And nothing else: the order of keys, and a null at the top."""
    digests = {definition_digest({"name": "t", "x": value}) for value in (1, 1.0, True, "1", [1], {"1": 1})}
    assert len(digests) == 6
    assert definition_digest({"a": 1, "b": 2}) == definition_digest({"b": 2, "a": 1, "title": None})
    assert definition_digest({"x": {"default": None}}) != definition_digest({"x": {}})
    assert definition_digest({"x": "\ud800"}) != definition_digest({"x": "\\ud800"})


@pytest.mark.parametrize(
    "definition",
    [
        {"name": "t", "description": "x" * 300_000},
        {"name": "t", "x": float("nan")},
        {"name": "t", "x": object()},
    ],
)
def test_what_nobody_could_review_is_not_approved(definition: dict[str, Any]) -> None:
    """Too long, or no JSON."""
    with pytest.raises(ValueError, match="cannot be approved"):
        pinned(definition)


def test_a_definition_nested_without_end_is_not_approved_and_crashes_nothing() -> None:
    """Deep JSON from a hostile server."""
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    assert changes({"name": "t"}, {"name": "t", "x": deep})
    with pytest.raises(ValueError, match="cannot be approved"):
        pinned({"name": "t", "x": deep})
