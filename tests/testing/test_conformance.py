"""The checks that a plugin's author runs: each broken rule is found and named, and kept ones pass."""

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from chains import ADA, TOOLS

from mcpguard import (
    ALLOW,
    Access,
    AccessRule,
    Ask,
    Budget,
    Call,
    CallNext,
    Deny,
    Interceptor,
    Outcome,
    Result,
    Rewrite,
    Verdict,
)
from mcpguard.testing import check_interceptor

pytestmark = pytest.mark.anyio


class Plugin(Interceptor):
    """What the plugins of these tests have in common."""

    handles = TOOLS


class Checked(Plugin):
    """A check to be broken."""

    def check(self, call: Call) -> Verdict:
        verdict: Verdict = self.judge(call)
        return verdict

    def judge(self, call: Call) -> Any:
        return ALLOW


class Filtered(Plugin):
    """A filter to be broken."""

    def filter(self, call: Call, result: Result) -> Result:
        seen: Result = self.look(call, result)
        return seen

    def look(self, call: Call, result: Result) -> Any:
        return result


class Layered(Plugin):
    """A layer to be broken."""

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        result: Result = await self.around(call, call_next)
        return result

    async def around(self, call: Call, call_next: CallNext) -> Any:
        return await call_next(call)


class Whole(Plugin):
    """All three hooks, every verdict, as they should be."""

    handles: ClassVar[Any] = {
        ("*", "outbound"),
        ("*", "inbound"),
        ("notifications/*", "inbound"),
        ("vendor/known", "outbound"),
    }
    can_ask = True

    def check(self, call: Call) -> Verdict:
        if call.method == "tools/call" and not call.arguments:
            return Deny("no_arguments", reason="there are none", retry_after=1.0)
        if call.method == "prompts/get":
            return Ask("prompt", reason="prompts are asked about")
        if call.method == "resources/read":
            return Rewrite({**call.params, "extra": 1})
        return ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        if result.value is None or "content" not in result.value:
            return result
        return result.replace(value={**result.value, "content": []})

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        result = await call_next(call)
        if result.outcome is Outcome.TIMEOUT:
            return call.denied(code="too_slow", reason="it took too long")
        return result


@pytest.mark.parametrize(
    "make",
    [
        Checked,
        Filtered,
        Layered,
        Whole,
        lambda: Access(default="deny", allow=[AccessRule(tools=["read_*"], roles=["a"])]),
        lambda: Access(default="allow", deny=[AccessRule(tools=["*"])]),
        lambda: Budget(calls=3),
        lambda: Budget(calls=1, tenants=["acme"]),
    ],
)
async def test_an_interceptor_that_keeps_the_contract_passes(make: Callable[[], Interceptor]) -> None:
    """Our own ones among them."""
    await check_interceptor(make)


async def test_calls_and_results_of_the_test_are_tried_as_well() -> None:
    """Those that this interceptor is about."""
    seen: list[Any] = []

    class Mine(Layered):
        async def around(self, call: Call, call_next: CallNext) -> Any:
            result = await call_next(call)
            seen.append((call.target, result.value))
            return result

    mine = Call(id="1", method="tools/call", params={"name": "mine"}, principal=ADA)
    elsewhere = Call(id="2", method="ping")
    result = Result.of({"content": ["mine"]})
    await check_interceptor(Mine, calls=[mine, elsewhere], results=[result])
    assert any(target == "mine" for target, _ in seen)
    assert any(value == {"content": ["mine"]} for _, value in seen)


async def broken(make: Callable[[], Any], sentence: str, **options: Any) -> None:
    """Check that a rule is found to be broken, without showing a value."""
    with pytest.raises(AssertionError, match=sentence) as caught:
        await check_interceptor(make, **options)
    assert "canary" not in str(caught.value)


def check(judge: Callable[[Any, Call], Any], **members: Any) -> type[Checked]:
    """A class whose check does something."""
    return type("Mine", (Checked,), {"judge": judge, **members})


def look(function: Callable[[Any, Call, Result], Any]) -> type[Filtered]:
    """A class whose filter does something."""
    return type("Mine", (Filtered,), {"look": function})


def around(function: Callable[[Any, Call, CallNext], Any], **members: Any) -> type[Layered]:
    """A class whose layer does something."""
    return type("Mine", (Layered,), {"around": function, **members})


async def test_it_must_be_an_interceptor_that_can_be_linked() -> None:
    """Rule: links at all."""
    await broken(dict, "make.. returned an object of dict, not an Interceptor")
    await broken(Plugin, "Plugin cannot be linked: Plugin overrides none of check, filter and __call__")
    one = Checked()
    await broken(lambda: one, "the same object twice")


@pytest.mark.parametrize("name", ["api_key", "token", "_password", "clientSecret", "credentials"])
async def test_it_must_not_show_its_secrets(name: str) -> None:
    """Rule: a repr without what looks like a secret."""

    class Careless(Checked):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, name, "hunter2-hunter2")

        def __repr__(self) -> str:
            return f"Careless({vars(self)})"

    await broken(Careless, f"Careless shows its attribute {name} in its repr")


async def test_its_status_must_not_show_its_secrets_either() -> None:
    """Rule: the status is for anybody who may ask the guard."""

    class Careless(Checked):
        def __init__(self) -> None:
            super().__init__()
            self.token = "hunter2-hunter2"
            self.limit = "hunter2"

        def status(self) -> dict[str, Any]:
            return {"with": self.token}

    await broken(Careless, "shows its attribute token")


def raise_on_odd(one: Any, call: Call) -> Any:
    """Trust a peer to send what the specification says."""
    params: Any = call.params
    return Deny("upper_case", reason="x") if params["name"].isupper() else ALLOW


@pytest.mark.parametrize(
    ("judge", "sentence"),
    [
        (raise_on_odd, r"Mine raises (KeyError|AttributeError) from its check \(with tools/call"),
        (lambda one, call: None, "returns NoneType from its check, not a verdict"),
        (lambda one, call: True, "returns bool from its check"),
        (lambda one, call: Ask("sure", reason="x"), "asks without saying `can_ask = True`"),
        (lambda one, call: Deny("Not Now!", reason="x"), "code 'Not Now!', which is not in snake_case"),
        (lambda one, call: Deny("no", reason=f"bad: {call.texts}"), "shows an argument or a result"),
        (lambda one, call: Deny("no", reason="x", message=str(call.params)), "shows an argument or a result"),
        (lambda one, call: Rewrite(None), "rewrites parameters to something that is not a mapping"),  # type: ignore[arg-type]
        (lambda one, call: time.sleep(0) or ALLOW, r"waits in its check, for time\.sleep"),
        (lambda one, call: Path(__file__).read_text() and ALLOW, "waits in its check, for .*open"),
        (lambda one, call: socket.socket().close() or ALLOW, "waits in its check, for socket"),
    ],
)
async def test_a_check_must_answer_anything_quickly_and_discreetly(judge: Any, sentence: str) -> None:
    """Rules: a verdict for odd shapes, no waiting, no values in texts, codes in snake case."""
    await broken(check(judge), sentence)


async def test_a_check_must_not_wait_for_anything() -> None:
    """Rule: checks are synchronous; an asynchronous one would deny every call."""

    class Async(Plugin):
        async def check(self, call: Call) -> Verdict:  # type: ignore[override]
            return ALLOW

    async def later(call: Call) -> Verdict:
        return ALLOW

    await broken(Async, "the check of Async is async; what waits is a layer")
    await broken(check(lambda _one, call: later(call)), "has an asynchronous check; what waits is a layer")


async def test_a_check_must_say_the_same_when_asked_twice() -> None:
    """Rule: a check counts nothing; it is asked again after a rewrite, and by `explain`."""

    def count(one: Any, call: Call) -> Verdict:
        one.count = getattr(one, "count", 0) + 1
        return ALLOW if one.count < 3 else Deny("too_many", reason="x")

    def rewrite(one: Any, call: Call) -> Verdict:
        one.count = getattr(one, "count", 0) + 1
        return Rewrite({**call.params, "n": one.count})

    await broken(check(count), "answers otherwise when its check is asked twice")
    await broken(check(rewrite), "answers otherwise when its check is asked twice")


def spoil(call: Call, result: Result | None = None) -> None:
    """Change something in place."""
    values: Any = call.params if result is None else result.value
    if isinstance(values, dict):
        values["spoilt"] = values.get("spoilt", 0) + 1


async def test_nothing_may_be_changed_in_place() -> None:
    """Rule: values are frozen; change is `replace`."""

    async def layer(one: Any, call: Call, call_next: CallNext) -> Any:
        spoil(call)
        return await call_next(call)

    async def late(one: Any, call: Call, call_next: CallNext) -> Any:
        result = await call_next(call)
        spoil(call, result)
        return result

    await broken(check(lambda one, call: spoil(call) or ALLOW), "changes a call in place")
    await broken(look(lambda one, call, result: spoil(call) or result), "in place in its filter")
    await broken(look(lambda one, call, result: spoil(call, result) or result), "in place in its filter")
    await broken(around(layer), "in place in its layer")
    await broken(around(late), "in place in its layer")


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda one, call, result: None, "returns NoneType from its filter, not a whole Result"),
        (
            lambda one, call, result: result.replace(outcome=Outcome.DENIED, denial=None),
            "returns a Result of outcome denied from its filter, not a whole Result",
        ),
        (
            lambda one, call, result: result.replace(value={"n": len(result.value["content"])}),
            r"raises (KeyError|TypeError) from its filter \(with tools/call, ",
        ),
        (lambda one, call, result: call.denied(code="no", reason=str(result.value)), "shows an argument"),
    ],
)
async def test_a_filter_must_answer_anything(function: Any, sentence: str) -> None:
    """Rules: a result for odd results and unknown outcomes, no values in texts."""
    await broken(look(function), sentence)


async def twice(one: Any, call: Call, call_next: CallNext) -> Any:
    """Go on two times."""
    await call_next(call)
    return await call_next(call)


async def elsewhere(one: Any, call: Call, call_next: CallNext) -> Any:
    """Go on from a task that is not the layer's own."""
    results: list[Result] = []

    async def child() -> None:
        results.append(await call_next(call))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
    return results[0]


async def stranger(one: Any, call: Call, call_next: CallNext) -> Any:
    """Go on with somebody else's call."""
    return await call_next(call.made_by(None) if call.principal else call)


async def hopeful(one: Any, call: Call, call_next: CallNext) -> Any:
    """Believe that every result has a value."""
    result = await call_next(call)
    return result.replace(value=dict(result.value))  # type: ignore[arg-type]


async def nothing(one: Any, call: Call, call_next: CallNext) -> Any:
    """Forget the result."""
    await call_next(call)


async def hanging(one: Any, call: Call, call_next: CallNext) -> Any:
    """Wait for ever."""
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (twice, "calls next twice without saying `repeats = True`"),
        (elsewhere, "calls next in another task than its own"),
        (stranger, "changed whose call it is"),
        (hopeful, r"raises TypeError from its layer \(with tools/call, "),
        (nothing, "returns NoneType from its layer"),
        (hanging, "does not come back within 0 s"),
    ],
)
async def test_a_layer_must_keep_to_its_part(function: Any, sentence: str) -> None:
    """Rules: once, in its own task, with the call it was given, and back again."""
    await broken(around(function), sentence, patience=0.0 if function is hanging else 10.0)


async def test_a_layer_that_repeats_may_go_on_again() -> None:
    """It says so."""
    await check_interceptor(around(twice, repeats=True))


@pytest.mark.parametrize("ending", ["returns", "raises ValueError"])
async def test_a_layer_must_not_swallow_cancellation(ending: str) -> None:
    """Rule: cancelled while the call is under way, it ends by cancellation and nothing else."""

    async def layer(one: Any, call: Call, call_next: CallNext) -> Any:
        try:
            return await call_next(call)
        except BaseException:
            if ending == "returns":
                return call.denied(code="cancelled", reason="x")
            raise ValueError from None

    await broken(around(layer), f"{ending} when it is cancelled; cancellation is never swallowed")


async def test_a_layer_must_get_to_the_point_before_it_is_cancelled() -> None:
    """Rule: a layer that hangs is found by every rule that runs it."""

    async def layer(one: Any, call: Call, call_next: CallNext) -> Any:
        if one.hangs:
            await anyio.sleep_forever()
        return await call_next(call)

    made: list[Any] = []

    def make() -> Any:
        made.append(around(layer, hangs=False)())
        # Two for linking, one for the secrets, the check, the filter and going on: then cancellation.
        made[-1].hangs = len(made) == 7
        return made[-1]

    await broken(make, "neither goes on nor comes back within 1 s", patience=1.0)


async def test_no_value_may_get_into_events_or_a_repr() -> None:
    """Rule: no argument and no result in events, refusals, repr or status."""

    class Hoarding(Checked):
        def __init__(self) -> None:
            super().__init__()
            self.last: object = None

        def judge(self, call: Call) -> Any:
            self.last = call.arguments
            return ALLOW

        def __repr__(self) -> str:
            return f"Hoarding(last={self.last})"

    class Telling(Checked):
        def judge(self, call: Call) -> Any:
            return Rewrite(call.params, reason=f"was {call.arguments}")

    await broken(Hoarding, "shows an argument or a result in an event, a refusal or its repr")
    await broken(Telling, "shows an argument or a result in an event, a refusal or its repr")


async def test_auditing_must_not_fail_and_must_not_wait() -> None:
    """Rule: with `mode="audit"` there is no effect, and nothing to fix."""

    class Confused(Checked):
        def judge(self, call: Call) -> Any:
            if not call.enforced:
                raise RuntimeError
            return ALLOW

    async def waiting(one: Any, call: Call, call_next: CallNext) -> Any:
        if not call.enforced:
            await anyio.sleep_forever()
        return await call_next(call)

    async def leaving(one: Any, call: Call, call_next: CallNext) -> Any:
        if call.enforced:
            return await call_next(call)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call_next(call)
        return call.denied(code="late", reason="x")

    await broken(Confused, "fails when its mode is 'audit': the check of confused raised RuntimeError")
    await broken(around(waiting), "does not come back within 1 s", patience=1.0)
    await broken(around(leaving), "has an effect although its mode is 'audit'")


async def test_what_is_handled_must_not_change() -> None:
    """Rule: leaves other methods alone. The chain sees to it by what was declared when it was linked."""

    class Sometimes(Checked):
        def judge(self, call: Call) -> Any:
            self.handles = {("*", "outbound")}
            return ALLOW

    await broken(Sometimes, "handles other methods than it did when it was linked")


async def test_logging_is_no_waiting() -> None:
    """A check may say something to the log that its operator configured."""
    log = logging.getLogger("test_conformance")
    await check_interceptor(check(lambda one, call: log.debug("looked") or ALLOW))


async def test_a_check_may_be_about_notifications() -> None:
    """They meet checks only, and drop by a denial."""

    class Quiet(Interceptor):
        handles: ClassVar[Any] = {("notifications/message", "inbound"), ("notifications/vendor", "inbound")}

        def check(self, call: Call) -> Verdict:
            return Deny("quiet", reason="no log messages")

    await check_interceptor(Quiet)
