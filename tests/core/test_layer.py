"""Layers: what they may do, and what the chain makes of one that does something else."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from chains import (
    FAILED,
    LOST,
    OK,
    UNSENT,
    Around,
    Checking,
    Wire,
    allowing,
    chain,
    denying,
    passing,
    tool_call,
)
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import ALLOW, Ask, Call, Denial, Fate, Outcome, Principal, Result, Run, ToolFacts
from mcpguard.core.interceptor import CallNext
from mcpguard.core.timer import Timer
from mcpguard.testing import RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio

OTHER: dict[str, Any] = {
    "id": "call-2",
    "method": "prompts/get",
    "direction": "inbound",
    "server": "other",
    "principal": Principal(user="eve"),
    "run": Run(),
    "round": 1,
    "tool": ToolFacts("read", {}),
    "parent": "call-0",
    "enforced": False,
    "explained": True,
    "timer": Timer(),
}
"""What a layer must not change, each with another value."""


def remade(call: Call, **changes: Any) -> Call:
    """A call made anew, as a layer without `replace` would do it."""
    return Call(**{**{name: getattr(call, name) for name in call.__dataclass_fields__}, **changes})


def denied(result: Result) -> Denial:
    """The denial of a result."""
    assert result.denial is not None
    return result.denial


async def failing(layer: Callable[..., Any], *others: Any, wire: Wire | None = None, **values: Any) -> Wire:
    """Send a call through a layer that must fail; returns what the wire saw."""
    wire, sink = wire or Wire(), RecordingSink()
    result = await chain(*others, Around(layer, id="bad", **values), sinks=[sink])(tool_call(), wire)
    assert (denied(result).code, denied(result).source) == ("interceptor_failed", "bad")
    assert sink.last("interceptor_failed").interceptor == "bad"
    assert sink.last("completed").code == "interceptor_failed"
    return wire


async def test_a_layer_may_change_parameters_and_the_result() -> None:
    """That is what it is for; both are recorded."""
    sink, wire = RecordingSink(), Wire()

    async def layer(call: Call, call_next: CallNext) -> Result:
        result = await call_next(call.replace(params={"name": "read", "arguments": {"a": 2}}))
        return result.replace(value={"content": [], "isError": True})

    result = await chain(Around(layer, id="mine"), sinks=[sink])(tool_call(a=1), wire)
    assert wire.params == [{"name": "read", "arguments": {"a": 2}}]
    assert (result.outcome, result.fate) == (Outcome.TOOL_ERROR, Fate.ANSWERED)
    assert sink.decisions == [("mine", "rewrite"), ("mine", "change")]


async def test_a_layer_may_refuse_under_its_own_name() -> None:
    """`call.denied` has no source: the chain knows who it was."""
    sink, wire = RecordingSink(), Wire()

    async def layer(call: Call, call_next: CallNext) -> Result:
        return call.denied(code="full", reason="a test", message="Full.", retry_after=1.5)

    result = await chain(Around(layer, id="mine"), sinks=[sink])(tool_call(), wire)
    assert (denied(result).code, denied(result).source, denied(result).message) == ("full", "mine", "Full.")
    assert (result.fate, result.retry_after, wire.calls) == (Fate.NOT_SENT, 1.5, [])
    assert (sink.last("decision").code, sink.last("decision").retry_after) == ("full", 1.5)


async def test_a_refusal_from_further_in_keeps_its_source_and_is_recorded_once() -> None:
    """Each layer on the way out hands it on."""
    sink = RecordingSink()
    guarded = chain(passing(id="a"), passing(id="b"), denying(id="inner"), sinks=[sink])
    result = await guarded(tool_call(), Wire())
    assert denied(result).source == "inner"
    assert sink.decisions == [("inner", "deny")]


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_layer_cannot_refuse_in_another_name_or_lie_about_how_far_it_got(
    fate: Fate, goes_on: bool
) -> None:
    """A forged `guard`, or a call that was sent and given back to the budget as not sent."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        if goes_on:
            await call_next(call)
        return Result.denied(Denial("x", reason="r", message="m", source="guard"), fate=fate)

    result = await chain(Around(layer, id="mine"))(tool_call(), Wire())
    assert denied(result).source == "mine"
    assert result.fate is (Fate.ANSWERED if goes_on else Fate.NOT_SENT)


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize(
    ("answer", "reached"), [(OK, Fate.ANSWERED), (LOST, Fate.SENT), (UNSENT, Fate.NOT_SENT)]
)
async def test_a_layer_cannot_lie_about_how_far_a_changed_result_got(
    fate: Fate, answer: Result, reached: Fate
) -> None:
    """Nobody re-derives fate, so nobody may make it up."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        return Result(outcome=Outcome.OK, fate=fate, value={"content": []})

    assert (await chain(Around(layer))(tool_call(), Wire(answer))).fate is reached


async def test_an_answer_that_was_not_fetched_was_not_sent() -> None:
    """A cache's answer costs no budget, whatever `Result.of` assumes."""

    async def cached(call: Call, call_next: CallNext) -> Result:
        return Result.of({"content": []})

    result = await chain(Around(cached))(tool_call(), Wire())
    assert (result.outcome, result.fate) == (Outcome.OK, Fate.NOT_SENT)


async def test_a_layer_that_gives_up_on_a_call_under_way_cannot_say_it_was_not_sent() -> None:
    """A deadline ends the waiting, not what the server does."""
    under_way = anyio.Event()

    async def wire(call: Call) -> Result:
        under_way.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def deadline(call: Call, call_next: CallNext) -> Result:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when, under_way, tasks.cancel_scope)
            await call_next(call)
        return call.denied(code="deadline", reason="a test")

    result = await chain(Around(deadline))(tool_call(), wire)
    assert (denied(result).code, result.fate) == ("deadline", Fate.SENT)


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@pytest.mark.parametrize(
    "garbage", [None, "fine", {}, Result(outcome=Outcome.DENIED, fate=Fate.SENT)], ids=repr
)
@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_layer_that_returns_garbage_denies(garbage: Any, goes_on: bool) -> None:
    """Design, "Fail closed"."""

    async def layer(call: Call, call_next: CallNext) -> Any:
        if goes_on:
            await call_next(call)
        return garbage

    assert len((await failing(layer)).calls) == goes_on


async def test_a_layer_that_raises_denies_and_shows_nothing_of_it() -> None:
    """An exception's text may hold an argument."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        raise ValueError(f"canary {call.arguments}")

    sink = RecordingSink()
    result = await chain(Around(layer), sinks=[sink])(tool_call(), Wire())
    assert denied(result).reason == "the layer of around raised ValueError"
    assert not any("canary" in text for text in [*sink.texts, repr(result)])


@pytest.mark.parametrize(
    ("answer", "fate"),
    [(OK, Fate.ANSWERED), (FAILED, Fate.ANSWERED), (LOST, Fate.SENT), (UNSENT, Fate.NOT_SENT)],
)
async def test_a_layer_that_raises_after_going_on_denies_and_knows_how_far_it_got(
    answer: Result, fate: Fate
) -> None:
    """The call was made, and the budget must know it."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        raise ValueError

    result = await chain(Around(layer))(tool_call(), Wire(answer))
    assert (denied(result).code, result.fate) == ("interceptor_failed", fate)


async def test_an_error_while_the_call_was_under_way_counts_as_sent() -> None:
    """Whether the server has it is unknown."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call_next(call)
        raise ValueError

    async def wire(call: Call) -> Result:
        await anyio.sleep_forever()
        raise AssertionError

    result = await chain(Around(layer))(tool_call(), wire)
    assert result.fate is Fate.SENT
    lenient = await chain(Around(layer, fail_open=True))(tool_call(), wire)
    assert (lenient.outcome, lenient.fate) == (Outcome.DENIED, Fate.SENT)


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_layer_that_fails_open_lets_the_call_pass_once(goes_on: bool, raises: bool) -> None:
    """A named choice; what has been sent is not sent again."""

    async def layer(call: Call, call_next: CallNext) -> Any:
        if goes_on:
            await call_next(call)
        if raises:
            raise ValueError
        return None

    wire, sink = Wire(), RecordingSink()
    assert await chain(Around(layer, fail_open=True), sinks=[sink])(tool_call(), wire) is OK
    assert len(wire.calls) == 1
    assert len(sink.of("interceptor_failed")) == 1


async def test_a_layer_that_fails_open_after_its_rewrite_was_refused_stays_refused() -> None:
    """Failing open is about its own failure, not about what others refused."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call.replace(params={"name": "delete"}))
        raise ValueError

    wire = Wire()
    result = await chain(denying("delete"), Around(layer, fail_open=True))(tool_call(), wire)
    assert denied(result).code == "not_here"
    assert wire.calls == []


@pytest.mark.parametrize("member", OTHER)
@pytest.mark.parametrize("is_caught", [True, False])
async def test_a_layer_cannot_make_a_call_another_one(member: str, is_caught: bool) -> None:
    """Design, "Hooks": a call's id, method, run and principal are the guard's."""

    async def layer(call: Call, call_next: CallNext) -> Any:
        try:
            return await call_next(remade(call, **{member: OTHER[member]}))
        except Exception:
            if is_caught:
                return None
            raise

    assert (await failing(layer)).calls == []


async def test_a_layer_cannot_pass_on_its_shadow_of_a_call() -> None:
    """Further in, a call that is not enforced would be looked at and never refused."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.shadow())

    assert (await failing(layer)).calls == []


@pytest.mark.parametrize("garbage", [None, "call", {"method": "tools/call"}])
async def test_a_layer_cannot_pass_on_what_is_no_call(garbage: Any) -> None:
    """Nor what has no parameters."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(garbage)

    async def bare(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(params=garbage))

    assert (await failing(layer)).calls == []
    if not isinstance(garbage, dict):
        assert (await failing(bare)).calls == []


async def test_a_call_made_anew_with_the_same_members_may_go_on() -> None:
    """It is the members that count."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(remade(call))

    assert await chain(Around(layer))(tool_call(), Wire()) is OK


@pytest.mark.parametrize("changes", [{"asks": ()}, {"approved": (Ask("sure", reason="r", source="flow"),)}])
async def test_a_layer_that_answers_no_questions_cannot_drop_or_approve_them(changes: Any) -> None:
    """Else any layer could stand in for the person."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(**changes))

    asking = Checking(lambda call: Ask("sure", reason="a test"), id="flow", can_ask=True)
    wire, approver = Wire(), ScriptedApprover().approves()
    result = await chain(asking, Around(layer, id="bad"), approver)(tool_call(), wire)
    assert (denied(result).code, denied(result).source) == ("interceptor_failed", "bad")
    assert (wire.calls, approver.asked) == ([], [])


async def test_an_approver_that_forgets_a_question_lets_nothing_out() -> None:
    """What is still open at the inner end is refused."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(asks=call.asks[:1]))

    asking = [Checking(lambda call: Ask("a", reason="r"), can_ask=True, id=name) for name in ("one", "two")]
    wire = Wire()
    result = await chain(*asking, Around(layer, resolves_asks=True))(tool_call(), wire)
    assert (denied(result).code, denied(result).source) == ("approval_required", "one")
    assert wire.calls == []


async def test_a_layer_goes_on_once() -> None:
    """Design, "Hooks": at most once unless it declares that it repeats."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        return await call_next(call)

    assert len((await failing(layer)).calls) == 1


async def test_a_layer_that_goes_on_twice_at_once_goes_on_once() -> None:
    """Two tasks, one call: the second is refused before anything goes out."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call_next, call)
            tasks.start_soon(call_next, call)
        return OK

    assert len((await failing(layer)).calls) <= 1


async def test_a_layer_that_catches_the_error_of_its_second_call_has_the_first_result() -> None:
    """The contract is kept: one call went out."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        result = await call_next(call)
        with pytest.raises(RuntimeError, match="around called next twice"):
            await call_next(call)
        return result

    wire = Wire()
    assert await chain(Around(layer))(tool_call(), wire) is OK
    assert len(wire.calls) == 1


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_layer_cannot_go_on_after_it_has_returned(repeats: bool, goes_on: bool) -> None:
    """A call that was refused must not go out behind the caller's back."""
    kept: list[tuple[Call, CallNext]] = []

    async def layer(call: Call, call_next: CallNext) -> Result:
        kept.append((call, call_next))
        return await call_next(call) if goes_on else call.denied(code="full", reason="a test")

    wire = Wire()
    await chain(Around(layer, repeats=repeats))(tool_call(), wire)
    call, call_next = kept[0]
    with pytest.raises(RuntimeError, match="called next after it had returned"):
        await call_next(call)
    assert len(wire.calls) == goes_on


async def test_a_layer_that_says_so_may_repeat() -> None:
    """Retry: every attempt is dispatched, the caller gets one result."""
    sink, wire = RecordingSink(), Wire(FAILED, LOST, OK)

    async def retry(call: Call, call_next: CallNext) -> Result:
        for _ in range(2):
            result = await call_next(call)
            if result.outcome is Outcome.OK:
                return result
        return await call_next(call)

    assert await chain(Around(retry, repeats=True), sinks=[sink])(tool_call(), wire) is OK
    assert len(sink.of("dispatched")) == 3
    assert len(sink.of("completed")) == 1
    assert sink.decisions == []


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize(
    ("first", "reached"), [(FAILED, Fate.ANSWERED), (LOST, Fate.SENT), (UNSENT, Fate.NOT_SENT)]
)
async def test_how_far_a_repeated_call_got_is_how_far_any_attempt_got(
    kept: int, first: Result, reached: Fate
) -> None:
    """A first attempt that was sent, and a second that a breaker refused: the call was sent."""
    attempts: list[str] = []

    def breaker(call: Call) -> Any:
        attempts.append("once")
        return ALLOW if len(attempts) == 1 else denying().check(call)

    async def retry(call: Call, call_next: CallNext) -> Result:
        return [await call_next(call), await call_next(call)][kept]

    guarded = chain(passing(), Around(retry, repeats=True), Checking(breaker, id="breaker"))
    result = await guarded(tool_call(), Wire(first))
    assert result.fate is reached
    assert result.outcome is (Outcome.DENIED if kept else first.outcome)
    assert result.denial is None or result.denial.source == "breaker"


@pytest.mark.parametrize("injects", [True, False])
async def test_what_a_layer_injects_is_kept_from_the_checks_further_out(injects: bool) -> None:
    """Credentials: the rules judged the call without them."""
    rules = Checking(lambda call: ALLOW)

    async def credentials(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(params={**call.params, "_meta": {"token": "canary"}}))

    wire = Wire()
    assert await chain(rules, Around(credentials, injects=injects))(tool_call(), wire) is OK
    assert [dict(call.params).get("_meta") for call in rules.seen] == (
        [None] if injects else [None, {"token": "canary"}]
    )


async def test_injecting_another_target_is_judged_again() -> None:
    """What is added is kept from the rules; which tool it goes to is not added."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(params={"name": "delete"}))

    wire = Wire()
    result = await chain(denying("delete"), Around(layer, injects=True))(tool_call(), wire)
    assert denied(result).code == "not_here"
    assert wire.calls == []


@pytest.mark.parametrize("injects", [True, False])
async def test_a_layer_that_rewrites_an_approved_call_needs_it_approved_again(injects: bool) -> None:
    """Design: an approval is bound to the exact arguments; what is only injected is not among them."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(params={**call.params, "_meta": {"a": 1}}))

    asking = Checking(lambda call: Ask("sure", reason="a test"), id="flow", can_ask=True)
    wire = Wire()
    guarded = chain(asking, ScriptedApprover().approves(), Around(layer, injects=injects))
    result = await guarded(tool_call(), wire)
    if injects:
        assert result is OK
    else:
        assert (denied(result).code, denied(result).source) == ("approval_required", "flow")
        assert wire.calls == []


async def test_a_layer_hands_out_what_a_denied_rewrite_gave_it() -> None:
    """The refusal is the earlier check's, not the layer's."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        return await call_next(call.replace(params={"name": "delete"}))

    sink = RecordingSink()
    result = await chain(denying("delete", id="access"), Around(layer), sinks=[sink])(tool_call(), Wire())
    assert denied(result).source == "access"
    assert sink.decisions == [("around", "rewrite"), ("access", "deny")]


async def test_a_layer_that_was_refused_one_rewrite_may_try_another() -> None:
    """Nothing has gone out yet."""

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call.replace(params={"name": "delete"}))
        return await call_next(call)

    wire = Wire()
    assert await chain(denying("delete"), Around(layer))(tool_call(), wire) is OK
    assert [call.target for call in wire.calls] == ["read"]


async def test_a_layer_that_swallows_cancellation_cannot_save_the_call() -> None:
    """The scope stays cancelled: what would wait next ends, on both event loops."""
    ended: list[str] = []

    async def layer(call: Call, call_next: CallNext) -> Result:
        try:
            return await call_next(call)
        except BaseException:
            ended.append("swallowed")
        return call.denied(code="cancelled", reason="a test")

    under_way = anyio.Event()

    async def wire(call: Call) -> Result:
        under_way.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def send() -> None:
        result = await chain(Around(layer), passing())(tool_call(), wire)
        ended.append(result.fate)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await under_way.wait()
        tasks.cancel_scope.cancel()
    assert ended == ["swallowed", Fate.SENT]


@given(st.lists(st.sampled_from(["pass", "twice", "raise", "none", "refuse", "late"]), max_size=5))
async def test_whatever_layers_do_a_call_goes_out_at_most_once(behaviours: list[str]) -> None:
    """One call of the agent is one message, unless a layer says that it repeats."""

    async def behave(word: str, call: Call, call_next: CallNext) -> Any:
        if word == "raise":
            raise ValueError
        if word == "refuse":
            return call.denied(code="no", reason="a test")
        result = await call_next(call)
        if word == "twice":
            return await call_next(call)
        if word == "late":
            raise ValueError
        return None if word == "none" else result

    layers = [Around(lambda call, nxt, word=word: behave(word, call, nxt)) for word in behaviours]
    wire = Wire()
    result = await chain(*layers, allowing())(tool_call(), wire)
    assert len(wire.calls) <= 1
    assert (result is OK) is all(word == "pass" for word in behaviours)
    assert (result.fate is Fate.NOT_SENT) is (not wire.calls)
