"""What the trail of the demo's guarded run holds of each tool call, and of what changed its state."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Decision", "State", "read_decisions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the audit file holds of one tool call.

    Args:
        dispatched: Whether the call went to the server.
        interceptor: Who denied it; None when it was allowed.
        code: The code of the denial; None when it was allowed.
        warnings: The codes of what was seen in it, or coming.
        approver: Who said yes to it; None when nobody was asked, or did not.
    """

    dispatched: bool
    interceptor: str | None
    code: str | None
    warnings: tuple[str, ...]
    approver: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the audit file holds of a limit that changed its state.

    Args:
        interceptor: Whose state it is.
        of: The server, and the tool where it is a tool's.
        state: The new state.
    """

    interceptor: str
    of: str
    state: str


def read_decisions(audit: Path, run_id: str) -> tuple[Counter[str], list[Decision], list[State]]:
    """Of the audit file: this run's events by kind, its tool calls in order, and what changed its state."""
    kinds: Counter[str] = Counter()
    dispatched: set[str] = set()
    warnings: dict[str, dict[str, None]] = {}
    approvers: dict[str, str] = {}
    decisions: list[Decision] = []
    states: list[State] = []
    is_open = False
    for line in audit.read_text(encoding="utf-8", errors="replace").splitlines():
        if f'"{run_id}"' not in line and not (is_open and '"state_changed"' in line):
            continue
        event = json.loads(line)["record"]
        kind = event["kind"]
        kinds[kind] += 1
        is_open = kind != "run_closed"
        if kind == "state_changed":
            of = " ".join(filter(None, (event.get("server"), event.get("target"))))
            states.append(State(interceptor=event["interceptor"], of=of, state=event["state"]))
        elif kind == "warning":
            warnings.setdefault(event["call_id"], {})[event["code"]] = None
        elif kind == "decision" and event.get("verdict") == "approve":
            approvers[event["call_id"]] = event.get("approver", "somebody")
        elif kind == "dispatched":
            dispatched.add(event["call_id"])
        elif kind == "completed" and event["method"] == "tools/call":
            call_id = event["call_id"]
            decisions.append(
                Decision(
                    dispatched=call_id in dispatched,
                    interceptor=event.get("interceptor"),
                    code=event.get("code"),
                    warnings=tuple(warnings.get(call_id, ())),
                    approver=approvers.get(call_id),
                )
            )
    return kinds, decisions, states
