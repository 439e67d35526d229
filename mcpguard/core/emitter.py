"""Makes the events: what happens to a call, a run, a state or the policy, in the order in which it happens.

What an event may say of a call is `disclosure`'s business; how it gets to the sinks is `delivery`'s.
"""

import logging
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import count
from typing import Final, TypedDict, Unpack

from mcpguard.core.call import Call
from mcpguard.core.clock import Clock
from mcpguard.core.delivery import Delivery
from mcpguard.core.disclosure import Disclosure
from mcpguard.core.events import Event, Kind, Listener, Scrubber, Sink, made
from mcpguard.core.names import MAX_NAME, Names
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, canonical, digest

__all__ = ["Emitter"]

_log = logging.getLogger("mcpguard")

MAX_OPEN: Final = 100_000
"""Calls under way whose intent is remembered; beyond, the oldest outcome has no link but its call's id."""


class _Details(TypedDict, total=False):
    interceptor: str | None
    verdict: str | None
    mode: str | None
    code: str | None
    reason: str | None
    retry_after: float | None
    outcome: Outcome | None
    fate: Fate | None
    error_code: int | None
    duration: float | None
    arguments_digest: str | None
    arguments_bytes: int | None
    result_digest: str | None
    result_bytes: int | None
    intent: int | None
    trace_id: str | None
    tool_digest: str | None
    approver: str | None
    cost: int | None
    currency: str | None
    payload: JSON


class Emitter:
    """Make events and hand them to the sinks.

    Args:
        sinks: Where events go; without any, `is_active` is false and nothing is made.
        clock: Gives events their time.
        scrubber: Cleans payloads; None keeps payloads out.
        key: Secret of the digests. A random one by default: then digests compare within this process only.
        policy: SHA-256 of the policy that decides, if there is one.
        names: Cleans names.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        clock: Clock,
        scrubber: Scrubber | None = None,
        key: bytes | None = None,
        policy: str | None = None,
        names: Names | None = None,
    ) -> None:
        self.clock = clock
        self.disclosure = Disclosure(names or Names(), scrubber)
        """What may be shown of a call, in spans too."""
        self.listeners: tuple[Listener, ...] = ()
        """Who hears at once of what is decided, also where nothing is recorded."""
        self._key: bytes = key or secrets.token_bytes(32)
        self._policy = policy
        self._numbers: Iterator[int] = count(1)
        self._intents: dict[str, int] = {}
        self._deliver_by(Delivery(sinks))

    def following(self, sinks: Sequence[Sink], policy: str) -> "Emitter":
        """An emitter for another policy in the same stream; calls under way go on with this one."""
        after = copy(self)
        after.disclosure = self.disclosure.afresh()
        after.listeners = ()
        after._policy = policy
        after._deliver_by(Delivery(sinks, self.delivery))
        return after

    def silent(self) -> "Emitter":
        """An emitter that records nothing, for what has been recorded already."""
        return Emitter((), clock=self.clock)

    def received(self, call: Call) -> None:
        """A request has come in, before any interceptor saw it."""
        details: _Details = {
            "arguments_digest": call.arguments_digest(self._key),
            "arguments_bytes": len(call.canonical_arguments),
        }
        if self.disclosure.shows_payloads:
            details["payload"] = self.disclosure.payload(call, call.arguments or call.params)
        trace = _trace_id()
        if trace is not None:
            details["trace_id"] = trace
        self._of_call("received", call, details)

    def dispatched(self, call: Call) -> int | None:
        """A request is about to go on the wire: the number of the event; None if a strict sink refused it."""
        details: _Details = {
            "arguments_digest": call.arguments_digest(self._key),
            "arguments_bytes": len(call.canonical_arguments),
        }
        if call.tool is not None:
            details["tool_digest"] = call.tool.digest
        number = next(self._numbers)
        return number if self._of_call("dispatched", call, details, number) else None

    def sent(self, call: Call, intent: int) -> None:
        """The request goes on the wire now; its outcome will name `intent`, what `dispatched` gave."""
        if len(self._intents) >= MAX_OPEN:
            self._intents.pop(next(iter(self._intents)), None)
        self._intents[call.id] = intent

    def completed(self, call: Call, result: Result, duration: float) -> None:
        """The caller gets `result`."""
        denial = result.denial
        details: _Details = {"outcome": result.outcome, "fate": result.fate, "duration": duration}
        if denial is not None:
            details["interceptor"] = denial.source
            details["code"] = denial.code
            details["reason"] = denial.reason
            details["retry_after"] = denial.retry_after
        if result.error is not None:
            details["error_code"] = result.error.code
        if result.value is not None:
            body = canonical(result.value)
            details["result_digest"] = digest(body, self._key)
            details["result_bytes"] = len(body)
            if self.disclosure.shows_payloads:
                details["payload"] = self.disclosure.payload(call, result.value)
        intent = self._intents.pop(call.id, None)
        if intent is not None:
            details["intent"] = intent
        self._of_call("completed", call, details)

    def about(self, kind: Kind, call: Call, **details: Unpack[_Details]) -> None:
        """Anything else that concerns a call."""
        for listener in self.listeners:
            _tell(listener.heard, kind, call, details)
        if not self.is_active:
            return
        if kind == "cancelled":
            details["intent"] = self._intents.pop(call.id, None)
        self._of_call(kind, call, details)

    def about_run(self, kind: Kind, run: Run, *, reason: str | None = None) -> None:
        """A run was opened, closed or stopped."""
        if self.is_active:
            self._send(
                Event(
                    kind=kind,
                    seq=next(self._numbers),
                    time=self.clock.time(),
                    policy=self._policy,
                    reason=reason,
                    **self.disclosure.owner(run, run.principal),
                )
            )

    def about_state(
        self,
        *,
        interceptor: str,
        mode: str | None,
        state: str,
        reason: str,
        server: str | None,
        target: str | None,
        tenant: str | None,
    ) -> None:
        """What an interceptor keeps about a server, a tool or a tenant has changed."""
        for listener in self.listeners:
            _tell(listener.changed, {"interceptor": interceptor, "state": state, "server": server})
        if self.is_active:
            self._send(
                Event(
                    kind="state_changed",
                    seq=next(self._numbers),
                    time=self.clock.time(),
                    policy=self._policy,
                    tenant=None if tenant is None else self.disclosure.name(tenant),
                    server=server,
                    target=self.disclosure.target(target),
                    interceptor=interceptor,
                    state=state,
                    mode=mode,
                    reason=reason,
                )
            )

    def about_policy(self, *, refused: str | None = None) -> None:
        """The policy that decides from here on; or why another was refused, and this one stays."""
        if self.is_active and self._policy is not None:
            self._send(
                Event(
                    kind="policy_loaded" if refused is None else "policy_refused",
                    seq=next(self._numbers),
                    time=self.clock.time(),
                    policy=self._policy,
                    reason=None if refused is None else refused[:MAX_NAME],
                )
            )

    def _deliver_by(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.is_active = bool(delivery.sinks)
        self._send = delivery.send

    def _of_call(self, kind: Kind, call: Call, details: _Details, number: int | None = None) -> bool:
        disclosure = self.disclosure
        members: dict[str, object] = {
            **call.account(disclosure, disclosure.account),
            "kind": kind,
            "seq": next(self._numbers) if number is None else number,
            "time": self.clock.time(),
            "policy": self._policy,
            **details,
        }
        return self._send(made(members))


def _tell(what: Callable[..., None], *about: object) -> None:
    try:
        what(*about)
    except Exception as error:  # noqa: BLE001 - who only listens fails no call
        _log.warning("a watcher failed with %s", type(error).__name__)


def _trace_id() -> str | None:
    """The current span's trace id; nothing is imported for it, and without a provider there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
