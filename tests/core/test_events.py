"""Events: what they say of a call, of a run and of one another."""

import threading
from hashlib import sha256

import pytest
from chains import ADA, FAILED, OK, Wire, denying, linked, tool_call
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from mcpguard import Call, Event, Fate, Outcome, Principal, Result, Run, ToolFacts
from mcpguard.core.emitter import MAX_OPEN, Emitter
from mcpguard.core.wire import canonical, digest
from mcpguard.testing import FakeClock, RecordingSink

pytestmark = pytest.mark.anyio

KEY = b"0123456789abcdef"


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
