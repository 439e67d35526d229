"""What a store costs: reserve and settle, beside the least that its file or server can do; then 8 processes.

The controls are one bare transaction, or one bare command, for each of the two steps. Redis takes part if
there is a `redis-server` and its client.

    python benchmarks/stores.py [--rounds N] [--grants N]
"""

import argparse
import multiprocessing
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.opening import open_store
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Store

MANY = 10**14
TAKEN, USED = Amounts(calls=1, cost=9), Amounts(calls=1, cost=4)
PROCESSES = 8

Step = Callable[[], Awaitable[object]]


def spending(store: Store, window: float | None = None) -> Step:
    """Reserve and settle once, with a correction."""
    account = Account(f"bench-{window}", label="bench", limits=Limits(cost=MANY), window=window)

    async def step() -> None:
        hold = await store.reserve([account], TAKEN)
        assert isinstance(hold, Hold)
        await store.settle(hold, USED)

    return step


def bare_file(path: Path) -> Step:
    """Two transactions that read a row and write it."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {statement}")
    connection.execute("CREATE TABLE one (id INTEGER PRIMARY KEY, used INTEGER)")
    connection.execute("INSERT INTO one VALUES (1, 0)")

    async def step() -> None:
        for _ in range(2):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT used FROM one WHERE id = 1").fetchone()
            connection.execute("UPDATE one SET used = used + 1 WHERE id = 1")
            connection.execute("COMMIT")

    return step


def bare_server(client: Any) -> Step:
    """Two commands."""

    async def step() -> None:
        client.incr("bench-bare")
        client.incr("bench-bare")

    return step


async def compare(cases: dict[str, Step], rounds: int) -> None:
    """Print the medians of all, taken in turns, beside the control, which is the first."""
    times: dict[str, list[int]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, step in cases.items():
            began = time.perf_counter_ns()
            await step()
            times[name].append(time.perf_counter_ns() - began)
    base = statistics.median(next(iter(times.values())))
    for name, spent in times.items():
        median = statistics.median(spent)
        print(f"{name:48}{median / 1000:9.1f}us{median / base:8.2f}")


def grant(url: str, grants: int, ready: Any, go: Any) -> None:
    """One of several processes."""

    async def main() -> None:
        store = open_store(url)
        step = spending(store)
        await step()
        ready.put(True)
        go.wait()
        for _ in range(grants):
            await step()
        ready.put(True)
        await store.aclose()

    anyio.run(main)


def crowd(url: str, grants: int) -> None:
    """Print the grants of 8 processes in a second, each reserved and settled."""
    spawn = multiprocessing.get_context("spawn")
    ready, go, each = spawn.Queue(), spawn.Event(), max(1, grants // PROCESSES)
    processes = [spawn.Process(target=grant, args=(url, each, ready, go)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.get()
    began = time.perf_counter()
    go.set()
    for _ in processes:
        ready.get()
    rate = PROCESSES * each / (time.perf_counter() - began)
    for process in processes:
        process.join()
    print(f"{url.partition(':')[0] + f', {PROCESSES} processes on one account':48}{rate:9.0f} grants/s")


def trips(client: Any) -> int:
    """Commands that clients have sent to run scripts."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


async def files(folder: Path, rounds: int) -> None:
    """Memory and SQLite."""
    store = open_store(f"sqlite:///{folder / 'guard.db'}")
    await compare(
        {
            "control: two bare SQLite transactions": bare_file(folder / "bare.db"),
            "memory": spending(MemoryStore()),
            "sqlite": spending(store),
            "sqlite, rolling window": spending(store, 60.0),
        },
        rounds,
    )
    await store.aclose()


async def server(url: str, client: Any, rounds: int) -> None:
    """Redis, and its round trips."""
    store = open_store(url)
    cases = {
        "control: two bare commands": bare_server(client),
        "redis": spending(store),
        "redis, rolling window": spending(store, 60.0),
    }
    for step in cases.values():
        await step()
    before = trips(client)
    await compare(cases, rounds)
    print(f"round trips for a reserve and a settlement{(trips(client) - before) / rounds / 2:15.2f}")
    await store.aclose()


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000, help="of each case (default 2000)")
    parser.add_argument("--grants", type=int, default=20_000, help="of 8 processes together (default 20000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        anyio.run(files, folder, options.rounds)
        crowd(f"sqlite:///{folder / 'crowd.db'}", options.grants)
        binary = shutil.which("redis-server")
        if binary is None:
            print("redis: there is no redis-server here")
            return
        from redis import Redis
        from redis.backoff import ConstantBackoff
        from redis.exceptions import ConnectionError as Unreachable
        from redis.retry import Retry

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = Redis(port=port, retry=Retry(ConstantBackoff(0.05), 200, (Unreachable,)))
            anyio.run(server, f"redis://127.0.0.1:{port}/0", client, options.rounds)
            crowd(f"redis://127.0.0.1:{port}/0", options.grants)
            client.close()
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
