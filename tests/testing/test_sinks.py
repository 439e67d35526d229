"""The sink that keeps what it is given, or fails on purpose."""

from typing import Any

import pytest

from mcpguard import Event, Fate, Outcome
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio


def event(kind: Any = "received", **members: Any) -> Event:
    """One event."""
    return Event(kind=kind, seq=1, time=0.0, **members)


def test_events_can_be_read_by_kind_code_decision_and_outcome() -> None:
    """What tests ask most."""
    sink = RecordingSink()
    asked = event("decision", interceptor="flow", verdict="ask", code="sure")
    changed = event("decision", interceptor="scan", verdict="change")
    done = event("completed", outcome=Outcome.OK, fate=Fate.ANSWERED)
    for one in (event(), asked, changed, done):
        sink.emit(one)
    assert sink.kinds == ["received", "decision", "decision", "completed"]
    assert sink.of("decision") == [asked, changed]
    assert sink.last("decision") is changed
    assert sink.codes == ["sure"]
    assert sink.decisions == [("flow", "ask"), ("scan", "change")]
    assert sink.outcomes == [(Outcome.OK, Fate.ANSWERED)]
    assert repr(sink) == "<RecordingSink of 4 events>"
    sink.clear()
    assert sink.events == []


def test_asking_for_an_event_that_is_not_there_says_what_is() -> None:
    """A failing test should not need a debugger."""
    sink = RecordingSink()
    with pytest.raises(AssertionError, match="no completed among the events: none at all"):
        sink.last("completed")
    sink.emit(event("run_opened"))
    with pytest.raises(AssertionError, match="no completed among the events: run_opened"):
        sink.last("completed")


def test_every_text_in_every_event_can_be_searched() -> None:
    """Names inside payloads included: a value may have become a name."""
    sink = RecordingSink()
    sink.emit(event(target="read", payload={"a": ["b", {"c": {"d": 1}}], "e": None}))
    assert {"read", "a", "b", "c", "d", "e"} <= set(sink.texts)
    assert "payload" not in sink.texts


def test_a_sink_may_fail_for_some_kinds_or_all() -> None:
    """A full disk, or one bad event."""
    sink = RecordingSink(fails_with=OSError("full"), fails_on=["dispatched"])
    sink.emit(event())
    with pytest.raises(OSError, match="full"):
        sink.emit(event("dispatched"))
    sink.fails_on = frozenset()
    with pytest.raises(OSError, match="full"):
        sink.emit(event())
    sink.fails_with = None
    sink.emit(event())
    assert sink.kinds == ["received", "received"]


async def test_a_closed_sink_takes_nothing_and_can_be_read() -> None:
    """The promise of `Sink`: nothing is emitted after `aclose`."""
    sink = RecordingSink()
    sink.emit(event())
    await sink.aclose()
    with pytest.raises(RuntimeError, match="after the sink was closed"):
        sink.emit(event())
    assert len(sink.events) == 1


async def test_a_sink_that_fails_for_all_kinds_fails_to_close() -> None:
    """Flushing is where many sinks find out."""
    sink = RecordingSink(fails_with=OSError("full"))
    with pytest.raises(OSError, match="full"):
        await sink.aclose()
    assert sink.is_closed
    await RecordingSink(fails_with=OSError("full"), fails_on=["received"]).aclose()


def test_kinds_are_a_collection() -> None:
    """A single string would be a collection of letters."""
    kinds: Any = "received"
    with pytest.raises(TypeError, match="not the single string 'received'"):
        RecordingSink(fails_on=kinds)
