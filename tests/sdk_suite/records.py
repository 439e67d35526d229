"""What one run of a suite leaves behind: how every test ended, and what it sent through client sessions.

The writers are plugins of the SDK's pytest, the reader is the command that compares; so this module
needs neither pytest nor the SDK.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

__all__ = [
    "MODES",
    "MODE_VARIABLE",
    "OUT_VARIABLE",
    "Outcome",
    "Passage",
    "read_outcomes",
    "read_passages",
    "write_outcomes",
    "write_passages",
]

OUT_VARIABLE = "MCPGUARD_SUITE_OUT"
"""Environment variable with the directory a run writes to."""

MODE_VARIABLE = "MCPGUARD_SUITE_MODE"
"""Environment variable with the mode of a guarded run, one of `MODES`."""

MODES = ("empty", "chain", "entered", "control")
"""What a guarded run can be: `plugin` says what each means."""

OUTCOMES_FILE = "outcomes.json"
"""Written once, by the process that controls the workers."""

PASSAGES_FILE = "passages-{worker}.json"
"""Written by each worker of pytest-xdist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one test ended.

    Args:
        name: A test whose set-up, call or tear-down failed has failed, and so has a module that could not be
            collected; `missing` is a test the run never came to.
        text: The end of the traceback, or nothing.
    """

    name: Literal["passed", "failed", "skipped", "xfailed", "missing"]
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Passage:
    """What one test sent through client sessions. Keys are "direction method", as in "outbound tools/call".

    Args:
        sessions: Client sessions created.
        guarded: Of these, the sessions that `guard.session` took.
        messages: Requests and notifications, counted where the SDK sends or receives them. A notification
            that arrives at a session of 2.x is counted in the receive path and again when it is delivered.
        through: Of these, the ones that came by way of the guard.
        checked: Calls that the checking interceptor was shown; not in the mode "empty".
        layered: Calls that the layer was shown; not in the mode "empty".
    """

    sessions: int = 0
    guarded: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    through: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    layered: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Passage") -> None:
        """Sum another passage into this one."""
        self.sessions += other.sessions
        self.guarded += other.guarded
        self.messages.update(other.messages)
        self.through.update(other.through)
        self.checked.update(other.checked)
        self.layered.update(other.layered)


def write_outcomes(directory: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write how each test ended, by node id."""
    recorded = {node: asdict(outcome) for node, outcome in outcomes.items()}
    (directory / OUTCOMES_FILE).write_text(json.dumps(recorded), encoding="utf-8")


def read_outcomes(directory: Path) -> dict[str, Outcome]:
    """Read what a run wrote; nothing if it wrote nothing."""
    file = directory / OUTCOMES_FILE
    if not file.exists():
        return {}
    return {node: Outcome(**found) for node, found in json.loads(file.read_text(encoding="utf-8")).items()}


def write_passages(directory: Path, worker: str, passages: Mapping[str, Passage]) -> None:
    """Write what each test of one worker sent, by node id."""
    names = [each.name for each in fields(Passage)]
    recorded = {node: {name: getattr(sent, name) for name in names} for node, sent in passages.items()}
    (directory / PASSAGES_FILE.format(worker=worker)).write_text(json.dumps(recorded), encoding="utf-8")


def read_passages(directory: Path) -> dict[str, Passage]:
    """Read what every worker of a run wrote."""
    passages: dict[str, Passage] = {}
    for file in sorted(directory.glob(PASSAGES_FILE.format(worker="*"))):
        for node, found in json.loads(file.read_text(encoding="utf-8")).items():
            passage = Passage(sessions=found["sessions"], guarded=found["guarded"])
            for name in ("messages", "through", "checked", "layered"):
                getattr(passage, name).update(found[name])
            passages[node] = passage
    return passages
