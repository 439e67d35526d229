"""Schemas and patterns from outside: used only where their cost is bounded."""

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard.detectors.linear_patterns import is_linear
from mcpguard.detectors.schemas import cost


@pytest.mark.parametrize(
    "pattern",
    ["^[a-z]+$", "^[A-Z]{3}$", r"^\d{4}-\d{2}-\d{2}$", "^https?://.+$", "^(foo|bar)$", "abc", "", r"^[^@]*$"],
)
def test_honest_patterns_are_used(pattern: str) -> None:
    """Anchored, with one unbounded part at most."""
    assert is_linear(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$",
        "(a|a)*$",
        "[a-z]+",
        "^.*a.*b$",
        "^(a|aa){30}$",
        "(a?){30}a{30}",
        r"(\w)\1",
        "^(?=a).*",
        "(",
        "a{1,100}b{1,100}",
        "^(a|ab|b)*c",
        "x" * 501,
        "(?m)^a*b",
        "a{99999999999999999999}",
    ],
)
def test_patterns_that_may_backtrack_are_not(pattern: str) -> None:
    """Nor those that cannot be read."""
    assert not is_linear(pattern)


@settings(deadline=None, max_examples=200)
@given(st.text("ab^$()|*+?.{}12,", max_size=14))
def test_what_counts_as_linear_is_fast(pattern: str) -> None:
    """On the text that makes such patterns backtrack: long, and failing at its end."""
    if is_linear(pattern):
        compiled = re.compile(pattern)
        began = time.thread_time()
        compiled.search("a" * 3_000 + "c")
        compiled.search("ab" * 1_500 + "c")
        assert time.thread_time() - began < 2


RECORD: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Record",
    "properties": {
        "name": {"type": "string", "maxLength": 10, "pattern": "^[a-z]+$"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True, "maxItems": 5},
        "size": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tag": {"enum": ["a", "b"]}},
}


def test_an_honest_schema_has_a_small_cost() -> None:
    """References are counted where they are used."""
    found = cost(RECORD)
    assert found is not None
    assert found < 60


def _doubling(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{levels}": {}}
    for n in range(levels):
        ref = {"$ref": f"#/$defs/d{n + 1}"}
        defs[f"d{n}"] = {"allOf": [ref, ref]}
    return {"$ref": "#/$defs/d0", "$defs": defs}


@pytest.mark.parametrize(
    "schema",
    [
        _doubling(12),
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"$ref": "http://example.com/x"},
        {"$ref": "#/nowhere"},
        {"$ref": 7},
        {"$ref": "#/$defs/a%20b", "$defs": {"a b": {}}},
        {"$id": "x", "type": "object"},
        {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"},
        {"$dynamicRef": "#x"},
        {"unevaluatedProperties": False},
        {"type": "array", "uniqueItems": True},
        {"type": "string", "pattern": "(a+)+$"},
        {"patternProperties": {"(a+)+$": {}}},
        {"type": "text"},
        {"type": 7},
        {"type": []},
        {"required": "name"},
        {"required": ["a", "a"]},
        {"properties": []},
        {"minLength": -1},
        {"multipleOf": 0},
        {"maximum": "1"},
        {"allOf": []},
        {"allOf": {}},
        {"items": 3},
        {"title": 3},
        {"dependentRequired": {"a": "b"}},
        [],
        "object",
    ],
)
def test_what_is_invalid_or_cannot_be_bounded_has_no_cost(schema: Any) -> None:
    """It is not shown to a validator at all."""
    assert cost(schema) is None


def test_a_deep_schema_has_no_cost() -> None:
    """Its depth is the validator's recursion."""
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"not": deep}
    assert cost(deep) is None


def test_a_cost_is_what_the_doubling_says() -> None:
    """Each level takes both branches of the one above."""
    costs = [cost(_doubling(n)) for n in range(1, 6)]
    assert all(
        later > 1.8 * earlier for earlier, later in zip(costs, costs[1:], strict=False) if earlier and later
    )
    assert None not in costs
