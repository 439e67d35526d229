"""Random misbehaviour for a while, over five servers at once, an honest one among them.

    python tests/hostile/soak.py [--seconds N] [--seed N]

The honest server must answer throughout, memory must be flat, and no task and no process may be left. Exits
with 1 where that is not so.
"""

import argparse
import gc
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import behaviours
from clients import talk, transport_to
from mcp import ClientSession

from mcpguard import ConnectionLimits, Guard

HOSTILE = 4
"""Hostile servers at a time."""

PATIENCE = 30.0
"""Seconds in which the honest server's answer must be there; the machine is busy."""

GROWTH = 1.25
"""How much larger the process may be at the end than after a fifth of the time."""

LIMITS = ConnectionLimits(answer_seconds=2, write_seconds=1, close_seconds=4, return_seconds=3)


class Soak:
    """One soak, and what it has seen."""

    def __init__(self, seconds: float, seed: int) -> None:
        self._until = time.monotonic() + seconds
        self._random = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self.guard = Guard(connection=LIMITS)
        self.honest = 0
        self.conversations = 0
        self.slowest = 0.0
        self.wrong: list[str] = []
        self.memory: list[int] = []

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._until

    def wrap(self, transport: Any) -> Any:
        """Guard a transport."""
        return self.guard.transport(transport, name="raw")

    async def misbehave(self, folder: Path, number: int) -> None:
        """One hostile server after the other."""
        while not self.is_over:
            kind = self._random.choice(["stdio", "http"])
            behaviour = self._random.choice([*behaviours.behaviours(kind)])
            runs = folder / f"{number}-{self.conversations}"
            steps = await talk(kind, behaviour, self.wrap, runs, limit=PATIENCE)
            self.conversations += 1
            if "hang" in (steps.listed, steps.went, steps.honest, steps.left) or steps.runs > 1:
                self.wrong.append(f"{kind} {behaviour}: {steps}")
            _remove(folder, runs.name)

    async def be_honest(self, folder: Path) -> None:
        """The honest server, all the time on one connection."""
        async with transport_to("stdio", "honest", folder / "honest") as transport:
            async with self.wrap(transport) as (read, write, *_), ClientSession(read, write) as session:
                await session.initialize()
                while not self.is_over:
                    began = time.monotonic()
                    with anyio.move_on_after(PATIENCE) as scope:
                        await session.call_tool("honest", {})
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if scope.cancelled_caught:
                        self.wrong.append("the honest server did not answer")
                    self.honest += 1
                    if self.honest % 20 == 0:
                        self.memory.append(_resident())
                    await anyio.sleep(0.1)

    async def run(self) -> None:
        """All of it."""
        with tempfile.TemporaryDirectory() as name:
            async with anyio.create_task_group() as tasks:
                for number in range(HOSTILE):
                    tasks.start_soon(self.misbehave, Path(name), number)
                tasks.start_soon(self.be_honest, Path(name))


def _remove(folder: Path, prefix: str) -> None:
    for left in folder.glob(f"{prefix}*"):
        left.unlink()


def _resident() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _children() -> list[int]:
    mine = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            mine.append(int(stat.parent.name))
    return mine


def main() -> None:
    """Soak, and say what was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"seed {chosen.seed}", flush=True)
    soak = Soak(chosen.seconds, chosen.seed)
    anyio.run(soak.run)
    early = soak.memory[: max(1, len(soak.memory) // 5)]
    late = soak.memory[-max(1, len(soak.memory) // 5) :]
    before, after = max(early, default=0), min(late, default=0)
    print(
        f"{soak.conversations} hostile conversations, {soak.honest} honest calls, slowest {soak.slowest:.1f} s"
    )
    print(f"memory: at most {before} MiB in the first fifth, at least {after} MiB in the last")
    left = _children()
    wrong = soak.wrong + ([f"processes left: {left}"] if left else [])
    if after > before * GROWTH:
        wrong.append("memory grows")
    print("\n".join(wrong) or "nothing went wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
