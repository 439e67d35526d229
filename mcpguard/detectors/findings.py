"""What a detector finds in a text: spans, and how they become one list."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Finding", "merged"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One span of a text.

    Args:
        start: Where it begins, in characters.
        end: Where it ends.
        kind: What it is, a stable snake_case word.
    """

    start: int
    end: int
    kind: str


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The findings in order, those that overlap made one, under the kind of the first."""
    made: list[Finding] = []
    for one in sorted(findings, key=lambda finding: (finding.start, -finding.end)):
        if made and one.start < made[-1].end:
            if one.end > made[-1].end:
                made[-1] = Finding(made[-1].start, one.end, made[-1].kind)
        else:
            made.append(one)
    return made
