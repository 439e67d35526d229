"""The charts of a report, as inline SVG: no script draws them, and nothing of a record is markup."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from mcpguard.audit.calls import Record
from mcpguard.audit.export import timestamp
from mcpguard.audit.stats import BUCKETS

__all__ = ["Chart", "Column", "tallied"]

MAX_LANES: Final = 20
"""Servers, and breakers, that have a lane of their own."""

_COLOURS: Final = {"open": "denied", "half_open": "error", "closed": "ok"}
"""States of a breaker, and the class of the piece of a lane that shows one."""

_FAINTEST: Final = 0.35
"""How much of its colour a piece has at least."""

Column: TypeAlias = Mapping[str, int]
"""Of one stretch of time: calls by `ok`, `denied` and `error`, and their `cost`."""


def tallied(calls: Iterable[tuple[int, str, int]], first_us: int, last_us: int) -> Sequence[Column]:
    """Calls and cost over time, in columns of equal width.

    Args:
        calls: Of each its time, outcome and cost.
        first_us: When the first began.
        last_us: When the last began.
    """
    width = max(1, last_us - first_us)
    columns = [{"ok": 0, "denied": 0, "error": 0, "cost": 0} for _ in range(BUCKETS)]
    for time, outcome, cost in calls:
        column = columns[min(BUCKETS - 1, max(0, (time - first_us) * BUCKETS // width))]
        good = "ok" if outcome in ("ok", "input_required", "passed") else "error"
        column["denied" if outcome == "denied" else good] += 1
        column["cost"] += cost
    return columns


class Chart:
    """What all charts of a page share: the stretch of time, from left to right.

    Args:
        first_us: Where it begins.
        last_us: Where it ends.
    """

    def __init__(self, first_us: int, last_us: int) -> None:
        self._first = first_us
        self._width = max(1, last_us - first_us)
        self._ends = timestamp(first_us)[11:19], timestamp(last_us)[11:19]

    def timeline(self, columns: Sequence[Column], servers: Mapping[str, Sequence[Column]]) -> str:
        """Calls over time, of all servers and of each."""
        most = max(map(_calls, columns), default=0) or 1
        bars = [
            bar
            for number, column in enumerate(columns)
            if _calls(column)
            for bar in _bar(number, column, most)
        ]
        busiest = sorted(servers.items(), key=lambda one: -sum(map(_calls, one[1])))[:MAX_LANES]
        lanes = "".join(_lane(name, _pieces(own)) for name, own in busiest)
        key = _key({"ok": "answered", "error": "failed", "denied": "denied"})
        note = f"most in one column: {most}"
        return f"<h2>Calls over time</h2>\n{key}{_lane('all', bars, kind='tall')}{self._axis(note)}{lanes}"

    def curves(self, columns: Sequence[Column]) -> str:
        """Calls and cost so far, each against its own end: what a budget is used up by."""
        lines: list[str] = []
        for kind, name in (("ok", "calls"), ("error", "cost")):
            total, points = 0, ["0,100"]
            sums = [one["cost"] if name == "cost" else one["ok"] + one["error"] for one in columns]
            for number, value in enumerate(sums, start=1):
                total += value
                points.append(f"{number},{100 - total * 96 / (sum(sums) or 1):.2f}")
            if total:
                lines.append(f'<polyline class="{kind}" style="fill:none" points="{" ".join(points)}"/>')
        if not lines:
            return ""
        key = _key({"ok": "calls that went out", "error": "cost"})
        note = "so far, each to its own total"
        return f"<h2>Use of budgets</h2>\n{key}{_lane('all', lines, kind='tall')}{self._axis(note)}"

    def breakers(self, states: Iterable[Record]) -> str:
        """The state of each breaker over time; closed until it is first said."""
        changes: dict[str, list[tuple[float, str]]] = {}
        for record in states:
            state = str(record.get("state", ""))
            if record.get("kind") != "state_changed" or state not in _COLOURS:
                continue
            name = " ".join(str(record[part]) for part in ("tenant", "server", "target") if part in record)
            time = record.get("time_us")
            at = (time - self._first) * BUCKETS / self._width if isinstance(time, int) else 0.0
            changes.setdefault(name, []).append((min(float(BUCKETS), max(0.0, at)), state))
        if not changes:
            return ""
        lanes = "".join(_lane(name, _states(changes[name])) for name in list(changes)[:MAX_LANES])
        key = _key({"ok": "closed", "error": "half open", "denied": "open"})
        return f"<h2>Breakers</h2>\n{key}{lanes}{self._axis('')}"

    def _axis(self, note: str) -> str:
        first, last = self._ends
        inner = f"<span>{first}</span><span>{html.escape(note)}</span><span>{last}</span>"
        return f'<div class="axis">{inner}</div>\n'


def _calls(column: Column) -> int:
    return column["ok"] + column["denied"] + column["error"]


def _bar(number: int, column: Column, most: int) -> Iterable[str]:
    top = 100.0
    for kind in ("ok", "error", "denied"):
        if column[kind]:
            height = column[kind] * 96 / most
            top -= height
            yield _piece(kind, number + 0.1, 0.8, _said(column), y=top, height=height)


def _pieces(columns: Sequence[Column]) -> list[str]:
    """A lane: where there were calls, in the colour of the worst."""
    most = max(map(_calls, columns), default=0) or 1
    pieces: list[str] = []
    for number, column in enumerate(columns):
        if calls := _calls(column):
            kind = next(kind for kind in ("denied", "error", "ok") if column[kind])
            share = _FAINTEST + (1 - _FAINTEST) * calls / most
            pieces.append(_piece(kind, number + 0.1, 0.8, _said(column), opacity=share))
    return pieces


def _states(changes: Sequence[tuple[float, str]]) -> list[str]:
    pieces: list[str] = []
    begin, state = 0.0, "closed"
    for at, then in (*changes, (float(BUCKETS), "")):
        if at > begin:
            pieces.append(_piece(_COLOURS[state], begin, at - begin, state))
        begin, state = at, then
    return pieces


def _piece(
    kind: str, x: float, width: float, said: str, *, y: float = 0, height: float = 100, opacity: float = 1
) -> str:
    place = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" opacity="{opacity:.2f}"'
    return f'<rect class="{kind}" {place}><title>{html.escape(said)}</title></rect>'


def _said(column: Column) -> str:
    return f"{column['ok']} answered, {column['error']} failed, {column['denied']} denied"


def _lane(name: str, pieces: Iterable[str], *, kind: str = "") -> str:
    label = html.escape(name)
    view = f'viewBox="0 0 {BUCKETS} 100" preserveAspectRatio="none"'
    drawn = f'<svg {view} role="img" aria-label="{label}">{"".join(pieces)}</svg>'
    return f'<div class="lane {kind}"><span title="{label}">{label}</span>{drawn}</div>\n'


def _key(words: Mapping[str, str]) -> str:
    entries = "".join(f'<span class="{kind}">{word}</span>' for kind, word in words.items())
    return f'<p class="key">{entries}</p>\n'
