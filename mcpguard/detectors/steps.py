"""What one run has done: finished calls, taken together into steps, and the runs inside it.

Calls that were under way together are one step, whatever their order. A run inside is one step, once it has
ended. Not safe across threads: whoever holds it holds a lock. Below: `repeats`, which finds the loops.
"""

import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from mcpguard.core.result import Outcome
from mcpguard.core.run import Run
from mcpguard.detectors.repeats import Finding, Repeats, Unit

__all__ = ["Steps"]

MAX_SHOWN: Final = 160
"""Characters of an answer that are kept, to be told again."""

MAX_ANSWERS: Final = 6
"""Answers that are kept; what repeats more than so many calls is refused without telling the last one."""

MAX_TOGETHER: Final = 64
"""Calls that are one step; where they overlap without end, a step ends here."""

MAX_ASKED: Final = 16
"""Questions of an ended run that are remembered in the run it was part of."""

_BITS: Final = 2**60 - 1
"""What is kept of a hash: Python keeps 60 bits in less room than 64."""


class Steps:
    """One run: its steps, and what is under way.

    Args:
        run: The run; it is not kept alive.
        above: The steps of the run it is part of.
        leave: Called when the run is gone, while garbage is collected.
    """

    __slots__ = (
        "_batch",
        "_digest",
        "_inner",
        "_repeats",
        "above",
        "answers",
        "asked",
        "found",
        "refusals",
        "run",
        "under_way",
    )

    def __init__(self, run: Run, above: "Steps | None", leave: Callable[["weakref.ref[Run]"], None]) -> None:
        self.run = weakref.ref(run, leave)
        self.above = above
        self.under_way = 0
        self.refusals = 0
        self.found: Finding | None = None
        self.answers: dict[int, str] = {}
        """What the latest questions were answered, shortened."""
        self.asked: deque[int] = deque(maxlen=MAX_ASKED)
        self._digest = 0
        self._inner: list[Steps] = []
        self._batch: list[tuple[int, int, tuple[int, int] | None]] = []
        self._repeats = Repeats()
        if above is not None:
            above._inner.append(self)

    def take(self, asked: int, kind: int, outcome: Outcome, told: str) -> None:
        """Note one finished call: what was asked of what, how it ended, and what was told."""
        self.refusals = 0
        answer = hash((outcome, told)) & _BITS
        failed = outcome not in (Outcome.OK, Outcome.DENIED)
        self._batch.append((hash((asked, answer)) & _BITS, asked, (kind, answer) if failed else None))
        self.answers.pop(asked, None)
        if len(self.answers) >= MAX_ANSWERS:
            del self.answers[next(iter(self.answers))]
        self.answers[asked] = told if len(told) <= MAX_SHOWN else f"{told[:MAX_SHOWN]}..."

    def step(self) -> Finding | None:
        """Take what was under way together as one step, once nothing is; what repeats with it."""
        batch = self._batch
        if not batch or (self.under_way and len(batch) < MAX_TOGETHER):
            return None
        self._batch = []
        symbols = sorted(symbol for symbol, _, _ in batch)
        symbol = symbols[0] if len(batch) == 1 else hash(tuple(symbols)) & _BITS
        failure = batch[0][2] if len(batch) == 1 else None
        asked = tuple({one for _, one, _ in batch})
        self.asked.extend(asked)
        self._digest = hash((self._digest, symbol))
        self.found = self._repeats.observe(Unit(symbol, asked, failure))
        return self.found

    def expected(self, asked: int, kind: int) -> Finding | None:
        """What would repeat if this were asked next."""
        if self._inner:
            self._fold()
        return self._repeats.expected(asked, kind)

    def _fold(self) -> None:
        """Take each run inside this one that has ended as one step."""
        open_runs: list[Steps] = []
        for inner in self._inner:
            run = inner.run()
            if run is not None and run.ended is None:
                open_runs.append(inner)
            elif inner.asked:
                self.found = self._repeats.observe(Unit(inner._digest, tuple(inner.asked)))
                self._digest = hash((self._digest, inner._digest))
                self.asked.extend(inner.asked)
        self._inner = open_runs
