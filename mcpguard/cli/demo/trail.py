"""What the demo leaves behind: a signed trail that is verified, a page about it, and another policy's view.

The key is made for the run and thrown away with it, so nobody can sign anything in its name afterwards.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcpguard.audit.calls import Selection, calls
from mcpguard.audit.note import Verifier, new_key
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.report import Report, page
from mcpguard.audit.verify import verify
from mcpguard.cli.replay.judge import Replay
from mcpguard.config import load_policy

__all__ = ["Anew", "Key", "Trail", "judged_anew", "make_key", "read_trail"]

SIGNER = "mcpguard-demo"
"""What the checkpoints are signed as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of one run.

    Args:
        file: Holds the private key; it is gone when the demo ends.
        public: The public one.
    """

    file: Path
    public: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What the trail of the guarded run shows.

    Args:
        state: `intact`, `tampered` or `incomplete`.
        records: Records in the trail.
        signed: The position of the last one that a signed checkpoint covers.
        public: The key that it was verified with; None if it was not signed.
        calls: Calls of the run.
        outcomes: How many of each outcome.
        costs: What they have cost, in millionths, by currency.
        page: Where the report is.
    """

    state: str
    records: int
    signed: int
    public: str | None
    calls: int
    outcomes: Mapping[str, int]
    costs: Mapping[str, int]
    page: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """What another policy would have made of the run.

    Args:
        run: The run.
        policy: That policy.
        counts: How many calls would be `denied`, `allowed` or the `same`, or cannot be decided.
        denied: What it would deny that went through, by server and tool.
    """

    run: str
    policy: Path
    counts: Mapping[str, int]
    denied: Mapping[str, int]


def make_key(folder: Path) -> Key:
    """Make a key in a folder that goes when the demo ends."""
    secret, public = new_key(SIGNER)
    file = folder / "audit.key"
    file.touch(mode=0o600)
    file.write_text(secret, "utf-8")
    return Key(file=file, public=public)


def read_trail(audit: Path, run_id: str, public: str | None) -> Trail:
    """Verify the trail, and write the page about the run beside it.

    Args:
        audit: The trail.
        run_id: The guarded run; the file may hold others before it.
        public: The key that has signed it; None if it has not been signed from the beginning.
    """
    trail = open_trail(audit)
    verdict = verify(trail, keys=[] if public is None else [Verifier(public)])
    report = Report()
    report.read(records(trail), Selection(run=run_id))
    out = audit.with_suffix(".html")
    out.write_text(page(report, title="The compliance agent, guarded", verdict=verdict), "utf-8")
    return Trail(
        state=verdict.state,
        records=verdict.records,
        signed=verdict.signed_seq if public is not None else 0,
        public=public,
        calls=report.stats.calls,
        outcomes=dict(report.stats.outcomes.most_common()),
        costs=dict(report.stats.costs),
        page=out,
    )


async def judged_anew(audit: Path, run_id: str, policy: Path) -> Anew:
    """Judge the recorded calls of the run by another policy, as `mcpguard replay` does; nothing is sent."""
    wanted = Selection(run=run_id)
    views = [view for view in calls(records(open_trail(audit))) if wanted.takes(view)]
    judgements = await Replay(load_policy(policy)).judge(views)
    return Anew(
        run=run_id,
        policy=policy,
        counts=Counter(one.change for one in judgements),
        denied=Counter(
            f"{one.view.server} {one.view.target or one.view.method}"
            for one in judgements
            if one.change == "denied"
        ),
    )
