"""Events: what the chain, runs and seams report, and the way from there to the sinks.

An event holds no argument and no result, only their keyed digests. A guard with a `Scrubber` adds a payload
that has passed it. Names in an event (tools, URIs) come from outside and are cut to a bound.
"""

import logging
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Final, Literal, Protocol, TypeAlias, TypedDict, Unpack

from mcpguard.core.call import Call
from mcpguard.core.clock import Clock
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, Direction, canonical, digest, mutable_copy

__all__ = ["Emitter", "Event", "Kind", "Scrubber", "Sink"]

_log = logging.getLogger("mcpguard")

MAX_NAME: Final = 256
"""Characters of a name from outside that an event keeps."""

Kind: TypeAlias = Literal[
    "received",
    "decision",
    "dispatched",
    "completed",
    "cancelled",
    "notification",
    "interceptor_failed",
    "warning",
    "state_changed",
    "run_opened",
    "run_closed",
    "stopped",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        kind: `received`, `dispatched` and `completed` frame a request; `decision` is one interceptor's
            verdict other than allow; `notification` is a one-way message that passed or was dropped;
            `warning` is what an interceptor saw coming; `state_changed` is a limit's or connection's state.
        seq: Position in this guard's stream, from 1.
        time: Seconds since the epoch, UTC.
        call_id: The logical call; the same over its rounds.
        parent_id: The call that an inbound request interrupts.
        round: 0, or the number of the continuation.
        target: Tool or prompt name, or URI; at most 256 characters.
        interceptor: Who decided; `guard` for the guard itself.
        verdict: Of a decision: `deny`, `ask`, `rewrite`, `change`; or `drop` of a notification.
        state: Of a change: the new state.
        mode: `audit` where the verdict was reported and not taken.
        code: The stable code of a refusal or question.
        reason: For the operator, without values.
        error_code: JSON-RPC error code of a `protocol_error`.
        duration: Seconds from `received` to `completed`.
        arguments_digest: Keyed digest of the canonical arguments.
        arguments_bytes: Their size in canonical form.
        result_digest: Keyed digest of the canonical result.
        result_bytes: Its size in canonical form.
        payload: Scrubbed arguments or result, only where the guard has a scrubber.
    """

    kind: Kind
    seq: int
    time: float
    call_id: str | None = None
    parent_id: str | None = None
    round: int | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    tenant: str | None = None
    user: str | None = None
    agent: str | None = None
    server: str | None = None
    method: str | None = None
    direction: Direction | None = None
    target: str | None = None
    interceptor: str | None = None
    verdict: str | None = None
    state: str | None = None
    mode: str | None = None
    code: str | None = None
    reason: str | None = None
    retry_after: float | None = None
    outcome: Outcome | None = None
    fate: Fate | None = None
    error_code: int | None = None
    duration: float | None = None
    arguments_digest: str | None = None
    arguments_bytes: int | None = None
    result_digest: str | None = None
    result_bytes: int | None = None
    payload: JSON = None

    def as_dict(self) -> dict[str, JSON]:
        """The members that are set, in the order above."""
        return {name: value for name in _NAMES if (value := getattr(self, name)) is not None}


_NAMES: Final = tuple(spec.name for spec in fields(Event))


class Sink(Protocol):
    """Where events go.

    - `emit` is called on the caller's path, from any thread, one event at a time per call; it must be quick.
    - What `emit` raises never reaches the agent, and never keeps an event from the other sinks; it is
      counted in `guard.status()`.
    - A sink whose `strict` is true decides: if it fails to take the `dispatched` event, the call is denied.
    - `aclose` flushes; nothing is emitted after it, so a strict sink that is closed denies every call.
    """

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...

    async def aclose(self) -> None:
        """Flush and let go of resources."""
        ...


class Scrubber(Protocol):
    """Cleans a value before any sink sees it. It is given a copy; raising drops the payload."""

    def scrub(self, value: JSON) -> JSON:
        """A cleaned copy of `value`."""
        ...


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
    payload: JSON


class Emitter:
    """Makes events and hands them to the sinks.

    Args:
        sinks: Where events go; without any, `is_active` is false and nothing is made.
        clock: Gives events their time.
        scrubber: Cleans payloads; None keeps payloads out.
        key: Secret of the digests. A random one by default: then digests compare within this process only.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        clock: Clock,
        scrubber: Scrubber | None = None,
        key: bytes | None = None,
    ) -> None:
        self.sinks = tuple(sinks)
        self.clock = clock
        self.is_active = bool(self.sinks)
        self.failures: dict[str, int] = {}
        self._scrubber = scrubber
        self._key = key or secrets.token_bytes(32)
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._is_closed = False

    def silent(self) -> "Emitter":
        """An emitter that records nothing, for what has been recorded already."""
        return Emitter((), clock=self.clock)

    def received(self, call: Call) -> None:
        """A request has come in, before any interceptor saw it."""
        body = call.canonical_arguments
        self._of_call(
            "received",
            call,
            arguments_digest=digest(body, self._key),
            arguments_bytes=len(body),
            payload=self._scrubbed(call.arguments or call.params),
        )

    def dispatched(self, call: Call) -> bool:
        """A request is about to go on the wire. False if a strict sink could not record that."""
        body = call.canonical_arguments
        return self._of_call(
            "dispatched", call, arguments_digest=digest(body, self._key), arguments_bytes=len(body)
        )

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
            details["payload"] = self._scrubbed(result.value)
        self._of_call("completed", call, **details)

    def about(self, kind: Kind, call: Call, **details: Unpack[_Details]) -> None:
        """Anything else that concerns a call."""
        if self.is_active:
            self._of_call(kind, call, **details)

    def about_run(self, kind: Kind, run: Run, *, reason: str | None = None) -> None:
        """A run was opened, closed or stopped."""
        if not self.is_active:
            return
        who = run.principal
        self._send(
            Event(
                kind=kind,
                seq=next(self._numbers),
                time=self.clock.time(),
                run_id=run.id,
                parent_run_id=None if run.parent is None else run.parent.id,
                tenant=None if who is None else who.tenant,
                user=None if who is None else who.user,
                agent=None if who is None else who.agent,
                reason=reason,
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
        if self.is_active:
            self._send(
                Event(
                    kind="state_changed",
                    seq=next(self._numbers),
                    time=self.clock.time(),
                    tenant=tenant,
                    server=server,
                    target=None if target is None else target[:MAX_NAME],
                    interceptor=interceptor,
                    state=state,
                    mode=mode,
                    reason=reason,
                )
            )

    async def aclose(self) -> None:
        """Flush and close every sink, once; the first failure is raised after all have been tried."""
        if self._is_closed:
            return
        self._is_closed = True
        first: Exception | None = None
        for sink in self.sinks:
            try:
                await sink.aclose()
            except Exception as error:  # noqa: BLE001 - every sink gets its chance to flush
                first = first or error
        if first is not None:
            raise first

    def _of_call(self, kind: Kind, call: Call, **details: Unpack[_Details]) -> bool:
        who, run = call.principal, call.run
        return self._send(
            Event(
                kind=kind,
                seq=next(self._numbers),
                time=self.clock.time(),
                call_id=call.id,
                parent_id=call.parent,
                round=call.round,
                run_id=None if run is None else run.id,
                parent_run_id=None if run is None or run.parent is None else run.parent.id,
                tenant=None if who is None else who.tenant,
                user=None if who is None else who.user,
                agent=None if who is None else who.agent,
                server=call.server,
                method=call.method[:MAX_NAME],
                direction=call.direction,
                target=self._name(call.target),
                **details,
            )
        )

    def _send(self, event: Event) -> bool:
        if self._is_closed:
            return not any(getattr(sink, "strict", False) for sink in self.sinks)
        recorded = True
        for sink in self.sinks:
            try:
                sink.emit(event)
            except Exception as error:  # noqa: BLE001 - a sink never fails a call, unless it is strict
                name = type(sink).__name__
                with self._lock:
                    self.failures[name] = self.failures.get(name, 0) + 1
                _log.warning("sink %s failed with %s", name, type(error).__name__)
                recorded = recorded and not getattr(sink, "strict", False)
        return recorded

    def _name(self, target: str | None) -> str | None:
        """A name as events have it: cleaned, where there is a scrubber, and then cut."""
        if target is None or self._scrubber is None:
            return None if target is None else target[:MAX_NAME]
        cleaned = self._scrubbed(target)
        return cleaned[:MAX_NAME] if isinstance(cleaned, str) else None

    def _scrubbed(self, value: JSON) -> JSON:
        if self._scrubber is None:
            return None
        try:
            return self._scrubber.scrub(mutable_copy(value))
        except Exception as error:  # noqa: BLE001 - what cannot be cleaned is not recorded
            _log.warning("scrubber failed with %s; payload dropped", type(error).__name__)
            return None
