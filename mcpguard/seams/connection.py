"""One guarded session, client or transport: turns its messages into calls and runs them through the chain.

It knows the protocol and the guard, not the SDK: every seam, on both majors, is one of these with a thin
adapter around it. Here a call gets its id, run, principal, round and tool facts; here a stale run, a
session that belongs to somebody else and an ambiguous inbound request are refused.
"""

import secrets
from collections.abc import Coroutine, Mapping
from itertools import count
from math import inf
from typing import Final

import anyio

from mcpguard.core.call import Call, refusal
from mcpguard.core.chain import Chain
from mcpguard.core.exit import settled
from mcpguard.core.gate import UNCHECKED, report_denial
from mcpguard.core.interceptor import Wire
from mcpguard.core.nesting import Nesting, announced, continued
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial, Fate, Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import (
    EMPTY,
    INPUT_METHODS,
    INTERRUPTIBLE,
    LIFECYCLE,
    JSONObject,
)
from mcpguard.seams.callers import Binding, Callers
from mcpguard.seams.catalog import Catalog, Lister
from mcpguard.seams.embedded import screened, with_answers
from mcpguard.seams.notices import Notices
from mcpguard.seams.render import inbound_answer
from mcpguard.seams.rounds import HEADER_MISMATCH, Continuation, Rounds

__all__ = ["CANCEL_TIMEOUT", "Connection"]

CANCEL_TIMEOUT: Final = 1.0
"""Seconds for which telling the server that a request is given up may hold up whoever gives it up."""

LEAST_LAYER_TIME: Final = 0.5
"""Seconds that layers may take at least: who allows a server less than that has said nothing about them."""

_UNLISTED: Final = refusal(
    code="tool_facts_unavailable",
    reason="listing the tools took longer than the caller's timeout allows",
    source="guard",
)

_TOOLS_CHANGED: Final = "notifications/tools/list_changed"


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
        self.line = binding.line
        self.catalog = Catalog(list_page)
        self._callers = Callers(binding)
        self._notices = Notices(handle, self._callers, self.name)
        self._sees_input_dispatch = sees_input_dispatch
        self._rounds = Rounds(handle.clock)
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)
        binding.register(self)

    def chain(self, method: str) -> Chain | None:
        """The chain an outbound request must go through; None if it may pass as it is."""
        linked = self.handle.linked
        chain = linked.outbound.get(method) or linked.any_outbound
        if chain.may_pass() and not linked.listens and self._callers.may_pass(method):
            return None
        return chain

    @property
    def is_transparent(self) -> bool:
        """Whether the guard does nothing at all, so that the SDK's own faults stay as they are."""
        linked = self.handle.linked
        return not linked.steps and not linked.emitter.is_active

    @property
    def is_in_run(self) -> bool:
        """Whether what is sent now belongs to a run, which may end before the answer is there."""
        return self._callers.run is not None

    def inbound_chain(self, method: str) -> Chain | None:
        """The chain a server's request must go through; None if it may pass as it is."""
        chain = self.handle.linked.chain(method, "inbound")
        return None if chain.is_empty else chain

    def outbound(
        self, method: str, params: JSONObject, chain: Chain, wire: Wire, *, timeout: float | None = None
    ) -> Coroutine[None, None, Result]:
        """Run one outbound request through `chain` and, if nothing refuses it, `wire`.

        A plain function: what is awaited is the chain itself wherever nothing has to be awaited before it.

        Args:
            method: The protocol's method.
            params: Wire-shaped parameters.
            chain: What `chain(method)` gave.
            wire: Sends the call; it hands what comes back to `answered` before it returns it.
            timeout: Seconds the caller allows for the answer; the same time is allowed to layers on either
                side of it, unless one waits on purpose or times the call itself.
        """
        caller = self._callers.caller(method)
        if isinstance(caller, Denial):
            return settled(self._refused(chain.aimed(self._outgoing(method, params, None, None)), caller))
        run, principal = caller
        if self._rounds.is_used and method in INTERRUPTIBLE:
            resumed = self._rounds.take(method, params, principal, run)
            if resumed is not None:
                return self._resumed(resumed, params, caller, chain, wire, timeout)
        outer = None
        if Nesting.is_possible:
            outer, wire = continued(method), announced(wire)
        call_id = f"{self._prefix}-{next(self._numbers)}" if outer is None else outer
        call = Call.outgoing(call_id, method, params, self.name, principal, run, 0)
        if outer is not None:
            call = call.nested()
        if chain.needs_tool and method == "tools/call":
            return self._with_facts(call, chain, wire, timeout)
        if timeout is not None or self.handle.linked.listens:
            return self._through(call, chain, wire, timeout)
        return chain.run(call, wire)

    def expect_resend(self, target: str) -> None:
        """The client has listed again and is about to resend its call to `target`."""
        self._rounds.expect_resend(target, self._callers.run)

    async def unasked(self, method: str, params: JSONObject, wire: Wire) -> Result:
        """Fetch what the SDK wants for itself: filters look at it; it is no call of the agent's."""
        call = self._outgoing(method, params, self._callers.run, self._callers.principal)
        return self.handle.linked.unasked.review(call, await wire(call))

    def answered(self, call: Call, result: Result) -> Result:
        """Look at what came from the wire for `call` before any filter does; every wire ends with this."""
        if call.method == "tools/list":
            self.catalog.record(result.value)
        elif result.outcome is Outcome.INPUT_REQUIRED:
            return screened(call.origin, result, self._rounds, self._judged)
        elif result.error is not None and result.error.code == HEADER_MISMATCH:
            self._rounds.mismatched(call.origin)
        return result

    async def inbound(
        self, method: str, params: JSONObject, chain: Chain, wire: Wire, *, key: str | None = None
    ) -> Result:
        """Run one request of the server through `chain` and `wire`, which asks whoever answers it.

        Args:
            key: The server's key, for a request that came inside an `input_required` result.
        """
        waiting = None if key is None else self._rounds.asking(key, method, self._callers.principal)
        if waiting is not None:
            call = self._inbound_call(method, params, waiting.call)
        else:
            interrupted = self._callers.interrupted(method)
            if isinstance(interrupted, Denial):
                return self._refused(self._inbound_call(method, params, None), interrupted)
            call = self._inbound_call(method, params, interrupted)
        result = await chain.run(call, wire)
        if result.denial is not None and waiting is not None and inbound_answer(method) is None:
            waiting.refused[:] = waiting.refused or [result.denial]
        return result

    def is_awaited(self, key: str, method: str) -> bool:
        """Whether a request under `key` came inside a result, so that a message of ours answers it."""
        return self._rounds.asking(key, method, self._callers.principal) is not None

    def notify_out(self, method: str, params: JSONObject | None) -> JSONObject | Denial | None:
        """The parameters a notification to the server goes out with, or why it is dropped."""
        return self._notices.admit(method, params, "outbound", self._new_id())

    def notify_in(
        self, method: str, params: JSONObject | None, *, again: bool = False
    ) -> JSONObject | Denial | None:
        """The parameters a server's notification goes on with, or why it is dropped.

        Args:
            again: Whether this notification has passed here already and now arrives a second way.
        """
        if method == _TOOLS_CHANGED:
            self.catalog.forget()
        return self._notices.admit(method, params, "inbound", self._new_id(), again=again)

    def _judged(self, call: Call, method: str, request: JSONObject) -> JSONObject | Denial:
        """One embedded request, as the checks leave it; layers meet it when it is answered."""
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

    async def _resumed(
        self,
        resumed: Continuation,
        params: JSONObject,
        caller: tuple[Run | None, Principal | None],
        chain: Chain,
        wire: Wire,
        timeout: float | None,
    ) -> Result:
        """Run a message that continues a call, or sends it again."""
        again = resumed.call
        run, principal = caller
        sent = with_answers(params, resumed)
        call = Call.outgoing(again.id, again.method, sent, self.name, principal, run, again.round + 1)
        if resumed.refused:
            return self._refused(chain.aimed(call), resumed.refused[0], Fate.ANSWERED)
        if chain.needs_tool and call.method == "tools/call":
            return await self._with_facts(call, chain, wire, timeout)
        return await self._through(call, chain, wire, timeout)

    async def _with_facts(self, call: Call, chain: Chain, wire: Wire, timeout: float | None) -> Result:
        facts: ToolFacts | Denial | None = _UNLISTED
        with anyio.move_on_after(timeout):
            facts = await self._facts(chain.aimed(call))
        if not isinstance(facts, Denial):
            call = call.with_tool(facts)
        elif chain.requires_tool:
            return self._refused(chain.aimed(call), facts)
        return await self._through(call, chain, wire, timeout)

    def _through(
        self, call: Call, chain: Chain, wire: Wire, timeout: float | None
    ) -> Coroutine[None, None, Result]:
        if timeout is None or not chain.suspends:
            answer = chain.run(call, wire)
        elif chain.is_timed:
            answer = chain.run(call.with_timeout(timeout), wire)
        elif chain.has_waiting_layers:
            answer = chain.run(call, wire)
        else:
            answer = self._timed(chain, call, wire, timeout)
        if self.handle.linked.listens and call.method not in LIFECYCLE:
            return self._in_flight(call, answer)
        return answer

    async def _in_flight(self, call: Call, answer: Coroutine[None, None, Result]) -> Result:
        """Await the answer to a call that the server may interrupt."""
        active = self._callers.active
        active[call.id] = call
        try:
            return await answer
        finally:
            active.pop(call.id, None)

    def _timed(self, chain: Chain, call: Call, wire: Wire, timeout: float) -> Coroutine[None, None, Result]:
        """Run the chain; layers that hang end when the caller's time would, before and after the answer."""
        allowed = max(timeout, LEAST_LAYER_TIME)

        async def frame(call: Call, wire: Wire) -> Result:
            sent = False

            async def untimed(admitted: Call) -> Result:
                nonlocal sent
                sent = True
                scope.deadline = inf
                try:
                    return await wire(admitted)
                finally:
                    scope.deadline = anyio.current_time() + allowed

            with anyio.move_on_after(allowed) as scope:
                return await chain.head(call, untimed)
            denial = refusal(
                code="interceptor_timeout",
                reason=f"an interceptor took longer than the {allowed:g} s the caller's timeout allows",
                message=UNCHECKED,
                source="guard",
            )
            report_denial(chain.emitter, chain.aimed(call), denial)
            return Result.denied(denial, fate=Fate.SENT if sent else Fate.NOT_SENT)

        return chain.run_within(frame, call, wire)

    def _outgoing(
        self, method: str, params: JSONObject, run: Run | None, principal: Principal | None
    ) -> Call:
        return Call.outgoing(self._new_id(), method, params, self.name, principal, run, 0)

    def _inbound_call(self, method: str, params: JSONObject, interrupted: Call | None) -> Call:
        run, principal = self._callers.inbound(interrupted)
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
        if emitter.is_active:
            emitter.completed(call, result, 0.0)
        return result

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"
