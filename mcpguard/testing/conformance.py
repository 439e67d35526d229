"""The rules of the contract that the author of an interceptor can check on their own class.

`check_interceptor` tries the class alone and in a chain, with ordinary and with odd calls and results. It
knows nothing of what the interceptor is for: that is its own tests' business.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import anyio

from mcpguard.core.call import Call
from mcpguard.core.chain import Hook
from mcpguard.core.errors import GuardBuildError, LayerError
from mcpguard.core.gate import Gate
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.layer import Layer
from mcpguard.core.linked import Linked
from mcpguard.core.order import handled
from mcpguard.core.result import Denial, Result
from mcpguard.core.verdict import Ask, Deny, Rewrite, Verdict
from mcpguard.core.wire import Direction, canonical, is_notification
from mcpguard.testing.samples import CANARY, Answered, Sample
from mcpguard.testing.sinks import RecordingSink
from mcpguard.testing.trials import (
    Next,
    Trials,
    broken,
    emitter,
    linked,
    shown,
    state,
    verdict_of,
    watched,
)

__all__ = ["check_interceptor"]

_CODE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SECRET: Final = re.compile(r"secret|token|passw|api_?key|credential|private", re.IGNORECASE)


async def check_interceptor(
    make: Callable[[], Interceptor],
    *,
    calls: Iterable[Call] = (),
    results: Iterable[Result] = (),
    patience: float = 10.0,
) -> None:
    """Check that an interceptor keeps the contract; return nothing if it does.

    Args:
        make: Builds the interceptor; called anew for every rule.
        calls: Further calls to try, in particular such as it lets through, asks about or rewrites: what it
            refuses shows nothing of how it goes on.
        results: Further results to try.
        patience: Real seconds after which an interceptor that has not come back counts as hanging.

    Raises:
        AssertionError: If it breaks a rule. The sentence names the rule, and the shape it was broken with.
    """
    trials = Trials(tuple(calls), tuple(results))
    _links(make)
    _shows_no_secret(make())
    _judges(make(), trials)
    _filters(make(), trials)
    await _goes_on(make(), trials, patience)
    await _can_be_cancelled(make(), trials, patience)
    await _keeps_values_to_itself(make(), trials, patience)
    _leaves_the_rest_alone(make(), trials)
    await _audits_without_effect(make(), trials, patience)


def _links(make: Callable[[], Interceptor]) -> None:
    """It is an interceptor, built anew each time, from which a guard can be built."""
    one = make()
    if not isinstance(one, Interceptor):
        raise AssertionError(f"make() returned an object of {type(one).__name__}, not an Interceptor")
    if one is make():
        raise AssertionError("make() returned the same object twice; it builds a new one for every rule")
    try:
        linked(one)
    except GuardBuildError as error:
        raise AssertionError(f"{type(one).__name__} cannot be linked: {error}") from error


def _shows_no_secret(one: Interceptor) -> None:
    """Its repr and status can be shown to anybody."""
    text = shown(one)
    for name, value in one.__dict__.items():
        if isinstance(value, str) and len(value) > 3 and _SECRET.search(name) and value in text:
            broken(one, f"shows its attribute {name} in its repr or status")


def _judges(one: Interceptor, trials: Trials) -> None:
    """Its check gives a verdict on anything, the same one whenever it is asked, and changes nothing."""
    given: list[tuple[Sample, Verdict]] = []
    for sample in trials.calls(one, "check"):
        before = state(sample.call)
        verdict = verdict_of(one, sample)
        if state(sample.call) != before:
            broken(one, "changes a call in place instead of returning Rewrite", sample)
        _is_well_formed(one, verdict, sample)
        given.append((sample, verdict))
    for sample, verdict in given:
        with watched() as waiting:
            again = verdict_of(one, sample)
        if waiting:
            broken(one, f"waits in its check, for {', '.join(sorted(waiting))}", sample)
        if _comparable(again) != _comparable(verdict):
            broken(one, "answers otherwise when its check is asked twice; a check counts nothing", sample)


def _is_well_formed(one: Interceptor, verdict: Verdict, sample: Sample) -> None:
    if isinstance(verdict, Ask) and not one.can_ask:
        broken(one, "asks without saying `can_ask = True`", sample)
    if isinstance(verdict, Ask | Deny):
        _is_told(one, verdict.code, repr(verdict), sample)
    if isinstance(verdict, Rewrite) and not isinstance(verdict.params, Mapping):
        broken(one, "rewrites parameters to something that is not a mapping", sample)


def _is_result(one: Interceptor, hook: Hook, result: object, sample: Sample, answered: Answered) -> None:
    if not isinstance(result, Result) or not result.is_whole:
        broken(one, f"returns {_kind(result)} from its {hook}, not a whole Result", sample, answered)
    if result.denial is not None and result.denial is not answered.result.denial:
        _is_told(one, result.denial.code, repr(result.denial), sample)


def _is_told(one: Interceptor, code: str, text: str, sample: Sample) -> None:
    """A refusal or a question has a stable code, and says nothing of values."""
    if not _CODE.fullmatch(code):
        broken(one, f"refuses or asks with the code {code!r}, which is not in snake_case", sample)
    if CANARY in text:
        broken(one, "shows an argument or a result in a refusal or question", sample)


def _filters(one: Interceptor, trials: Trials) -> None:
    """Its filter gives a result for anything, and changes nothing in place."""
    for sample, answered in trials.answered(one, "filter"):
        before = state(sample.call, answered.result)
        try:
            result: object = one.filter(sample.call, answered.result)
        except Exception as error:  # noqa: BLE001 - reported
            broken(one, f"raises {type(error).__name__} from its filter", sample, answered, error)
        _is_result(one, "filter", result, sample, answered)
        if state(sample.call, answered.result) != before:
            broken(one, "changes a call or a result in place in its filter", sample, answered)


async def _goes_on(one: Interceptor, trials: Trials, patience: float) -> None:
    """Its layer gives a result for anything; it goes on once, in its own task, with the call it was given."""
    layer = Layer(one, Gate((), (), emitter()), linked(one).chain("ping", "outbound"), emitter())
    for sample, answered in trials.answered(one, "layer"):
        before = state(sample.call, answered.result)
        step = Next(answered.result)
        result: object = await _tried(one, sample, answered, step, patience)
        _is_result(one, "layer", result, sample, answered)
        if state(sample.call, answered.result) != before:
            broken(one, "changes a call or a result in place in its layer", sample, answered)
        if len(step.calls) > 1 and not one.repeats:
            broken(one, "calls next twice without saying `repeats = True`", sample, answered)
        if any(task != anyio.get_current_task().id for task in step.tasks):
            broken(one, "calls next in another task than its own", sample, answered)
        for passed in step.calls:
            try:
                layer.inspect(sample.call, passed)
            except LayerError as error:
                raise AssertionError(f"{error} (with {sample.what})") from error


async def _tried(one: Interceptor, sample: Sample, answered: Answered, step: Next, patience: float) -> object:
    ended: list[object] = []
    with anyio.move_on_after(patience):
        try:
            ended.append(await one(sample.call, step))
        except Exception as error:  # noqa: BLE001 - reported
            broken(one, f"raises {type(error).__name__} from its layer", sample, answered, error)
    if not ended:
        broken(one, f"does not come back within {patience:g} s", sample, answered)
    return ended[0]


async def _can_be_cancelled(one: Interceptor, trials: Trials, patience: float) -> None:
    """Cancelled while the call is under way, its layer ends by cancellation and nothing else."""
    for sample in trials.calls(one, "layer", is_odd=False):
        step, ended, is_stuck = Next(None), list[str](), True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, one, sample.call, step, ended)
            with anyio.move_on_after(patience):
                await step.was_reached.wait()
            is_stuck = not step.was_reached.is_set()
            tasks.cancel_scope.cancel()
        if is_stuck:
            broken(one, f"neither goes on nor comes back within {patience:g} s", sample)
        if step.calls and ended:
            broken(one, f"{ended[0]} when it is cancelled; cancellation is never swallowed", sample)


async def _run(one: Interceptor, call: Call, step: Next, ended: list[str]) -> None:
    try:
        await one(call, step)
        ended.append("returns")
    except Exception as error:  # noqa: BLE001 - reported
        ended.append(f"raises {type(error).__name__}")
    finally:
        step.was_reached.set()


async def _keeps_values_to_itself(one: Interceptor, trials: Trials, patience: float) -> None:
    """No argument and no result gets into events, refusals, its repr or its status."""
    sink = RecordingSink()
    chains = linked(one, sink)
    for sample, answered in trials.answered(one, "check", "filter", "layer"):
        denial, _ = await _sent(one, chains, sample, answered, patience)
        if any(CANARY in text for text in (*sink.texts, repr(denial), shown(one))):
            broken(one, "shows an argument or a result in an event, a refusal or its repr", sample, answered)
        sink.clear()


def _leaves_the_rest_alone(one: Interceptor, trials: Trials) -> None:
    """It handles what it said when it was linked: then the chain asks it about nothing else."""
    declared = _declared(one)
    for sample in trials.calls(one, "check"):
        one.check(sample.call)
    if _declared(one) != declared:
        broken(one, "handles other methods than it did when it was linked")


def _declared(one: Interceptor) -> list[set[tuple[str, Direction]]]:
    return [set(handled(step)) for step in linked(one).steps if step.interceptor is one]


async def _audits_without_effect(one: Interceptor, trials: Trials, patience: float) -> None:
    """With `mode="audit"` it neither fails nor waits, and the call goes on as it was."""
    one.mode = "audit"
    sink = RecordingSink()
    chains = linked(one, sink)
    for sample, answered in trials.answered(one, "check", "filter", "layer"):
        if sample.call.asks:
            continue
        denial, sent = await _sent(one, chains, sample, answered, patience)
        if denial is not answered.result.denial or [call.params for call in sent] != [sample.call.params]:
            broken(one, "has an effect although its mode is 'audit'", sample, answered)
        if sink.of("interceptor_failed"):
            what = sink.last("interceptor_failed").reason
            broken(one, f"fails when its mode is 'audit': {what}", sample, answered)
        sink.clear()


async def _sent(
    one: Interceptor, chains: Linked, sample: Sample, answered: Answered, patience: float
) -> tuple[Denial | None, Sequence[Call]]:
    """Send a call through the chain; why it was refused, and what reached the wire."""
    call = sample.call
    if is_notification(call.method):
        gate = chains.gate(call.method, call.direction)
        admitted = call if gate is None else gate.admit(call)
        if isinstance(admitted, Denial):
            return admitted, ()
        return answered.result.denial, [admitted]
    wire = Next(answered.result)
    result: Result | None = None
    with anyio.move_on_after(patience):
        result = await chains.chain(call.method, call.direction)(call, wire)
    if result is None:
        broken(one, f"does not come back within {patience:g} s", sample, answered)
    return result.denial, wire.calls


def _comparable(verdict: Verdict) -> object:
    if isinstance(verdict, Rewrite):
        return canonical(verdict.params), verdict.reason
    return verdict


def _kind(thing: object) -> str:
    return f"a Result of outcome {thing.outcome}" if isinstance(thing, Result) else type(thing).__name__
