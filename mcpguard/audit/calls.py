"""Calls: the records of one call put together, from its intent to its outcome."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = ["UNANSWERED", "CallView", "Decision", "Record", "Selection", "calls"]

Record: TypeAlias = Mapping[str, str | int | bool]

UNANSWERED: Final = "unanswered"
"""Outcome of a call that has an intent and no outcome: the process ended in between, or is at it."""

MAX_RUNS: Final = 100_000
"""Runs of which it is remembered where they were opened; beyond, the oldest is known by its id alone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an interceptor said of a call, other than allow."""

    interceptor: str
    verdict: str
    code: str
    reason: str
    mode: str


@dataclass(slots=True, kw_only=True)
class CallView:
    """One call, as far as the records go. Texts are empty and numbers 0 where they do not say.

    Args:
        seq: Position of its first record.
        time_us: When it came in, microseconds since the epoch, UTC.
        duration_us: Until its caller had the answer.
        outcome: As in events, or `cancelled` or `unanswered`.
        run_seq: Position of the record that opened its run: ids come again.
        parent_run_seq: The same of the run that one is part of.
        attempts: Times it went out.
        cost: The greatest that one budget has charged for it: several may count the same money.
        decisions: What interceptors said of it.
        paid: What each budget has charged.
    """

    seq: int
    call_id: str
    round: int = 0
    time_us: int = 0
    duration_us: int = 0
    parent_id: str = ""
    run_id: str = ""
    run_seq: int = 0
    parent_run_id: str = ""
    parent_run_seq: int = 0
    tenant: str = ""
    user: str = ""
    agent: str = ""
    server: str = ""
    method: str = ""
    direction: str = ""
    target: str = ""
    outcome: str = UNANSWERED
    fate: str = ""
    interceptor: str = ""
    code: str = ""
    reason: str = ""
    error_code: str = ""
    policy: str = ""
    trace_id: str = ""
    arguments_digest: str = ""
    arguments_bytes: int = 0
    result_digest: str = ""
    result_bytes: int = 0
    attempts: int = 0
    cost: int = 0
    currency: str = ""
    decisions: list[Decision] = field(default_factory=list[Decision])
    paid: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which calls are wanted; None is all.

    Args:
        run: Id of the run.
        tool: Name of the tool, or of whatever the call is aimed at.
        principal: Tenant, user or agent.
        outcome: As in `CallView`.
        since: Microseconds since the epoch.
        until: Microseconds since the epoch.
    """

    run: str | None = None
    tool: str | None = None
    principal: str | None = None
    outcome: str | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, call: CallView) -> bool:
        """Whether a call is wanted."""
        return (
            self.run in (None, call.run_id)
            and self.tool in (None, call.target)
            and self.principal in (None, call.tenant, call.user, call.agent)
            and self.outcome in (None, call.outcome)
            and (self.since is None or call.time_us >= self.since)
            and (self.until is None or call.time_us < self.until)
        )


_TEXTS: Final = (
    "parent_id",
    "run_id",
    "parent_run_id",
    "tenant",
    "user",
    "agent",
    "server",
    "method",
    "direction",
    "target",
    "arguments_digest",
    "trace_id",
)
"""What any record of a call may say of it."""

_END: Final = ("outcome", "fate", "interceptor", "code", "reason", "result_digest")
"""What the last one says."""


def calls(records: Iterable[Record]) -> Iterator[CallView]:
    """Every call, when its outcome comes; at the end those that have none."""
    under_way: dict[tuple[str, int], CallView] = {}
    opened: dict[str, int] = {}
    for record in records:
        name = record.get("call_id")
        if not isinstance(name, str):
            if record.get("kind") == "run_opened":
                _open(opened, record)
            continue
        key = name, _number(record, "round")
        view = under_way.get(key)
        if view is None:
            view = under_way[key] = CallView(seq=_number(record, "seq"), call_id=name, round=key[1])
            view.time_us = _number(record, "time_us")
            for member in _TEXTS:
                value = record.get(member)
                if value is not None:
                    setattr(view, member, value if type(value) is str else str(value))
            view.arguments_bytes = _number(record, "arguments_bytes")
            view.run_seq = opened.get(view.run_id, 0)
            view.parent_run_seq = opened.get(view.parent_run_id, 0)
        if _took(view, record):
            yield under_way.pop(key)
    for view in under_way.values():
        if view.attempts or view.arguments_digest:
            yield view


def _open(opened: dict[str, int], record: Record) -> None:
    """Remember where a run begins."""
    run = str(record.get("run_id", ""))
    if run not in opened and len(opened) >= MAX_RUNS:
        del opened[next(iter(opened))]
    opened[run] = _number(record, "seq")


def _took(view: CallView, record: Record) -> bool:
    """Take what a record says; whether it is the call's last."""
    kind = record.get("kind")
    if kind == "dispatched":
        view.attempts += 1
        view.policy = str(record.get("policy", ""))
    elif kind == "decision":
        members = (str(record.get(name, "")) for name in ("interceptor", "verdict", "code", "reason", "mode"))
        view.decisions.append(Decision(*members))
        view.policy = view.policy or str(record.get("policy", ""))
    elif kind == "spent":
        payer = str(record.get("interceptor", ""))
        view.paid[payer] = view.paid.get(payer, 0) + _number(record, "cost")
        view.cost = max(view.paid.values())
        view.currency = str(record.get("currency", ""))
    elif kind in ("completed", "cancelled"):
        for member in _END:
            if member in record:
                setattr(view, member, str(record[member]))
        if kind == "cancelled":
            view.outcome = "cancelled"
        view.duration_us = _number(record, "duration_us")
        view.result_bytes = _number(record, "result_bytes")
        view.error_code = str(record.get("error_code", ""))
        return True
    elif kind == "notification":
        view.outcome = "dropped" if record.get("verdict") == "drop" else "passed"
        view.code = str(record.get("code", ""))
        view.interceptor = str(record.get("interceptor", ""))
        return True
    return False


def _number(record: Record, name: str) -> int:
    value = record.get(name, 0)
    return value if isinstance(value, int) else 0
