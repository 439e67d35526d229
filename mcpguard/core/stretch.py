"""Neighbouring checks and filters of a chain, fused into one frame.

Above: `chain`, which links it. Beside: `gate`, the checks alone; `layer`, what stands around a call.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.emitter import Emitter
from mcpguard.core.exit import settled
from mcpguard.core.gate import Gate, report_failure
from mcpguard.core.interceptor import Frame, Interceptor, Wire, is_foreign
from mcpguard.core.layer import attributed, failure
from mcpguard.core.result import Denial, Result
from mcpguard.core.strings import forget

__all__ = ["Look", "Stretch", "looking"]

Look: TypeAlias = Callable[[Call, Result], Result]


class Stretch:
    """Neighbouring checks and filters in one frame."""

    __slots__ = ("_emitter", "_filters", "_inner", "gate")

    def __init__(
        self,
        gate: Gate,
        filters: Sequence[tuple[Look, Interceptor]],
        inner: Frame,
        emitter: Emitter,
    ) -> None:
        self.gate = gate
        self._filters = tuple(reversed(filters))
        self._inner = inner
        self._emitter = emitter

    def __call__(self, call: Call, wire: Wire) -> Coroutine[None, None, Result]:
        """Run `call` through the checks, inwards, and back through the filters.

        A plain function: it adds a frame to what is awaited only where there are filters.
        """
        admitted = self.gate.admit(call)
        if isinstance(admitted, Denial):
            return settled(Result.denied(admitted))
        return self._filtering(admitted, wire) if self._filters else self._inner(admitted, wire)

    async def _filtering(self, call: Call, wire: Wire) -> Result:
        return self.filter(call, await self._inner(call, wire))

    def filter(self, call: Call, result: Result) -> Result:
        """Let the filters of this stretch look at what came back, innermost first."""
        for look, interceptor in self._filters:
            result = self._filtered(look, interceptor, call, result)
        return result

    def _filtered(
        self,
        look: Look,
        interceptor: Interceptor,
        call: Call,
        result: Result,
    ) -> Result:
        error: Exception | None = None
        seen: object = None
        try:
            seen = look(call, result)
        except Exception as raised:  # noqa: BLE001 - a filter that raises denies
            error = raised
        if seen is result:
            return result
        if not isinstance(seen, Result) or not seen.is_whole:
            what = report_failure(self._emitter, call, interceptor, error, "filter", "a whole Result", seen)
            return result if interceptor.fail_open else failure(interceptor, what, result.fate)
        if seen.denial is not None and seen.denial is not result.denial:
            return attributed(self._emitter, call, interceptor, seen.denial, result.fate)
        self._emitter.about("decision", call, interceptor=interceptor.label, verdict="change")
        return seen if seen.fate is result.fate else seen.replace(fate=result.fate)


def looking(interceptor: Interceptor) -> Look:
    """An interceptor's filter. One from elsewhere may change the answer in place, whatever it returns."""
    if not is_foreign(interceptor):
        return interceptor.filter

    def look(call: Call, result: Result) -> Result:
        try:
            return interceptor.filter(call, result)
        finally:
            forget(result)

    return look
