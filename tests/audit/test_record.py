"""Records: canonical bytes, and nothing from outside that could break or forge one."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trails import event

from mcpguard import Fate, Outcome
from mcpguard.audit.payloads import Payload
from mcpguard.audit.record import (
    MAX_INTEGER,
    MAX_PAYLOAD,
    Record,
    commitment,
    encode,
    of_event,
    payload_row,
    text,
)

anything = st.text(st.characters())


@given(anything, anything, st.integers(), st.floats())
def test_a_record_is_in_canonical_form(name: str, reason: str, code: int, duration: float) -> None:
    """RFC 8785: the reference implementation makes the same bytes of what they say."""
    rfc8785 = pytest.importorskip("rfc8785")
    record = of_event(event(target=name, reason=reason, error_code=code, duration=duration))
    body = encode(record)
    assert rfc8785.dumps(json.loads(body)) == body


members = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.booleans() | anything.map(text)


@given(st.dictionaries(st.sampled_from(["a", "b", "time_us", "unclean", "kind", "seq", "%s", '"']), members))
def test_a_record_is_what_any_json_writer_makes_of_it(record: Record) -> None:
    """Sorted, compact, not escaped beyond need; whatever kinds of values stand under which names."""
    plain = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert encode(record) == plain.encode()


@pytest.mark.parametrize("value", [0.5, math.nan, None, b"x", ["x"]])
def test_what_is_no_value_of_a_record_is_not_written(value: Any) -> None:
    """It would stand there as true or false."""
    with pytest.raises(TypeError, match=f"integers and booleans, not {type(value).__name__}"):
        encode({"kind": "spent", "cost": value})


@given(anything, anything)
def test_nothing_in_a_record_can_break_a_line_or_command_a_terminal(name: str, reason: str) -> None:
    """Control characters, line separators, bidirectional overrides and lone surrogates."""
    body = encode(of_event(event(target=name, reason=reason))).decode("utf-8")
    assert body.isprintable()
    assert len(body.splitlines()) == 1


@given(anything)
def test_what_can_be_printed_stays_as_it_is(name: str) -> None:
    """A name that is read is the name that was called."""
    kept = text(name)
    assert (kept == name) is name.isprintable()


def test_escapes_are_those_a_reader_knows() -> None:
    """And a backslash beside one is doubled, so that it can be told from one that was there."""
    assert text("a\u202eb\\n\n\ud800\U000e0001") == "a\\u202eb\\\\n\\u000a\\ud800\\U000e0001"


def test_seconds_are_whole_microseconds_and_words_are_words() -> None:
    """Floats are what canonical forms differ in."""
    record = of_event(
        event(
            7,
            time=1.25,
            duration=0.0000015,
            retry_after=math.inf,
            outcome=Outcome.OK,
            fate=Fate.SENT,
            mode="audit",
        )
    )
    assert record == {
        "kind": "received",
        "event": 7,
        "time_us": 1_250_000,
        "duration_us": 2,
        "retry_after_us": "inf",
        "outcome": "ok",
        "fate": "sent",
        "mode": "audit",
    }


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, -(10**30)])
def test_a_number_that_json_readers_differ_about_is_text(number: int) -> None:
    """A server's error code may be any."""
    assert of_event(event(error_code=number))["error_code"] == hex(number)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.integers(1, 10**9))
def test_a_payload_row_is_what_its_commitment_is_to(payload: Any, seq: int) -> None:
    """Whatever is in it: salts and positions are read from the end."""
    kept = payload_row(seq, payload)
    assert kept is not None
    promised, row = kept
    read = Payload.parse(row)
    assert read is not None
    assert (read.seq, read.commitment) == (seq, promised)
    assert json.loads(row)["seq"] == seq


def test_equal_payloads_have_commitments_that_differ() -> None:
    """Otherwise an erased one could be found by trying."""
    first, second = payload_row(1, "yes"), payload_row(2, "yes")
    assert first is not None
    assert second is not None
    assert first[0] != second[0]
    assert commitment(bytes(16), b'"yes"') not in (first[0], second[0])


def test_a_payload_that_is_too_large_or_no_json_is_left_out() -> None:
    """Ten megabytes of arguments are not for a trail."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert payload_row(1, "x" * 10_000_000) is None
    assert payload_row(1, "x" * MAX_PAYLOAD) is None
    assert payload_row(1, deep) is None
