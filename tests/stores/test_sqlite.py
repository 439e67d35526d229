"""The SQLite store: several processes, any of which may be killed; and files that are not as they should be."""

import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import anyio
import pytest
from guarded import answer
from spenders import counted, spend_from_file

from mcpguard import Budget, Guard, RateLimit
from mcpguard.core.errors import StoreError, StoreFormatError, StoreFull
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal
from mcpguard.testing import FakeClock, FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

ONE = Amounts(calls=1)
SPAWN = multiprocessing.get_context("spawn")
GRANTS = 10_000


def account(key: str, limit: int, window: float | None = None) -> Account:
    """An account that may hold `limit` calls."""
    return Account(key, label=key, limits=Limits(calls=limit), window=window)


async def used(store: SQLiteStore, key: str) -> Amounts:
    """What has been used, as a refusal tells."""
    answer = await store.reserve([account(key, 0)], ONE)
    assert isinstance(answer, Refusal)
    return answer.used


def charged(path: Path | str, key: str) -> int:
    """Calls that were charged, as whoever opens the file next sees it."""

    async def main() -> int:
        store = SQLiteStore(path)
        calls = (await used(store, key)).calls
        await store.aclose()
        return calls

    return anyio.run(main)


def test_eight_processes_never_overspend(tmp_path: Path) -> None:
    """10,000 grants between them, each counted once."""
    path, reports = str(tmp_path / "s.db"), [tmp_path / f"granted-{number}" for number in range(8)]
    processes = [SPAWN.Process(target=spend_from_file, args=(path, str(one), GRANTS)) for one in reports]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert counted(reports) == GRANTS
    assert charged(path, "shared") == GRANTS


def test_processes_that_are_killed_overspend_nothing_and_break_nothing(tmp_path: Path) -> None:
    """By kill -9 at random points: every grant that was seen is charged; at most one more for each kill."""
    path, rng, reports, kills = str(tmp_path / "s.db"), random.Random(7), list[Path](), 0  # noqa: S311
    running: list[multiprocessing.process.BaseProcess] = []
    for number in range(24):
        reports.append(tmp_path / f"granted-{number}")
        process = SPAWN.Process(target=spend_from_file, args=(path, str(reports[-1]), GRANTS))
        process.start()
        running.append(process)
        if len(running) == 8:
            target = rng.choice(running[:-1])
            before = counted(reports)
            while target.is_alive() and counted(reports) < before + rng.randrange(50, 400):
                target.join(0.001)
            if target.is_alive():
                os.kill(target.pid or 0, signal.SIGKILL)
                kills += 1
            target.join()
            running.remove(target)
    for process in running:
        process.join()
        assert process.exitcode == 0
    assert kills > 0
    assert counted(reports) <= charged(path, "shared") == GRANTS
    assert GRANTS - counted(reports) <= kills
    checked = sqlite3.connect(path)
    assert checked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    checked.close()


def test_sixteen_threads_with_their_own_loops_never_overspend(tmp_path: Path) -> None:
    """Hosts run sessions on background threads."""
    store, granted, start = SQLiteStore(tmp_path / "s.db", patience=60.0), list[int](), threading.Barrier(16)

    async def spend_some() -> int:
        count = 0
        while True:
            answer = await store.reserve([account("a", GRANTS), account("b", GRANTS)], ONE)
            if isinstance(answer, Refusal):
                return count
            count += 1

    def work() -> None:
        start.wait()
        granted.append(anyio.run(spend_some))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == GRANTS
    anyio.run(store.aclose)


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """Totals, windows, rates, values and leases are there again; an open hold stays charged."""
    clock, path = FakeClock(), tmp_path / "s.db"
    first = SQLiteStore(path, clock=clock)
    await first.reserve([account("a", 3), account("w", 3, 60.0)], Amounts(calls=2))
    await first.pace("r", interval=60.0, burst=1)
    assert await first.swap("v", version=0, value=b"x", keep=60.0)
    assert await first.lease("l", "me", seconds=60.0)
    await first.aclose()
    second = SQLiteStore(path, clock=clock)
    assert isinstance(await second.reserve([account("a", 3)], Amounts(calls=2)), Refusal)
    assert isinstance(await second.reserve([account("w", 3, 60.0)], Amounts(calls=2)), Refusal)
    assert not (await second.pace("r", interval=60.0, burst=1)).is_admitted
    assert (await second.read("v")).value == b"x"
    assert not await second.lease("l", "you", seconds=60.0)
    await second.aclose()


async def test_a_clock_that_is_put_back_gives_nothing_back_early_and_stalls_for_a_window(
    tmp_path: Path,
) -> None:
    """By an hour, with windows of a minute; and what is forward again by little is not early either."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "s.db", clock=clock)
    one = account("w", 1, 60.0)
    assert isinstance(await store.reserve([one], ONE), Hold)
    await store.pace("r", interval=60.0, burst=1)
    assert await store.lease("l", "me", seconds=60.0)
    assert await store.swap("v", version=0, value=b"x", keep=60.0)
    clock.epoch -= 3600.0
    assert isinstance(await store.reserve([one], ONE), Refusal)
    assert not (await store.pace("r", interval=60.0, burst=1)).is_admitted
    assert not await store.lease("l", "you", seconds=60.0)
    assert (await store.read("v")).value == b"x"
    clock.advance(62.0)
    assert isinstance(await store.reserve([one], ONE), Hold)
    assert (await store.pace("r", interval=60.0, burst=1)).is_admitted
    assert await store.lease("l", "you", seconds=60.0)
    assert (await store.read("v")).value is None
    clock.epoch -= 30.0
    clock.advance(1.0)
    assert isinstance(await store.reserve([one], ONE), Refusal)
    clock.epoch += 30.0
    clock.advance(1.0)
    assert isinstance(await store.reserve([one], ONE), Refusal)
    await store.aclose()


async def test_a_file_that_is_locked_blocks_no_event_loop(tmp_path: Path) -> None:
    """While another connection writes, the loop goes on; when it never ends, the wait does."""
    path = tmp_path / "s.db"
    store = SQLiteStore(path, patience=30.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers: list[Hold | Refusal] = []

    async def reserve() -> None:
        answers.append(await store.reserve([account("a", 1)], ONE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reserve)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert answers == []
        other.execute("ROLLBACK")
    assert len(answers) == 1
    hasty = SQLiteStore(path, patience=0.05)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"s\.db was locked for 0\.05 seconds"):
        await hasty.reserve([account("a", 1)], ONE)
    other.close()
    await hasty.aclose()
    await store.aclose()


async def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Keys name tenants and runs."""
    store = SQLiteStore(tmp_path / "s.db")
    await store.reserve([account("a", 1)], ONE)
    modes = {name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)}  # noqa: PTH116, PTH208
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)
    await store.aclose()


def changed(path: Path, statement: str) -> None:
    """Do something to a file behind its store's back."""
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    """What it means is not known."""
    path = tmp_path / "s.db"
    await SQLiteStore(path).aclose()
    changed(path, "PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=r"s\.db has format 2; this release of mcpguard knows 1"):
        SQLiteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["text", "database"])
async def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    """A wrong path must not cost anybody their data."""
    path = tmp_path / "notes"
    if what == "text":
        path.write_text("remember the milk\n" * 100)
    else:
        changed(path, "CREATE TABLE milk (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=r"the store notes is "):
        SQLiteStore(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_gone_is_an_error_until_somebody_has_made_it_anew(tmp_path: Path) -> None:
    """Deleting it gives no new budget to who holds it open."""
    path = tmp_path / "s.db"
    store = SQLiteStore(path)
    assert isinstance(await store.reserve([account("a", 1)], ONE), Hold)
    path.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"the store s\.db is gone"):
            await store.reserve([account("a", 1)], ONE)
    other = SQLiteStore(path)
    assert isinstance(await other.reserve([account("a", 1)], ONE), Hold)
    assert isinstance(await store.reserve([account("a", 1)], ONE), Refusal)
    await other.aclose()
    await store.aclose()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """When the store is made, not at the first call."""
    with pytest.raises(StoreError, match="cannot be opened: No such file or directory"):
        SQLiteStore(tmp_path / "nowhere" / "s.db")


async def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    """And no other exception than the one that denies."""
    path = tmp_path / "s.db"
    store = SQLiteStore(path)
    for number in range(200):
        await store.reserve([account(f"key-{number}", 5)], ONE)
    await store.aclose()
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be used"):
        await SQLiteStore(path).reserve([account("key-1", 5)], ONE)


ABROAD = """
import os, resource, sys, anyio
from mcpguard.core.errors import StoreError
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.stores.store import Account, Amounts, Limits

async def main():
    try:
        {before}
        store = SQLiteStore(sys.argv[1])
        {after}
        for number in range(5000):
            await store.reserve([Account(f"key-{{number}}", label="", limits=Limits())], Amounts(calls=1))
    except StoreError as error:
        print("StoreError:", error)

anyio.run(main)
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become somebody else")
def test_a_file_that_is_read_only_is_an_error() -> None:
    """Another user's process may read it and not write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.db")
        assert charged(path, "key-0") == 0
        Path(folder).chmod(0o755)
        path.chmod(0o444)
        code = ABROAD.format(before="os.setuid(65534)", after="pass")
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
    assert done.stdout.startswith("StoreError: the store s.db cannot be used (SQLITE_"), done.stderr


def test_a_disk_that_is_full_is_an_error(tmp_path: Path) -> None:
    """Here a limit on the size of files takes the place of the disk's end."""
    code = ABROAD.format(before="pass", after="resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.db")], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("StoreError: the store s.db "), done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (200_000, 200_000)
    assert charged(tmp_path / "s.db", "key-0") == 1


async def test_many_keys_are_bounded_and_what_has_ended_makes_room(tmp_path: Path) -> None:
    """A million keys from outside end at the bound; what is there goes on."""
    clock, path = FakeClock(), tmp_path / "s.db"
    store = SQLiteStore(path, clock=clock, max_bytes=400_000)
    await store.reserve([account("mine", 9)], ONE)
    kept: list[int] = []

    async def fill() -> None:
        for number in range(1_000_000):
            await store.reserve([account(f"{number}", 9, 60.0)], ONE)
            kept.append(number)

    with pytest.raises(StoreFull, match="is full"):
        await fill()
    assert 500 < len(kept) < 10_000
    assert isinstance(await store.reserve([account("mine", 9)], ONE), Hold)
    clock.advance(200.0)
    for _ in range(100):
        await store.read("anything")
    for number in range(500):
        assert isinstance(await store.reserve([account(f"new-{number}", 9, 60.0)], ONE), Hold)
    assert (await used(store, "mine")).calls == 2
    assert path.stat().st_size <= 400_000
    await store.aclose()


async def test_accounts_that_nobody_uses_are_dropped_after_the_retention_time(tmp_path: Path) -> None:
    """And those that are used, or only asked for, are kept."""
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "s.db", clock=clock, retention=1000.0)
    await store.reserve([account("left", 9), account("asked", 0), account("kept", 9)], Amounts())
    await store.reserve([account("left", 9), account("kept", 9)], ONE)
    await store.reserve([account("asked", 9)], ONE)
    for _ in range(5):
        clock.advance(700.0)
        await store.reserve([account("kept", 9)], ONE)
        assert isinstance(await store.reserve([account("asked", 0)], ONE), Refusal)
        for _ in range(70):
            await store.read("anything")
    assert [(await used(store, key)).calls for key in ("left", "asked", "kept")] == [0, 1, 6]
    await store.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_store_goes_on_in_a_forked_process(tmp_path: Path) -> None:
    """Servers that fork their workers build the guard before."""
    code = """
import os, sys, anyio
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits

store = SQLiteStore(sys.argv[1])
account = Account("a", label="a", limits=Limits(calls=40))

async def spend():
    count = 0
    while isinstance(await store.reserve([account], Amounts(calls=1)), Hold):
        count += 1
    return count

assert anyio.run(lambda: store.reserve([account], Amounts(calls=1)))
child = os.fork()
count = anyio.run(spend)
if child == 0:
    os._exit(count)
print(count + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.db")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "39\n", done.stderr


async def test_two_guards_share_a_budget_and_a_rate_through_a_file(tmp_path: Path) -> None:
    """N processes are not N limits."""
    server = FakeServer()
    server.tool("work").returns("done")
    stores = [SQLiteStore(tmp_path / "s.db") for _ in range(2)]
    guards = [
        Guard(
            [Budget(id="day", per="tenant", calls=4), RateLimit(id="rate", calls=3, seconds=3600)],
            store=store,
        )
        for store in stores
    ]
    codes = [await answer(guard, server) for guard in guards * 3]
    assert codes[:3] == ["done"] * 3
    assert all("Too many calls" in text for text in codes[3:])
    for store in stores:
        await store.aclose()


@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_store_that_is_gone_denies_unless_the_policy_says_otherwise(
    tmp_path: Path, fail_open: bool
) -> None:
    """Either way with an event."""
    sink, server, store = RecordingSink(), FakeServer(), SQLiteStore(tmp_path / "s.db")
    server.tool("work").returns("done")
    guard = Guard(
        [Budget(per="tenant", fail_open=fail_open), RateLimit(calls=9, fail_open=fail_open)],
        store=store,
        sinks=[sink],
    )
    (tmp_path / "s.db").unlink()
    assert (await answer(guard, server) == "done") is fail_open
    assert len(server.calls("work")) == fail_open
    assert [event.interceptor for event in sink.of("interceptor_failed")] == (
        ["budget", "rate_limit"] if fail_open else ["budget"]
    )
    await store.aclose()
