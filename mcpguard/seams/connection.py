"""One guarded session, client or transport: turns its messages into calls and runs them through the chain.

It knows the protocol and the guard, not the SDK: every seam, on both majors, is one of these with a thin
adapter around it. Here a call gets its id, run, principal, round and tool facts; here a stale run, a
session that belongs to somebody else and an ambiguous inbound request are refused.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Final

import anyio

from mcpguard.core.call import Call, ToolFacts, refusal
from mcpguard.core.chain import Chain
from mcpguard.core.gate import report_denial
from mcpguard.core.interceptor import Wire
from mcpguard.core.linked import ANONYMOUS, Handle
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial, Fate, Outcome, Result
from mcpguard.core.run import Run, current_run
from mcpguard.core.wire import EMPTY, INPUT_METHODS, INTERRUPTIBLE, JSON, LIFECYCLE, JSONObject
from mcpguard.seams.catalog import Catalog, Lister
from mcpguard.seams.render import inbound_answer
from mcpguard.seams.rounds import HEADER_MISMATCH, Continuation, Rounds, own_state

__all__ = ["Binding", "Connection"]

_TOOLS_CHANGED: Final = "notifications/tools/list_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the user said when wrapping, and the guard that is to be bound.

    Args:
        handle: The guard.
        name: What the user calls the server: policy, stores and audit use this name.
        run: Binds every call to this run, whatever the context says.
        shared: Whether several principals may use the connection.
        register: Tells the guard of a connection, for `coverage()` and `status()`.

    Raises:
        ValueError: If `name` is empty.
    """

    handle: Handle
    name: str
    run: Run | None
    shared: bool
    register: Callable[["Connection"], None]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("name= is what the policy and the audit call this server; it must not be empty")


class Connection:
    """What a guard knows of one connection to one server.

    Args:
        binding: What the user said when wrapping.
        seam: Which seam this is, for `coverage()` and `status()`.
        list_page: Lists tools past the chain.
        sees_input_dispatch: Whether the seam also stands around the answering of a server's embedded
            requests; where it does not, their checks run on arrival and that is all they meet.
        blind_spots: What this seam cannot see, in sentences.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        seam: str,
        list_page: Lister,
        sees_input_dispatch: bool = True,
        blind_spots: tuple[str, ...] = (),
    ) -> None:
        handle = binding.handle
        self.handle = handle
        self.name = binding.name
        self.seam = seam
        self.blind_spots = blind_spots
        self.is_shared = binding.shared
        self.catalog = Catalog(list_page)
        self._run = binding.run
        self._owner: Principal | None = None if binding.run is None else binding.run.principal
        self._sees_input_dispatch = sees_input_dispatch
        self._rounds = Rounds(handle.clock)
        self._active: dict[str, Call] = {}
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)
        binding.register(self)

    def chain(self, method: str) -> Chain | None:
        """The chain an outbound request must go through; None if it may pass as it is."""
        linked = self.handle.linked
        chain = linked.chain(method, "outbound")
        if not chain.is_empty or linked.answers:
            return chain
        run = self._run or current_run()
        if run is None or method in LIFECYCLE:
            return None
        if self.handle.refusal_code(run) is None and self._owns(run.principal):
            return None
        return chain

    def inbound_chain(self, method: str) -> Chain | None:
        """The chain a server's request must go through; None if it may pass as it is."""
        chain = self.handle.linked.chain(method, "inbound")
        return None if chain.is_empty else chain

    async def outbound(
        self, method: str, params: JSONObject, chain: Chain, wire: Wire, *, timeout: float | None = None
    ) -> Result:
        """Run one outbound request through `chain` and, if nothing refuses it, `wire`.

        Args:
            timeout: Seconds the caller allows for the answer; the same time is allowed to layers on either
                side of it, unless one waits on purpose.
        """
        who = self._caller(method)
        principal = None if isinstance(who, Denial) else who[1]
        resumed = self._rounds.take(method, params, principal) if method in INTERRUPTIBLE else None
        if resumed is not None:
            params = _with_answers(params, resumed)
        call = Call(
            id=self._new_id() if resumed is None else resumed.call.id,
            method=method,
            params=params,
            server=self.name,
            principal=principal,
            run=None if isinstance(who, Denial) else who[0],
            round=0 if resumed is None else resumed.call.round + 1,
        )
        if isinstance(who, Denial):
            return self._refused(call, who)
        if resumed is not None and resumed.refused:
            return self._refused(call, resumed.refused[0], Fate.ANSWERED)
        if chain.needs_tool and method == "tools/call":
            facts = await self._facts(call)
            if isinstance(facts, Denial):
                return self._refused(call, facts)
            call = call.with_tool(facts)

        resent = resumed is not None and resumed.is_resend

        async def at_wire(admitted: Call) -> Result:
            return self._answered(call, await wire(admitted), resent=resent)

        if method not in INTERRUPTIBLE:
            return await self._timed(chain, call, at_wire, timeout)
        self._active[call.id] = call
        try:
            return await self._timed(chain, call, at_wire, timeout)
        finally:
            self._active.pop(call.id, None)

    async def unasked(self, method: str, params: JSONObject, chain: Chain, wire: Wire) -> Result:
        """Fetch what the SDK wants for itself: filters look at it; it is no call of the agent's."""
        principal = self._principal()
        call = Call(id=self._new_id(), method=method, params=params, server=self.name, principal=principal)
        return chain.review(call, self._answered(call, await wire(call), resent=True))

    async def inbound(
        self, method: str, params: JSONObject, chain: Chain, wire: Wire, *, key: str | None = None
    ) -> Result:
        """Run one request of the server through `chain` and `wire`, which asks whoever answers it.

        Args:
            key: The server's key, for a request that came inside an `input_required` result.
        """
        waiting = None if key is None else self._rounds.asking(key, method, self._principal())
        if waiting is not None:
            call = self._inbound_call(method, params, waiting.call)
        else:
            interrupted = self._interrupted(method)
            if isinstance(interrupted, Denial):
                return self._refused(self._inbound_call(method, params, None), interrupted)
            call = self._inbound_call(method, params, interrupted)
        result = await chain(call, wire)
        if result.denial is not None and waiting is not None and inbound_answer(method) is None:
            waiting.refused.append(result.denial)
        return result

    def is_awaited(self, key: str, method: str) -> bool:
        """Whether a request under `key` came inside a result, so that a message of ours answers it."""
        return self._rounds.asking(key, method, self._principal()) is not None

    def notify_out(self, method: str, params: JSONObject | None) -> JSONObject | Denial | None:
        """The parameters a notification to the server goes out with, or why it is dropped."""
        return self._notify(method, params, "outbound")

    def notify_in(
        self, method: str, params: JSONObject | None, *, again: bool = False
    ) -> JSONObject | Denial | None:
        """The parameters a server's notification goes on with, or why it is dropped.

        Args:
            again: Whether this notification has passed here already and now arrives a second way.
        """
        if method == _TOOLS_CHANGED:
            self.catalog.forget()
        return self._notify(method, params, "inbound", again=again)

    def _notify(
        self, method: str, params: JSONObject | None, direction: str, *, again: bool = False
    ) -> JSONObject | Denial | None:
        linked = self.handle.linked
        outward = direction == "outbound"
        gate = (
            linked.silent_gate(method) if again else linked.gate(method, "outbound" if outward else "inbound")
        )
        emitter = linked.emitter
        if gate is None and not emitter.is_active:
            return params
        run = self._run or current_run() if outward else self._inbound_run()
        call = Call(
            id=self._new_id(),
            method=method,
            params=EMPTY if params is None else params,
            direction="outbound" if outward else "inbound",
            server=self.name,
            principal=self._principal_of(run),
            run=run,
        )
        admitted = call if gate is None else gate.admit(call)
        if isinstance(admitted, Call) and admitted.asks:
            admitted = refusal(
                code="approval_required", reason="a notification cannot wait for approval", source="guard"
            )
        if not again:
            if isinstance(admitted, Denial):
                emitter.about(
                    "notification", call, verdict="drop", interceptor=admitted.source, code=admitted.code
                )
            else:
                emitter.about("notification", call)
        if isinstance(admitted, Denial):
            return admitted
        return params if admitted.params is call.params else admitted.params

    def _answered(self, call: Call, result: Result, *, resent: bool) -> Result:
        """Look at what came from the wire before any filter does."""
        if call.method == "tools/list":
            self.catalog.record(result.value)
        elif result.outcome is Outcome.INPUT_REQUIRED:
            return self._screened(call, result)
        elif result.error is not None and result.error.code == HEADER_MISMATCH and not resent:
            self._rounds.expect(Continuation(call, is_resend=True), None)
        return result

    def _screened(self, call: Call, result: Result) -> Result:
        """Let the checks judge what the server asks for inside its answer, and remember what it asked.

        A refused elicitation is declined and refused roots are empty, by the guard itself: the client never
        sees the request. Refused sampling refuses the call, as an error would on the wire.
        """
        value = EMPTY if result.value is None else result.value
        state = value.get("requestState")
        state = state if isinstance(state, str) else None
        requests = value.get("inputRequests")
        waiting = Continuation(call, state=state)
        kept: dict[str, JSON] = {}
        for key, request in requests.items() if isinstance(requests, Mapping) else ():
            method = request.get("method") if isinstance(request, Mapping) else None
            if not isinstance(request, Mapping) or not isinstance(method, str):
                kept[key] = request
                continue
            judged = self._judged(call, method, request)
            if not isinstance(judged, Denial):
                kept[key] = judged
                waiting.asked[key] = method
                continue
            answer = inbound_answer(method)
            if answer is None:
                return Result.denied(judged, fate=Fate.ANSWERED)
            waiting.answers[key] = answer
        if not waiting.answers and not _differs(kept, requests):
            self._rounds.expect(waiting, state)
            return result
        shown = state if kept or state is not None else own_state()
        changed: dict[str, JSON] = {k: v for k, v in value.items() if k != "inputRequests"}
        if kept:
            changed["inputRequests"] = kept
        if shown is not None:
            changed["requestState"] = shown
        self._rounds.expect(waiting, shown)
        return result.replace(value=changed)

    def _judged(self, call: Call, method: str, request: JSONObject) -> JSONObject | Denial:
        """One embedded request, as the checks leave it; layers see it when it is answered, if the seam can."""
        chain = self.inbound_chain(method)
        if chain is None or method not in INPUT_METHODS:
            return request
        params = request.get("params")
        inbound = self._inbound_call(method, params if isinstance(params, Mapping) else EMPTY, call)
        admitted = chain.admit(inbound)
        if isinstance(admitted, Denial) or self._sees_input_dispatch:
            return admitted if isinstance(admitted, Denial) else request
        if admitted.asks or chain.has_layers:
            denial = refusal(
                code="seam_cannot_guard",
                reason=f"the {self.seam} seam cannot run layers around a request inside a result",
                source="guard",
            )
            report_denial(self.handle.linked.emitter, inbound, denial)
            return denial
        return request if admitted.params is inbound.params else {**request, "params": admitted.params}

    async def _timed(self, chain: Chain, call: Call, wire: Wire, timeout: float | None) -> Result:
        """Run the chain; layers that hang end when the caller's time would, before and after the answer."""
        if timeout is None or not chain.has_layers or chain.has_waiting_layers:
            return await chain(call, wire)
        sent = False

        async def untimed(admitted: Call) -> Result:
            nonlocal sent
            sent = True
            scope.deadline = inf
            try:
                return await wire(admitted)
            finally:
                scope.deadline = anyio.current_time() + timeout

        with anyio.move_on_after(timeout) as scope:
            return await chain(call, untimed)
        denial = refusal(
            code="interceptor_timeout",
            reason=f"an interceptor took longer than the caller's timeout of {timeout:g} s",
            source="guard",
        )
        return self._refused(call, denial, Fate.SENT if sent else Fate.NOT_SENT)

    def _caller(self, method: str) -> tuple[Run | None, Principal | None] | Denial:
        """Whose call this is, or why nobody may make it."""
        run = self._run or current_run()
        principal = self._principal_of(run)
        if run is None or method in LIFECYCLE:
            return run, principal
        code = self.handle.refusal_code(run)
        if code is not None:
            return refusal(
                code=code,
                reason=f"run {run.id} may make no more calls",
                message="This task has ended; no more calls can be made in it.",
                source="guard",
            )
        if not self._owns(run.principal):
            return refusal(
                code="session_not_shared",
                reason=f"the session to {self.name} belongs to another principal; wrap it with shared=True",
                source="guard",
            )
        return run, principal

    def _owns(self, principal: Principal | None) -> bool:
        if principal is None or self.is_shared:
            return True
        if self._owner is None:
            self._owner = principal
        return self._owner is principal or self._owner == principal

    def _principal(self) -> Principal | None:
        return self._principal_of(self._run or current_run())

    def _principal_of(self, run: Run | None) -> Principal | None:
        principal = None if run is None else run.principal
        return ANONYMOUS if principal is None and self.handle.anonymous else principal

    def _interrupted(self, method: str) -> Call | Denial | None:
        """The call in flight that a server's request interrupts; None if none is, or any would do."""
        active = list(self._active.values())
        if not active or method not in INPUT_METHODS:
            return None
        first = active[0]
        if any(other.principal != first.principal for other in active):
            return refusal(
                code="ambiguous_principal",
                reason="calls of several principals are in flight; whose this request is cannot be told",
                source="guard",
            )
        if len(active) == 1 or all(other.run is first.run for other in active):
            return first
        return None

    def _inbound_run(self) -> Run | None:
        """The run that a message from the server belongs to, if that is certain."""
        if self._run is not None:
            return self._run
        runs = {id(call.run): call.run for call in list(self._active.values())}
        return next(iter(runs.values())) if len(runs) == 1 else None

    def _inbound_call(self, method: str, params: JSONObject, interrupted: Call | None) -> Call:
        run = self._inbound_run() if interrupted is None else interrupted.run
        principal = self._principal_of(run) if interrupted is None else interrupted.principal
        if principal is None and not self.is_shared:
            principal = self._owner
        return Call(
            id=self._new_id(),
            method=method,
            params=params,
            direction="inbound",
            server=self.name,
            principal=principal,
            run=run,
            parent=None if interrupted is None else interrupted.id,
        )

    async def _facts(self, call: Call) -> ToolFacts | Denial | None:
        try:
            return None if call.target is None else await self.catalog.get(call.target)
        except Exception as error:  # noqa: BLE001 - whatever listing fails with, the facts are missing
            return refusal(
                code="tool_facts_unavailable",
                reason=f"listing the tools of {self.name} failed with {type(error).__name__}",
                source="guard",
            )

    def _refused(self, call: Call, denial: Denial, fate: Fate = Fate.NOT_SENT) -> Result:
        """A refusal by the guard itself, recorded like any other."""
        emitter = self.handle.linked.emitter
        result = Result.denied(denial, fate=fate)
        if emitter.is_active:
            emitter.received(call)
            report_denial(emitter, call, denial)
            emitter.completed(call, result, 0.0)
        return result

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"


def _with_answers(params: JSONObject, resumed: Continuation) -> JSONObject:
    """The continuation as the server expects it: with the guard's own answers, under the server's state."""
    if not resumed.answers:
        return params
    given = params.get("inputResponses")
    answers: dict[str, JSON] = {**(given if isinstance(given, Mapping) else {}), **resumed.answers}
    changed: dict[str, JSON] = {**params, "inputResponses": answers}
    if resumed.state is None:
        changed.pop("requestState", None)
    return changed


def _differs(kept: Mapping[str, JSON], requests: JSON) -> bool:
    if not isinstance(requests, Mapping):
        return False
    return any(kept.get(key) is not request for key, request in requests.items())
