"""Whether a run goes round in circles: periodic repeats, nothing new, and one error over and over.

A run is a sequence of units: a call, a batch of calls that were under way together, or a run inside it. A
unit's symbol says what was asked and what came back; two units with one symbol are the same step. For every
lag up to `MAX_PERIOD` the number of matches in a row is kept, so that a suffix that repeats a block is found
the moment it does, and in constant time (the failure function of string matching, by lag).

No clock, no calls: whoever uses it makes the symbols. See `interceptors.loop_detector`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Finding", "Repeats", "Rule", "Unit"]

MAX_PERIOD: Final = 12
"""The longest block whose repeats are looked for."""

MAX_SEEN: Final = 64
"""Steps of a run that are remembered, and as many questions; those seen longest ago are forgotten first."""

_NO_MATCHES: Final = (0,) * (MAX_PERIOD + 1)

Rule: TypeAlias = Literal["period", "nothing_new", "same_error"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One step of a run.

    Args:
        symbol: What was asked and what came back.
        asked: What was asked, each call's own.
        failure: The tool, and the error it gave, where the unit is one call that failed; else None.
    """

    symbol: int
    asked: tuple[int, ...]
    failure: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """That something repeats.

    Args:
        rule: `period`: a block of `period` steps; `nothing_new`: steps that were all seen before;
            `same_error`: one tool fails in one way, whatever it is given.
        count: How often in a row; for `nothing_new`, how many steps.
        period: Steps in the block.
    """

    rule: Rule
    count: int
    period: int = 1

    @property
    def reason(self) -> str:
        """What repeats, for the operator."""
        match self.rule:
            case "period":
                return f"the same {self.period} step(s) {self.count} times in a row"
            case "nothing_new":
                return f"{self.count} steps in a row that were all seen before"
            case _:
                return f"one tool failed in the same way {self.count} times in a row"

    @property
    def message(self) -> str:
        """The same for the model, as a part of a sentence."""
        match self.rule:
            case "period" if self.period == 1:
                return f"you have made this very call {self.count} times in a row, and the answer is the same"
            case "period":
                return (
                    f"you repeat the same {self.period} calls, {self.count} times now, with the same answers"
                )
            case "nothing_new":
                return f"the last {self.count} calls told you nothing that you did not know before"
            case _:
                return f"this tool has failed in the same way {self.count} times in a row"


class Repeats:
    """What one run has done lately. Bounded: its size does not grow with the run."""

    __slots__ = ("_asked", "_failed", "_failures", "_known", "_matches", "_seen", "_units")

    def __init__(self) -> None:
        self._units: deque[Unit] = deque(maxlen=MAX_PERIOD)
        self._matches: list[int] = list(_NO_MATCHES)
        self._seen: dict[int, None] = {}
        self._asked: dict[int, None] = {}
        self._known = 0
        self._failed: tuple[int, int] | None = None
        self._failures = 0

    def observe(self, unit: Unit) -> Finding | None:
        """Take the next step; what repeats with it, the most often first."""
        matches, periodic = self._matches, None
        if _touch(self._seen, unit.symbol):
            self._known += 1
            for lag, earlier in enumerate(reversed(self._units), 1):
                matches[lag] = matches[lag] + 1 if earlier.symbol == unit.symbol else 0
                count = 1 + matches[lag] // lag
                if count > 1 and (periodic is None or count > periodic.count):
                    periodic = Finding("period", count, lag)
        elif self._known or any(matches):
            self._known = 0
            matches[:] = _NO_MATCHES
        self._units.append(unit)
        for asked in unit.asked:
            _touch(self._asked, asked)
        if unit.failure is None:
            self._failed, self._failures = None, 0
        elif unit.failure == self._failed:
            self._failures += 1
        else:
            self._failed, self._failures = unit.failure, 1
        return self._worst(periodic, self._known, self._failures)

    def expected(self, asked: int, tool: int) -> Finding | None:
        """What would repeat if `asked` came next, of `tool`, and were answered as it was before."""
        failures = self._failures + 1 if self._failed is not None and self._failed[0] == tool else 0
        if asked not in self._asked:
            return self._worst(None, 0, failures)
        periodic: Finding | None = None
        for lag, earlier in enumerate(reversed(self._units), 1):
            if asked in earlier.asked:
                count = 1 + (self._matches[lag] + 1) // lag
                if count > 1 and (periodic is None or count > periodic.count):
                    periodic = Finding("period", count, lag)
        return self._worst(periodic, self._known + 1, failures)

    def _worst(self, periodic: Finding | None, known: int, failures: int) -> Finding | None:
        best = periodic
        if failures > 1 and (best is None or failures > best.count):
            best = Finding("same_error", failures)
        if known > 1 and (best is None or known > best.count + 1):
            best = Finding("nothing_new", known)
        return best


def _touch(known: dict[int, None], key: int) -> bool:
    """Note `key` as the newest; whether it was there."""
    was_there = key in known
    if was_there:
        del known[key]
    elif len(known) >= MAX_SEEN:
        del known[next(iter(known))]
    known[key] = None
    return was_there
