"""Volatile parts: what differs by itself does not make two answers different."""

import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.volatile import MAX_COMPARED, MAX_MASKED, check_pointer, essence, masked, without

PAIRS = [
    ("at 2026-11-20T10:11:12Z", "at 2027-01-02T03:04:05.123+02:00"),
    ("on 2026-11-20", "on 2025-01-02"),
    (f"id {uuid.UUID(int=1)}", f"id {uuid.UUID(int=2**100)}"),
    (f"id {'1a' * 8}", f"id {'0f' * 20}"),
    ("now 1763600000", "now 1763600999.25"),
    ("now 1763600000123", "now 1763600999999"),
    ('{"elapsed_ms": 12}', '{"elapsed_ms": 99.5}'),
    ("Took: 3.2 s", "Took: 14 s"),
    ("latency=5", "latency=123"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_times_identifiers_and_durations_do_not_count(one: str, other: str) -> None:
    """One such field takes recall from 100 to 3 %."""
    assert masked(one) == masked(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("page 1 of 7", "page 2 of 7"),
        ("order 10457", "order 10458"),
        ("price 12.50", "price 13.50"),
        ("version 1.2.3", "version 1.2.4"),
        ("call 5551234567", "call 5551234568"),
        ("pending", "done"),
    ],
)
def test_what_says_something_counts(one: str, other: str) -> None:
    """Masks must not make progress look like standing still."""
    assert masked(one) != masked(other)


@given(st.text(max_size=300))
def test_a_masked_text_is_masked(text: str) -> None:
    """What is compared is the same however often it is masked."""
    assert masked(masked(text)) == masked(text)


def test_both_ends_of_a_long_text_are_masked_and_its_middle_is_compared() -> None:
    """The cost is bounded, the comparison is not weaker where it matters."""
    one = "2026-11-20 " + "x" * 3 * MAX_MASKED + " 2026-11-20"
    other = "2026-11-21 " + "x" * 3 * MAX_MASKED + " 2026-11-22"
    assert masked(one) == masked(other)
    assert masked(one.replace("xxx", "xyx", 10_000)) != masked(one)


def test_an_answer_is_its_structure_or_its_texts_and_whatever_else_it_holds() -> None:
    """A text beside structured content says the same again."""
    text: Any = {"type": "text", "text": "hello"}
    image: Any = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    assert essence({"content": [text]}) == "hello"
    assert essence({"content": [text], "structuredContent": {"a": 1}}) == '{"a":1}'
    assert essence({"content": [text, image]}) != essence({"content": [text]})
    assert essence({"content": [{**image, "data": "AAAB"}]}) != essence({"content": [image]})
    assert essence({"content": [{"type": "text", "text": 7}, "odd"]}) != ""
    assert essence({"content": "odd"}) == ""


def test_pointers_take_out_what_one_tool_changes_by_itself() -> None:
    """Members, items and every member of a level."""
    value: Any = {"id": 1, "rows": [{"at": 5, "v": 1}, {"at": 6, "v": 2}], "a/b": 1}
    assert without(value, ["/id", "/rows/*/at", "/a~1b", "/none/there"]) == {"rows": [{"v": 1}, {"v": 2}]}
    assert without(value, ["/rows/0"])["rows"] == [None, {"at": 6, "v": 2}]  # type: ignore[index,call-overload]
    assert without(value, ["/rows/7", "/id/deeper", "/rows/x"]) == value
    assert without(value, [""]) is None
    assert value["id"] == 1
    assert essence({"structuredContent": value}, ["/id"]) == essence(
        {"structuredContent": {**value, "id": 2}}, ["/id"]
    )
    assert essence({"content": [], "_meta": {"n": 1}}, ["/_meta/n"]) == essence(
        {"content": [], "_meta": {}}, ["/_meta/n"]
    )
    with pytest.raises(ValueError, match="begins with"):
        check_pointer("id")


def test_a_huge_answer_costs_no_more_than_a_bound() -> None:
    """Ends and length are compared; the clock is read for nothing but a generous bound on hostile text."""
    huge = "a1" * 5_000_000
    began = time.process_time()
    assert len(essence({"content": [{"type": "text", "text": huge}]})) < 2 * MAX_COMPARED + 100
    hostile = "elapsed" * 4_000 + "0" * 60_000 + "-" * 60_000
    essence({"content": [{"type": "text", "text": hostile}]})
    assert time.process_time() - began < 5
