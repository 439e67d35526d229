"""How an interceptor is tried: one hook at a time, watched from outside. The rules are `conformance`'s."""

import inspect
import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import anyio
import anyio.lowlevel

from mcpguard.core.call import Call
from mcpguard.core.chain import Hook
from mcpguard.core.emitter import Emitter
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange, handled, handles
from mcpguard.core.result import Result
from mcpguard.core.verdict import Allow, Ask, Deny, Rewrite, Verdict
from mcpguard.core.wire import JSON, canonical, is_notification
from mcpguard.testing.approver import ScriptedApprover
from mcpguard.testing.clock import FakeClock
from mcpguard.testing.samples import METHODS, Answered, Sample, calls_of, results_of
from mcpguard.testing.sinks import RecordingSink

__all__ = ["Next", "Trials", "broken", "emitter", "linked", "shown", "state", "verdict_of", "watched"]

_WAITING: Final = frozenset({"time.sleep", "io.open", "posix.open", "posix.read", "posix.write"})
"""Built-in functions that wait for something; a check must not call them."""

_WAITING_MODULES: Final = frozenset({"socket", "select", "ssl", "sqlite3", "posixsubprocess"})
"""Modules all of whose functions count as waiting."""


class Trials:
    """Which calls and results an interceptor is tried with.

    Args:
        calls: The test's own calls.
        results: The test's own results.
    """

    def __init__(self, calls: Sequence[Call], results: Sequence[Result]) -> None:
        self._calls = calls
        self._results = [Answered("a result of the test", result) for result in results]

    def calls(self, one: Interceptor, *hooks: Hook, is_odd: bool = True) -> Iterator[Sample]:
        """Calls that meet one of `hooks`, method by method; without the odd ones, two of each method."""
        for samples in self._by_method(one, hooks, is_odd=is_odd):
            yield from samples

    def answered(self, one: Interceptor, *hooks: Hook) -> Iterator[tuple[Sample, Answered]]:
        """Every call with an ordinary result, and the first of every method with every result."""
        for samples in self._by_method(one, hooks, is_odd=True):
            results = [*results_of(samples[0].call.method), *self._results]
            yield from ((samples[0], answered) for answered in results[1:])
            yield from ((sample, results[0]) for sample in samples)

    def _by_method(self, one: Interceptor, hooks: Sequence[Hook], *, is_odd: bool) -> Iterator[list[Sample]]:
        steps = [step for step in linked(one).steps if step.interceptor is one and step.hook in hooks]
        named = {pair for step in steps for pair in handled(step) if not pair[0].endswith("*")}
        for method, direction in dict.fromkeys([*METHODS, *sorted(named)]):
            if any(handles(step, method, direction) for step in steps):
                samples = list(calls_of(method, direction))
                if one.resolves_asks and not is_notification(method):
                    asks = (Ask("sample_question", reason="a sample", source="sample"),)
                    samples.insert(2, Sample(f"{method} with a question", samples[0].call.replace(asks=asks)))
                yield samples if is_odd else samples[:3]
        for call in self._calls:
            if any(handles(step, call.method, call.direction) for step in steps):
                yield [Sample(f"{call.method} given by the test", call)]


class Next:
    """What a layer under trial calls to go on: answers, or hangs where it has no answer.

    Args:
        result: The answer.
    """

    def __init__(self, result: Result | None) -> None:
        self._result = result
        self.calls: list[Call] = []
        self.tasks: list[int] = []
        self.was_reached = anyio.Event()

    async def __call__(self, call: Call, /) -> Result:
        """Answer, and remember the call and the task it came from."""
        self.calls.append(call)
        self.tasks.append(anyio.get_current_task().id)
        self.was_reached.set()
        while self._result is None:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return self._result


def linked(one: Interceptor, *sinks: RecordingSink) -> Linked:
    """A chain of `one`, with somebody to answer its questions."""
    answering = [ScriptedApprover().approves()] if one.can_ask and one.mode == "enforce" else []
    return Linked(arrange([one, *answering]), emitter(*sinks))


def emitter(*sinks: RecordingSink) -> Emitter:
    """An emitter whose time stands still."""
    return Emitter(sinks, clock=FakeClock())


def broken(
    one: Interceptor,
    what: str,
    sample: Sample | None = None,
    answered: Answered | None = None,
    error: Exception | None = None,
) -> NoReturn:
    """Say that `one` breaks a rule, and with which shapes; without a value."""
    seen = [one.what for one in (sample, answered) if one is not None]
    where = f" (with {', '.join(seen)})" if seen else ""
    raise AssertionError(f"{type(one).__name__} {what}{where}") from error


def verdict_of(one: Interceptor, sample: Sample) -> Verdict:
    """What its check says of a call."""
    try:
        verdict: object = one.check(sample.call)
    except Exception as error:  # noqa: BLE001 - reported
        broken(one, f"raises {type(error).__name__} from its check", sample, None, error)
    if inspect.iscoroutine(verdict):
        verdict.close()
        broken(one, "has an asynchronous check; what waits is a layer", sample)
    if not isinstance(verdict, Allow | Deny | Ask | Rewrite):
        broken(one, f"returns {type(verdict).__name__} from its check, not a verdict", sample)
    return verdict


def state(call: Call, result: Result | None = None) -> tuple[bytes, ...]:
    """Everything mutable in a call and a result."""
    parts: list[JSON] = [call.params]
    parts.append(None if call.tool is None else call.tool.definition)
    parts.append(None if call.principal is None else call.principal.claims)
    if result is not None:
        parts += [result.value, None if result.error is None else result.error.data]
    return tuple(map(canonical, parts))


def shown(one: Interceptor) -> str:
    """All that an interceptor shows of itself."""
    return f"{one!r} {one} {json.dumps(dict(one.status()))}"


@contextmanager
def watched() -> Generator[set[str]]:
    """Collect the names of built-in functions called inside that wait for something."""
    seen: set[str] = set()

    def profile(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_call":
            owner = getattr(called, "__module__", None) or type(getattr(called, "__self__", None)).__module__
            module = owner.lstrip("_")
            name = f"{module}.{getattr(called, '__name__', '')}"
            if name in _WAITING or module in _WAITING_MODULES:
                seen.add(name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield seen
    finally:
        sys.setprofile(before)
