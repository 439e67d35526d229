"""Events: what the chain, runs and seams report, and what is promised to those who take them.

An event holds no argument and no result, only their keyed digests. A guard with a `Scrubber` adds a payload
that has passed it. Names in an event (tools, URIs) come from outside and are cut to a bound.

Above: `emitter`, which makes them; sinks, which keep them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal, Protocol, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.result import Fate, Outcome
from mcpguard.core.wire import JSON, Direction

__all__ = ["Event", "Kind", "Listener", "Scrubber", "Sink", "made"]

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


def made(members: dict[str, object]) -> Event:
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


class Scrubber(Protocol):
    """Cleans a value before any sink sees it. It is given a copy; raising drops the payload."""

    def scrub(self, value: JSON) -> JSON:
        """A cleaned copy of `value`."""
        ...
