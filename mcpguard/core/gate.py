"""Gates: neighbouring checks, run as one.

Every check of a gate runs, so that the record shows all that spoke against a call; Deny beats Ask. A
rewrite is judged again, once, by the checks that had already passed: they judged other parameters. So did
the person who had approved the call: what was approved before a rewrite is not approved after it. A
translation is no rewrite: it says the same in other names.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from mcpguard.core.call import Call, refusal
from mcpguard.core.emitter import Emitter
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.result import Denial
from mcpguard.core.verdict import ALLOW, Allow, Ask, Deny, Rewrite, Verdict

__all__ = ["UNCHECKED", "VERDICT", "Check", "Gate", "report_denial", "report_failure", "unasked"]

_log = logging.getLogger("mcpguard")

UNCHECKED: Final = "This call could not be checked and was refused. Try once more, or go on without it."
"""What the model is told where an interceptor failed: that is no judgement of the call."""

VERDICT: Final = "a Verdict: ALLOW, Deny, Ask or a Rewrite to a mapping"
"""What a check must return, for a message."""

Check: TypeAlias = Callable[[Call], Verdict]


class Gate:
    """Some checks in a row: all a notification meets, and the way into a stretch of a chain."""

    __slots__ = ("_checks", "_earlier", "_emitter")

    def __init__(
        self,
        checks: Sequence[tuple[Check, Interceptor]],
        earlier: Sequence[tuple[Check, Interceptor]],
        emitter: Emitter,
    ) -> None:
        self._checks = tuple(checks)
        self._earlier = tuple(earlier)
        self._emitter = emitter

    def admit(self, call: Call) -> Call | Denial:
        """The call as it goes on, or why it does not."""
        for position, (check, interceptor) in enumerate(self._checks):
            try:
                verdict = check(call)
            except Exception as error:  # noqa: BLE001 - a check that raises denies
                verdict = self._failed(call, interceptor, error)
            if verdict is not ALLOW:
                return self._deliberate(call, position, verdict)
        return call

    def judge_again(self, call: Call, *, may_ask: bool) -> Call | Denial:
        """Let every check that had passed by here judge a call that was rewritten further in."""
        passed = (*self._earlier, *self._checks)
        return self._rejudge(call, passed, may_ask=may_ask) if passed else call

    def _deliberate(self, call: Call, position: int, verdict: Verdict) -> Call | Denial:
        denials: list[Denial] = []
        last_rewrite = -1
        while True:
            check, interceptor = self._checks[position]
            decided = self._settle(call, interceptor, verdict)
            if isinstance(decided, Denial):
                denials.append(decided)
            else:
                call = decided
                if isinstance(verdict, Rewrite) and not interceptor.translates:
                    last_rewrite = position
            position += 1
            if position == len(self._checks):
                break
            check, interceptor = self._checks[position]
            try:
                verdict = check(call)
            except Exception as error:  # noqa: BLE001 - a check that raises denies
                verdict = self._failed(call, interceptor, error)
        if denials:
            return denials[0]
        if last_rewrite < 0:
            return call
        return self._rejudge(call, (*self._earlier, *self._checks[:last_rewrite]), may_ask=True)

    def _rejudge(
        self, call: Call, checks: Sequence[tuple[Check, Interceptor]], *, may_ask: bool
    ) -> Call | Denial:
        denials: list[Denial] = []
        for check, interceptor in checks:
            try:
                verdict = check(call)
            except Exception as error:  # noqa: BLE001 - a check that raises denies
                verdict = self._failed(call, interceptor, error)
            decided = self._settle(call, interceptor, verdict)
            if isinstance(decided, Denial):
                denials.append(decided)
                continue
            if decided.params is not call.params:
                if decided.params != call.params:
                    denials.append(_conflict(interceptor.label))
            elif decided.asks is not call.asks and not may_ask:
                denials.append(unasked(decided.asks[-1]))
            else:
                call = decided
        return denials[0] if denials else call

    def _settle(self, call: Call, interceptor: Interceptor, verdict: Verdict) -> Call | Denial:
        """The call after one verdict, and its event."""
        source = interceptor.label
        match verdict:
            case Allow():
                return call
            case Deny():
                denial = refusal(
                    code=verdict.code,
                    reason=verdict.reason,
                    message=verdict.message,
                    retry_after=verdict.retry_after,
                    source=source,
                )
                report_denial(self._emitter, call, denial)
                return denial
            case Ask():
                question = Ask(verdict.code, reason=verdict.reason, source=source)
                if any(_same(question, known) for known in (*call.asks, *call.approved)):
                    return call
                self._emitter.about(
                    "decision",
                    call,
                    interceptor=source,
                    verdict="ask",
                    code=verdict.code,
                    reason=verdict.reason,
                )
                if not interceptor.can_ask:
                    return unasked(question)
                return call.replace(asks=(*call.asks, question))
            case Rewrite() if isinstance(verdict.params, Mapping):
                self._emitter.about(
                    "decision", call, interceptor=source, verdict="rewrite", reason=verdict.reason
                )
                return call.replace(params=verdict.params, approved=())
            case _:
                failed = self._failed(call, interceptor, None, verdict)
                return call if isinstance(failed, Allow) else self._settle(call, interceptor, failed)

    def _failed(
        self, call: Call, interceptor: Interceptor, error: Exception | None, seen: object = None
    ) -> Allow | Deny:
        what = report_failure(self._emitter, call, interceptor, error, "check", VERDICT, seen)
        return ALLOW if interceptor.fail_open else Deny("interceptor_failed", reason=what, message=UNCHECKED)


def report_denial(emitter: Emitter, call: Call, denial: Denial, *, mode: str | None = None) -> None:
    """Record that `denial.source` speaks against `call`."""
    emitter.about(
        "decision",
        call,
        interceptor=denial.source,
        verdict="deny",
        mode=mode,
        code=denial.code,
        reason=denial.reason,
        retry_after=denial.retry_after,
    )


def report_failure(
    emitter: Emitter,
    call: Call,
    interceptor: Interceptor,
    error: Exception | None,
    hook: str,
    wanted: str,
    seen: object,
) -> str:
    """Record that an interceptor failed, and say so in a sentence without values.

    Where there is no sink, the log has it: whoever writes an interceptor would look for long otherwise.
    """
    if error is None:
        name = f"the class {seen.__name__}" if isinstance(seen, type) else type(seen).__name__
        what = f"the {hook} of {interceptor.label} returned {name}; it must return {wanted}"
    else:
        what = f"the {hook} of {interceptor.label} raised {type(error).__name__}"
    if not emitter.is_active:
        _log.warning("%s", what)
    emitter.about(
        "interceptor_failed", call, interceptor=interceptor.label, mode=interceptor.mode, reason=what
    )
    return what


def unasked(question: Ask) -> Denial:
    """The refusal of a question that nobody further in can answer."""
    return refusal(
        code="approval_required",
        reason=f"{question.source} asks for approval ({question.code}) and nobody can answer here",
        message="This call needs a person's approval, which was not given. Do not repeat it.",
        source=question.source,
    )


def _conflict(label: str) -> Denial:
    return refusal(
        code="rewrite_conflict",
        reason=f"{label} would rewrite a call again that a later interceptor had rewritten",
        source=label,
    )


def _same(one: Ask, other: Ask) -> bool:
    return one.source == other.source and one.code == other.code
