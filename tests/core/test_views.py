"""What a guard shows of itself: coverage, and how it would decide."""

from typing import Any

import pytest
from chains import (
    ADA,
    EVERYTHING,
    TOOLS,
    Checking,
    Filtering,
    allowing,
    denying,
    linked,
    passing,
    raising,
    tool_call,
)

from mcpguard import ALLOW, Ask, Call, Explanation, Interceptor, Rewrite
from mcpguard.core.call import refusal
from mcpguard.core.views import ConnectionView, StepView, covered, explained, statuses
from mcpguard.testing import FakeClock, ScriptedApprover


def explain(*interceptors: Interceptor, call: Call | None = None) -> Explanation:
    """How some interceptors would decide about a call."""
    return explained(call or tool_call(), linked(*interceptors).steps, FakeClock(), None)


def test_coverage_says_which_hook_stands_where() -> None:
    """Design: which interceptor handles which method and direction, in what order, in what mode."""
    first = allowing(id="first", handles=EVERYTHING)
    second = passing(mode="audit", fail_open=True)
    connection = ConnectionView("files", "session", is_shared=False, blind_spots=("something",))
    coverage = covered(linked(first, second).steps, [connection])
    assert coverage.connections == (connection,)
    check, layer = coverage.hooks
    assert (check.position, check.interceptor, check.name, check.hook) == (1, "first", "checking", "check")
    assert check.handles == tuple(sorted(EVERYTHING))
    assert (layer.position, layer.interceptor, layer.hook, layer.handles) == (
        2,
        "around",
        "layer",
        tuple(TOOLS),
    )
    assert (layer.mode, layer.fail_open) == ("audit", True)


def test_coverage_tells_whom_a_message_meets() -> None:
    """Outermost first, each once."""
    look = Filtering(lambda call, result: result, handles={("tools/list", "outbound")}, id="look")
    coverage = covered(linked(allowing(handles=EVERYTHING, id="all"), passing(id="calls"), look).steps, [])
    assert coverage.handling("tools/call") == ("all", "calls")
    assert coverage.handling("tools/list") == ("all", "look")
    assert coverage.handling("roots/list", "inbound") == ("all",)
    assert coverage.handling("notifications/message", "inbound") == ("all",)
    assert coverage.handling("ping") == ()


def test_a_hook_that_handles_nothing_is_not_covered() -> None:
    """An interceptor may narrow one of its hooks away."""

    class Both(Interceptor):
        handles = TOOLS
        filters = ()

        def check(self, call: Call) -> Any:
            return ALLOW

        def filter(self, call: Call, result: Any) -> Any:
            return result

    assert [hook.hook for hook in covered(linked(Both()).steps, []).hooks] == ["check"]


def test_an_explanation_says_what_each_hook_would_say() -> None:
    """Checks answer; layers and filters decide only once a call is under way."""
    explanation = explain(
        allowing(id="a"),
        denying(id="b"),
        passing(id="c"),
        denying(id="d", mode="audit"),
        allowing(id="elsewhere", handles={("ping", "outbound")}),
    )
    assert explanation.verdict == "deny"
    assert explanation.denial is not None
    assert explanation.denial.source == "b"
    assert explanation.steps == (
        StepView("a", "check", "enforce", "allow"),
        StepView("b", "check", "enforce", "deny", "not_here", "the test says so"),
        StepView("c", "layer", "enforce", "undecided"),
        StepView("d", "check", "audit", "allow"),
    )


def test_an_auditing_check_is_asked_and_not_obeyed() -> None:
    """Its step shows what it would have said."""
    explanation = explain(denying(id="trial", mode="audit"))
    assert (explanation.verdict, explanation.denial) == ("allow", None)
    assert explanation.steps[0].verdict == "deny"


def test_a_question_is_an_answer_of_its_own() -> None:
    """As far as checks go: the approver is a layer."""
    asking = Checking(lambda call: Ask("sure", reason="a test"), can_ask=True, id="flow")
    explanation = explain(asking, ScriptedApprover())
    assert explanation.verdict == "ask"
    assert [step.verdict for step in explanation.steps] == ["ask", "undecided"]
    assert explanation.steps[0].code == "sure"


def test_a_rewrite_is_followed() -> None:
    """Later checks judge the call that would go out."""
    rewriting = Checking(
        lambda call: ALLOW if call.target == "delete" else Rewrite({"name": "delete"}), id="r"
    )
    explanation = explain(rewriting, denying("delete", id="d"))
    assert [(step.interceptor, step.verdict) for step in explanation.steps] == [
        ("r", "rewrite"),
        ("d", "deny"),
    ]
    assert explanation.verdict == "deny"


@pytest.mark.parametrize(("fail_open", "verdict"), [(True, "failed"), (False, "deny")])
def test_a_check_that_fails_is_shown_to_fail(fail_open: bool, verdict: str) -> None:
    """Better found out here than in production."""
    broken = Checking(raising(ValueError("canary")), fail_open=fail_open)
    explanation = explain(broken)
    assert explanation.steps[0].verdict == verdict
    assert explanation.verdict == ("allow" if fail_open else "deny")
    assert "canary" not in repr(explanation)


def test_what_the_guard_itself_refuses_comes_first() -> None:
    """A run that ended, whatever the checks say."""
    denial = refusal(code="run_closed", reason="a test", source="guard")
    explanation = explained(tool_call(), linked(denying()).steps, FakeClock(), denial)
    assert (explanation.verdict, explanation.denial) == ("deny", denial)
    assert len(explanation.steps) == 1


def test_nothing_handles_what_nobody_names() -> None:
    """Then there is nothing to explain."""
    call = Call(id="1", method="ping", principal=ADA)
    assert explain(denying(), call=call) == Explanation("allow", None, ())


def test_two_interceptors_of_one_name_are_both_shown() -> None:
    """Neither hides what the other says or holds."""
    first, second = allowing(), denying("read")
    named = allowing(id="checking#2")
    third = passing()
    steps = linked(first, named, second, third).steps
    explanation = explained(tool_call(), steps, FakeClock(), None)
    shown = [(step.interceptor, step.verdict) for step in explanation.steps]
    assert shown == [
        ("checking", "allow"),
        ("checking#2", "allow"),
        ("checking#3", "deny"),
        ("around", "undecided"),
    ]
    assert explanation.denial is not None
    assert explanation.denial.source == "checking#3"
    assert [one.label for one in (first, second)] == ["checking", "checking"]
    assert covered(steps, ()).handling("tools/call") == ("checking", "checking#2", "checking#3", "around")
    assert list(statuses([first, named, second])) == ["checking", "checking#2", "checking#3"]


def test_an_interceptor_that_fails_over_its_status_hides_no_others() -> None:
    """It says that it fails, without a value."""

    class Broken(Checking):
        def status(self) -> Any:
            raise RuntimeError("canary")

    class Empty(Checking):
        def status(self) -> Any:
            return None

    class Fine(Checking):
        def status(self) -> Any:
            return {"held": 1}

    assert statuses([Broken(lambda _: ALLOW), Empty(lambda _: ALLOW), Fine(lambda _: ALLOW)]) == {
        "broken": {"failed": "status raised RuntimeError"},
        "empty": {"failed": "status raised TypeError"},
        "fine": {"held": 1},
    }
