"""`mode="audit"`: whatever an interceptor does, it is reported and discarded."""

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from chains import FAILED, LOST, OK, Around, Checking, Filtering, Wire, chain, denying, raising, tool_call
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import ALLOW, Ask, Call, Deny, Fate, Outcome, Result, Rewrite, ToolFacts, WireError
from mcpguard.core.interceptor import CallNext
from mcpguard.testing import RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio

ARGUMENTS = {"path": "a.txt", "more": [1]}


def mutated(call: Call) -> None:
    """Change everything in a call that can be changed in place."""
    values: Any = call
    values.params["name"] = "delete"
    values.params["arguments"]["more"].append("canary")
    values.principal.claims["evil"] = True
    if values.tool is not None:
        values.tool.definition["evil"] = True


def mutate_and(verdict: Any) -> Callable[[Call], Any]:
    """A check that changes its call in place, and then says something."""

    def check(call: Call) -> Any:
        mutated(call)
        return verdict

    return check


CHECKS: dict[str, Callable[[Call], Any]] = {
    "allow": lambda call: ALLOW,
    "deny": lambda call: Deny("no", reason="a test", retry_after=3.0),
    "ask": lambda call: Ask("sure", reason="a test"),
    "rewrite": lambda call: Rewrite({"name": "delete"}),
    "rewrite to garbage": lambda call: Rewrite(None),  # type: ignore[arg-type]
    "raise": raising(ValueError("canary")),
    "none": lambda call: None,
    "mutate and allow": mutate_and(ALLOW),
    "mutate and deny": mutate_and(Deny("no", reason="a test")),
    "mutate and rewrite": mutate_and(Rewrite({"name": "delete"})),
}


def mutate_result(call: Call, result: Result) -> Result:
    """A filter that empties what it was given."""
    mutated(call)
    value: Any = result.value
    if value is not None:
        value.clear()
    return result


FILTERS: dict[str, Callable[[Call, Result], Any]] = {
    "same": lambda call, result: result,
    "change": lambda call, result: Result.of({"content": []}),
    "refuse": lambda call, result: call.denied(code="no", reason="a test"),
    "raise": raising(ValueError("canary")),
    "none": lambda call, result: None,
    "mutate": mutate_result,
}


async def skip(call: Call, call_next: CallNext) -> Result:
    """Answer without going on."""
    return Result.of({"content": []})


async def refuse(call: Call, call_next: CallNext) -> Result:
    """Refuse without going on."""
    return call.denied(code="no", reason="a test")


async def twice(call: Call, call_next: CallNext) -> Result:
    """Go on two times."""
    await call_next(call)
    return await call_next(call)


async def twice_at_once(call: Call, call_next: CallNext) -> Result:
    """Go on from two tasks, and survive what comes of it."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call_next, call)
            tasks.start_soon(call_next, call)
    except Exception:
        return Result.of({})
    return Result.of({})


async def rewrite(call: Call, call_next: CallNext) -> Result:
    """Go on with another call."""
    return await call_next(call.replace(params={"name": "delete"}))


async def garbage(call: Call, call_next: CallNext) -> Result:
    """Go on with what is no call."""
    nothing: Any = None
    return await call_next(nothing)


async def none(call: Call, call_next: CallNext) -> Any:
    """Go on, and lose the result."""
    await call_next(call)
    return None


async def late(call: Call, call_next: CallNext) -> Result:
    """Raise after going on."""
    await call_next(call)
    raise ValueError("canary")


async def change(call: Call, call_next: CallNext) -> Result:
    """Return something else than what came back."""
    await call_next(call)
    return Result.of({"content": ["changed"]})


async def mutate(call: Call, call_next: CallNext) -> Result:
    """Change call and result in place."""
    mutated(call)
    return mutate_result(call, await call_next(call))


async def refuse_late(call: Call, call_next: CallNext) -> Result:
    """Refuse what has come back."""
    await call_next(call)
    return call.denied(code="no", reason="a test")


async def go_on(call: Call, call_next: CallNext) -> Result:
    """Just go on."""
    return await call_next(call)


LAYERS: dict[str, Callable[[Call, CallNext], Any]] = {
    one.__name__: one
    for one in (
        skip,
        refuse,
        twice,
        rewrite,
        garbage,
        none,
        late,
        change,
        mutate,
        refuse_late,
        go_on,
        raising(ValueError("canary")),
    )
}

AUDITING: list[Callable[[], Any]] = [
    *(lambda check=check: Checking(check, mode="audit") for check in CHECKS.values()),
    *(lambda look=look: Filtering(look, mode="audit") for look in FILTERS.values()),
    *(lambda layer=layer: Around(layer, mode="audit") for layer in LAYERS.values()),
    *(lambda layer=layer: Around(layer, mode="audit", repeats=True) for layer in LAYERS.values()),
    *(lambda layer=layer: Around(layer, mode="audit", fail_open=True) for layer in LAYERS.values()),
]


def the_call() -> Call:
    """A call with everything that can be changed in place."""
    facts = ToolFacts("read", {"name": "read"})
    return tool_call(**{**ARGUMENTS, "more": [1]}).with_tool(facts)


async def send(*interceptors: Any, answer: Result, sink: RecordingSink | None = None) -> None:
    """Send a call, and check that nobody could tell that anything stood in between."""
    call, wire = the_call(), Wire(answer)
    value = None if answer.value is None else {**answer.value}
    result = await chain(*interceptors, sinks=[] if sink is None else [sink])(call, wire)
    assert result is answer
    assert result.value == value
    assert len(wire.calls) == 1
    assert wire.calls[0].params is call.params
    assert (wire.calls[0].asks, wire.calls[0].enforced) == ((), True)
    assert call.params == the_call().params
    assert call.principal is not None
    assert (call.principal.claims, call.tool) == ({}, the_call().tool)


@given(st.lists(st.sampled_from(AUDITING), min_size=1, max_size=5), st.sampled_from([OK, FAILED, LOST]))
async def test_an_auditing_interceptor_changes_neither_the_wire_nor_the_result(
    makers: list[Callable[[], Any]], answer: Result
) -> None:
    """Design: enforced by the chain, not trusted to the interceptor."""
    await send(*[make() for make in makers], answer=answer)


@pytest.mark.parametrize(
    ("check", "decisions", "codes"),
    [
        ("allow", [], []),
        ("deny", [("checking", "deny")], ["no"]),
        ("ask", [("checking", "ask")], ["sure"]),
        ("rewrite", [("checking", "rewrite")], []),
        ("mutate and allow", [], []),
    ],
)
async def test_what_an_auditing_check_would_have_said_is_reported(
    check: str, decisions: list[Any], codes: list[str]
) -> None:
    """That is what the mode is for."""
    sink = RecordingSink()
    await send(Checking(CHECKS[check], mode="audit", can_ask=True), answer=OK, sink=sink)
    assert sink.decisions == decisions
    assert sink.codes == codes
    assert {event.mode for event in sink.of("decision")} <= {"audit"}


@pytest.mark.parametrize(
    ("look", "decisions"),
    [("same", []), ("change", [("filtering", "change")]), ("refuse", [("filtering", "deny")])],
)
async def test_what_an_auditing_filter_would_have_done_is_reported(look: str, decisions: list[Any]) -> None:
    """A change or a refusal, told apart."""
    sink = RecordingSink()
    await send(Filtering(FILTERS[look], mode="audit"), answer=OK, sink=sink)
    assert sink.decisions == decisions


@pytest.mark.parametrize(
    ("layer", "verdicts"),
    [
        ("go_on", []),
        ("skip", ["change"]),
        ("refuse", ["deny"]),
        ("refuse_late", ["deny"]),
        ("rewrite", ["rewrite"]),
        ("change", ["change"]),
    ],
)
async def test_what_an_auditing_layer_would_have_done_is_reported(layer: str, verdicts: list[str]) -> None:
    """Rewrites, refusals and changed results."""
    sink = RecordingSink()
    await send(Around(LAYERS[layer], mode="audit"), answer=OK, sink=sink)
    assert sink.decisions == [("around", verdict) for verdict in verdicts]
    assert {event.mode for event in sink.of("decision")} <= {"audit"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Checking(CHECKS["raise"], mode="audit"),
        lambda: Checking(CHECKS["none"], mode="audit"),
        lambda: Filtering(FILTERS["raise"], mode="audit"),
        lambda: Filtering(FILTERS["none"], mode="audit"),
        lambda: Around(late, mode="audit"),
        lambda: Around(none, mode="audit"),
        lambda: Around(garbage, mode="audit"),
        lambda: Around(twice, mode="audit"),
    ],
)
async def test_failures_of_an_auditing_interceptor_are_reported(make: Callable[[], Any]) -> None:
    """Who turns it on wants to know before it is enforced."""
    sink = RecordingSink()
    await send(make(), answer=OK, sink=sink)
    failed = sink.last("interceptor_failed")
    assert failed.mode == "audit"
    assert not any("canary" in text for text in sink.texts)


async def test_a_denial_from_further_in_is_not_the_auditing_layers() -> None:
    """It hands on what it got."""
    sink = RecordingSink()
    result = await chain(Around(go_on, mode="audit"), denying(id="inner"), sinks=[sink])(tool_call(), Wire())
    assert result.denial is not None
    assert result.denial.source == "inner"
    assert sink.decisions == [("inner", "deny")]


async def test_an_auditing_interceptor_is_told_that_it_is_not_enforced() -> None:
    """So that it does not wait, or spend."""
    check, layer_saw = Checking(lambda call: ALLOW, mode="audit"), []

    async def layer(call: Call, call_next: CallNext) -> Result:
        layer_saw.append(call.enforced)
        return await call_next(call)

    enforced = Checking(lambda call: ALLOW)
    await chain(check, Around(layer, mode="audit"), enforced)(tool_call(), Wire())
    assert ([call.enforced for call in check.seen], layer_saw) == ([False], [False])
    assert [call.enforced for call in enforced.seen] == [True]


async def test_an_auditing_approver_asks_and_nothing_depends_on_it() -> None:
    """The enforced one further in is the one that counts."""
    asking = Checking(lambda call: Ask("sure", reason="a test"), can_ask=True)
    auditing = ScriptedApprover(id="trial", mode="audit").denies()
    deciding = ScriptedApprover(id="real").approves()
    sink = RecordingSink()
    assert await chain(asking, auditing, deciding, sinks=[sink])(tool_call(), Wire()) is OK
    assert (len(auditing.asked), len(deciding.asked)) == (1, 1)
    assert sink.decisions == [("checking", "ask"), ("trial", "deny")]


async def test_an_auditing_layer_that_repeats_gets_the_same_result_again() -> None:
    """A retry in audit mode must not send anything twice."""
    seen: list[Result] = []

    async def layer(call: Call, call_next: CallNext) -> Result:
        seen.extend([await call_next(call), await call_next(call)])
        return seen[-1]

    await send(Around(layer, mode="audit", repeats=True), answer=FAILED)
    assert seen[0] is seen[1]


async def test_an_auditing_layer_cannot_send_a_call_after_it_has_returned() -> None:
    """Having left the call alone at first, it must not send it a second time."""
    kept: list[Any] = []

    async def layer(call: Call, call_next: CallNext) -> Result:
        kept.extend([call, call_next])
        return call.denied(code="no", reason="a test")

    wire = Wire()
    await chain(Around(layer, mode="audit"))(tool_call(), wire)
    with pytest.raises(RuntimeError, match="around called next after it had returned"):
        await kept[1](kept[0])
    assert len(wire.calls) == 1


async def test_an_auditing_layer_that_goes_on_from_two_tasks_sends_nothing_twice() -> None:
    """Not even where the second begins before the first has its answer."""
    sent: list[Call] = []

    async def wire(call: Call) -> Result:
        sent.append(call)
        await anyio.lowlevel.checkpoint()
        return OK

    await chain(Around(twice_at_once, mode="audit"))(tool_call(), wire)
    assert len(sent) == 1


@pytest.mark.parametrize("raises", [True, False])
async def test_an_auditing_layer_that_gives_up_on_a_call_does_not_send_it_again(raises: bool) -> None:
    """A deadline that forgot about `call.enforced`: the call cannot be saved, but it is not doubled."""
    sent: list[Call] = []

    async def wire(call: Call) -> Result:
        sent.append(call)
        await anyio.sleep_forever()
        raise AssertionError

    async def deadline(call: Call, call_next: CallNext) -> Result:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call_next(call)
        if raises:
            raise TimeoutError
        return call.denied(code="deadline", reason="a test")

    sink = RecordingSink()
    result = await chain(Around(deadline, mode="audit", id="trial"), sinks=[sink])(tool_call(), wire)
    assert len(sent) == 1
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("interceptor_failed", "trial")
    assert (result.outcome, result.fate) == (Outcome.DENIED, Fate.SENT)


async def test_cancellation_goes_through_an_auditing_layer() -> None:
    """It is the caller's, and not the layer's to report."""
    under_way = anyio.Event()
    ended: list[str] = []

    async def wire(call: Call) -> Result:
        under_way.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def send() -> None:
        await chain(Around(go_on, mode="audit"))(tool_call(), wire)
        ended.append("returned")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await under_way.wait()
        tasks.cancel_scope.cancel()
    assert ended == []


async def test_a_value_too_deep_to_copy_stops_an_audit_and_not_the_call() -> None:
    """A peer chooses how deep it nests."""
    deep: Any = "end"
    for _ in range(5000):
        deep = [deep]
    sink, wire = RecordingSink(), Wire(Result.of({"content": deep}))
    auditing = [
        Checking(CHECKS["deny"], mode="audit", id="a"),
        Filtering(FILTERS["refuse"], mode="audit", id="b"),
        Around(go_on, mode="audit", id="c"),
    ]
    result = await chain(*auditing, sinks=[sink])(tool_call(path=deep), wire)
    assert result.outcome is Outcome.OK
    assert len(wire.calls) == 1
    assert [event.interceptor for event in sink.of("interceptor_failed")] == ["a", "c", "b"]


async def test_an_auditing_interceptor_reaches_neither_the_original_call_nor_an_error_of_the_servers() -> (
    None
):
    """What a copy leads back to could be changed through it."""
    error = Result(
        outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32603, "no", {"why": "b"})
    )

    def spoil(call: Call, result: Result) -> Result:
        data: Any = result.error and result.error.data
        data["why"] = "changed"
        return result

    async def reach(call: Call, call_next: CallNext) -> Result:
        params: Any = call.origin.params
        params["arguments"]["path"] = "changed"
        return await call_next(call)

    wire = Wire(error)
    rewriting = Checking(lambda call: Rewrite({**call.params, "arguments": {"path": "a.txt"}}))
    auditing = [
        rewriting,
        Around(reach, mode="audit", id="reach"),
        Filtering(spoil, mode="audit", id="spoil"),
    ]
    result = await chain(*auditing)(tool_call(path="a"), wire)
    assert wire.calls[0].arguments == {"path": "a.txt"}
    assert result.error is not None
    assert result.error.data == {"why": "b"}


@pytest.mark.parametrize("garbage", ["nope", 7])
async def test_an_auditing_interceptor_that_makes_up_a_refusal_of_garbage_changes_nothing(
    garbage: Any,
) -> None:
    """What cannot be reported is reported as a failure."""
    made = Result(outcome=Outcome.OK, fate=Fate.ANSWERED, value={}, denial=garbage)
    sink = RecordingSink()

    async def layer(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        return made

    auditing = [
        Around(layer, mode="audit", id="layer"),
        Filtering(lambda call, result: made, mode="audit", id="filter"),
    ]
    result = await chain(*auditing, sinks=[sink])(tool_call(), Wire(OK))
    assert result is OK
    assert [event.interceptor for event in sink.events if event.kind == "interceptor_failed"] == [
        "filter",
        "layer",
    ]


async def test_an_auditing_layer_whose_result_cannot_be_compared_changes_nothing() -> None:
    """Comparing runs code of whoever made the value."""

    class Odd(dict[str, Any]):
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("odd")

        __hash__ = None  # type: ignore[assignment]

    sink = RecordingSink()
    auditing = Filtering(lambda call, result: Result.of(Odd()), mode="audit")
    assert await chain(auditing, sinks=[sink])(tool_call(), Wire(OK)) is OK
    assert "change" in [event.verdict for event in sink.events]
