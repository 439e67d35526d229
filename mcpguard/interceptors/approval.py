"""Let a person decide about a call: those that other interceptors ask about, and those that rules select.

The wait stands outside of deadlines and budgets. An answer is bound to what the person saw, holds once, and
silence is a refusal. Who is asked, and how, is the approver's business.
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias, Unpack

import anyio

from mcpguard.approvers.client import ClientApprover
from mcpguard.approvers.signing import Keys
from mcpguard.approvers.stored import Pending, StoredApprover
from mcpguard.approvers.terminal import TerminalApprover
from mcpguard.core.call import Call
from mcpguard.core.errors import GuardBuildError
from mcpguard.core.host import Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import matcher
from mcpguard.core.verdict import ALLOW, Ask, Deny, Verdict
from mcpguard.core.wire import INTERRUPTIBLE, JSON, TARGETS, JSONObject, mutable_copy
from mcpguard.detectors.approval import (
    Answer,
    ApprovalRequest,
    Approved,
    Declined,
    binding_of,
    shown_arguments,
)
from mcpguard.detectors.approval_rule import ApprovalRule
from mcpguard.detectors.condition import Held
from mcpguard.detectors.remembered import Remembered
from mcpguard.detectors.waiting_room import WaitingRoom
from mcpguard.stores.lent import lent
from mcpguard.stores.store import Store

__all__ = ["Answer", "Approval", "ApprovalRequest", "ApprovalRule", "Approved", "Approver", "Declined"]

Approver: TypeAlias = Callable[[ApprovalRequest], Awaitable[Answer]]
"""Asks a person. It may take as long as it likes; what it raises refuses the call."""

MAX_REASON: Final = 500
"""Characters of a person's reason that the model is told."""


class Approval(Interceptor):
    """Hold a call until a person has decided.

    Args:
        rules: Calls that a person is asked about, beside those that other interceptors ask about.
        approver: Who is asked: `terminal`; `store`, for answers by `mcpguard approvals`; `client`, where the
            guard is served, for the person at the client that makes the call; or in Python any function of a
            request.
        keys: Public keys of those who may answer by way of the store.
        store: Where questions are left for `store`. None: the guard's store.
        poll: Seconds between two looks into the store.
        wait: Seconds a call waits for an answer by way of the store, before it is refused as pending; the
            same call goes on once a person has said yes. 0: not at all. None: until the question expires.
        expires: Seconds after which silence is a refusal.
        remember: Seconds for which an answer that is to be remembered is, at the most.
        max_waiting: Calls that may wait at a time; more are refused. One principal (tenant and user; all of
            whom nobody said who they are count as one) has at most half of the places that are left.

    Raises:
        TypeError: If `rules` holds something else than rules, or the approver cannot be called.
        ValueError: If a number is out of range.
    """

    handles = frozenset((method, "outbound") for method in INTERRUPTIBLE)
    place = Place.APPROVAL
    resolves_asks = True
    waits = True
    needs_tool = True

    def __init__(
        self,
        *,
        rules: Sequence[ApprovalRule] = (),
        approver: Literal["terminal", "store", "client"] | Approver = "terminal",
        keys: Collection[str] = (),
        store: Store | None = None,
        poll: float = 1.0,
        wait: float | None = None,
        expires: float = 600.0,
        remember: float = 3600.0,
        max_waiting: int = 100,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        for position, rule in enumerate(rules):
            if not isinstance(rule, ApprovalRule):
                raise TypeError(f"rules[{position}] is an ApprovalRule, not {type(rule).__name__}")
        for name, seconds in (("expires", expires), ("remember", remember), ("poll", poll)):
            if not 0 < seconds < 1e9:
                raise ValueError(f"{name} is seconds, above 0, not {seconds}")
        if not max_waiting >= 1:
            raise ValueError(f"max_waiting is at least 1, not {max_waiting}")
        if approver != "store" and (keys or store is not None or wait is not None):
            raise ValueError("keys, store and wait are for approver='store'")
        if wait is not None and not 0 <= wait < 1e9:
            raise ValueError(f"wait is seconds, 0 or more, not {wait}")
        self._keys = Keys(keys) if approver == "store" else None
        chosen = _KNOWN[approver]() if isinstance(approver, str) and approver in _KNOWN else approver
        if isinstance(chosen, str) or not callable(chosen):
            known = ", ".join(map(repr, _KNOWN))
            raise TypeError(f"approver is {known} or a function of a request, not {approver!r}")
        self._own = store
        self._poll = poll
        self._wait = wait
        self.rules = tuple(rules)
        self.can_ask = bool(rules)
        self._approver: Approver = chosen
        self._expires = expires
        self._remember = remember
        self._policy = hashlib.sha256(repr((self.label, self.rules)).encode()).hexdigest()
        self._remembered = Remembered()
        self._waiting = WaitingRoom(max_waiting)

    def join(self, host: Host) -> None:
        """Take what the guard lends. Where questions are left in a store, there has to be one.

        Raises:
            GuardBuildError: If there is none.
        """
        super().join(host)
        if self._keys is None:
            return
        if self._own is None and host.store is None:
            raise GuardBuildError(
                f"{self.label} asks by way of a store: name one (`store:` in a policy, or Guard(store=))"
            )
        store = lent(host, self._own)
        self._approver = StoredApprover(
            store, keys=self._keys, clock=host.clock, poll=self._poll, wait=self._wait
        )

    def check(self, call: Call) -> Verdict:
        """Ask about a call that a rule selects."""
        for position, rule in enumerate(self.rules):
            held = rule.held(call)
            if held is Held.NO:
                continue
            if held is Held.YES:
                return Ask(f"approval_rule_{position}", reason=rule.reason)
            where = f"{self.label}.rules[{position}]"
            if held is Held.MISSING:
                return Deny("no_principal", reason=f"{where} depends on who calls, and nobody said")
            return Deny("condition_failed", reason=f"the condition of {where} could not be evaluated")
        return ALLOW

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Hold a call that has questions until they are answered."""
        if not call.asks or not call.enforced:
            return await call_next(call)
        digest = binding_of(call, self._policy)
        general = binding_of(_without_arguments(call), self._policy)
        if self._remembered.answers(call, digest=digest, general=general, now=self.host.clock.now()):
            self._record(call, "a remembered answer")
            return await call_next(_answered(call))
        lines = shown_arguments(call)
        if lines is None:
            return self._denied(
                call, "approval_too_large", "its name or arguments are too long for a person to judge"
            )
        if not self._waiting.has_room(call.principal):
            return self._denied(call, "approval_busy", "as many calls wait for a person as may")
        answer = await self._asked(call, digest, lines)
        if isinstance(answer, Result):
            return answer
        if isinstance(answer, Declined):
            self._record(call, answer.by, "decline")
            return _declined(call, answer)
        self._record(call, answer.by)
        if answer.arguments is not None:
            edited: JSONObject = {**call.params, "arguments": mutable_copy(answer.arguments)}
            return await call_next(_answered(call).replace(params=edited, approved=_answered(call).approved))
        if answer.remember != "once":
            self._remembered.add(
                call,
                digest=digest,
                general=general,
                for_run=answer.remember == "run",
                pattern=answer.pattern,
                until=self.host.clock.now() + self._remember,
            )
        return await call_next(_answered(call))

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules for servers that are not declared."""
        for position, rule in enumerate(self.rules):
            for name in rule.servers:
                if servers and not any(map(matcher([name]), servers)):
                    yield f"{self.label}.rules[{position}]: no declared server is called {name!r}"

    def status(self) -> Mapping[str, JSON]:
        """Which calls wait, and how many answers are remembered."""
        waiting: list[JSON] = [
            {"id": one.id, "server": one.server, "target": one.target} for one in self._waiting.now()
        ]
        return {"waiting": waiting, "remembered": len(self._remembered)}

    async def _asked(self, call: Call, digest: str, lines: tuple[str, ...]) -> Answer | Result:
        """What the approver says in time."""
        request = ApprovalRequest(
            id=digest[:16],
            digest=digest,
            principal=None if call.principal is None else replace(call.principal, claims={}),
            run=None if call.run is None else call.run.id,
            server=call.server,
            method=call.method,
            target=call.target,
            questions=call.asks,
            arguments=lines,
            expires=self.host.clock.time() + self._expires,
        )
        answer: object = None
        error: Exception | None = None
        scope = anyio.move_on_after(self._expires)
        self._waiting.enter(call.id, request)
        try:
            with scope:
                answer = await self._approver(request)
        except Pending:
            return _pending(call, self._poll)
        except Exception as raised:  # noqa: BLE001 - an approver that fails has approved nothing
            error = raised
        finally:
            self._waiting.leave(call.id)
        if isinstance(answer, Approved | Declined):
            return answer
        if scope.cancelled_caught:
            return self._denied(call, "approval_expired", f"nobody answered in {self._expires:g} s")
        what = "gave no answer" if error is None else f"raised {type(error).__name__}"
        return self._denied(call, "approval_failed", f"the approver {what}")

    def _record(self, call: Call, by: str, verdict: Literal["approve", "decline"] = "approve") -> None:
        self.host.emitter.about(
            "decision",
            call,
            interceptor=self.label,
            verdict=verdict,
            code=call.asks[0].code,
            reason=f"{verdict}d by {by}",
            approver=by,
        )

    def _denied(self, call: Call, code: str, reason: str) -> Result:
        message = "This call needs a person's approval, which was not given. Do not repeat it."
        return call.denied(code=code, reason=reason, message=message)


async def _nobody(request: ApprovalRequest) -> Answer:
    """Who is asked by way of a store as long as no guard has lent one."""
    return Declined(by="nobody", reason=f"there is no store to ask in about {request.id}")


_KNOWN: Final[Mapping[str, Callable[[], Approver]]] = {
    "terminal": TerminalApprover,
    "store": lambda: _nobody,
    "client": ClientApprover,
}


def _answered(call: Call) -> Call:
    """The call with its questions answered by yes."""
    return call.replace(asks=(), approved=(*call.approved, *call.asks))


def _without_arguments(call: Call) -> Call:
    key = TARGETS[call.method]
    return call.replace(params={key: call.params.get(key)}, asks=())


def _pending(call: Call, seconds: float) -> Result:
    return call.denied(
        code="approval_pending",
        reason="nobody has answered yet",
        message="A person was asked about this call. Make the very same call again once it is answered.",
        retry_after=seconds,
    )


def _declined(call: Call, answer: Declined) -> Result:
    said = answer.reason[:MAX_REASON].encode("ascii", "backslashreplace").decode()
    because = f" They said: {said}" if said else ""
    return call.denied(
        code="approval_denied",
        reason=f"declined by {answer.by}",
        message=f"A person was asked about this call and refused it. Do not repeat it.{because}",
    )
