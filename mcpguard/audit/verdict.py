"""What verifying a trail has shown: the findings, what was counted on the way, and the state they make.

Above: `verify`, and what reports it.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mcpguard.audit.chain import START

__all__ = ["EXIT_CODES", "Finding", "State", "Verdict"]

State: TypeAlias = Literal["intact", "tampered", "incomplete"]

EXIT_CODES: Final[dict[State, int]] = {"intact": 0, "tampered": 1, "incomplete": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a trail.

    Args:
        state: `tampered`: what is there contradicts itself, a checkpoint or an anchor. `incomplete`: what is
            there holds, and something is missing that a crash or a clean-up may have taken.
        where: The file, or the checkpoint.
        what: A sentence.
        seq: Position of the first record concerned, where that is known.
    """

    state: State
    where: str
    what: str
    seq: int | None = None


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What verifying has shown.

    Args:
        findings: What is wrong, in the trail's order; empty for an intact trail.
        stream: The trail's id.
        records: Records whose hashes hold.
        seq: Position of the last of them.
        head: Its hash.
        signed_seq: Position of the last record that a checkpoint covers whose signature was checked.
        crashes: Times that a process ended without closing the trail, and another went on.
        dropped: Records that the trail itself says are missing.
        unanswered: Calls with an intent and no outcome.
        erased: Payloads that were erased.
        is_closed: Whether the last process closed it. If not, one is writing it, or was killed.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    stream: str | None = None
    records: int = 0
    seq: int = 0
    head: bytes = START
    signed_seq: int = 0
    crashes: int = 0
    dropped: int = 0
    unanswered: int = 0
    erased: int = 0
    is_closed: bool = False

    @property
    def state(self) -> State:
        """The worst of the findings."""
        states = {finding.state for finding in self.findings}
        return "tampered" if "tampered" in states else "incomplete" if states else "intact"
