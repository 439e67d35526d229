"""Events: what they say of a call, where they go, and what never gets into them."""

import logging
import threading
from hashlib import sha256
from typing import Any

import anyio
import pytest
from chains import ADA, FAILED, OK, Around, Wire, allowing, denying, linked, tool_call
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from mcpguard import JSON, Call, Event, Fate, Outcome, Principal, Result, Run, ToolFacts
from mcpguard.core.events import MAX_NAME, MAX_OPEN, Emitter
from mcpguard.core.interceptor import CallNext
from mcpguard.core.timer import Timer
from mcpguard.core.wire import canonical, digest
from mcpguard.testing import FakeClock, RecordingSink

pytestmark = pytest.mark.anyio

KEY = b"0123456789abcdef"


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


async def test_a_call_is_framed_by_three_events() -> None:
    """Received, dispatched, completed: intent, sending and outcome."""
    sink, clock = RecordingSink(), FakeClock(epoch=1000.0)
    outer = Run(id="outer")
    run = Run(id="job", principal=ADA, parent=outer)
    chain = linked(sinks=[sink], clock=clock).chain("tools/call", "outbound")

    async def slow(call: Call) -> Result:
        clock.advance(2.5)
        return OK

    await chain(tool_call(path="a.txt", run=run), slow)
    received, dispatched, completed = sink.events
    assert [event.kind for event in sink.events] == ["received", "dispatched", "completed"]
    assert [event.seq for event in sink.events] == [1, 2, 3]
    assert (received.time, completed.time) == (1000.0, 1002.5)
    assert received.as_dict().keys() == dispatched.as_dict().keys()
    assert received.arguments_digest == dispatched.arguments_digest
    assert received.arguments_bytes == len(b'{"path":"a.txt"}')
    assert (completed.outcome, completed.fate, completed.duration) == (Outcome.OK, Fate.ANSWERED, 2.5)
    assert completed.result_bytes == len(canonical(OK.value))
    whose = (received.run_id, received.parent_run_id, received.tenant, received.user, received.agent)
    assert whose == ("job", "outer", "acme", "ada", "tester")
    what = (received.server, received.method, received.direction, received.target, received.round)
    assert what == ("files", "tools/call", "outbound", "read", 0)


async def test_an_event_of_nobodys_call_says_nothing_of_whose_it_is() -> None:
    """No run, no principal."""
    sink = RecordingSink()
    chain = linked(sinks=[sink]).chain("ping", "outbound")
    await chain(Call(id="1", method="ping"), Wire())
    assert not {"run_id", "parent_run_id", "tenant", "user", "target"} & sink.events[0].as_dict().keys()


async def test_a_refusal_is_completed_with_its_source_and_code() -> None:
    """Breakers and metrics read the outcome, operators the reason."""
    sink = RecordingSink()
    chain = linked(denying(), sinks=[sink]).chain("tools/call", "outbound")
    await chain(tool_call(), Wire())
    assert sink.kinds == ["received", "decision", "completed"]
    last = sink.last("completed")
    assert (last.interceptor, last.code, last.reason) == ("checking", "not_here", "the test says so")
    assert (last.outcome, last.fate) == (Outcome.DENIED, Fate.NOT_SENT)


async def test_an_error_of_the_server_is_completed_with_its_code_and_not_its_text() -> None:
    """A server's message may hold anything."""
    sink = RecordingSink()
    await linked(sinks=[sink]).chain("tools/call", "outbound")(tool_call(), Wire(FAILED))
    last = sink.last("completed")
    assert (last.outcome, last.error_code, last.result_digest) == (Outcome.PROTOCOL_ERROR, -32603, None)
    assert "no" not in sink.texts


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


async def test_digests_are_keyed() -> None:
    """A plain digest of `yes` can be found by trying."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock(), key=KEY)
    emitter.received(tool_call(a="yes"))
    body = canonical({"a": "yes"})
    assert sink.events[0].arguments_digest == digest(body, KEY)
    other = RecordingSink()
    Emitter([other], clock=FakeClock()).received(tool_call(a="yes"))
    assert other.events[0].arguments_digest != digest(body, KEY)


def test_whose_a_call_is_comes_from_the_call_that_is_recorded() -> None:
    """What events of a call share is worked out once; a copy made by somebody else, or aimed elsewhere, is another."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock(), policy="one")
    call = tool_call("read", run=Run(id="job", principal=ADA))
    for one in (call, call.made_by(Principal(tenant="other")), call.replace(params={"name": "write"}), call):
        emitter.received(one)
    emitter.following([sink], "two").received(call)
    seen = [(event.tenant, event.target, event.policy) for event in sink.events]
    mine = (ADA.tenant, "read", "one")
    assert seen == [
        mine,
        ("other", "read", "one"),
        (ADA.tenant, "write", "one"),
        mine,
        (ADA.tenant, "read", "two"),
    ]


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


async def test_a_sink_that_fails_keeps_nothing_from_the_others_and_nothing_from_the_agent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The promise of `Sink`; what it raised may hold anything, so only its type is logged."""
    failing, working = RecordingSink(fails_with=OSError("canary")), RecordingSink()
    chains = linked(sinks=[failing, working])
    with caplog.at_level(logging.WARNING, "mcpguard"):
        assert await chains.chain("tools/call", "outbound")(tool_call(), Wire()) is OK
    assert len(working.events) == 3
    assert chains.emitter.failures == {"RecordingSink": 3}
    assert "sink RecordingSink failed with OSError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
async def test_a_strict_sink_that_fails_denies_the_call(order: slice) -> None:
    """Design: in strict mode the dispatch waits for the record."""
    sinks = [RecordingSink(strict=True, fails_with=OSError("full"), fails_on=["dispatched"]), RecordingSink()]
    wire = Wire()
    result = await linked(sinks=sinks[order]).chain("tools/call", "outbound")(tool_call(), wire)
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("audit_unavailable", "guard")
    assert (result.fate, wire.calls) == (Fate.NOT_SENT, [])
    assert sinks[1].last("completed").code == "audit_unavailable"


async def test_a_strict_sink_that_misses_another_event_does_not_deny() -> None:
    """The dispatch is what waits for the record."""
    sink = RecordingSink(strict=True, fails_with=OSError("full"), fails_on=["received", "completed"])
    wire = Wire()
    assert await linked(sinks=[sink]).chain("tools/call", "outbound")(tool_call(), wire) is OK


async def test_nothing_is_emitted_after_closing() -> None:
    """The promise of `Sink.aclose`."""
    sink, wire = RecordingSink(), Wire()
    chains = linked(sinks=[sink])
    await chains.emitter.aclose()
    assert await chains.chain("tools/call", "outbound")(tool_call(), wire) is OK
    assert (sink.events, chains.emitter.failures) == ([], {})


async def test_a_closed_strict_sink_denies_every_call() -> None:
    """It cannot record any more, so nothing may go out that it should have recorded."""
    chains, wire = linked(sinks=[RecordingSink(strict=True)]), Wire()
    await chains.emitter.aclose()
    result = await chains.chain("tools/call", "outbound")(tool_call(), wire)
    assert result.outcome is Outcome.DENIED
    assert wire.calls == []


async def test_every_sink_is_closed_and_once_even_if_one_fails() -> None:
    """All of them get their chance to flush; the first failure is the caller's to see."""
    first, second = RecordingSink(fails_with=OSError("first")), RecordingSink(fails_with=OSError("second"))
    third = RecordingSink()
    emitter = Emitter([first, second, third], clock=FakeClock())
    with pytest.raises(OSError, match="first"):
        await emitter.aclose()
    assert (first.is_closed, second.is_closed, third.is_closed) == (True, True, True)
    await emitter.aclose()


async def test_a_closing_that_is_cancelled_reaches_every_sink() -> None:
    """Whoever gives up waiting loses what has not been flushed, and nothing else."""

    class Endless(RecordingSink):
        async def aclose(self) -> None:
            await super().aclose()
            await anyio.sleep_forever()

    sinks = [Endless(), Endless(), RecordingSink()]
    with anyio.move_on_after(0.01) as scope:
        await Emitter(sinks, clock=FakeClock()).aclose()
    assert scope.cancelled_caught
    assert [sink.is_closed for sink in sinks] == [True] * 3


async def test_without_sinks_nothing_is_made() -> None:
    """What nobody listens to costs nothing."""
    emitter = Emitter([], clock=FakeClock())
    assert not emitter.is_active
    emitter.about("decision", tool_call(), verdict="deny")
    emitter.about_run("run_opened", Run())
    assert not Emitter([RecordingSink()], clock=FakeClock()).silent().is_active


def test_a_runs_event_says_whose_it_is() -> None:
    """Opened, closed, stopped."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock())
    outer = Run(id="outer", principal=ADA)
    emitter.about_run("stopped", Run(id="inner", parent=outer), reason="run stopped")
    emitter.about_run("run_opened", Run(id="nobodys"))
    stopped, opened = sink.events
    assert (stopped.run_id, stopped.parent_run_id, stopped.tenant) == ("inner", "outer", "acme")
    assert (stopped.user, stopped.agent, stopped.reason) == ("ada", "tester", "run stopped")
    assert opened.as_dict() == {"kind": "run_opened", "seq": 2, "time": opened.time, "run_id": "nobodys"}


def test_names_from_outside_are_cut() -> None:
    """A server may name a tool with a novel."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock())
    emitter.received(tool_call("x" * 10_000))
    emitter.received(Call(id="1", method="m" * 10_000))
    assert len(sink.events[0].target or "") == MAX_NAME
    assert len(sink.events[1].method or "") == MAX_NAME


def test_numbers_are_given_once_whatever_the_threads() -> None:
    """Hosts run sessions on several threads."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock())

    def work() -> None:
        for _ in range(200):
            emitter.about("notification", tool_call())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event.seq for event in sink.events) == list(range(1, 801))


def test_an_event_as_a_dict_has_what_is_set() -> None:
    """Sinks write that."""
    event = Event(kind="run_opened", seq=1, time=2.0, round=0)
    assert event.as_dict() == {"kind": "run_opened", "seq": 1, "time": 2.0, "round": 0}


async def test_an_outcome_names_its_intent() -> None:
    """The number of the last `dispatched` of the same call; a call that never went out has none."""
    sink = RecordingSink()
    chain = linked(denying("write"), sinks=[sink]).chain("tools/call", "outbound")
    await chain(tool_call("read"), Wire())
    await chain(tool_call("write"), Wire())
    done, refused = sink.of("completed")
    assert done.intent == sink.last("dispatched").seq
    assert refused.intent is None


async def test_what_a_strict_sink_has_not_recorded_is_nobodys_intent() -> None:
    """Of a call that is sent again, the outcome names the attempt that went out."""
    strict = RecordingSink(strict=True)
    wire = Wire()

    async def twice(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        strict.fails_with, strict.fails_on = OSError("full"), frozenset({"dispatched"})
        return await call_next(call)

    other = RecordingSink()
    layer = Around(twice, repeats=True)
    chain = linked(layer, sinks=[strict, other]).chain("tools/call", "outbound")
    await chain(tool_call(), wire)
    assert len(wire.calls) == 1
    assert other.last("completed").intent == strict.last("dispatched").seq
    await linked(sinks=[strict, other]).chain("tools/call", "outbound")(tool_call(), wire)
    assert other.last("completed").code == "audit_unavailable"
    assert other.last("completed").intent is None


async def test_what_was_not_settled_is_nobodys_intent() -> None:
    """The event may be there, and the call has not gone out all the same."""
    sink = RecordingSink()
    sinks = [Slow(strict=True, fails=True, order=[]), sink]
    await linked(sinks=sinks).chain("tools/call", "outbound")(tool_call(), Wire())
    assert sink.kinds.count("dispatched") == 1
    assert sink.last("completed").intent is None


async def test_an_intent_names_policy_and_tool_definition() -> None:
    """Which rules, and which of the tool's definitions."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock(), policy="a" * 64)
    emitter.about_policy()
    facts = ToolFacts("read", {"name": "read", "inputSchema": {}})
    emitter.dispatched(tool_call().with_tool(facts))
    emitter.about("decision", tool_call(), verdict="deny")
    assert [event.policy for event in sink.events] == ["a" * 64] * 3
    assert sink.last("dispatched").tool_digest == f"sha256:{sha256(canonical(facts.definition)).hexdigest()}"
    Emitter([sink], clock=FakeClock()).about_policy()
    assert len(sink.of("policy_loaded")) == 1


class Slow:
    """A sink that is waited for."""

    waits = True

    def __init__(self, *, strict: bool, fails: bool, order: list[str]) -> None:
        self.strict, self.fails, self.order = strict, fails, order

    def emit(self, event: Event) -> None:
        self.order.append(event.kind)

    async def settle(self) -> None:
        self.order.append("settled")
        if self.fails:
            raise OSError("full")

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(("strict", "fails"), [(True, False), (True, True), (False, True)])
async def test_a_call_goes_out_once_its_intent_is_settled(strict: bool, fails: bool) -> None:
    """Intent, then the sink, then the wire; where a strict sink cannot, no wire."""
    order: list[str] = []
    chain = linked(sinks=[Slow(strict=strict, fails=fails, order=order)]).chain("tools/call", "outbound")
    assert chain.suspends

    async def wire(call: Call) -> Result:
        order.append("wire")
        return OK

    result = await chain(tool_call(), wire)
    denied = strict and fails
    assert order == ["received", "dispatched", "settled", *([] if denied else ["wire"]), "completed"]
    assert (None if result.denial is None else result.denial.code) == (
        "audit_unavailable" if denied else None
    )


async def test_a_call_whose_intent_is_settled_is_counted_as_sent() -> None:
    """Whoever times it must know that it has left."""
    timer, wire = Timer(), Wire()
    chain = linked(sinks=[Slow(strict=True, fails=False, order=[])]).chain("tools/call", "outbound")
    await chain(tool_call().with_timer(timer), wire)
    assert (timer.sent, len(wire.calls)) == (1, 1)


async def test_a_run_that_ends_while_its_intent_is_written_sends_nothing() -> None:
    """The kill switch holds to the last moment."""
    run = Run(id="job", principal=ADA)

    class Stopping(Slow):
        async def settle(self) -> None:
            run.stop()

    wire = Wire()
    chain = linked(sinks=[Stopping(strict=True, fails=False, order=[])]).chain("tools/call", "outbound")
    result = await chain(tool_call(run=run), wire)
    assert result.denial is not None
    assert result.denial.code == "run_stopped"
    assert wire.calls == []


async def test_an_event_names_the_span_that_the_call_came_in_under() -> None:
    """Where tracing is used; a span that is not recording has none."""
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))
    sink = RecordingSink()
    chain = linked(sinks=[sink]).chain("tools/call", "outbound")
    with use_span(span):
        await chain(tool_call(), Wire())
    await chain(tool_call(), Wire())
    assert [event.trace_id for event in sink.of("received")] == [f"{0xABC:032x}", None]


def test_intents_of_a_bounded_number_of_calls_are_known() -> None:
    """The oldest is forgotten first: its outcome has the call's id all the same."""
    sink = RecordingSink()
    emitter = Emitter([sink], clock=FakeClock())
    calls = [Call(id=str(number), method="ping") for number in range(MAX_OPEN + 1)]
    for number, call in enumerate(calls, start=1):
        emitter.sent(call, number)
    for call in (calls[0], calls[1], calls[-1]):
        emitter.completed(call, OK, 0.0)
    assert [event.intent for event in sink.of("completed")] == [None, 2, MAX_OPEN + 1]


def test_a_target_that_cannot_be_cleaned_is_not_recorded() -> None:
    """It may be what should have been cleaned."""
    sink = RecordingSink()
    Emitter([sink], clock=FakeClock(), scrubber=Raising()).about("decision", tool_call("read"))
    assert sink.events[0].target is None
