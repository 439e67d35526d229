"""From a list of interceptors to hooks in order."""

from typing import Any

import pytest
from chains import EVERYTHING, TOOLS, Around, Checking, Filtering, allowing, denying, passing
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import ALLOW, Call, GuardBuildError, Interceptor, OrderError, Place, Result, Verdict
from mcpguard.core.chain import Hook
from mcpguard.core.interceptor import CallNext
from mcpguard.core.order import arrange, covers, handled, handles
from mcpguard.testing import ScriptedApprover


class Everything(Interceptor):
    """All three hooks."""

    handles = TOOLS

    def check(self, call: Call) -> Verdict:
        return ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        return result

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return await call_next(call)


def shape(*interceptors: Interceptor) -> list[tuple[str, Hook]]:
    """Labels and hooks in order."""
    return [(step.interceptor.label, step.hook) for step in arrange(interceptors)]


def test_an_interceptor_stands_there_with_each_hook_it_overrides() -> None:
    """Design, "Hooks": a check, a filter, a layer, or several."""
    hooks: list[Hook] = ["check", "filter", "layer"]
    assert shape(Everything()) == [("everything", hook) for hook in hooks]
    assert shape(passing(id="a"), allowing(id="b")) == [("a", "layer"), ("b", "check")]


PLACES = st.lists(st.none() | st.sampled_from(Place), max_size=8)


@given(PLACES)
def test_a_list_is_kept_in_order_or_refused(places: list[Place | None]) -> None:
    """Design, "The order": validated against the constraints, never silently changed."""
    interceptors = [allowing(id=str(number), place=place) for number, place in enumerate(places)]
    named = [place for place in places if place is not None]
    if named == sorted(named):
        assert [step.interceptor for step in arrange(interceptors)] == interceptors
    else:
        with pytest.raises(OrderError, match="must stand before"):
            arrange(interceptors)


def test_the_two_that_stand_wrongly_are_named() -> None:
    """With their places, outermost first."""
    inner, outer = allowing(id="pins", place=Place.TOOL_PINNING), allowing(id="rules", place=Place.ACCESS)
    with pytest.raises(OrderError, match=r"rules \(access\) must stand before pins \(tool_pinning\)"):
        arrange([inner, passing(), outer])


def test_a_hook_with_a_place_of_its_own_stands_there() -> None:
    """A budget looks before anybody is asked, and holds after; a label is put on early results."""
    budget = Everything(id="budget")
    budget.place, budget.check_place, budget.filter_place = Place.BUDGET, Place.LOOK, Place.TEXT_HYGIENE
    approver = ScriptedApprover(id="approval")
    scan = Filtering(lambda call, result: result, id="scan", place=Place.INJECTION_SCAN)
    assert shape(passing(id="first"), approver, passing(id="later"), budget, scan) == [
        ("first", "layer"),
        ("budget", "check"),
        ("approval", "layer"),
        ("later", "layer"),
        ("budget", "layer"),
        ("scan", "filter"),
        ("budget", "filter"),
    ]


@pytest.mark.parametrize("thing", [Everything, "access", None, object()])
def test_only_interceptors_can_be_linked(thing: Any) -> None:
    """A class that was not instantiated is the usual mistake."""
    what = "the class Everything" if thing is Everything else f"a {type(thing).__name__}"
    with pytest.raises(GuardBuildError, match=f"got {what}"):
        arrange([thing])


def test_one_interceptor_stands_in_a_list_once() -> None:
    """Twice would count twice."""
    one = allowing()
    with pytest.raises(GuardBuildError, match="checking stands in the list twice"):
        arrange([one, passing(), one])


def test_ids_are_unique() -> None:
    """Stores and records go by them."""
    with pytest.raises(GuardBuildError, match="two interceptors have the id 'a'"):
        arrange([allowing(id="a"), passing(id="a")])
    assert len(arrange([allowing(id="a"), allowing(id="b"), allowing()])) == 3


def test_an_interceptor_without_a_hook_is_refused() -> None:
    """It would do nothing, and somebody thinks that it does."""

    class Idle(Interceptor):
        handles = TOOLS

    with pytest.raises(GuardBuildError, match="Idle overrides none of check, filter and __call__"):
        arrange([Idle()])


def test_an_interceptor_that_handles_nothing_is_refused() -> None:
    """For the same reason."""
    with pytest.raises(GuardBuildError, match="Checking handles nothing"):
        arrange([Checking(lambda call: ALLOW, handles=())])


@pytest.mark.parametrize(
    "pair",
    [
        "tools/call",
        ("tools/call",),
        ("tools/call", "outgoing"),
        ("tools/call", "outbound", 1),
        (5, "outbound"),
        ["tools/call", "outbound"],
        None,
    ],
)
def test_what_is_handled_is_given_as_pairs(pair: Any) -> None:
    """A misspelt pair would silently handle nothing."""
    with pytest.raises(GuardBuildError, match="expected pairs like"):
        arrange([Checking(lambda call: ALLOW, handles=[pair])])


@pytest.mark.parametrize("make", [passing, lambda **v: Filtering(lambda c, r: r, **v)])
def test_notifications_meet_checks_only(make: Any) -> None:
    """Design, "Hooks": the receive path must not block."""
    with pytest.raises(GuardBuildError, match=r"handles notifications/\* with its (layer|filter)"):
        arrange([make(handles={("notifications/*", "inbound")})])


def test_a_notification_that_only_the_layer_of_an_interceptor_handles_is_refused() -> None:
    """Else its author would believe that the layer sees it."""
    one = Everything()
    one.checks = TOOLS
    one.layers = {("notifications/message", "inbound")}
    with pytest.raises(GuardBuildError, match="handles notifications/message with its layer"):
        arrange([one])
    one.checks = {("notifications/*", "inbound")}
    assert len(arrange([one])) == 3


def test_hooks_may_handle_other_methods_than_the_rest() -> None:
    """`checks`, `filters` and `layers` say otherwise than `handles`."""
    one = Everything()
    one.checks = {("*", "outbound")}
    one.filters = {("tools/list", "outbound")}
    check, look, layer = arrange([one])
    assert handled(check) == {("*", "outbound")}
    assert handles(look, "tools/list", "outbound")
    assert not handles(look, "tools/call", "outbound")
    assert handles(layer, "tools/call", "outbound")


@pytest.mark.parametrize(
    ("pairs", "hook", "method", "direction", "expected"),
    [
        ({("*", "outbound")}, "check", "tools/call", "outbound", True),
        ({("*", "outbound")}, "check", "tools/call", "inbound", False),
        ({("*", "outbound")}, "check", "vendor/unheard-of", "outbound", True),
        ({("*", "outbound")}, "check", "initialize", "outbound", False),
        ({("*", "outbound")}, "check", "ping", "outbound", False),
        ({("ping", "outbound")}, "check", "ping", "outbound", True),
        ({("*", "outbound")}, "check", "notifications/message", "outbound", False),
        ({("notifications/*", "inbound")}, "check", "notifications/message", "inbound", True),
        ({("notifications/*", "inbound")}, "check", "notifications/cancelled", "inbound", False),
        ({("notifications/cancelled", "inbound")}, "check", "notifications/cancelled", "inbound", True),
        ({("notifications/*", "inbound")}, "layer", "notifications/message", "inbound", False),
    ],
)
def test_a_star_is_all_but_the_lifecycle(
    pairs: Any, hook: Hook, method: str, direction: Any, expected: bool
) -> None:
    """`core.interceptor.Handles`; what keeps a connection alive is handled by whoever names it."""
    assert covers(pairs, hook, method, direction) is expected


def test_a_question_needs_somebody_to_answer_it() -> None:
    """Design, "Verdicts": an error when the guard is built, not a surprise when it runs."""
    asking = allowing(id="flow", can_ask=True)
    with pytest.raises(OrderError, match="flow can ask for approval, and no Approval stands further in"):
        arrange([asking])
    assert len(arrange([asking, ScriptedApprover()])) == 2


def test_an_approver_further_out_does_not_answer() -> None:
    """Questions are collected on the way in."""
    with pytest.raises(OrderError, match="can ask for approval"):
        arrange([ScriptedApprover(), allowing(can_ask=True, handles=EVERYTHING)])


def test_an_auditing_approver_answers_nobody() -> None:
    """What it decides is discarded, so a question would stay open."""
    with pytest.raises(OrderError, match="can ask for approval"):
        arrange([allowing(can_ask=True), ScriptedApprover(mode="audit")])


def test_an_auditing_asker_needs_no_answer() -> None:
    """Its question is reported and discarded."""
    assert len(arrange([allowing(can_ask=True, mode="audit")])) == 1


def test_a_layer_that_says_it_can_ask_is_no_asker() -> None:
    """Only checks ask."""
    assert len(arrange([Around(lambda call, call_next: call_next(call), can_ask=True)])) == 1
    assert denying().can_ask is False


def test_nothing_that_repeats_calls_stands_behind_what_counts_every_attempt() -> None:
    """A budget that sees one of five attempts is overspent."""

    async def again(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        return await call_next(call)

    async def once(call: Call, call_next: CallNext) -> Result:
        return await call_next(call)

    counting = Around(once, place=Place.BUDGET, id="counting")
    with pytest.raises(OrderError, match="again repeats calls and must stand before counting"):
        arrange([counting, Around(again, repeats=True, id="again")])
    arrange([Around(again, repeats=True, id="again"), counting])


@pytest.mark.parametrize("hook", ["check", "filter"])
def test_a_hook_that_would_have_to_be_awaited_is_refused_when_it_is_linked(hook: str) -> None:
    """It would return a coroutine, which is no verdict: every call would be denied."""

    async def wait(self: Interceptor, *arguments: Any) -> Any:
        return ALLOW

    kind = type("Waiting", (Interceptor,), {"handles": TOOLS, hook: wait})
    with pytest.raises(GuardBuildError, match=f"the {hook} of Waiting is async"):
        arrange([kind()])


def test_every_pair_that_stands_wrongly_is_named() -> None:
    """A list is put in order in one go."""
    places = (Place.RETRY, Place.APPROVAL, Place.DEADLINE, Place.ACCESS)
    with pytest.raises(OrderError) as raised:
        arrange([allowing(id=place.name.lower(), place=place) for place in places])
    assert str(raised.value).startswith(
        "approval (approval) must stand before retry (retry); access (access)"
    )


@pytest.mark.parametrize(
    ("method", "meant"),
    [
        ("tools/cal", "'tools/call'"),
        ("tool/call", "'tools/call'"),
        ("resource/read", "'resources/read'"),
        ("notifications/cancel", "'notifications/cancelled'"),
    ],
)
def test_a_method_that_is_spelled_wrongly_is_refused(method: str, meant: str) -> None:
    """It would never be called, and the control would never be there."""
    with pytest.raises(GuardBuildError, match=f"did you mean .*{meant}"):
        arrange([allowing(handles={(method, "outbound")})])


@pytest.mark.parametrize("method", ["x/tools/call", "acme/search", "tasks/list", "resources/templates/list"])
def test_a_method_of_a_servers_own_is_handled(method: str) -> None:
    """Methods that are in no revision are guarded like any other."""
    assert len(arrange([allowing(handles={(method, "outbound")})])) == 1
