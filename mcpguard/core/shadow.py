"""Interceptors in `mode="audit"`: they see copies, and what they decide is reported and discarded.

That is the chain's doing, not a promise of the interceptor: an auditing one that denies, rewrites, raises
or changes what it was given has no effect on the call.
"""

from collections.abc import Callable
from typing import Final

from mcpguard.core.call import Call, refusal
from mcpguard.core.emitter import Emitter
from mcpguard.core.errors import LayerError
from mcpguard.core.gate import VERDICT, Check, report_denial, report_failure
from mcpguard.core.interceptor import Frame, Interceptor, Wire
from mcpguard.core.layer import failure, unsent
from mcpguard.core.result import Fate, Result
from mcpguard.core.verdict import ALLOW, Allow, Ask, Deny, Rewrite, Verdict

__all__ = ["ShadowLayer", "shadow_check", "shadow_filter"]

_ABANDONED: Final = "an auditing layer left a call that was under way, which cannot be sent again"


def shadow_check(interceptor: Interceptor, emitter: Emitter) -> Check:
    """The interceptor's check, reporting what it would have said; it always allows."""

    def check(call: Call) -> Verdict:
        verdict: object = None
        error: Exception | None = None
        try:
            verdict = interceptor.check(call.shadow())
        except Exception as raised:  # noqa: BLE001 - an auditing check has no effect, failures included
            error = raised
        match verdict:
            case Allow():
                pass
            case Deny():
                _would_deny(emitter, call, interceptor, verdict)
            case Ask():
                _report(emitter, call, interceptor, "ask", code=verdict.code, reason=verdict.reason)
            case Rewrite():
                _report(emitter, call, interceptor, "rewrite", reason=verdict.reason)
            case _:
                report_failure(emitter, call, interceptor, error, "check", VERDICT, verdict)
        return ALLOW

    return check


def shadow_filter(interceptor: Interceptor, emitter: Emitter) -> Callable[[Call, Result], Result]:
    """The interceptor's filter, reporting what it would have changed; it always returns what it was given."""

    def look(call: Call, result: Result) -> Result:
        seen: object = None
        error: Exception | None = None
        try:
            seen = interceptor.filter(call.shadow(), result.copy())
        except Exception as raised:  # noqa: BLE001 - an auditing filter has no effect, failures included
            error = raised
        if not isinstance(seen, Result) or not seen.is_whole:
            report_failure(emitter, call, interceptor, error, "filter", "a whole Result", seen)
        else:
            _report_change(emitter, call, interceptor, seen, result)
        return result

    return look


class ShadowLayer:
    """An auditing layer and what stands further in."""

    __slots__ = ("_emitter", "_inner", "_interceptor")

    def __init__(self, interceptor: Interceptor, inner: Frame, emitter: Emitter) -> None:
        self._interceptor = interceptor
        self._inner = inner
        self._emitter = emitter

    async def __call__(self, call: Call, wire: Wire) -> Result:
        """Run the layer beside the call: whatever it does, the call goes on once and unchanged."""
        step = _ShadowNext(self._inner, call, wire, self._interceptor, self._emitter)
        seen: object = None
        error: Exception | None = None
        try:
            seen = await self._interceptor(call.shadow(), step)
        except Exception as raised:  # noqa: BLE001 - an auditing layer has no effect, failures included
            error = raised
        finally:
            step.is_over = True
        what = ""
        if not isinstance(seen, Result) or not (seen is step.given or seen.is_whole):
            what = report_failure(
                self._emitter, call, self._interceptor, error, "layer", "a whole Result", seen
            )
        elif step.given is None or seen is not step.given:
            _report_change(self._emitter, call, self._interceptor, seen, step.result)
        if step.result is not None:
            return step.result
        if step.was_called:
            return failure(self._interceptor, what or _ABANDONED, Fate.SENT)
        return await self._inner(call, wire)


class _ShadowNext:
    """Lets an auditing layer go on: the real call runs once, unchanged."""

    __slots__ = (
        "_call",
        "_emitter",
        "_inner",
        "_interceptor",
        "_wire",
        "given",
        "is_over",
        "result",
        "was_called",
    )

    def __init__(
        self, inner: Frame, call: Call, wire: Wire, interceptor: Interceptor, emitter: Emitter
    ) -> None:
        self._inner = inner
        self._call = call
        self._wire = wire
        self._interceptor = interceptor
        self._emitter = emitter
        self.was_called = False
        self.is_over = False
        self.result: Result | None = None
        self.given: Result | None = None

    async def __call__(self, call: Call, /) -> Result:
        label = self._interceptor.label
        if self.is_over:
            raise LayerError(f"{label} called next after it had returned")
        if self.was_called:
            if self.given is None or not self._interceptor.repeats:
                raise LayerError(f"{label} called next twice; a layer that repeats says so")
            return self.given
        if call.params != self._call.params:
            _report(self._emitter, self._call, self._interceptor, "rewrite")
        self.was_called = True
        try:
            self.result = await self._inner(self._call, self._wire)
        except Exception as error:  # noqa: BLE001 - interceptors further in are held already: it is the wire's
            self.result = unsent(self._emitter, self._call, error)
        self.given = self.result.copy()
        return self.given


def _would_deny(emitter: Emitter, call: Call, interceptor: Interceptor, verdict: Deny) -> None:
    denial = refusal(
        code=verdict.code,
        reason=verdict.reason,
        retry_after=verdict.retry_after,
        source=interceptor.label,
    )
    report_denial(emitter, call, denial, mode="audit")


def _report_change(
    emitter: Emitter, call: Call, interceptor: Interceptor, seen: Result, result: Result | None
) -> None:
    if seen.denial is not None and (result is None or seen.denial != result.denial):
        _report(emitter, call, interceptor, "deny", code=seen.denial.code, reason=seen.denial.reason)
    elif _differs(seen, result):
        _report(emitter, call, interceptor, "change")


def _differs(seen: Result, result: Result | None) -> bool:
    try:
        return seen != result
    except Exception:  # noqa: BLE001 - what cannot be compared was made by the auditing interceptor
        return True


def _report(
    emitter: Emitter,
    call: Call,
    interceptor: Interceptor,
    verdict: str,
    *,
    code: str | None = None,
    reason: str | None = None,
) -> None:
    emitter.about(
        "decision",
        call,
        interceptor=interceptor.label,
        verdict=verdict,
        mode="audit",
        code=code,
        reason=reason,
    )
