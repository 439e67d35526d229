"""The shape of a JSON text before it is parsed, against what parsing finds."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcpguard import ConnectionLimits
from mcpguard.detectors.shapes import find_id, is_answer, shape_fault, value_fault

LIMITS = ConnectionLimits(depth=5, values=40, containers=12, integer_digits=20)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.text(max_size=8)
    | st.text('"\\,[]{}0', max_size=8),
    lambda inside: (
        st.lists(inside, max_size=6) | st.dictionaries(st.text('a"\\,[', max_size=3), inside, max_size=6)
    ),
    max_leaves=40,
)


@given(VALUES, st.booleans())
@example([[]] * 11 + [None] * 17, False)
@example([[]] * 11 + [None] * 18, False)
def test_text_and_value_are_judged_alike(value: object, is_ascii: bool) -> None:
    """Brackets, commas and digits inside strings count for nothing, whatever is escaped."""
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert (shape_fault(text, LIMITS) is None) == (value_fault(value, LIMITS) is None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"[" * 6 + b"]" * 6, "depth"),
        (b"[" * 5 + b"]" * 5, None),
        (b"[" * 1000, "containers"),
        (b"[" * 10, "depth"),
        (b'{"a": "' + b"[" * 1000 + b'"}', None),
        (b'{"a": "\\"' + b"[" * 1000 + b'"}', None),
        (b'{"a": "\\\\", "b": ' + b"[" * 6 + b"]" * 6 + b"}", "depth"),
        (b"[" + b"1," * 40 + b"1]", "values"),
        (b"[" + b'"",' * 40 + b'""]', "values"),
        (b'["' + b"," * 1000 + b'"]', None),
        (b"[" + b"[]," * 20 + b"[]]", "containers"),
        (b'{"a": ' + b"1" * 21 + b"}", "integer_digits"),
        (b'{"a": -' + b"1" * 21 + b"}", "integer_digits"),
        (b'{"a": ' + b"1" * 20 + b"}", None),
        (b'{"a": "' + b"1" * 500 + b'"}', None),
        (b"x" * 2**25, "message_bytes"),
    ],
)
def test_each_limit_on_a_text(text: bytes, fault: str | None) -> None:
    """At the limit it passes, one above it does not."""
    assert shape_fault(text, LIMITS) == fault


@given(st.integers(0, 10**9) | st.text("ab", min_size=1, max_size=5), VALUES)
def test_the_id_is_found_first_or_last(id: int | str, value: object) -> None:
    """Servers write it before the result, some after it; an id inside the result is another thing's."""
    first = json.dumps({"jsonrpc": "2.0", "id": id, "result": {"id": "other", "x": value}}).encode()
    last = json.dumps({"result": {"id": "other", "x": value}, "id": id}).encode()
    assert find_id(first) == id
    assert find_id(last) == id


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc": "2.0", "id": 12',
        b'[{"id": 3}]',
        b'{"result": {"id": 3}}',
        b"",
        b"garbage",
        b'{"id": null}',
        b'{"id": 1.5}',
        b'{"id": true}',
    ],
)
def test_an_id_that_is_not_certain_is_none(text: bytes) -> None:
    """A number that is cut off may have more digits."""
    assert find_id(text) is None


def test_an_answer_is_told_from_a_request() -> None:
    """By which of its members comes first."""
    assert is_answer(b'{"id": 1, "result": {"method": 1}}')
    assert is_answer(b'{"id": 1, "error": {}}')
    assert not is_answer(b'{"id": 1, "method": "x", "params": {"result": 1}}')
    assert not is_answer(b"{}")


def test_a_value_is_measured_without_recursion() -> None:
    """A value deeper than the interpreter's stack is no trouble."""
    deep: object = None
    for _ in range(100_000):
        deep = [deep]
    assert value_fault(deep, LIMITS) == "depth"  # type: ignore[arg-type]
    while deep:
        deep = deep[0]  # type: ignore[index]
