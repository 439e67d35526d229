"""A chain without layers, run in two steps: up to the wire, and from the answer on.

Checks, filters and events wait for nothing, so such a chain suspends at the wire and nowhere else. It needs
no task: whoever has the message takes it there, and whoever has the answer takes it home. A chain with
layers, or one that lists tools first, cannot be run like this.

Above: `outgoing` and `incoming`.
"""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, TypeAlias, cast

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.interceptor import Wire
from mcpguard.core.result import Result

__all__ = ["Course", "can_run_in_steps"]

Run: TypeAlias = Callable[[Wire], Coroutine[Any, Any, Result]]
"""Runs something through a chain to the given wire."""


def can_run_in_steps(chain: Chain) -> bool:
    """Whether a chain waits for nothing but the wire."""
    return not (chain.suspends or chain.needs_tool)


class Course:
    """One run of such a chain.

    Args:
        run: Starts it.
        context: Where both steps run, whoever takes them.
    """

    __slots__ = ("_context", "_running")

    def __init__(self, run: Run, context: Context) -> None:
        self._context = context
        self._running = context.run(run, _at_wire)

    def begin(self) -> Call | Result:
        """Run up to the wire: the call as it is to be sent, or a result where it is not."""
        return self._step(None)

    def end(self, answer: Result) -> Result:
        """Run on with what came from the wire."""
        return cast("Result", self._step(answer))

    def close(self) -> None:
        """Cancel it where it stands."""
        self._context.run(self._running.close)

    def _step(self, value: Result | None) -> Call | Result:
        try:
            return cast("Call", self._context.run(self._running.send, value))
        except StopIteration as stop:
            return cast("Result", stop.value)


async def _at_wire(call: Call) -> Result:
    return await _handed_over(call)


@coroutine
def _handed_over(call: Call) -> Generator[Call, Result, Result]:
    return (yield call)
