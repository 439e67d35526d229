"""Layers in a chain: what one calls to go on, and what the chain makes of what it does.

A layer may change parameters, answer questions and return any result. It may not make the call somebody
else's, go on twice unless it says so, or take a decision for another interceptor.
"""

import logging
from collections.abc import Mapping

from mcpguard.core.call import Call, refusal
from mcpguard.core.emitter import Emitter
from mcpguard.core.errors import LayerError
from mcpguard.core.gate import UNCHECKED, Gate, report_denial, report_failure
from mcpguard.core.interceptor import Frame, Interceptor, Wire, is_foreign
from mcpguard.core.result import Denial, Fate, Result
from mcpguard.core.strings import forget
from mcpguard.core.wire import TARGETS

__all__ = ["Layer", "attributed", "failure", "unsendable", "unsent"]

_log = logging.getLogger("mcpguard")


class _Next:
    """What one layer calls to go on, for one call; keeps the contract on its inner side."""

    was_called = False
    is_over = False
    result: Result | None = None
    denials: tuple[Denial, ...] = ()
    _reached = Fate.NOT_SENT

    def __init__(self, layer: "Layer", call: Call, wire: Wire) -> None:
        self._layer = layer
        self._call = call
        self._wire = wire

    @property
    def fate(self) -> Fate:
        """How far the call has got, in whichever attempt got furthest."""
        return Fate.SENT if self.was_called and self.result is None else self._reached

    async def __call__(self, call: Call, /) -> Result:
        if self.was_called or self.is_over or call is not self._call:
            admitted = self._inspected(call)
            if isinstance(admitted, Denial):
                self.result = Result.denied(admitted)
                self.denials = (*self.denials, admitted)
                return self.result
            call = admitted
        self.was_called = True
        self.result = None
        try:
            result = await self._layer.inner(call, self._wire)
        except Exception as error:  # noqa: BLE001 - interceptors further in are held already: it is the wire's
            result = unsent(self._layer.emitter, call, error)
        self.result = result
        if result.denial is not None:
            self.denials = (*self.denials, result.denial)
        if result.fate is not Fate.NOT_SENT:
            self._reached = result.fate
        return result

    def _inspected(self, call: Call) -> Call | Denial:
        layer = self._layer
        if self.is_over:
            raise LayerError(f"{layer.interceptor.label} called next after it had returned")
        if self.was_called and not layer.interceptor.repeats:
            raise LayerError(f"{layer.interceptor.label} called next twice; a layer that repeats says so")
        return call if call is self._call else layer.inspect(self._call, call)


class Layer:
    """One layer and what stands further in."""

    __slots__ = ("_gate", "_is_foreign", "emitter", "inner", "interceptor")

    def __init__(self, interceptor: Interceptor, gate: Gate, inner: Frame, emitter: Emitter) -> None:
        self.interceptor = interceptor
        self.inner = inner
        self._gate = gate
        self._is_foreign = is_foreign(interceptor)
        self.emitter = emitter

    async def __call__(self, call: Call, wire: Wire) -> Result:
        """Run the layer around what stands further in."""
        step = _Next(self, call, wire)
        try:
            result = await self.interceptor(call, step)
        except Exception as error:  # noqa: BLE001 - a layer that raises denies
            return await self._failed(call, wire, step, error, None)
        finally:
            step.is_over = True
            if step.result is not None and self._is_foreign:
                forget(step.result)
        if result is step.result and result is not None and not self.interceptor.repeats:
            return result
        if not isinstance(result, Result) or not (result is step.result or result.is_whole):
            return await self._failed(call, wire, step, None, result)
        if result.denial is not None and not any(result.denial is known for known in step.denials):
            return attributed(self.emitter, call, self.interceptor, result.denial, step.fate)
        if result is not step.result:
            self.emitter.about("decision", call, interceptor=self.interceptor.label, verdict="change")
        return result if result.fate is step.fate else result.replace(fate=step.fate)

    def inspect(self, before: Call, after: Call) -> Call | Denial:
        """What a layer changed of the call: only parameters and answered questions may differ."""
        if not isinstance(after, Call) or after.id != before.id or after.method != before.method:
            raise LayerError(f"{self.interceptor.label} passed on another call than it was given")
        same = (
            after.run is before.run
            and after.principal is before.principal
            and after.server == before.server
            and after.direction == before.direction
            and after.round == before.round
            and after.parent == before.parent
            and after.timeout == before.timeout
            and after.tool is before.tool
            and after.enforced is before.enforced
            and after.explained is before.explained
            and (after.timer is before.timer or self.interceptor.times)
        )
        if not same:
            raise LayerError(f"{self.interceptor.label} changed whose call it is; only params may change")
        asks_changed = after.asks is not before.asks or after.approved is not before.approved
        if asks_changed and not self.interceptor.resolves_asks:
            raise LayerError(f"{self.interceptor.label} changed questions without declaring resolves_asks")
        if after.params is before.params:
            return after
        if not isinstance(after.params, (dict, Mapping)):
            raise LayerError(f"{self.interceptor.label} passed on parameters that are not a mapping")
        self.emitter.about("decision", after, interceptor=self.interceptor.label, verdict="rewrite")
        if self.interceptor.injects and _has_same_target(before, after):
            return after
        if after.approved and not self.interceptor.resolves_asks:
            after = after.replace(approved=())
        return self._gate.judge_again(after, may_ask=False)

    async def _failed(
        self, call: Call, wire: Wire, step: _Next, error: Exception | None, seen: object
    ) -> Result:
        interceptor = self.interceptor
        what = report_failure(self.emitter, call, interceptor, error, "layer", "a whole Result", seen)
        if interceptor.fail_open:
            if step.result is not None:
                return step.result
            if not step.was_called:
                return await self.inner(call, wire)
        return failure(interceptor, what, step.fate)


def _has_same_target(before: Call, after: Call) -> bool:
    key = TARGETS.get(before.method)
    return key is None or before.params.get(key) == after.params.get(key)


def failure(interceptor: Interceptor, what: str, fate: Fate) -> Result:
    """The refusal with which a call ends whose interceptor failed."""
    denial = refusal(code="interceptor_failed", reason=what, message=UNCHECKED, source=interceptor.label)
    return Result.denied(denial, fate=fate)


def unsendable(error: Exception) -> str:
    """That the guard failed over sending a call, in a sentence without values."""
    return f"sending the call raised {type(error).__name__}"


def unsent(emitter: Emitter, call: Call, error: Exception) -> Result:
    """The refusal with which a call ends over which the guard failed itself: nobody knows how far it got."""
    what = unsendable(error)
    if not emitter.is_active:
        _log.error("%s", what)
    emitter.about("interceptor_failed", call, interceptor="guard", reason=what)
    denial = refusal(code="guard_failed", reason=what, message=UNCHECKED, source="guard")
    return Result.denied(denial, fate=Fate.SENT)


def attributed(emitter: Emitter, call: Call, interceptor: Interceptor, given: Denial, fate: Fate) -> Result:
    """A refusal by a layer or filter, with its source and how far the call had really got."""
    denial = refusal(
        code=given.code,
        reason=given.reason,
        message=given.message,
        retry_after=given.retry_after,
        source=interceptor.label,
    )
    report_denial(emitter, call, denial)
    return Result.denied(denial, fate=fate)
