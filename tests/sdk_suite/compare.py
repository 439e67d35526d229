"""What a guard changed, told from the records of two runs. Pure functions: no processes, no files."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .records import Outcome, Passage

__all__ = ["Coverage", "Difference", "coverage", "lost", "tally"]

MISSING = Outcome(name="missing")

_ERROR_LINE = re.compile(r"[\w.]+(Error|Exception|Group|Warning|Denied|Cancelled)\b.*: ")


@dataclass(slots=True, kw_only=True)
class Difference:
    """A test that did not end guarded as it ended bare, and what became of it when it was tried alone.

    Args:
        node: Its node id.
        text: The end of the first guarded traceback.
        guarded: How it ended in each guarded run.
        bare: How it ended in each bare run.
    """

    node: str
    text: str
    guarded: list[str]
    bare: list[str]

    @property
    def is_newly_failing(self) -> bool:
        """Whether it never ended guarded as it did bare. If it once did, it is flaky or fell with another."""
        return len(set(self.bare)) == 1 and self.bare[0] not in self.guarded

    @property
    def cause(self) -> str:
        """The line of the traceback that names the error, as well as it can be told."""
        lines = [line.strip(" |+-") for line in self.text.splitlines()]
        errors = [line for line in lines if line.startswith("E ") or _ERROR_LINE.match(line)]
        return errors[-1].removeprefix("E ").strip() if errors else ""

    def __str__(self) -> str:
        return f"{self.node} (guarded: {', '.join(self.guarded)}; bare: {', '.join(self.bare)}): {self.cause}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a suite really went through the guard.

    Args:
        tests_with_session: Tests that created a client session.
        tests_with_message: Tests in which one of them sent or received a message.
        tests_through: Tests in which at least one message came by way of the guard.
        tests_all_through: Tests in which every message did.
        tests_checked: Tests in which an interceptor was shown a call.
        total: Everything summed.
        around: Messages that did not come by way of the guard, by direction and method.
    """

    tests_with_session: int
    tests_with_message: int
    tests_through: int
    tests_all_through: int
    tests_checked: int
    total: Passage
    around: Counter[str]


def tally(outcomes: Mapping[str, Outcome]) -> Counter[str]:
    """Count the tests by how they ended."""
    return Counter(outcome.name for outcome in outcomes.values())


def lost(bare: Mapping[str, Outcome], guarded: Mapping[str, Outcome]) -> list[Difference]:
    """Find what holds bare and not guarded: what ended otherwise, never ran, or cannot be collected."""
    differences: list[Difference] = []
    for node in [*bare, *(node for node in guarded if node not in bare)]:
        before = bare.get(node, MISSING)
        after = guarded.get(node, MISSING)
        if before.name not in ("failed", after.name):
            differences.append(
                Difference(node=node, text=after.text, guarded=[after.name], bare=[before.name])
            )
    return differences


def coverage(passages: Iterable[Passage]) -> Coverage:
    """Sum what the tests of one run sent through client sessions."""
    total = Passage()
    with_session = with_message = through = all_through = checked = 0
    for passage in passages:
        total.add(passage)
        seen = passage.messages.total()
        passed = passage.through.total()
        with_session += passage.sessions > 0
        with_message += seen > 0
        through += passed > 0
        all_through += 0 < seen == passed
        checked += bool(passage.checked or passage.layered)
    return Coverage(
        tests_with_session=with_session,
        tests_with_message=with_message,
        tests_through=through,
        tests_all_through=all_through,
        tests_checked=checked,
        total=total,
        around=total.messages - total.through,
    )
