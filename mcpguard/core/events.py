"""Events: what the chain, runs and seams report, and the way from there to the sinks.

An event holds no argument and no result, only their keyed digests. A guard with a `Scrubber` adds a payload
that has passed it. Names in an event (tools, URIs) come from outside and are cut to a bound.
"""

import logging
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, fields
from itertools import count
from typing import Final, Literal, Protocol, TypeAlias, TypedDict, Unpack, cast

from mcpguard.core.call import Call
from mcpguard.core.clock import Clock
from mcpguard.core.names import MAX_NAME, Names, public_part
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, Direction, canonical, digest, mutable_copy

__all__ = ["MAX_NAME", "Emitter", "Event", "Kind", "Listener", "Scrubber", "Sink"]

_log = logging.getLogger("mcpguard")

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
    "policy_loaded",
    "policy_refused",
    "spent",
    "labelled",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        kind: `received`, `dispatched` and `completed` frame a request; `decision` is one interceptor's
            verdict other than allow; `notification` is a one-way message that passed or was dropped;
            `warning` is what an interceptor saw coming; `state_changed` is a limit's or connection's state;
            `policy_loaded` says what is enforced from here on, `policy_refused` that it stays what it was;
            `spent` what a call has cost; `labelled` that its run has now seen what `code` names.
        seq: Position in this guard's stream, from 1.
        time: Seconds since the epoch, UTC.
        policy: SHA-256 of the policy that decides, where the guard was made from a file.
        call_id: The logical call; the same over its rounds.
        parent_id: The call that an inbound request interrupts.
        round: 0, or the number of the continuation.
        target: Tool or prompt name, or URI; at most 256 characters.
        interceptor: Who decided; `guard` for the guard itself.
        verdict: Of a decision: `deny`, `ask`, `approve`, `decline`, `rewrite`, `change`; of a notification
            `drop`.
        state: Of a change: the new state.
        mode: `audit` where the verdict was reported and not taken.
        code: The stable code of a refusal or question.
        reason: For the operator, without values.
        error_code: JSON-RPC error code of a `protocol_error`.
        duration: Seconds from `received` to `completed`.
        intent: Of an outcome: the `seq` of the last `dispatched` of the same call that went out; None if
            nothing was sent.
        trace_id: W3C trace id, where the call came in under a span.
        tool_digest: SHA-256 of the tool's definition as the server last listed it, where it is known.
        approver: Who said yes or no, of a decision that a person made.
        cost: What a call has cost, in millionths of `currency`.
        currency: Code of the currency of `cost`.
        arguments_digest: Keyed digest of the canonical arguments.
        arguments_bytes: Their size in canonical form.
        result_digest: Keyed digest of the canonical result.
        result_bytes: Its size in canonical form.
        payload: Scrubbed arguments or result, only where the guard has a scrubber.
    """

    kind: Kind
    seq: int
    time: float
    policy: str | None = None
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
    intent: int | None = None
    trace_id: str | None = None
    tool_digest: str | None = None
    approver: str | None = None
    cost: int | None = None
    currency: str | None = None
    payload: JSON = None

    def as_dict(self) -> dict[str, JSON]:
        """The members that are set, in the order above."""
        own = self.__dict__
        return {name: value for name in _NAMES if (value := own.get(name)) is not None}


_NAMES: Final = tuple(spec.name for spec in fields(Event))

_new: Final = object.__new__
_fill: Final = Event.__dict__["__dict__"].__set__
"""Fills an event in one step: three are made for every call, and a frozen class is slow to fill."""


def _made(members: dict[str, object]) -> Event:
    """The event with these members; `members` becomes the event's own."""
    event = _new(Event)
    _fill(event, members)
    return event


class Sink(Protocol):
    """Where events go.

    - `emit` is called on the caller's path, from any thread, one event at a time per call; it must be quick.
    - What `emit` raises never reaches the agent, and never keeps an event from the other sinks; it is
      counted in `guard.status()`.
    - A sink whose `strict` is true decides: if it fails to take the `dispatched` event, the call is denied.
    - A sink whose `waits` is true has an `async settle()`: the dispatch waits for it, and it returns once
      what was emitted before is as durable as the sink promises, or raises.
    - `aclose` flushes; nothing is emitted after it, so a strict sink that is closed denies every call.
    """

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...

    async def aclose(self) -> None:
        """Flush and let go of resources."""
        ...


class Listener(Protocol):
    """Hears of decisions as they are made."""

    def heard(self, kind: Kind, call: Call, details: Mapping[str, object]) -> None:
        """Something about a call."""
        ...

    def changed(self, details: Mapping[str, object]) -> None:
        """Something about what an interceptor keeps."""
        ...


class _Waiting(Protocol):
    async def settle(self) -> None: ...


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
    intent: int | None
    trace_id: str | None
    tool_digest: str | None
    approver: str | None
    cost: int | None
    currency: str | None
    payload: JSON


MAX_OPEN: Final = 100_000
"""Calls under way whose intent is remembered; beyond, the oldest outcome has no link but its call's id."""


class Emitter:
    """Makes events and hands them to the sinks.

    Args:
        sinks: Where events go; without any, `is_active` is false and nothing is made.
        clock: Gives events their time.
        scrubber: Cleans payloads; None keeps payloads out.
        key: Secret of the digests. A random one by default: then digests compare within this process only.
        policy: SHA-256 of the policy that decides, if there is one.
        names: Cleans names.
        before: What this one follows in the same stream: it has clock, scrubber and key from there, and goes
            on counting.
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
        before: "Emitter | None" = None,
    ) -> None:
        self.sinks = tuple(sinks)
        self.clock = clock
        self.is_active = bool(self.sinks)
        self.failures: dict[str, int] = {} if before is None else before.failures
        self._scrubber: Scrubber | None = scrubber if before is None else before._scrubber
        self._key: bytes = (key or secrets.token_bytes(32)) if before is None else before._key
        self._policy = policy
        self.named: Names = (names or Names()) if before is None else before.named
        """The name of a run or a principal, as records have it."""
        self._numbers: Iterator[int] = count(1) if before is None else before._numbers
        self._lock: AbstractContextManager[object] = threading.RLock() if before is None else before._lock
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._closed: threading.Event = threading.Event() if before is None else before._closed
        self._intents: dict[str, int] = {} if before is None else before._intents
        self._awaited: tuple[tuple[Sink, _Waiting], ...] = tuple(
            (sink, cast("_Waiting", sink)) for sink in self.sinks if getattr(sink, "waits", False)
        )
        self.waits = bool(self._awaited)
        """Whether `settled` has anything to wait for before a call goes out."""
        self.hides: tuple[Callable[[str, Run | None], str], ...] = ()
        """Take out of a payload's texts what interceptors have put into the calls of a run."""
        self.listeners: tuple[Listener, ...] = ()
        """Who hears at once of what is decided, also where nothing is recorded."""

    def following(self, sinks: Sequence[Sink], policy: str) -> "Emitter":
        """An emitter for another policy in the same stream; calls under way go on with this one."""
        return Emitter(sinks, clock=self.clock, policy=policy, before=self)

    def silent(self) -> "Emitter":
        """An emitter that records nothing, for what has been recorded already."""
        return Emitter((), clock=self.clock)

    def shown(self, target: str | None) -> str | None:
        """A target as records have it: cleaned by the scrubber, or a URI without its private parts."""
        if target is None or self._scrubber is None:
            return None if target is None else self.named(public_part(target))
        cleaned = _scrubbed(self._scrubber, target)
        return self.named(cleaned) if isinstance(cleaned, str) else None

    def received(self, call: Call) -> None:
        """A request has come in, before any interceptor saw it."""
        details: _Details = {
            "arguments_digest": call.arguments_digest(self._key),
            "arguments_bytes": len(call.canonical_arguments),
        }
        if self._scrubber is not None:
            details["payload"] = self._payload(self._scrubber, call, call.arguments or call.params)
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

    async def settled(self) -> bool:
        """Wait for the sinks that ask for it. False if a strict one cannot say that it holds everything."""
        settled = True
        for sink, waiting in self._awaited:
            try:
                await waiting.settle()
            except Exception as error:  # noqa: BLE001 - a sink never fails a call, unless it is strict
                settled = self._failed(sink, error) and settled
        return settled

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
            if self._scrubber is not None:
                details["payload"] = self._payload(self._scrubber, call, result.value)
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
        if not self.is_active:
            return
        who = run.principal
        self._send(
            Event(
                kind=kind,
                seq=next(self._numbers),
                time=self.clock.time(),
                policy=self._policy,
                run_id=self.named(run.id),
                parent_run_id=None if run.parent is None else self.named(run.parent.id),
                tenant=None if who is None else self._who(who.tenant),
                user=None if who is None else self._who(who.user),
                agent=None if who is None else self._who(who.agent),
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
        for listener in self.listeners:
            _tell(listener.changed, {"interceptor": interceptor, "state": state, "server": server})
        if self.is_active:
            self._send(
                Event(
                    kind="state_changed",
                    seq=next(self._numbers),
                    time=self.clock.time(),
                    policy=self._policy,
                    tenant=self._who(tenant),
                    server=server,
                    target=self.shown(target),
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

    async def aclose(self) -> None:
        """Flush and close every sink, once; the first failure is raised after all have been tried."""
        if self._closed.is_set():
            return
        self._closed.set()
        failure = await self.close(self.sinks)
        if failure is not None:
            raise failure

    async def close(self, sinks: Iterable[Sink]) -> Exception | None:
        """Close `sinks`, each of them whatever becomes of the others; the first failure, if there is one."""
        failures: list[Exception] = []

        async def close(sink: Sink) -> None:
            try:
                await sink.aclose()
            except Exception as error:  # noqa: BLE001 - counted, and for the caller to raise
                self._failed(sink, error)
                failures.append(error)

        async with AsyncExitStack() as closing:
            for sink in reversed(tuple(sinks)):
                closing.push_async_callback(close, sink)
        return failures[0] if failures else None

    def _of_call(self, kind: Kind, call: Call, details: _Details, number: int | None = None) -> bool:
        members: dict[str, object] = {
            **call.account(self, self._account),
            "kind": kind,
            "seq": next(self._numbers) if number is None else number,
            "time": self.clock.time(),
            **details,
        }
        return self._send(_made(members))

    def _account(self, call: Call) -> dict[str, object]:
        """What all events of a call say of it."""
        members: dict[str, object] = {
            "call_id": call.id,
            "round": call.round,
            "server": call.server or None,
            "method": call.method[:MAX_NAME],
            "direction": call.direction,
        }
        if self._policy is not None:
            members["policy"] = self._policy
        if call.parent is not None:
            members["parent_id"] = call.parent
        target = self.shown(call.target)
        if target is not None:
            members["target"] = target
        run = call.run
        if run is not None:
            members["run_id"] = self.named(run.id)
            if run.parent is not None:
                members["parent_run_id"] = self.named(run.parent.id)
        who = call.principal
        if who is not None:
            members["tenant"] = self._who(who.tenant)
            members["user"] = self._who(who.user)
            members["agent"] = self._who(who.agent)
        return members

    def _send(self, event: Event) -> bool:
        if self._closed.is_set():
            return not any(getattr(sink, "strict", False) for sink in self.sinks)
        recorded = True
        for sink in self.sinks:
            try:
                sink.emit(event)
            except Exception as error:  # noqa: BLE001 - a sink never fails a call, unless it is strict
                recorded = self._failed(sink, error) and recorded
        return recorded

    def _failed(self, sink: Sink, error: Exception) -> bool:
        """Count a failure; whether the call may go on all the same."""
        name = type(sink).__name__
        with self._lock:
            self.failures[name] = self.failures.get(name, 0) + 1
        _log.warning("sink %s failed with %s", name, type(error).__name__)
        return not getattr(sink, "strict", False)

    def _payload(self, scrubber: Scrubber, call: Call, value: JSON) -> JSON:
        def hidden(text: str) -> str:
            for hide in self.hides:
                text = hide(text, call.run)
            return text

        cleaned = _scrubbed(scrubber, value)
        return _each(cleaned, hidden) if self.hides and call.run is not None else cleaned

    def _who(self, name: str | None) -> str | None:
        return None if name is None else self.named(name)


def _scrubbed(scrubber: Scrubber, value: JSON) -> JSON:
    try:
        return scrubber.scrub(mutable_copy(value))
    except Exception as error:  # noqa: BLE001 - what cannot be cleaned is not recorded
        _log.warning("scrubber failed with %s; payload dropped", type(error).__name__)
        return None


def _each(value: JSON, change: Callable[[str], str]) -> JSON:
    """A copy with every text in it changed, keys among them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _each(member, change) for name, member in value.items()}
    return [_each(one, change) for one in value] if isinstance(value, list | tuple) else value


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
