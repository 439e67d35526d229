"""Figures about calls: by tool, by outcome, denials by code and reason, and over time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mcpguard.audit.calls import CallView

__all__ = ["BUCKETS", "Stats", "ToolStats", "gather"]

BUCKETS: Final = 60
"""Columns of a timeline."""

MAX_DURATIONS: Final = 10_000
"""Durations of one tool that its percentiles are made from: the first so many."""


@dataclass(slots=True)
class ToolStats:
    """Figures of one tool of one server."""

    server: str
    target: str
    outcomes: Counter[str] = field(default_factory=Counter[str])
    durations_us: list[int] = field(default_factory=list[int])
    cost: int = 0

    @property
    def calls(self) -> int:
        """All calls."""
        return self.outcomes.total()

    def percentile(self, share: float) -> float:
        """A percentile of the durations, in milliseconds."""
        if not self.durations_us:
            return 0.0
        ordered = sorted(self.durations_us)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000


@dataclass(slots=True)
class Stats:
    """Figures of all calls."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    tools: dict[tuple[str, str], ToolStats] = field(default_factory=dict[tuple[str, str], ToolStats])
    denials: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    principals: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    runs: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """By id, and where it was opened."""
    costs: Counter[str] = field(default_factory=Counter[str])
    first_us: int = 0
    last_us: int = 0

    @property
    def calls(self) -> int:
        """All calls."""
        return self.outcomes.total()

    def add(self, view: CallView) -> None:
        """Count a call."""
        self.first_us = min(self.first_us or view.time_us, view.time_us)
        self.last_us = max(self.last_us, view.time_us + view.duration_us)
        self.outcomes[view.outcome] += 1
        key = view.server, view.target or view.method
        tool = self.tools.get(key)
        if tool is None:
            tool = self.tools[key] = ToolStats(*key)
        tool.outcomes[view.outcome] += 1
        tool.cost += view.cost
        if view.fate == "answered" and len(tool.durations_us) < MAX_DURATIONS:
            tool.durations_us.append(view.duration_us)
        if view.outcome == "denied":
            self.denials[view.interceptor, view.code, view.reason] += 1
        self.principals[view.tenant, view.user, view.agent] += 1
        if view.run_id:
            self.runs.add((view.run_id, view.run_seq))
        if view.cost:
            self.costs[view.currency] += view.cost


def gather(views: Iterable[CallView]) -> Stats:
    """The figures of some calls."""
    stats = Stats()
    for view in views:
        stats.add(view)
    return stats
