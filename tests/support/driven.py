"""Calls through chains that are driven by hand: a call stops on the wire until the test answers or cancels it."""

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import pytest

from mcpguard import Call, Fate, Interceptor, Outcome, Result, Run
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.testing import FakeClock, RecordingSink

__all__ = [
    "ANSWER",
    "ASKED",
    "FAILED",
    "LOST",
    "UNSENT",
    "Chain",
    "Driven",
    "Parked",
    "chain",
    "code",
    "known",
]

ANSWER = Result.of({"content": [{"type": "text", "text": "done"}]})
UNSENT = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT)
LOST = Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)
FAILED = Result.of({"content": [], "isError": True})
ASKED = Result.of({"resultType": "input_required", "inputRequests": {}})


class Cancelled(BaseException):
    """What a cancellation looks like to a coroutine driven by hand."""


class Parked:
    """An awaitable that waits until its coroutine is sent a result."""

    def __await__(self) -> Generator[None, Result, Result]:
        return (yield None)


class Driven:
    """One call through a chain, driven by hand: it stops on the wire until it is answered or cancelled."""

    def __init__(self, steps: Coroutine[None, Any, Result]) -> None:
        self._steps = steps
        self.result: Result | None = None
        self._go(lambda: steps.send(None))

    @property
    def is_on_the_wire(self) -> bool:
        return self.result is None

    def answer(self, result: Result) -> Result:
        self._go(lambda: self._steps.send(result))
        assert self.result is not None
        return self.result

    def cancel(self) -> None:
        with pytest.raises(Cancelled):
            self._steps.throw(Cancelled())

    def _go(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StopIteration as ended:
            self.result = ended.value


@dataclass
class Chain:
    """Interceptors linked for tool calls."""

    linked: Linked
    seen: RecordingSink
    clock: FakeClock

    def begin(self, run: Run | None, name: str = "work", arguments: Any = None, **about: Any) -> Driven:
        """Make a call that gets as far as the wire, or is denied."""
        principal = None if run is None else run.principal
        call = Call(
            **{
                "id": "call-1",
                "method": "tools/call",
                "params": {"name": name, "arguments": arguments or {}},
                "server": "git",
                "run": run,
                "principal": principal,
                **about,
            }
        )

        async def wire(_: Call) -> Result:
            return await Parked()

        return Driven(self.linked.chain(call.method, call.direction)(call, wire))

    def make(self, run: Run | None, answer: Result = ANSWER, name: str = "work", **about: Any) -> Result:
        """Make a call that is answered with `answer` if it gets to the wire."""
        driven = self.begin(run, name, **about)
        return driven.answer(answer) if driven.is_on_the_wire else known(driven.result)


def chain(*interceptors: Interceptor, clock: FakeClock | None = None, store: object | None = None) -> Chain:
    """Link interceptors for tool calls."""
    seen, time = RecordingSink(), clock or FakeClock()
    return Chain(Linked(arrange(interceptors), Emitter([seen], clock=time), store=store), seen, time)


def code(result: Result) -> str | None:
    """The code of a denial, or None."""
    return None if result.denial is None else result.denial.code


def known(result: Result | None) -> Result:
    """A result that there must be by now."""
    assert result is not None
    return result
