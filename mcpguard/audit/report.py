"""The report: one HTML page with all it needs inside, readable without a server.

Everything from a record is data to the page: in the tables it is escaped, in the list of calls it is JSON
that a script puts into text nodes, and the page's own policy lets no other script run. The list is drawn a
hundred calls at a time, so that a hundred thousand open without freezing.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final

from mcpguard.audit.calls import CallView, Record, Selection, calls
from mcpguard.audit.charts import Chart, Column, tallied
from mcpguard.audit.export import timestamp
from mcpguard.audit.stats import Stats
from mcpguard.audit.verdict import Verdict
from mcpguard.core.wire import JSON

__all__ = ["MAX_CALLS", "Report", "page"]

MAX_CALLS: Final = 100_000
"""Calls that a page lists, the newest; figures are of all."""

MAX_ROWS: Final = 200
"""Rows of a table of figures."""

_COLUMNS: Final = ("time", "server", "tool", "outcome", "code", "who", "run", "ms", "tries", "decided")
_CODED: Final = frozenset({"server", "tool", "outcome", "code", "who", "run", "decided"})
"""Columns whose values are numbers in a list of words: most words come again and again."""

_CARDS: Final = {"intact": "good", "tampered": "bad", "ok": "good", "passed": "good", "denied": "bad"}
"""What a figure looks like; others are a warning."""

_NUMBERS: Final = frozenset({"ms", "tries", "calls", "ok", "denied", "other", "p50 ms", "p95 ms", "cost"})
"""Columns of numbers: they are to the right."""


class Report:
    """What goes into a page, gathered in one pass over the records."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.rows: list[list[int | float]] = []
        self.words: dict[str, int] = {}
        self.states: list[Record] = []
        self._views: list[tuple[int, str, int, str]] = []

    def read(self, records: Iterable[Record], selection: Selection) -> None:
        """Gather from all records about the calls that are wanted."""
        for view in calls(self._seen(records)):
            if selection.takes(view):
                self.add(view)

    def add(self, view: CallView) -> None:
        """Gather from one call."""
        self.stats.add(view)
        self._views.append((view.time_us, view.outcome, view.cost, view.server))
        decided = ", ".join(f"{one.interceptor}: {one.verdict} {one.code}".strip() for one in view.decisions)
        who = "/".join(filter(None, (view.tenant, view.user, view.agent)))
        word = self._word
        self.rows.append(
            [
                view.time_us // 1000,
                word(view.server),
                word(view.target or view.method),
                word(view.outcome),
                word(view.code or view.error_code),
                word(who),
                word(view.run_id),
                round(view.duration_us / 1000, 1),
                view.attempts,
                word(decided),
            ]
        )
        if len(self.rows) > 2 * MAX_CALLS:
            del self.rows[:-MAX_CALLS]

    def columns(self) -> Sequence[Column]:
        """Calls and cost over time."""
        stats = self.stats
        return tallied((view[:3] for view in self._views), stats.first_us, stats.last_us)

    def servers(self) -> dict[str, Sequence[Column]]:
        """The same of each server."""
        own: dict[str, list[tuple[int, str, int]]] = {}
        for time, outcome, cost, server in self._views:
            own.setdefault(server, []).append((time, outcome, cost))
        stats = self.stats
        return {name: tallied(views, stats.first_us, stats.last_us) for name, views in own.items()}

    def _word(self, text: str) -> int:
        return self.words.setdefault(text, len(self.words))

    def _seen(self, records: Iterable[Record]) -> Iterable[Record]:
        for record in records:
            if record.get("kind") in ("state_changed", "warning", "stopped") and len(self.states) < MAX_ROWS:
                self.states.append(record)
            yield record


def page(report: Report, *, title: str, verdict: Verdict | None = None) -> str:
    """The page.

    Args:
        report: What was gathered.
        title: What the page calls itself.
        verdict: What verifying the trail has shown; None if it was not verified.
    """
    script = _part("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    stats = report.stats
    span = f"{timestamp(stats.first_us)[:19]} to {timestamp(stats.last_us)[:19]} UTC" if stats.calls else ""
    columns, chart = report.columns(), Chart(stats.first_us, stats.last_us)
    data: JSON = {
        "columns": _COLUMNS,
        "coded": [number for number, name in enumerate(_COLUMNS) if name in _CODED],
        "words": list(report.words),
        "rows": report.rows[-MAX_CALLS:],
    }
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{html.escape(title)}</title>\n<style>\n{_part('report.css')}</style>\n</head>\n<body>\n",
            f'<h1>{html.escape(title)}</h1>\n<p class="sub">{html.escape(span)}</p>\n',
            _cards(stats, verdict),
            chart.timeline(columns, report.servers()),
            chart.curves(columns),
            chart.breakers(report.states),
            _tools(stats),
            _table(
                "Denials",
                ("interceptor", "code", "reason", "calls"),
                [(*key, number) for key, number in stats.denials.most_common(MAX_ROWS)],
            ),
            _table(
                "Warnings, breakers, stops",
                ("time", "kind", "who", "about", "state", "reason"),
                [_state(record) for record in report.states],
            ),
            _table(
                "On whose behalf",
                ("tenant", "user", "agent", "calls"),
                [(*key, number) for key, number in stats.principals.most_common(MAX_ROWS)],
            ),
            _list(stats),
            f'<script type="application/json" id="calls">{_embedded(data)}</script>\n',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def _cards(stats: Stats, verdict: Verdict | None) -> str:
    cards = [("", str(stats.calls), "calls"), ("", str(len(stats.runs)), "runs")]
    outcomes = stats.outcomes.most_common()
    cards += [(_CARDS.get(name, "warn"), str(number), name) for name, number in outcomes]
    cards += [("", _money(cost), currency) for currency, cost in sorted(stats.costs.items())]
    if verdict is not None:
        cards.insert(
            0, (_CARDS.get(verdict.state, "warn"), verdict.state, f"trail, {verdict.records} records")
        )
    inner = "".join(
        f'<div class="card {kind}"><b>{html.escape(value)}</b>{html.escape(name)}</div>'
        for kind, value, name in cards
    )
    return f'<div class="cards">{inner}</div>\n'


def _tools(stats: Stats) -> str:
    ordered = sorted(stats.tools.values(), key=lambda tool: -tool.calls)[:MAX_ROWS]
    rows = [
        (
            tool.server,
            tool.target,
            tool.calls,
            tool.outcomes["ok"],
            tool.outcomes["denied"],
            tool.calls - tool.outcomes["ok"] - tool.outcomes["denied"],
            round(tool.percentile(0.5), 1),
            round(tool.percentile(0.95), 1),
            _money(tool.cost),
        )
        for tool in ordered
    ]
    headings = ("server", "tool", "calls", "ok", "denied", "other", "p50 ms", "p95 ms", "cost")
    return _table("Tools", headings, rows)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    head = "".join(_cell("th", name, name) for name in headings)
    cells = ("".join(_cell("td", *pair) for pair in zip(row, headings, strict=True)) for row in rows)
    lines = "".join(f"<tr>{row}</tr>\n" for row in cells)
    top = f"<h2>{html.escape(title)}</h2>\n<table><thead><tr>{head}</tr></thead>\n"
    return f"{top}<tbody>{lines}</tbody></table>\n"


def _cell(tag: str, shown: object, column: str) -> str:
    kind = ' class="n"' if column in _NUMBERS else ""
    return f"<{tag}{kind}>{html.escape(str(shown))}</{tag}>"


def _money(micro: int) -> str:
    """An amount, with four digits after the point at most."""
    return f"{micro / 1_000_000:.4f}".rstrip("0").rstrip(".")


def _list(stats: Stats) -> str:
    names = "".join(f"<option>{html.escape(name)}</option>" for name, _ in stats.outcomes.most_common())
    head = "".join(_cell("th", name, name) for name in _COLUMNS)
    return (
        '<h2>Calls</h2>\n<div class="bar"><input id="filter" placeholder="find" aria-label="find">'
        f'<select id="outcome" aria-label="outcome"><option value="">every outcome</option>{names}</select>'
        '<button id="back">back</button><span id="where"></span><button id="on">on</button></div>\n'
        f'<table><thead><tr>{head}</tr></thead><tbody id="rows"></tbody></table>\n'
    )


def _state(record: Record) -> tuple[str, ...]:
    about = " ".join(str(record[name]) for name in ("tenant", "server", "target") if name in record)
    state = str(record.get("state", record.get("code", "")))
    return (
        timestamp(record.get("time_us"))[:19],
        str(record.get("kind", "")),
        str(record.get("interceptor", "guard")),
        about,
        state,
        str(record.get("reason", "")),
    )


def _embedded(data: JSON) -> str:
    """JSON that can end no element: it stands inside a script element."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _part(name: str) -> str:
    return files("mcpguard.audit").joinpath(name).read_text("utf-8")
