"""What an audit trail costs a call, and how fast it is verified and reported; each beside a bare control.

The disk's own time is measured in the same run, by appending a kilobyte and syncing it, and so is the
machine's, by hashing one. A call here is a chain without interceptors, with a kilobyte of arguments and
result: what is added is the guard's events (three a call) and the sink. No SDK and no server take part;
`overhead.py` has a whole call's figures.

    python benchmarks/audit.py [--calls N] [--folder DIR]
"""

import argparse
import gc
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import anyio

from mcpguard import SQLite
from mcpguard.audit.calls import Selection
from mcpguard.audit.note import Verifier, new_key
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.report import Report, page
from mcpguard.audit.verify import verify
from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.events import Event, Sink
from mcpguard.core.linked import Linked
from mcpguard.core.principal import Principal
from mcpguard.core.result import Result
from mcpguard.core.run import Run
from mcpguard.core.wire import JSONObject
from mcpguard.sinks.jsonl import JsonLines

Mode = Literal["strict", "durable", "async"]

ARGUMENTS: JSONObject = {"path": "x" * 1000, "limit": 20}
ANSWER = Result.of({"content": [{"type": "text", "text": "x" * 1000}]})
EVENTS = 3
"""Events of a call."""

RUN = Run(principal=Principal(tenant="acme", user="ana", agent="bench"))


class Nowhere:
    """A sink that does nothing: what events themselves cost."""

    def emit(self, event: Event) -> None:
        """Take it."""

    async def aclose(self) -> None:
        """Do nothing."""


async def wire(_call: Call) -> Result:
    """Answer at once."""
    return ANSWER


def chain(*sinks: Sink) -> Chain:
    """A chain with nothing in it but its record."""
    return Linked((), Emitter(sinks, clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")


async def timed(one: Chain, calls: int, callers: int = 1) -> tuple[list[float], float]:
    """Seconds of each call, and calls a second altogether."""
    took: list[float] = []

    async def caller(number: int) -> None:
        for turn in range(calls // callers):
            call = Call(
                id=f"{number}-{turn}",
                method="tools/call",
                params={"name": "read", "arguments": ARGUMENTS},
                server="files",
                principal=RUN.principal,
                run=RUN,
            )
            began = time.perf_counter()
            await one(call, wire)
            took.append(time.perf_counter() - began)

    gc.collect()
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number)
    return took, len(took) / (time.perf_counter() - began)


def disk(folder: Path, times: int, records: int = 1) -> list[float]:
    """Seconds that the disk takes to keep records of a kilobyte that were appended in one piece."""
    took: list[float] = []
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sync = getattr(os, "fdatasync", os.fsync)
    for _ in range(times):
        began = time.perf_counter()
        os.write(descriptor, b"x" * 1000 * records)
        sync(descriptor)
        took.append(time.perf_counter() - began)
    os.close(descriptor)
    return took


async def computed(folder: Path, calls: int) -> list[float]:
    """Processor time of a call among a hundred, of callers and writer together; the disk has no part."""
    took: list[float] = []
    for turn in range(5):
        sink = JsonLines(folder / f"computed-{turn}", mode="durable")
        began = time.process_time()
        await timed(chain(sink), calls, 100)
        took.append((time.process_time() - began) / calls)
        await sink.aclose()
    return took


def _waited(median: float, computing: float, callers: int) -> float:
    """What is left of a call's time when each of the callers has had the processor for its own."""
    return max(0.0, median - computing * callers)


def hashing(times: int) -> list[float]:
    """Seconds that the machine takes to hash a kilobyte."""
    took: list[float] = []
    body = b"x" * 1000
    for _ in range(times):
        began = time.perf_counter()
        hashlib.sha256(body).digest()
        took.append(time.perf_counter() - began)
    return took


def told(what: str, took: Sequence[float], rate: float | None = None) -> float:
    """Print a row, and return its median."""
    median = statistics.median(took)
    tail = sorted(took)[int(len(took) * 0.99)]
    rated = "" if rate is None else f"{rate:10,.0f} calls/s"
    print(f"{what:44}{median * 1e6:10.1f} us{tail * 1e6:12.1f} us{rated}")
    return median


async def measure(folder: Path, calls: int) -> None:
    """All of it."""
    print(f"{'':44}{'p50':>13}{'p99':>15}")
    told("the machine: SHA-256 of 1 kB", hashing(5000))
    bare = told("nobody listens", (await timed(chain(), calls))[0])
    events = told("events, and a sink that does nothing", (await timed(chain(Nowhere()), calls))[0])
    for overflow in ("drop", "wait"):
        sink = JsonLines(folder / f"async-{overflow}", mode="async", overflow=overflow, queue=10**7)
        took, rate = await timed(chain(sink), calls)
        mine = told(f"JsonLines, async, overflow {overflow}", took, rate)
        print(f"{'  the sink alone':44}{(mine - events) * 1e6:10.1f} us")
        print(f"{'  the whole record':44}{(mine - bare) * 1e6:10.1f} us")
        await sink.aclose()
    for callers in (1, 10, 100):
        durable = JsonLines(folder / f"durable-{callers}", mode="durable")
        took, rate = await timed(chain(durable), max(callers, calls // 4), callers)
        told(f"JsonLines, durable, {callers} callers", took, rate)
        await durable.aclose()
    computing = told("a call's own computing, all threads", await computed(folder, calls // 4))
    fsync = told("the disk: append 1 kB and sync", disk(folder, 300))
    for callers in (1, 10, 100):
        few = 300 * min(callers, 10)
        strict = JsonLines(folder / f"strict-{callers}", mode="strict")
        took, rate = await timed(chain(strict), few, callers)
        median = told(f"JsonLines, strict, {callers} callers", took, rate)
        await strict.aclose()
        print(f"{'  to one sync of the disk':44}{median / fsync:10.2f} x")
        batch = told(f"the disk: append {EVENTS * callers} kB and sync", disk(folder, 100, EVENTS * callers))
        print(f"{'  to one such batch':44}{median / batch:10.2f} x")
        print(f"{'  without what computing takes':44}{_waited(median, computing, callers) / batch:10.2f} x")
    for mode in ("durable", "strict"):
        database = SQLite(folder / f"{mode}.db", mode="durable" if mode == "durable" else "strict")
        took, rate = await timed(chain(database), 2000 if mode == "durable" else 300)
        told(f"SQLite, {mode}, 1 caller", took, rate)
        await database.aclose()


async def read_back(folder: Path, calls: int) -> None:
    """Verify and report a large trail."""
    secret, public = new_key("bench")
    (folder / "key").write_text(secret)
    sink = JsonLines(folder / "large", mode="async", key=folder / "key", max_bytes=2**30)
    await timed(chain(sink), calls)
    await sink.aclose()
    trail = open_trail(folder / "large")
    for keys in ((), (Verifier(public),)):
        began = time.perf_counter()
        verdict = verify(trail, keys=keys)
        rate = verdict.records / (time.perf_counter() - began)
        print(f"{'verify, ' + ('signed' if keys else 'chain'):44}{rate:10,.0f} records/s, {verdict.state}")
    began = time.perf_counter()
    report = Report()
    report.read(records(trail), Selection())
    text = page(report, title="Report", verdict=verdict)
    took = time.perf_counter() - began
    what = f"report of {report.stats.calls:,} calls"
    print(f"{what:44}{took:10.2f} s, {len(text) / 2**20:.1f} MiB")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=None, help="a disk, not a memory file system")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        anyio.run(measure, Path(name), arguments.calls)
        anyio.run(read_back, Path(name), max(100_000, arguments.calls))


if __name__ == "__main__":
    main()
