"""Random misbehaviour for a while, over a hub of five servers, an honest one among them.

    python tests/hostile/soak.py [--seconds N] [--seed N] [--backend asyncio|trio]

Two of the others speak stdio, two HTTP, and each does something else in every conversation. The honest server
must answer throughout, memory and open files must be flat, and no task and no process may be left. Exits with
1 where that is not so.
"""

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import behaviours
import sniffio
import trio
from clients import HERE, NOWHERE, http_server
from listings import TOOLS
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import ConnectionLimits, Guard, Hub
from mcpguard.core.errors import HubError

HOSTILE = {"first": "stdio", "second": "stdio", "third": "http", "fourth": "http"}
"""The servers that misbehave, and how they are reached."""

PATIENCE = 30.0
"""Seconds in which an answer of any kind must be there; the machine is busy."""

GROWTH = 1.1
"""How much more memory and files may be in use at the end than once everything has happened."""

LIBC = ctypes.CDLL(None)
"""Gives free memory back where it can, so that what is measured is in use."""

ALLOCATOR = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}
"""Python's own allocator keeps a megabyte for one object in it: the memory of a process grows in steps, to
whatever it once needed, and what is in use does not. Without it, free pages are given back."""

MARK = "MCPGUARD_SOAK"
"""The variable that every process of a soak inherits."""

LIMITS = ConnectionLimits(answer_seconds=8, write_seconds=5, close_seconds=4, return_seconds=10)


class Soak:
    """One soak, and what it has seen."""

    def __init__(self, seconds: float, seed: int, folder: Path) -> None:
        self._until = time.monotonic() + seconds
        self._random = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self._folder = folder
        self.honest = 0
        self.conversations = 0
        self.answered = 0
        self.slowest = 0.0
        self.tasks_left = 0
        self.wrong: list[str] = []
        self.did: dict[int, str] = {}
        self.memory: list[int] = []
        self.files: list[int] = []

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._until

    async def misbehave(self, hub: Hub, name: str) -> None:
        """Have one server do one thing after the other."""
        told = self._folder / f"{name}.does"
        while not self.is_over:
            behaviour = self._random.choice([*behaviours.behaviours(HOSTILE[name])])
            told.write_text(behaviour)
            if behaviour in TOOLS:
                await self._list(hub)
            self.conversations += 1
            number = self.conversations
            self.did[number] = behaviour
            for shown in (f"{name}__go", f"{name}__honest"):
                with anyio.move_on_after(PATIENCE) as scope:
                    if await self._call(hub, shown, number):
                        self.answered += 1
                if scope.cancelled_caught:
                    self.wrong.append(f"{name}: {behaviour}: {shown} hangs")

    async def _call(self, hub: Hub, shown: str, number: int) -> bool:
        try:
            await hub.call(shown, {"number": number})
        except HubError:  # it is down for the moment
            await anyio.sleep(0.3)
        except Exception as error:
            logging.getLogger("soak").debug("%s: %r", shown, error)
        else:
            return True
        return False

    async def be_honest(self, hub: Hub) -> None:
        """Call the honest server, all the time, and see what the hub shows."""
        while not self.is_over:
            began = time.monotonic()
            with anyio.move_on_after(PATIENCE) as scope:
                try:
                    await hub.call("honest__honest")
                except Exception as error:
                    self.wrong.append(f"the honest server: {error!r} while {self._doing()}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.honest += 1
            if scope.cancelled_caught:
                self.wrong.append("the honest server did not answer")
            if self.honest % 50 == 0:
                await self._list(hub)
                self.memory.append(_resident())
                self.files.append(_open_files())
            await anyio.sleep(0.1)

    def _doing(self) -> str:
        return ", ".join((self._folder / f"{name}.does").read_text() for name in HOSTILE)

    async def _list(self, hub: Hub) -> None:
        with anyio.move_on_after(PATIENCE):
            shown = {tool["name"] for tool in await hub.tools()}
            if "honest__honest" in shown:
                return
        self.wrong.append("the honest server's tools are not shown")

    async def run(self) -> None:
        """All of it."""
        before = _tasks()
        with ExitStack() as stack:
            servers: dict[str, Any] = {"honest": self._process("honest", "honest")}
            for name, kind in HOSTILE.items():
                told, runs = self._folder / f"{name}.does", self._folder / f"{name}.runs"
                told.write_text("honest")
                if kind == "stdio":
                    servers[name] = self._process(name, f"@{told}")
                else:
                    servers[name] = stack.enter_context(http_server(f"@{told}", runs))
            guard = Guard(connection=LIMITS)
            hub = guard.hub(servers, start_timeout=10, retry_after=0.5, list_for=1)
            async with hub, anyio.create_task_group() as tasks:
                for name in HOSTILE:
                    tasks.start_soon(self.misbehave, hub, name)
                tasks.start_soon(self.be_honest, hub)
        await anyio.sleep(1)  # what was cancelled says so
        self.tasks_left = _tasks() - before
        for name in HOSTILE:
            runs = self._folder / f"{name}.runs"
            ran = Counter(runs.read_text().split()) if runs.exists() else Counter()
            self.wrong += [f"{name}: {self.did[int(one)]}: ran {n} times" for one, n in ran.items() if n > 1]

    def _process(self, name: str, behaviour: str) -> Callable[[], Any]:
        args = ["-S", str(HERE / "stdio_server.py"), str(self._folder / f"{name}.runs"), behaviour]
        server = StdioServerParameters(command=sys.executable, args=args, env={MARK: os.environ[MARK]})
        return lambda: stdio_client(server, errlog=NOWHERE)


def _tasks() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def _resident() -> int:
    gc.collect()
    trim = getattr(LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _processes() -> list[int]:
    """Every other process that descends from this one, whoever its parent is by now."""
    mine = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_ours = f"{MARK}={os.environ[MARK]}".encode() in environ.read_bytes()
        except OSError:
            continue
        pid = int(environ.parent.name)
        if is_ours and pid != os.getpid():
            mine.append(pid)
    return mine


def _grown(what: str, seen: list[int]) -> list[str]:
    """The complaint, if the last fifth of what was seen is above the second."""
    fifth = len(seen) // 5
    if not fifth:
        return []
    then, now = statistics.median(seen[fifth : 2 * fifth]), statistics.median(seen[-fifth:])
    print(f"{what}: {then:g} in the second fifth, {now:g} in the last, {max(seen)} at most (medians)")
    return [f"{what} grows"] if now > then * GROWTH else []


def main() -> None:
    """Soak, and say what was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    chosen = parser.parse_args()
    if not ALLOCATOR.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})  # noqa: S606
    logging.disable(logging.CRITICAL)
    os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    print(f"seed {chosen.seed}, {chosen.backend}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(chosen.seconds, chosen.seed, Path(folder))
        anyio.run(soak.run, backend=chosen.backend)
    print(
        f"{soak.conversations} hostile conversations, {soak.answered} of their calls answered; "
        f"{soak.honest} honest calls, slowest {soak.slowest:.1f} s"
    )
    left = _processes()
    threads = threading.active_count()
    print(f"left: {len(left)} processes, {soak.tasks_left} tasks, {threads - 1} threads")
    wrong = soak.wrong + _grown("memory (MiB)", soak.memory) + _grown("open files", soak.files)
    wrong += [f"processes left: {left}"] if left else []
    wrong += [f"tasks left: {soak.tasks_left}"] if soak.tasks_left > 0 else []
    print("\n".join(wrong) or "nothing went wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
