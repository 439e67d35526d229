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

from mcpguard.cli.demo.agent import Step
from mcpguard.cli.demo.decisions import Decision, State
from mcpguard.cli.demo.left import Left
from mcpguard.cli.demo.repo import RepositoryState
from mcpguard.cli.demo.trail import Anew, Trail
from mcpguard.core.wire import JSON

__all__ = ["Outcome", "Report"]

MAX_TEXT = 200
"""Characters of an answer in the document: enough to tell what it was; a diff has megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of the agent, and what was there afterwards.

    Args:
        sessions: How many sessions the agent had.
        tools: The tools it was shown in them.
        steps: Its tool calls, in order.
        repository: The clone it worked on.
        left: What the servers have in their databases.
        tokens_held: How many tokens the agent had.
        tokens_sent: Calls on which it put one.
    """

    sessions: int
    tools: list[str]
    steps: list[Step]
    repository: RepositoryState
    left: Left
    tokens_held: int
    tokens_sent: int

    def effects(self) -> dict[str, str]:
        """What was seen of it afterwards, beside the calls that were carried out."""
        leaks = {name: str(number) for name, number in self.left.leaks.items()}
        return {
            **_state(self.repository),
            "tools the agent saw": f"{len(self.tools)} in {_many(self.sessions, 'session')}",
            "tokens the agent held": str(self.tokens_held),
            "calls it put one on": str(self.tokens_sent),
            **leaks,
        }

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
        anew: What another policy would have made of it.
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
    anew: Anew
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
        bare = {"calls carried out": str(len(self.bare.steps))} | self.bare.effects()
        done = sum(decision.dispatched for decision in self.decisions)
        guarded = {"calls carried out": str(done)} | self.guarded.effects()
        for table in sorted(self.bare.left.rows.keys() | self.guarded.left.rows.keys()):
            name = f"rows: {table}"
            bare[name], guarded[name] = (
                str(outcome.left.rows.get(table, "no such table")) for outcome in (self.bare, self.guarded)
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
            "replay": {
                "policy": str(self.anew.policy),
                "counts": dict(self.anew.counts),
                "denied": dict(self.anew.denied),
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
            console.print(Text(_plain(f"state:  {of}: {', '.join(states)}")))
        console.print(Text(f"policy: {self.policy}"), soft_wrap=True)
        for line in self.left_behind():
            console.print(Text(line), soft_wrap=True)

    def left_behind(self) -> Iterator[str]:
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
        counts = self.anew.counts
        yield (
            f"replay: of {sum(counts.values())} calls a stricter policy would have denied"
            f" {counts.get('denied', 0)} more: {_counted(self.anew.denied)}"
        )
        yield f"        mcpguard replay --policy {self.anew.policy} --run {self.anew.run} {self.audit}"

    def _changes(self) -> dict[str, list[str]]:
        """By what changed, its states in order."""
        changes: dict[str, list[str]] = {}
        for state in self.states:
            changes.setdefault(f"{state.interceptor} of {state.of}", []).append(state.state)
        return changes

    def _calls(self) -> Table:
        table = _table(("the agent's call", 31), ("without a guard", 25), ("with mcpguard", 44))
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
    if decision.approver is not None:
        return f"approved ({decision.approver})", "green"
    if decision.warnings:
        return f"warned ({', '.join(decision.warnings)})", "yellow"
    return ("failed", "yellow") if step.is_error else ("allowed", "green")


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "none"


def _plain(text: str) -> str:
    """Text on one line that cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
