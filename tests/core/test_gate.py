"""Gates: every check runs, Deny beats Ask, and a rewrite is judged again."""

from itertools import pairwise
from typing import Any

import pytest
from chains import (
    OK,
    TOOLS,
    Around,
    Checking,
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

from mcpguard import ALLOW, Allow, Ask, Call, Deny, Fate, Result, Rewrite, Verdict
from mcpguard.testing import RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio


def renaming(before: str, after: str, **values: Any) -> Checking:
    """Call another tool than the one that was asked for."""

    def check(call: Call) -> Verdict:
        return Rewrite({**call.params, "name": after}) if call.target == before else ALLOW

    return Checking(check, **values)


def asking(code: str = "sure", **values: Any) -> Checking:
    """Ask about every call."""
    return Checking(lambda call: Ask(code, reason="a test"), can_ask=True, **values)


def asking_about(name: str, **values: Any) -> Checking:
    """Ask about one tool."""

    def check(call: Call) -> Verdict:
        return Ask("sure", reason="a test") if call.target == name else ALLOW

    return Checking(check, can_ask=True, **values)


def code(result: Result) -> str | None:
    """The code of a refusal."""
    return None if result.denial is None else result.denial.code


async def test_every_check_runs_and_the_first_refusal_is_told() -> None:
    """Design, "Verdicts": the record shows all that spoke against a call."""
    sink = RecordingSink()
    checks = [allowing(), denying(code="one", id="a"), asking(id="b"), denying(code="two", id="c")]
    result = await chain(*checks, ScriptedApprover(), sinks=[sink])(tool_call(), Wire())
    assert code(result) == "one"
    assert sink.codes == ["one", "sure", "two"]
    assert [len(check.seen) for check in checks] == [1, 1, 1, 1]


async def test_a_refusal_has_two_texts_and_a_time() -> None:
    """One for the operator, one for the model."""
    deny = Deny("busy", reason="rule 7", message="Later.", retry_after=4.0)
    result = await chain(Checking(lambda call: deny))(tool_call(), Wire())
    assert result.denial is not None
    told = (result.denial.reason, result.denial.message, result.retry_after, result.denial.source)
    assert told == ("rule 7", "Later.", 4.0, "checking")


GARBAGE: list[Any] = [None, True, False, "allow", Deny, object(), Rewrite(None), Rewrite("x"), Rewrite([1])]  # type: ignore[arg-type]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: type(value).__name__)
async def test_a_check_that_returns_no_verdict_denies(garbage: object) -> None:
    """Design, "Fail closed": `None` is never allow; a rewrite to no mapping is no rewrite."""
    sink, wire = RecordingSink(), Wire()
    result = await chain(Checking(lambda call: garbage), allowing(), sinks=[sink])(tool_call(), wire)
    assert code(result) == "interceptor_failed"
    assert wire.calls == []
    assert sink.last("interceptor_failed").reason == "the check of checking did not return a verdict"


async def test_a_check_that_raises_denies_and_shows_nothing_of_it() -> None:
    """Design, "Fail closed"; an exception's text may hold an argument."""
    sink, wire = RecordingSink(), Wire()
    result = await chain(allowing(), Checking(raising(ValueError("canary"))), sinks=[sink])(tool_call(), wire)
    assert result.denial is not None
    assert result.denial.reason == "the check of checking raised ValueError"
    assert wire.calls == []
    assert not any("canary" in text for text in [*sink.texts, repr(result)])


@pytest.mark.parametrize("check", [raising(ValueError()), lambda call: None])
async def test_a_check_that_fails_after_another_denied_is_recorded_too(check: Any) -> None:
    """All checks run, whatever they do."""
    sink = RecordingSink()
    result = await chain(denying(), Checking(check, id="late"), sinks=[sink])(tool_call(), Wire())
    assert code(result) == "not_here"
    assert sink.last("interceptor_failed").interceptor == "late"


@pytest.mark.parametrize("check", [raising(ValueError("x")), lambda call: None])
@pytest.mark.parametrize("others", [[], [allowing]])
async def test_a_check_that_fails_open_lets_the_call_pass(check: Any, others: list[Any]) -> None:
    """A named choice; the failure is recorded."""
    sink = RecordingSink()
    checks = [make() for make in others]
    guarded = chain(*checks, Checking(check, fail_open=True), *[make() for make in others], sinks=[sink])
    assert await guarded(tool_call(), Wire()) is OK
    assert len(sink.of("interceptor_failed")) == 1


async def test_failing_open_does_not_undo_anybody_elses_refusal() -> None:
    """It is about its own failure only."""
    checks = [denying(), Checking(raising(ValueError()), fail_open=True)]
    assert code(await chain(*checks)(tool_call(), Wire())) == "not_here"
    assert code(await chain(*reversed(checks))(tool_call(), Wire())) == "not_here"


async def test_an_allow_of_ones_own_making_is_an_allow() -> None:
    """`ALLOW` is only the quick way to say it."""
    first = Checking(lambda call: Allow())
    assert await chain(first, allowing())(tool_call(), Wire()) is OK


async def test_a_rewrite_reaches_the_wire_and_the_record() -> None:
    """The event holds a reason, not the parameters."""
    sink, wire = RecordingSink(), Wire()
    rewrite = Rewrite({"name": "read", "arguments": {"path": "canary"}}, reason="path made absolute")
    guarded = chain(
        Checking(lambda call: rewrite if call.round == 0 and "path" not in call.arguments else ALLOW, id="r"),
        sinks=[sink],
    )
    await guarded(tool_call(), wire)
    assert wire.params == [rewrite.params]
    assert sink.decisions == [("r", "rewrite")]
    assert sink.last("decision").reason == "path made absolute"
    assert "canary" not in repr(rewrite)
    received, dispatched = sink.last("received"), sink.last("dispatched")
    assert received.arguments_digest != dispatched.arguments_digest


@pytest.mark.parametrize("between", [[], [passing]])
async def test_a_rewrite_is_judged_again_by_the_checks_that_had_passed(between: list[Any]) -> None:
    """A rewrite that names a tool an earlier check denies does not get past it."""
    sink, wire = RecordingSink(), Wire()
    access = denying("delete", id="access")
    layers = [make() for make in between]
    result = await chain(access, *layers, renaming("read", "delete"), sinks=[sink])(tool_call(), wire)
    assert code(result) == "not_here"
    assert wire.calls == []
    assert [call.target for call in access.seen] == ["read", "delete"]


async def test_checks_further_in_judge_the_rewritten_call_once() -> None:
    """They have seen no other."""
    later = denying("delete", id="later")
    result = await chain(renaming("read", "write"), later)(tool_call(), Wire())
    assert result is OK
    assert [call.target for call in later.seen] == ["write"]


async def test_a_check_that_rewrote_judges_the_rewrites_of_others() -> None:
    """Having rewritten a call is no reason to be left out when it is rewritten again."""

    def check(call: Call) -> Verdict:
        if call.target == "delete":
            return Deny("not_here", reason="a test")
        if "limit" not in call.arguments:
            return Rewrite({**call.params, "arguments": {**call.arguments, "limit": 1}})
        return ALLOW

    wire = Wire()
    assert code(await chain(Checking(check), renaming("read", "delete"))(tool_call(), wire)) == "not_here"
    assert code(await chain(Checking(check), renaming("read", "write"))(tool_call(), wire)) is None
    assert wire.params == [{"name": "write", "arguments": {"limit": 1}}]


async def test_rewrites_that_go_on_for_ever_are_a_conflict() -> None:
    """Judged again once: what would rewrite the rewritten call otherwise again is refused."""
    sink, wire = RecordingSink(), Wire()
    guarded = chain(renaming("b", "a", id="one"), renaming("a", "b", id="two"), sinks=[sink])
    result = await guarded(tool_call("b"), wire)
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("rewrite_conflict", "one")
    assert wire.calls == []


async def test_a_rewrite_to_what_a_call_already_is_conflicts_with_nothing() -> None:
    """A check that always pins the same arguments may say so every time it is asked."""
    pinned = Checking(lambda call: Rewrite({**call.params, "arguments": {"limit": 1}}))
    wire = Wire()
    assert await chain(pinned, renaming("read", "write"))(tool_call(), wire) is OK
    assert wire.params == [{"name": "write", "arguments": {"limit": 1}}]


async def test_a_rewrite_after_a_refusal_changes_nothing() -> None:
    """A check that gets a denied call cannot make it another one that is allowed."""
    wire = Wire()
    result = await chain(denying("delete"), renaming("delete", "read"))(tool_call("delete"), wire)
    assert code(result) == "not_here"
    assert wire.calls == []


async def test_parameters_changed_in_place_and_handed_back_are_judged_again() -> None:
    """Values are frozen by contract; a check that changes them anyway gains nothing by it."""

    def check(call: Call) -> Verdict:
        params: Any = call.params
        if params["name"] == "delete":
            return ALLOW
        params["name"] = "delete"
        return Rewrite(params)

    wire = Wire()
    assert code(await chain(denying("delete"), Checking(check))(tool_call(), wire)) == "not_here"
    assert wire.calls == []


async def test_an_earlier_check_that_fails_on_the_rewritten_call_denies() -> None:
    """Judging again fails closed too."""

    def check(call: Call) -> Verdict:
        if call.target == "write":
            raise ValueError
        return ALLOW

    guarded = chain(Checking(check), renaming("read", "write"))
    assert code(await guarded(tool_call(), Wire())) == "interceptor_failed"


async def test_what_a_rewrite_makes_others_ask_is_asked() -> None:
    """An earlier check that had allowed the call as it was may ask about it as it is."""
    approver, wire = ScriptedApprover().approves(), Wire()
    guarded = chain(asking_about("write"), renaming("read", "write"), approver)
    assert await guarded(tool_call(), wire) is OK
    assert approver.codes == [("sure",)]
    assert approver.asked[0].call.target == "write"


async def test_questions_are_collected_and_asked_together() -> None:
    """Design, "Verdicts": Approval resolves collected asks; one person, one question."""
    approver, wire, sink = ScriptedApprover().approves(), Wire(), RecordingSink()
    guarded = chain(asking("one", id="a"), passing(), asking("two", id="b"), approver, sinks=[sink])
    assert await guarded(tool_call(), wire) is OK
    assert approver.codes == [("one", "two")]
    assert [question.source for question in approver.asked[0].questions] == ["a", "b"]
    assert [question.source for question in wire.calls[0].approved] == ["a", "b"]
    assert wire.calls[0].asks == ()
    assert sink.decisions == [("a", "ask"), ("b", "ask")]


async def test_a_question_is_asked_once_however_often_a_check_is() -> None:
    """Judging a rewrite again repeats checks, not questions."""
    approver = ScriptedApprover().approves()
    guarded = chain(asking("one"), renaming("read", "write"), approver)
    assert await guarded(tool_call(), Wire()) is OK
    assert approver.codes == [("one",)]


async def test_asking_without_having_said_so_denies() -> None:
    """Nobody is there to answer, or it would have been found out when the guard was built."""
    sink, wire = RecordingSink(), Wire()
    result = await chain(Checking(lambda call: Ask("sure", reason="a test"), id="x"), sinks=[sink])(
        tool_call(), wire
    )
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("approval_required", "x")
    assert "Do not repeat it" in result.denial.message
    assert wire.calls == []


async def test_a_check_cannot_ask_in_another_name() -> None:
    """The chain fills in who asked; a forged source would pass as answered already."""
    forged = Ask("sure", reason="a test", source="trusted")
    approver = ScriptedApprover().approves()
    await chain(Checking(lambda call: forged, can_ask=True, id="mine"), approver)(tool_call(), Wire())
    assert approver.asked[0].questions[0].source == "mine"


async def test_what_a_person_approved_is_not_approved_after_a_rewrite() -> None:
    """Design: an approval is bound to the exact arguments."""
    wire = Wire()
    approver = ScriptedApprover().approves()
    guarded = chain(asking(id="flow"), approver, renaming("read", "delete"))
    result = await guarded(tool_call(), wire)
    assert approver.asked[0].call.target == "read"
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("approval_required", "flow")
    assert wire.calls == []


async def test_a_rewrite_after_an_approval_that_nobody_would_ask_about_goes_on() -> None:
    """The question was about the other call, and has been settled."""
    wire = Wire()
    guarded = chain(asking_about("read"), ScriptedApprover().approves(), renaming("read", "list"))
    assert await guarded(tool_call(), wire) is OK
    assert [call.target for call in wire.calls] == ["list"]


async def test_edited_arguments_are_judged_again_and_not_asked_about_again() -> None:
    """Design, "Verdicts": edited arguments restart admission once."""

    def paths(call: Call) -> Verdict:
        return Deny("bad_path", reason="a test") if call.arguments.get("path") == "/etc" else ALLOW

    wire = Wire()
    approver = ScriptedApprover().edits({"path": "/tmp"}).edits({"path": "/etc"})  # noqa: S108 - a name
    rules = Checking(paths)
    guarded = chain(rules, asking(), approver)
    assert await guarded(tool_call(path="/home"), wire) is OK
    assert wire.params == [{"name": "read", "arguments": {"path": "/tmp"}}]  # noqa: S108 - a name
    assert code(await guarded(tool_call(path="/home"), wire)) == "bad_path"
    assert len(wire.calls) == 1


async def test_edited_arguments_that_raise_another_question_are_refused() -> None:
    """The person has answered; what they made of the call needs somebody else."""

    def check(call: Call) -> Verdict:
        return Ask("big_path", reason="a test") if call.arguments.get("path") == "/" else ALLOW

    wire = Wire()
    guarded = chain(Checking(check, can_ask=True), asking(), ScriptedApprover().edits({"path": "/"}))
    assert code(await guarded(tool_call(path="/tmp"), wire)) == "approval_required"  # noqa: S108 - a name
    assert wire.calls == []


async def test_notifications_meet_their_checks_and_nothing_else() -> None:
    """Design, "Hooks": synchronous, because the receive path must not block."""
    handles = {*TOOLS, ("notifications/message", "inbound")}
    gate = linked(denying(id="a", handles=handles), passing()).gate("notifications/message", "inbound")
    assert gate is not None
    call = Call(id="1", method="notifications/message", direction="inbound")
    denial = gate.admit(call)
    assert not isinstance(denial, Call)
    assert (denial.code, denial.source) == ("not_here", "a")


async def test_what_an_auditing_check_says_of_a_notification_drops_nothing() -> None:
    """`mode="audit"` holds for one-way messages too; what it changes in place is a copy."""
    handles = {("notifications/message", "inbound")}

    def check(call: Call) -> Verdict:
        params: Any = call.params
        params["data"] = "spoilt"
        return Deny("no", reason="a test")

    sink = RecordingSink()
    gate = linked(Checking(check, mode="audit", handles=handles), sinks=[sink]).gate(
        "notifications/message", "inbound"
    )
    assert gate is not None
    call = Call(id="1", method="notifications/message", params={"data": "fine"}, direction="inbound")
    assert gate.admit(call) is call
    assert call.params == {"data": "fine"}
    assert [(event.verdict, event.mode) for event in sink.events] == [("deny", "audit")]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), st.sampled_from("abcd"))
async def test_nothing_a_check_denies_reaches_the_wire(names: list[str], start: str) -> None:
    """Whatever rewrites follow, and however they stand."""
    interceptors: list[Any] = [denying("d"), allowing()]
    for number, (before, after) in enumerate(pairwise(names)):
        interceptors.append(renaming(before, after))
        if number % 2:
            interceptors.append(Around(lambda call, call_next: call_next(call)))
    wire = Wire()
    result = await chain(*interceptors)(tool_call(start), wire)
    assert all(call.target != "d" for call in wire.calls)
    assert (result.denial is None) is (result is OK)
    assert result.denial is None or result.fate is Fate.NOT_SENT


async def test_without_a_sink_a_failing_interceptor_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes one would look for long otherwise; with a sink the record has it."""
    broken = Checking(lambda call: None, id="mine")
    await chain(broken)(tool_call(), Wire())
    assert [record.message for record in caplog.records] == ["the check of mine did not return a verdict"]
    caplog.clear()
    await chain(broken, sinks=[RecordingSink()])(tool_call(), Wire())
    assert caplog.records == []
