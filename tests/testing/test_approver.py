"""Answers, from a script, to the questions that checks ask."""

import anyio
import pytest
from chains import OK, Checking, Wire, chain, tool_call

from mcpguard import Ask, Result
from mcpguard.testing import Gate, ScriptedApprover, check_interceptor

pytestmark = pytest.mark.anyio


def asking() -> Checking:
    """Ask about every call."""
    return Checking(lambda call: Ask("sure", reason="a test"), can_ask=True, id="flow")


def code(result: Result) -> str | None:
    """The code of a refusal."""
    return None if result.denial is None else result.denial.code


async def test_answers_are_given_in_turn_and_the_last_repeats() -> None:
    """Like the script of a fake server."""
    approver = ScriptedApprover().denies("no").edits({"a": 2}).approves()
    guarded, wire = chain(asking(), approver), Wire()
    codes = [code(await guarded(tool_call(a=1), wire)) for _ in range(4)]
    assert codes == ["approval_denied", None, None, None]
    assert [call.arguments for call in wire.calls] == [{"a": 2}, {"a": 1}, {"a": 1}]


async def test_without_an_answer_every_question_is_refused() -> None:
    """Fail closed, in tests too."""
    result = await chain(asking(), ScriptedApprover())(tool_call(), Wire())
    assert result.denial is not None
    assert (result.denial.code, result.denial.reason) == ("approval_denied", "the script has no answer")


async def test_it_remembers_what_it_was_asked_and_about_which_call() -> None:
    """One answer settles all questions of a call."""
    approver = ScriptedApprover().approves()
    second = Checking(lambda call: Ask("really", reason="a test"), can_ask=True, id="other")
    await chain(asking(), second, approver)(tool_call(a=1), Wire())
    assert approver.codes == [("sure", "really")]
    (asked,) = approver.asked
    assert asked.call.arguments == {"a": 1}
    assert [question.source for question in asked.questions] == ["flow", "other"]


async def test_a_call_that_nobody_asks_about_takes_no_answer() -> None:
    """It passes."""
    approver = ScriptedApprover().denies()
    assert await chain(approver)(tool_call(), Wire()) is OK
    assert approver.asked == []


async def test_an_answer_may_wait_until_the_test_lets_it_go() -> None:
    """People take their time; tests do not sleep."""
    gate, done = Gate(), anyio.Event()
    approver, wire = ScriptedApprover().waits_for(gate).approves(), Wire()

    async def send() -> None:
        await chain(asking(), approver)(tool_call(), wire)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await gate.reached()
        assert (wire.calls, done.is_set()) == ([], False)
        gate.open()
        await done.wait()
    assert len(wire.calls) == 1


async def test_in_audit_mode_it_does_not_wait() -> None:
    """`call.enforced` tells it; the gate is never opened."""
    trial = ScriptedApprover(mode="audit", id="trial").waits_for(Gate()).approves()
    real = ScriptedApprover().approves()
    assert await chain(asking(), trial, real)(tool_call(), Wire()) is OK
    assert len(trial.asked) == 1


async def test_it_keeps_the_contract_itself() -> None:
    """A fake that breaks the rules would teach them wrong."""
    await check_interceptor(lambda: ScriptedApprover().denies().edits({"path": "x"}).approves())
