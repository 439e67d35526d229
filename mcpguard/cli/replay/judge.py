"""A policy's judgement of calls that were recorded, one after the other, at the time they were made.

Interceptors that need no more than a trail holds are run for real, with the recorded time as their clock
and the recorded outcome as their answer. A trail has no arguments (their digest stands in: equal is equal),
no roles and no content. Whatever could depend on those is *undecided*, and it is said whose decision that is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from mcpguard.audit.calls import UNANSWERED, CallView
from mcpguard.cli.replay.arguments import certain
from mcpguard.config import Policy
from mcpguard.core.call import Call
from mcpguard.core.chain import Step
from mcpguard.core.emitter import Emitter
from mcpguard.core.exit import settled
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import ANONYMOUS, Linked
from mcpguard.core.order import arrange, handles
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.run import Run
from mcpguard.core.scope import Match
from mcpguard.core.verdict import ALLOW, Deny, Verdict
from mcpguard.core.wire import JSON, TARGETS, is_notification
from mcpguard.detectors.approval_rule import ApprovalRule
from mcpguard.interceptors.access import Access
from mcpguard.interceptors.approval import Approval
from mcpguard.interceptors.argument_rules import ArgumentRules
from mcpguard.interceptors.budget import Budget
from mcpguard.interceptors.circuit_breaker import CircuitBreaker
from mcpguard.interceptors.loop_detector import LoopDetector
from mcpguard.interceptors.rate_limit import RateLimit

__all__ = ["Judgement", "Replay"]

Change: TypeAlias = Literal["same", "denied", "allowed", "undecided"]

_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}

_NO_ANSWER: Final = frozenset({"cancelled", UNANSWERED})

_HARMLESS: Final = frozenset({"deadline", "retry", "result_cache", "concurrency"})
"""Interceptors that time, repeat or remember, and refuse for no reason that the policy's author decides."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy would have done with one call.

    Args:
        view: The call.
        change: `denied` or `allowed` where that is not what happened.
        code: Of the denial.
        why: Who denies, or what cannot be known.
    """

    view: CallView
    change: Change
    code: str = ""
    why: str = ""


class Replay:
    """Judges calls under a policy.

    Args:
        policy: The policy; nothing that it names is opened.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._clock = _Clock()
        steps = arrange(policy.interceptors)
        runnable = [step for step in steps if _is_decidable(step.interceptor)]
        self._blind = [step for step in steps if step not in runnable]
        self._linked = Linked(runnable, Emitter((), clock=self._clock))
        self._roles = sorted({role for step in runnable for role in _roles(step.interceptor)})
        self._runs: dict[tuple[str, int], Run] = {}

    async def judge(self, views: Iterable[CallView]) -> Sequence[Judgement]:
        """Judge calls, in the order in which they were made."""
        return [await self._one(view) for view in sorted(views, key=lambda view: view.seq) if _is_asked(view)]

    async def _one(self, view: CallView) -> Judgement:
        self._clock.seconds = view.time_us / 1_000_000
        if self._policy.servers and view.server not in self._policy.servers:
            return Judgement(view, "undecided", why=f"the policy declares no server called {view.server!r}")
        call = self._call(view, self._principal(view))
        if self._depends_on_roles(call):
            return Judgement(view, "undecided", why="depends on the caller's roles, which are not recorded")
        was_denied = view.outcome == "denied"
        deciding = [step.interceptor for step in self._blind if _decides(step, call)]
        verdicts = [_certain(one, call) for one in deciding]
        for one, verdict in zip(deciding, verdicts, strict=True):
            if isinstance(verdict, Deny):
                why = f"{one.label}: {verdict.reason}"
                return Judgement(view, "same" if was_denied else "denied", verdict.code, why)
        chain = self._linked.chain(view.method, "outbound")
        result = await chain.run(call, lambda _call: settled(_answer(view)))
        if result.denial is not None:
            why = f"{result.denial.source or 'guard'}: {result.denial.reason}"
            return Judgement(view, "same" if was_denied else "denied", result.denial.code, why)
        pairs = zip(deciding, verdicts, strict=True)
        blind = dict.fromkeys(one.label for one, verdict in pairs if verdict is not ALLOW)
        if blind:
            return Judgement(view, "undecided", why=f"{', '.join(blind)}: needs what is not recorded")
        if was_denied:
            return Judgement(view, "allowed", why="no rule refuses it")
        return Judgement(view, "same")

    def _principal(self, view: CallView, roles: Iterable[str] = ()) -> Principal | None:
        if not (view.tenant or view.user or view.agent):
            return ANONYMOUS if self._policy.anonymous == "allow" else None
        return Principal(
            tenant=view.tenant or None,
            user=view.user or None,
            agent=view.agent or None,
            roles=frozenset(roles),
        )

    def _call(self, view: CallView, principal: Principal | None) -> Call:
        key = TARGETS.get(view.method)
        params: dict[str, JSON] = {} if key is None else {key: view.target}
        if key != "uri":
            params["arguments"] = {"digest": view.arguments_digest}
        return Call(
            id=view.call_id,
            method=view.method,
            params=params,
            server=view.server,
            principal=principal,
            run=self._run(view, principal),
        )

    def _run(self, view: CallView, principal: Principal | None) -> Run | None:
        if not view.run_id:
            return None
        key = view.run_id, view.run_seq
        run = self._runs.get(key)
        if run is None:
            above = view.parent_run_id, view.parent_run_seq
            parent = self._runs.get(above)
            if parent is None and view.parent_run_id:
                parent = self._runs[above] = Run(id=view.parent_run_id, principal=principal)
            run = self._runs[key] = Run(id=view.run_id, principal=principal, parent=parent)
        return run

    def _depends_on_roles(self, call: Call) -> bool:
        """Whether the verdict is another with none of the policy's roles, with one of them, or with all."""
        if not self._roles or call.principal is None:
            return False
        who = call.principal
        tried = [(), *((role,) for role in self._roles), tuple(self._roles)]
        verdicts: set[str] = set()
        for roles in tried:
            asked = call.made_by(replace(who, roles=frozenset(roles)))
            admitted = self._linked.chain(call.method, "outbound").admit(asked)
            verdicts.add(admitted.code if isinstance(admitted, Denial) else "")
        return len(verdicts) > 1


class _Clock:
    """The time at which the call that is judged was made."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def time(self) -> float:
        return self.seconds


def _is_asked(view: CallView) -> bool:
    """Whether it is a request of the agent's, and its first message."""
    return view.direction == "outbound" and view.round == 0 and not is_notification(view.method)


def _is_decidable(one: Interceptor) -> bool:
    """Whether a trail holds all that an interceptor goes by: roles it does not."""
    if getattr(getattr(one, "scope", None), "roles", ()):
        return False
    if isinstance(one, Budget):
        return set(one.status()) - {"per", "accounts"} == {"calls"}
    if isinstance(one, RateLimit):
        return not one.waits
    return isinstance(one, Access | CircuitBreaker | LoopDetector)


def _decides(step: Step, call: Call) -> bool:
    """Whether a hook may refuse `call`, or hold it for a person."""
    one = step.interceptor
    if step.hook in ("filter", "watch") or one.mode != "enforce" or one.name in _HARMLESS:
        return False
    if isinstance(one, Approval) and not any(_asks_about(rule, call) for rule in one.rules):
        return False
    return handles(step, call.method, "outbound")


def _certain(one: Interceptor, call: Call) -> Verdict | None:
    """What an interceptor that goes by what is not recorded says of `call` all the same."""
    return certain(one, call) if isinstance(one, ArgumentRules) else None


def _asks_about(rule: ApprovalRule, call: Call) -> bool:
    return bool(rule.roles) or rule.scope.match(call) is not Match.NO


def _roles(one: Interceptor) -> Iterator[str]:
    if isinstance(one, Access):
        for rule in (*one.allow, *one.deny):
            yield from rule.roles


def _answer(view: CallView) -> Result:
    """What came back, as far as it was recorded; of a call that was not sent, that it went well."""
    outcome = _OUTCOMES.get(view.outcome, Outcome.OK)
    text: JSON = [{"type": "text", "text": view.result_digest}]
    if view.outcome in _NO_ANSWER or outcome in (Outcome.TIMEOUT, Outcome.TRANSPORT_ERROR):
        lost = outcome if outcome in (Outcome.TIMEOUT, Outcome.TRANSPORT_ERROR) else Outcome.TRANSPORT_ERROR
        return Result(outcome=lost, fate=Fate.SENT)
    if outcome is Outcome.PROTOCOL_ERROR:
        code = int(view.error_code) if view.error_code.lstrip("-").isdecimal() else 0
        return Result(outcome=outcome, fate=Fate.ANSWERED, error=WireError(code, ""))
    return Result.of({"content": text, "isError": outcome is Outcome.TOOL_ERROR})
