"""What the demo tells: both runs beside each other, call by call, and what was there afterwards.

Nothing here decides anything. Decisions come from the audit file, effects from git and SQLite; text from
servers and repositories is shown without its control characters.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcpguard.cli.demo_agent import Step
from mcpguard.cli.demo_repo import RepositoryState
from mcpguard.cli.demo_trail import Trail
from mcpguard.core.wire import JSON

__all__ = ["Decision", "Outcome", "Report", "State"]

MAX_TEXT = 200
"""Characters of an answer in the document: enough to tell what it was; a diff has megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the audit file holds of one tool call.

    Args:
        dispatched: Whether the call went to the server.
        interceptor: Who denied it; None when it was allowed.
        code: The code of the denial; None when it was allowed.
        warning: The code of what was seen coming; None when nothing was.
        approver: Who said yes to it; None when nobody was asked, or did not.
    """

    dispatched: bool
    interceptor: str | None
    code: str | None
    warning: str | None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of the agent, and what was there afterwards.

    Args:
        tools: By server, the tools the agent was shown.
        steps: Its tool calls, in order.
        repository: The clone it worked on.
        rows: Row counts by `server.table`.
        tokens_sent: Calls on which the agent itself put a token.
    """

    tools: Mapping[str, list[str]]
    steps: list[Step]
    repository: RepositoryState
    rows: Mapping[str, int]
    tokens_sent: int

    def document(self) -> dict[str, JSON]:
        """The run for programs; of each answer the first `MAX_TEXT` characters."""
        steps = [asdict(step) | {"text": step.text[:MAX_TEXT]} for step in self.steps]
        whole: dict[str, JSON] = asdict(self)
        return whole | {"steps": steps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The same agent twice.

    Args:
        trail: What the trail of the guarded run shows.
        given: The repository of the user; None if the demo made one.
        policy: The policy file of the guarded run.
        audit: Where its events are.
        events: How many of each kind the audit file holds.
        decisions: One for each step of the guarded run, from the audit file.
        states: What changed its state during the guarded run, in order, from the audit file.
        before: The clones before the agent came.
        bare: The run without a guard.
        guarded: The run with one.
    """

    trail: Trail
    given: Path | None
    policy: Path
    audit: Path
    events: Mapping[str, int]
    decisions: list[Decision]
    states: list[State]
    before: RepositoryState
    bare: Outcome
    guarded: Outcome

    def effects(self) -> dict[str, tuple[str, str, str]]:
        """What was looked at, and what was seen: before, after the bare run, after the guarded one."""
        before = _state(self.before)
        bare = {"calls carried out": str(len(self.bare.steps))} | _state(self.bare.repository)
        done = sum(decision.dispatched for decision in self.decisions)
        guarded = {"calls carried out": str(done)} | _state(self.guarded.repository)
        sent = "tokens the agent sent"
        bare[sent], guarded[sent] = str(self.bare.tokens_sent), str(self.guarded.tokens_sent)
        for table in sorted(self.bare.rows.keys() | self.guarded.rows.keys()):
            name = f"rows: {table}"
            bare[name], guarded[name] = (
                str(outcome.rows.get(table, "no such table")) for outcome in (self.bare, self.guarded)
            )
        return {name: (before.get(name, ""), bare[name], guarded[name]) for name in bare}

    def document(self) -> dict[str, JSON]:
        """The whole report for programs."""
        return {
            "repository": None if self.given is None else str(self.given),
            "policy": str(self.policy),
            "audit": {
                "path": str(self.audit),
                "events": dict(self.events),
                "state": self.trail.state,
                "records": self.trail.records,
                "signed": self.trail.signed,
                "key": self.trail.public,
                "calls": self.trail.calls,
                "outcomes": dict(self.trail.outcomes),
                "cost": dict(self.trail.costs),
                "report": str(self.trail.page),
            },
            "decisions": [asdict(decision) for decision in self.decisions],
            "states": [asdict(state) for state in self.states],
            "unguarded": self.bare.document(),
            "guarded": self.guarded.document(),
            "effects": {
                name: {"before": before, "unguarded": bare, "guarded": guarded, "differs": bare != guarded}
                for name, (before, bare, guarded) in self.effects().items()
            },
        }

    def print(self, console: Console) -> None:
        """The whole report for people."""
        source = "one the demo made" if self.given is None else f"{_plain(str(self.given))}, only read"
        console.print(Text("The same compliance agent twice: without a guard, and with one", style="bold"))
        console.print(Text(f"repository: {source}; each run works on a clone of it with one file staged"))
        console.print("", self._calls(), "", self._effects(), "", sep="\n")
        denied = Counter(f"{each.code} ({each.interceptor})" for each in self.decisions if each.code)
        console.print(Text(f"denied: {_counted(denied)}"))
        for of, states in self._changes().items():
            console.print(Text(_plain(f"state:  {of}: closed, {', '.join(states)}")))
        console.print(Text(f"policy: {self.policy}"), soft_wrap=True)
        for line in self._left_behind():
            console.print(Text(line), soft_wrap=True)

    def _left_behind(self) -> Iterator[str]:
        """What there is to look at now."""
        trail = self.trail
        costs = "".join(f", {cost / 1_000_000:.2f} {currency}" for currency, cost in trail.costs.items())
        yield f"audit:  {self.audit}, {sum(self.events.values())} events"
        yield f"calls:  {trail.calls}: {_counted(trail.outcomes)}{costs}"
        signed = "not signed, as the file was there before"
        if trail.public is not None:
            signed = f"signed up to record {trail.signed} by {trail.public}"
        yield f"chain:  {trail.state}, {trail.records} records, {signed}"
        yield f"report: {trail.page}, one page that needs nothing else"

    def _changes(self) -> dict[str, list[str]]:
        """By what changed, its states in order."""
        changes: dict[str, list[str]] = {}
        for state in self.states:
            changes.setdefault(f"{state.interceptor} of {state.of}", []).append(state.state)
        return changes

    def _calls(self) -> Table:
        table = _table(("the agent's call", 31), ("without a guard", 25), ("with mcpguard", 44))
        for server, names in self.bare.tools.items():
            seen = self.guarded.tools.get(server, [])
            hidden = len(set(names) - set(seen))
            note = f"{_many(len(seen), 'tool')}, {hidden} hidden" if hidden else _many(len(seen), "tool")
            table.add_row(_plain(f"{server} tools/list"), _many(len(names), "tool"), note)
        bare: dict[str, list[Step]] = {}
        for step in self.bare.steps:
            bare.setdefault(_name(step), []).append(step)
        guarded: dict[str, list[tuple[Step, Decision]]] = {}
        for step, decision in zip(self.guarded.steps, self.decisions, strict=True):
            guarded.setdefault(_name(step), []).append((step, decision))
        for name in bare | guarded:
            table.add_row(Text(name), _answers(bare.get(name, [])), _decided(guarded.get(name, [])))
        return table

    def _effects(self) -> Table:
        table = _table(
            ("by git and SQLite", 24),
            ("before", 24),
            ("without a guard", 22),
            ("with mcpguard", 24),
            ("", 8),
        )
        for name, (before, bare, guarded) in self.effects().items():
            cells = [Text(_plain(cell)) for cell in (name, before, bare, guarded)]
            table.add_row(*cells, Text("differs" if bare != guarded else "", style="yellow"))
        return table


def _table(*columns: tuple[str, int]) -> Table:
    """A table as wide as the console, with its columns' headings and their shares of the width."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, expand=True)
    for heading, share in columns:
        table.add_column(heading, ratio=share)
    return table


def _state(repository: RepositoryState) -> dict[str, str]:
    return {
        "HEAD": f"{repository.branch or 'detached'} at {repository.head[:8]}",
        "staged": ", ".join(repository.staged) or "nothing",
    }


def _name(step: Step) -> str:
    return _plain(f"{step.server} {step.tool} {step.about}").strip()


def _answers(steps: list[Step]) -> Text:
    """What the servers said when nobody stood between."""
    if not steps:
        return Text("not called")
    lines = steps[-1].text.strip().splitlines() or ["nothing"]
    said = _plain(lines[0]) if len(lines) == 1 else _many(len(lines), "line")
    times = "" if len(steps) == 1 else f"{len(steps)} times, last: "
    return Text(f"{times}{'error: ' if steps[-1].is_error else ''}{said}", no_wrap=True, overflow="ellipsis")


def _decided(pairs: list[tuple[Step, Decision]]) -> Text:
    """What the guard made of a call, or of the same call again and again."""
    if not pairs:
        return Text("not called")
    text = Text()
    for (what, style), group in groupby(pairs, key=_what):
        text.append(", then " if text else "")
        text.append(what, style=style)
        many = list(group)
        text.append(f" {len(many)} times" if len(many) > 1 else "")
        step, decision = many[-1]
        if decision.code is not None:
            said = _plain(step.text.removesuffix(f" [{decision.code}]"))
            text.append(f": {said.rstrip('.')}")
    return text


def _what(pair: tuple[Step, Decision]) -> tuple[str, str]:
    """What became of one call, and the style to show it in."""
    step, decision = pair
    if decision.code is not None:
        return decision.code, "red"
    if decision.warning is not None:
        return f"warned ({decision.warning})", "yellow"
    if decision.approver is not None:
        return f"approved ({decision.approver})", "green"
    return ("failed", "yellow") if step.is_error else ("allowed", "green")


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "none"


def _plain(text: str) -> str:
    """Text on one line that cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
