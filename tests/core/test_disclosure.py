"""What records show of a call: nothing that was not cleaned."""

import logging
from typing import Any

import pytest
from chains import OK, Wire, allowing, denying, linked, tool_call
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import JSON, Call, Result
from mcpguard.core.emitter import Emitter
from mcpguard.core.names import MAX_NAME
from mcpguard.testing import FakeClock, RecordingSink

pytestmark = pytest.mark.anyio


class Masking:
    """A scrubber that keeps names and hides values."""

    def scrub(self, value: JSON) -> JSON:
        return dict.fromkeys(value, "***") if isinstance(value, dict) else "***"


class Mutating:
    """A scrubber that cleans in place, as a hasty one would."""

    def scrub(self, value: Any) -> JSON:
        value.clear()
        return "cleaned"


class Raising:
    """A scrubber that cannot cope, and whose error holds what it choked on."""

    def scrub(self, value: JSON) -> JSON:
        raise ValueError(f"cannot clean {value!r}")


@given(st.text(min_size=6), st.text(min_size=6))
async def test_events_never_contain_a_seeded_value(argument: str, answer: str) -> None:
    """Digests only, unless there is a scrubber."""
    argument, answer = f"canary{argument}", f"canary{answer}"
    sink = RecordingSink()
    chain = linked(allowing(), denying("write"), sinks=[sink]).chain("tools/call", "outbound")
    wire = Wire(Result.of({"content": [{"type": "text", "text": answer}]}))
    for name in ("read", "write"):
        await chain(tool_call(name, path=argument, nested=[{argument: argument}]), wire)
    assert not any("canary" in text for text in sink.texts)
    assert not any("canary" in repr(event) for event in sink.events)


async def test_payloads_are_what_the_scrubber_makes_of_them() -> None:
    """Design, "The order": a Scrubber cleans events before any sink."""
    sink = RecordingSink()
    chain = linked(sinks=[sink], scrubber=Masking()).chain("tools/call", "outbound")
    await chain(tool_call(path="canary"), Wire(Result.of({"content": "canary"})))
    assert sink.last("received").payload == {"path": "***"}
    assert sink.last("completed").payload == {"content": "***"}
    assert not any("canary" in text for text in sink.texts)


async def test_parameters_are_the_payload_of_a_method_without_arguments() -> None:
    """There is nothing else to record of them."""
    sink = RecordingSink()
    chain = linked(sinks=[sink], scrubber=Masking()).chain("resources/read", "outbound")
    await chain(Call(id="1", method="resources/read", params={"uri": "file:///a"}), Wire())
    assert sink.last("received").payload == {"uri": "***"}


def test_the_name_in_a_change_of_state_is_cleaned_as_in_all_events() -> None:
    """A tool that is refused has the name that its server gave it."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock(), scrubber=Masking())
    about: dict[str, Any] = {"interceptor": "tool_pinning", "mode": None, "server": "s", "tenant": None}
    emitter.about_state(state="tool_changed", reason="changed", target="canary", **about)
    assert sink.last("state_changed").target == "***"


async def test_a_scrubber_that_raises_drops_the_payload_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What cannot be cleaned is not recorded; the error may hold it, so it is not logged."""
    sink, wire = RecordingSink(), Wire()
    chain = linked(sinks=[sink], scrubber=Raising()).chain("tools/call", "outbound")
    with caplog.at_level(logging.WARNING, "mcpguard"):
        assert await chain(tool_call(path="canary"), wire) is OK
    assert [event.payload for event in sink.events] == [None, None, None]
    assert "scrubber failed with ValueError" in caplog.text
    assert "canary" not in caplog.text


async def test_a_scrubber_that_cleans_in_place_changes_no_call() -> None:
    """It is given a copy: recording must not alter what is sent or answered."""
    wire = Wire(Result.of({"content": []}))
    chain = linked(sinks=[RecordingSink()], scrubber=Mutating()).chain("tools/call", "outbound")
    result = await chain(tool_call(path="a"), wire)
    assert wire.params == [{"name": "read", "arguments": {"path": "a"}}]
    assert result.value == {"content": []}


def test_names_from_outside_are_cut() -> None:
    """A server may name a tool with a novel."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock())
    emitter.received(tool_call("x" * 10_000))
    emitter.received(Call(id="1", method="m" * 10_000))
    assert len(sink.events[0].target or "") == MAX_NAME
    assert len(sink.events[1].method or "") == MAX_NAME


def test_a_target_that_cannot_be_cleaned_is_not_recorded() -> None:
    """It may be what should have been cleaned."""
    sink = RecordingSink()
    Emitter([sink], clock=FakeClock(), scrubber=Raising()).about("decision", tool_call("read"))
    assert sink.events[0].target is None
