"""The inner end of a chain: nothing goes out with an open question, too late, or without the record it needs.

Above: `chain`, which ends with it. Below: the wire.
"""

from collections.abc import Coroutine

from mcpguard.core.call import Call, refusal
from mcpguard.core.emitter import Emitter
from mcpguard.core.gate import report_denial, unasked
from mcpguard.core.interceptor import Wire
from mcpguard.core.result import Denial, Result
from mcpguard.core.run import Stops

__all__ = ["Exit", "settled", "straight"]


class Exit:
    """Let out what may go out.

    Args:
        emitter: Records what goes.
        stops: Tells which runs have ended.
        may_be_late: Whether a call may have been held on its way here.
    """

    __slots__ = ("_emitter", "_may_be_late", "_stops")

    def __init__(self, emitter: Emitter, stops: Stops, *, may_be_late: bool) -> None:
        self._emitter = emitter
        self._stops = stops
        self._may_be_late = may_be_late

    def __call__(self, call: Call, wire: Wire) -> Coroutine[None, None, Result]:
        """Send `call`, or refuse it."""
        if call.asks:
            return self._refused(call, unasked(call.asks[0]))
        if self._may_be_late and call.run is not None:
            code = self._stops.code(call.run)
            if code is not None:
                return self._refused(call, _too_late(code))
        emitter = self._emitter
        if emitter.is_active:
            intent = emitter.dispatched(call)
            if intent is None:
                return settled(Result.denied(_unrecorded()))
            if emitter.delivery.waits:
                return self._once_recorded(call, wire, intent)
            emitter.sent(call, intent)
        if call.timer is not None:
            call.timer.leaves()
        return wire(call)

    async def _once_recorded(self, call: Call, wire: Wire, intent: int) -> Result:
        """Go out when the sinks that are waited for hold the intent; run and tenant may end meanwhile."""
        if not await self._emitter.delivery.settled():
            return Result.denied(_unrecorded())
        if call.run is not None:
            code = self._stops.code(call.run)
            if code is not None:
                return await self._refused(call, _too_late(code))
        self._emitter.sent(call, intent)
        if call.timer is not None:
            call.timer.leaves()
        return await wire(call)

    def _refused(self, call: Call, denial: Denial) -> Coroutine[None, None, Result]:
        report_denial(self._emitter, call, denial)
        return settled(Result.denied(denial))


def straight(call: Call, wire: Wire) -> Coroutine[None, None, Result]:
    """The inner end where nobody can ask, nothing takes time and nothing is recorded."""
    return wire(call)


def _unrecorded() -> Denial:
    """The refusal of a call that would leave no record."""
    return refusal(code="audit_unavailable", reason="a strict sink could not record the call", source="guard")


def _too_late(code: str) -> Denial:
    """The refusal of a call whose run ended while a layer held it: waiting for a person, or for a retry."""
    return refusal(
        code=code,
        reason="the run ended while the call was held",
        message="This task has ended; no more calls can be made in it.",
        source="guard",
    )


async def settled(result: Result) -> Result:
    """A result that is there already, for callers that await one."""
    return result
