"""The chain: what passes, in which order, and what is left when an interceptor fails."""

from typing import Any

import anyio
import pytest
from chains import (
    EVERY_REQUEST,
    FAILED,
    LOST,
    OK,
    UNSENT,
    Around,
    Checking,
    Filtering,
    Wire,
    allowing,
    chain,
    denying,
    linked,
    passing,
    raising,
    tool_call,
)
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import (
    ALLOW,
    Allow,
    Ask,
    Call,
    Denial,
    Deny,
    Fate,
    Interceptor,
    Outcome,
    Result,
    Rewrite,
    Run,
    Verdict,
)
from mcpguard.core.interceptor import CallNext
from mcpguard.testing import Gate, RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio

HARMLESS = [
    allowing,
    passing,
    lambda: Checking(lambda call: Allow()),
    lambda: Filtering(lambda call, result: result),
    lambda: Around(lambda call, call_next: call_next(call.replace())),
    ScriptedApprover,
]


class Tracing(Interceptor):
    """All three hooks; writes down when each runs."""

    handles = EVERY_REQUEST

    def __init__(self, id: str, log: list[str]) -> None:
        super().__init__(id=id)
        self.log = log

    def check(self, call: Call) -> Verdict:
        self.log.append(f"{self.id}?")
        return ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        self.log.append(f"{self.id}!")
        return result

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        self.log.append(f"{self.id}(")
        result = await call_next(call)
        self.log.append(f"){self.id}")
        return result


@given(st.lists(st.sampled_from(HARMLESS), max_size=8), st.sampled_from([OK, FAILED, LOST]), st.booleans())
async def test_a_chain_of_allows_equals_no_chain(makers: list[Any], answer: Result, is_heard: bool) -> None:
    """The wire gets the very same call, and the caller the very same result."""
    sink, wire, call = RecordingSink(), Wire(answer), tool_call(a=1)
    result = await chain(*[make() for make in makers], sinks=[sink] if is_heard else [])(call, wire)
    assert result is answer
    assert [sent.params for sent in wire.calls] == [call.params]
    assert wire.calls[0].params is call.params
    assert sink.kinds == (["received", "dispatched", "completed"] if is_heard else [])


async def test_checks_run_on_the_way_in_and_filters_on_the_way_out() -> None:
    """Outermost first; a filter further in sees the result earlier."""
    log: list[str] = []
    await chain(Tracing("a", log), Tracing("b", log))(tool_call(), Wire())
    assert "".join(log) == "a?a(b?b()bb!)aa!"


async def test_a_chain_can_run_many_calls_at_once() -> None:
    """It is linked once and holds nothing of a call."""
    arrived, gone = anyio.Event(), anyio.Event()
    results: dict[str, Result] = {}

    async def wire(call: Call) -> Result:
        if call.target == "first":
            arrived.set()
            await gone.wait()
        return Result.of({"name": call.target})

    guarded = chain(passing(), allowing())

    async def send(name: str) -> None:
        results[name] = await guarded(tool_call(name), wire)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, "first")
        await arrived.wait()
        await send("second")
        gone.set()
    assert {name: result.value for name, result in results.items()} == {
        "first": {"name": "first"},
        "second": {"name": "second"},
    }


VERDICTS: dict[str, Verdict] = {
    "allow": ALLOW,
    "deny": Deny("no_way", reason="a test"),
    "ask": Ask("sure", reason="a test"),
}


@given(st.lists(st.sampled_from(["allow", "deny", "ask"]), min_size=1, max_size=6), st.booleans())
async def test_deny_beats_ask_in_any_order(words: list[str], is_split: bool) -> None:
    """Design, "Verdicts"; whether the checks stand together or with a layer between them."""
    checks: list[Interceptor] = [
        Checking(lambda call, word=word: VERDICTS[word], can_ask=True) for word in words
    ]
    between = [passing()] if is_split else []
    approver = ScriptedApprover().approves()
    wire = Wire()
    result = await chain(*checks[:2], *between, *checks[2:], approver)(tool_call(), wire)
    assert (result.denial is not None) is ("deny" in words)
    assert len(wire.calls) == ("deny" not in words)
    assert len(approver.asked) == ("deny" not in words and "ask" in words)


async def test_a_filter_may_change_a_result_and_that_is_recorded() -> None:
    """`change` is the verdict of a filter."""
    sink = RecordingSink()
    look = Filtering(lambda call, result: result.replace(value={"content": []}), id="cleaner")
    result = await chain(look, sinks=[sink])(tool_call(), Wire())
    assert result.value == {"content": []}
    assert sink.decisions == [("cleaner", "change")]


async def test_a_filter_may_refuse_a_result_under_its_own_name() -> None:
    """The call was answered all the same: that much is known."""
    sink = RecordingSink()

    def look(call: Call, result: Result) -> Result:
        return call.denied(code="bad_result", reason="a test", retry_after=2.0)

    result = await chain(Filtering(look, id="scan"), sinks=[sink])(tool_call(), Wire())
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("bad_result", "scan")
    assert (result.fate, result.retry_after) == (Fate.ANSWERED, 2.0)
    assert sink.last("decision").code == "bad_result"


async def test_a_filter_cannot_refuse_in_another_name() -> None:
    """A forged source would put the blame, and breakers' and budgets' reading, on somebody else."""
    forged = Result.denied(Denial("x", reason="a test", message="a test", source="guard"))
    result = await chain(Filtering(lambda call, result: forged, id="scan"))(tool_call(), Wire())
    assert result.denial is not None
    assert (result.denial.source, result.fate) == ("scan", Fate.ANSWERED)


async def test_a_filter_sees_a_refusal_and_may_let_it_be() -> None:
    """A refusal from further in is a result like any other."""
    seen: list[Outcome] = []

    def look(call: Call, result: Result) -> Result:
        seen.append(result.outcome)
        return result

    sink = RecordingSink()
    result = await chain(Filtering(look), passing(), denying(id="inner"), sinks=[sink])(tool_call(), Wire())
    assert seen == [Outcome.DENIED]
    assert result.denial is not None
    assert result.denial.source == "inner"
    assert sink.decisions == [("inner", "deny")]


@pytest.mark.parametrize("answer", [OK, FAILED, LOST, UNSENT])
async def test_a_filter_cannot_change_how_far_a_call_got(answer: Result) -> None:
    """Budgets give back what was not sent: a filter that says so would make calls free."""
    for fate in Fate:
        look = Filtering(lambda call, result, fate=fate: Result.of({}).replace(fate=fate))
        assert (await chain(look)(tool_call(), Wire(answer))).fate is answer.fate


GARBAGE = [None, "fine", {"content": []}, Result(outcome=Outcome.OK, fate=Fate.ANSWERED)]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_filter_that_returns_garbage_denies(garbage: object) -> None:
    """Fail closed: what was seen may be what it meant to remove."""
    sink = RecordingSink()
    result = await chain(Filtering(lambda call, result: garbage), sinks=[sink])(tool_call(), Wire())
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("interceptor_failed", "filtering")
    assert result.fate is Fate.ANSWERED
    assert sink.last("interceptor_failed").reason.startswith("the filter of filtering returned ")


async def test_a_filter_that_raises_denies_without_showing_what_it_saw() -> None:
    """An exception's text may hold a value; only its type is told."""
    sink = RecordingSink()
    look = Filtering(raising(ValueError("canary")))
    result = await chain(look, sinks=[sink])(tool_call(), Wire())
    assert result.denial is not None
    assert result.denial.reason == "the filter of filtering raised ValueError"
    assert not any("canary" in text for text in [*sink.texts, repr(result)])


@pytest.mark.parametrize("look", [raising(ValueError("x")), lambda call, result: None])
async def test_a_filter_that_fails_open_lets_the_result_pass(look: Any) -> None:
    """`fail_open` is a named choice; the failure is recorded."""
    sink = RecordingSink()
    assert await chain(Filtering(look, fail_open=True), sinks=[sink])(tool_call(), Wire()) is OK
    assert len(sink.of("interceptor_failed")) == 1


async def test_a_cancelled_call_is_recorded_as_that_and_stays_cancelled() -> None:
    """Design, "Hooks": neither failure nor success, and never swallowed."""
    sink, under_way = RecordingSink(), anyio.Event()

    async def wire(call: Call) -> Result:
        under_way.set()
        await anyio.sleep_forever()
        raise AssertionError

    ended: list[str] = []

    async def send() -> None:
        await chain(passing(), allowing(), sinks=[sink])(tool_call(), wire)
        ended.append("returned")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await under_way.wait()
        tasks.cancel_scope.cancel()
    assert ended == []
    assert sink.kinds == ["received", "dispatched", "cancelled"]


async def test_a_bug_of_a_seam_is_raised_and_leaves_an_event() -> None:
    """Only cancellation and bugs raise; a call without an end in the record would be lost."""
    sink = RecordingSink()
    with pytest.raises(KeyError):
        await chain(allowing(), sinks=[sink])(tool_call(), raising(KeyError("bug")))
    assert len(sink.events) == 3


async def test_a_question_that_nobody_answered_does_not_go_out() -> None:
    """Linking finds an approver, this call's method does not."""
    sink, wire = RecordingSink(), Wire()
    asking = Checking(lambda call: Ask("sure", reason="a test"), id="flow", can_ask=True)
    elsewhere = ScriptedApprover().approves()
    elsewhere.handles = frozenset({("prompts/get", "outbound")})
    result = await chain(asking, elsewhere, sinks=[sink])(tool_call(), wire)
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("approval_required", "flow")
    assert (result.fate, wire.calls) == (Fate.NOT_SENT, [])
    assert sink.decisions == [("flow", "ask"), ("flow", "deny")]


@pytest.mark.parametrize("end", [Run.close, Run.stop])
async def test_a_call_that_was_held_does_not_go_out_after_its_run_ended(end: Any) -> None:
    """Design: the kill switch. A person who approves too late sends nothing."""
    gate, sink, wire = Gate(), RecordingSink(), Wire()
    outer = Run()
    asking = Checking(lambda call: Ask("sure", reason="a test"), can_ask=True)
    guarded = chain(asking, ScriptedApprover().waits_for(gate).approves(), sinks=[sink])
    results: list[Result] = []

    async def send() -> None:
        results.append(await guarded(tool_call(run=Run(parent=outer)), wire))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await gate.reached()
        end(outer)
        gate.open()
    denial = results[0].denial
    assert denial is not None
    assert (denial.code, denial.source) == (outer.ended, "guard")
    assert (results[0].fate, wire.calls) == (Fate.NOT_SENT, [])
    assert sink.last("decision").code == outer.ended


async def test_a_call_that_is_under_way_when_its_run_ends_is_answered() -> None:
    """Calls already sent are not called back."""
    run = Run()

    async def wire(call: Call) -> Result:
        run.stop()
        return OK

    assert await chain(passing())(tool_call(run=run), wire) is OK


async def test_a_review_shows_a_result_to_every_filter_and_to_nothing_else() -> None:
    """The SDK's own inner listings cost nothing, and cannot fail a call that has completed."""
    log: list[str] = []
    chains = linked(Tracing("a", log), Tracing("b", log), denying(handles=EVERY_REQUEST))
    guarded = chains.chain("tools/list", "outbound")
    assert guarded.review(Call(id="1", method="tools/list"), OK) is OK
    assert log == ["b!", "a!"]


async def test_a_preview_asks_every_check_and_nothing_else() -> None:
    """`explain` and embedded requests: no layer, no wire."""
    log: list[str] = []
    rewritten = {"name": "read", "arguments": {"a": 1}}
    rewriting = Checking(lambda call: ALLOW if call.params == rewritten else Rewrite(rewritten))
    guarded = chain(Tracing("a", log), rewriting, Tracing("b", log))
    admitted = guarded.admit(tool_call())
    assert isinstance(admitted, Call)
    assert admitted.params == rewritten
    assert log == ["a?", "b?", "a?"]
    refused = chain(passing(), allowing(), passing(), denying()).admit(tool_call())
    assert isinstance(refused, Denial)


async def test_a_translation_that_fails_leaves_the_record_as_the_agent_said_it() -> None:
    """Its layer fails as well, and that denies."""

    class Lost(Around):
        def aim(self, call: Call) -> str | None:
            raise KeyError("canary")

    async def fail(call: Call, call_next: CallNext) -> Result:
        raise KeyError("canary")

    sink = RecordingSink()
    result = await chain(Lost(fail, translates=True), sinks=[sink])(tool_call("read"), Wire())
    assert result.denial is not None
    assert sink.last("received").target == "read"
    assert sink.last("completed").code == "interceptor_failed"
