"""The Redis store: a fleet on a real server, which is killed, restarted, full, or does not answer."""

import multiprocessing
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from guarded import answer
from servers import Server, running
from spenders import counted, spend_from_server

from mcpguard import Budget, Guard, RateLimit
from mcpguard.core.errors import StoreError, StoreFull
from mcpguard.stores.redis import RedisStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

ONE = Amounts(calls=1)
SPAWN = multiprocessing.get_context("spawn")
GRANTS = 10_000
PASSWORD = "hun" + "ter2"


@pytest.fixture(scope="module")
def kept_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("redis")) as one:
        yield one


@pytest.fixture
def server(kept_running: Server) -> Server:
    """A server that has nothing."""
    with kept_running.client() as client:
        client.flushall()
    return kept_running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may stop; it writes down everything it is told."""
    with running(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as one:
        yield one


def account(key: str, limit: int, window: float | None = None) -> Account:
    """An account that may hold `limit` calls."""
    return Account(key, label=key, limits=Limits(calls=limit), window=window, group="acme")


async def used(store: RedisStore, key: str) -> Amounts:
    """What has been used, as a refusal tells."""
    refused = await store.reserve([account(key, 0)], ONE)
    assert isinstance(refused, Refusal)
    return refused.used


def charged(url: str, key: str) -> int:
    """Calls that were charged."""

    async def main() -> int:
        store = RedisStore(url)
        calls = (await used(store, key)).calls
        await store.aclose()
        return calls

    return anyio.run(main)


def test_eight_processes_never_overspend(server: Server, tmp_path: Path) -> None:
    """10,000 grants between them, each counted once."""
    reports = [tmp_path / f"granted-{number}" for number in range(8)]
    processes = [
        SPAWN.Process(target=spend_from_server, args=(server.url, "eight", str(one), GRANTS))
        for one in reports
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert counted(reports) == GRANTS == charged(server.url, "eight")


def test_processes_that_are_killed_overspend_nothing(server: Server, tmp_path: Path) -> None:
    """By kill -9 at random points: every grant that was seen is charged; at most one more for each kill."""
    rng, reports, kills = random.Random(11), list[Path](), 0  # noqa: S311
    alive: list[multiprocessing.process.BaseProcess] = []
    for number in range(20):
        reports.append(tmp_path / f"granted-{number}")
        process = SPAWN.Process(
            target=spend_from_server, args=(server.url, "killed", str(reports[-1]), GRANTS)
        )
        process.start()
        alive.append(process)
        if len(alive) == 8:
            target, until = rng.choice(alive[:-1]), counted(reports) + rng.randrange(50, 400)
            while target.is_alive() and counted(reports) < until:
                target.join(0.001)
            if target.is_alive():
                os.kill(target.pid or 0, signal.SIGKILL)
                kills += 1
            target.join()
            alive.remove(target)
    for process in alive:
        process.join()
        assert process.exitcode == 0
    assert kills > 0
    assert counted(reports) <= GRANTS == charged(server.url, "killed")
    assert GRANTS - counted(reports) <= kills


def test_sixteen_threads_with_their_own_loops_never_overspend(server: Server) -> None:
    """One pool of connections serves them all."""
    store, granted, start = RedisStore(server.url, timeout=30.0), list[int](), threading.Barrier(16)

    async def spend_some() -> int:
        count = 0
        while isinstance(await store.reserve([account("a", GRANTS), account("b", GRANTS)], ONE), Hold):
            count += 1
        return count

    def work() -> None:
        start.wait()
        granted.append(anyio.run(spend_some))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == GRANTS
    with server.client() as client:
        assert int(client.info("clients")["connected_clients"]) <= 17
    anyio.run(store.aclose)


async def test_a_reserve_is_one_round_trip_and_so_is_a_settlement(server: Server) -> None:
    """Whatever the number of accounts, and what is dropped; a settlement that changes nothing needs none."""
    store = RedisStore(server.url)
    accounts = [account(f"one-{number}", 99, window=60.0) for number in range(5)]
    await store.settle(await taken(store, accounts), Amounts(calls=2))
    with server.client() as client:
        for number in range(10):
            client.config_resetstat()
            hold = await taken(store, accounts)
            store.forget(account(f"gone-{number}", 1))
            assert commands(client.info("commandstats")) == {"evalsha": 1}
            await store.settle(hold, Amounts(calls=2))
            assert commands(client.info("commandstats")) == {"evalsha": 2}
            await store.settle(await taken(store, accounts), ONE)
            assert commands(client.info("commandstats")) == {"evalsha": 3}
    await store.aclose()


async def taken(store: RedisStore, accounts: list[Account], amounts: Amounts = ONE) -> Hold:
    """A hold that must be given."""
    hold = await store.reserve(accounts, amounts)
    assert isinstance(hold, Hold)
    return hold


def commands(stats: dict[str, dict[str, int]]) -> dict[str, int]:
    """How often clients sent what; commands inside scripts, and those of who asks, are not sent."""
    sent = {name.removeprefix("cmdstat_"): about["calls"] for name, about in stats.items()}
    return {name: calls for name, calls in sent.items() if name in ("evalsha", "eval", "multi", "exec")}


async def test_a_server_that_is_down_denies_and_one_that_is_back_goes_on(own: Server) -> None:
    """Restarted between reserve and settle, with what it wrote down: scripts are loaded anew, counts are kept."""
    store = RedisStore(own.url)
    hold = await taken(store, [account("a", 10)], Amounts(calls=5))
    own.stop()
    with pytest.raises(StoreError, match=r"the Redis server 127\.0\.0\.1:\d+ cannot be used"):
        await store.reserve([account("a", 10)], ONE)
    with pytest.raises(StoreError):
        await store.settle(hold, Amounts(calls=2))
    assert hold.is_open
    own.start()
    assert (await used(store, "a")).calls == 5
    await store.settle(hold, Amounts(calls=2))
    await store.settle(hold, Amounts(calls=2))
    assert (await used(store, "a")).calls == 2
    await store.aclose()


async def test_a_hold_that_the_server_has_lost_gives_nothing_back(server: Server) -> None:
    """As after a failover to a replica that never heard of it; an account of another life is left alone."""
    store = RedisStore(server.url)
    lost, kept = account("lost", 10), account("kept", 10)
    hold = await taken(store, [lost, kept], Amounts(calls=3))
    with server.client() as client:
        for key in client.scan_iter(match="mcpguard:*"):
            if key.endswith(b":a:lost") or b":h:" in key:
                client.delete(key)
    await taken(store, [lost], Amounts(calls=1))
    await store.settle(hold, Amounts(calls=0))
    assert (await used(store, "lost")).calls == 1
    assert (await used(store, "kept")).calls == 3
    await store.aclose()


class Lossy:
    """Between a store and its server: answers that it is told to lose, it loses with the connection."""

    def __init__(self, port: int) -> None:
        self._port, self.lose = port, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            try:
                while asked := client.recv(65536):
                    server.sendall(asked)
                    answered = server.recv(65536)
                    if b"EVAL" in asked and self.lose:
                        self.lose -= 1
                        return
                    client.sendall(answered)
            except OSError:
                return

    def close(self) -> None:
        """Accept nobody any longer."""
        self._listener.close()


async def test_what_is_asked_for_again_because_the_answer_was_lost_is_done_once(server: Server) -> None:
    """Reserve, settle, swap and lease; a rate step raises, and may have been taken."""
    line = Lossy(server.port)
    store = RedisStore(line.url)
    await taken(store, [account("warm", 9)])
    line.lose = 1
    hold = await taken(store, [account("once", 99)], Amounts(calls=9))
    assert (await used(store, "once")).calls == 9
    line.lose = 1
    await store.settle(hold, Amounts(calls=20))
    assert (await used(store, "once")).calls == 20
    await store.read("v")
    assert await store.swap("v", version=0, value=b"warm", keep=60)
    version = (await store.read("v")).version
    line.lose = 1
    assert await store.swap("v", version=version, value=b"x", keep=60)
    assert (await store.read("v")).value == b"x"
    await store.pace("p", interval=60, burst=9)
    line.lose = 1
    with pytest.raises(StoreError):
        await store.pace("p", interval=60, burst=9)
    line.lose = 2
    with pytest.raises(StoreError):
        await store.reserve([account("twice", 99)], ONE)
    assert (await used(store, "twice")).calls <= 1
    line.close()
    await store.aclose()


async def test_a_server_that_does_not_answer_is_given_up_in_bounded_time() -> None:
    """It accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(StoreError, match="TimeoutError"):
            await store.reserve([account("a", 1)], ONE)
        await store.aclose()


async def test_a_server_that_is_full_refuses_what_is_new(own: Server) -> None:
    """And keeps what it has."""
    store = RedisStore(own.url)
    await taken(store, [account("mine", 9)])
    with own.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreFull, match="is full"):
            await store.reserve([account("new", 9)], ONE)
        client.config_set("maxmemory", "0")
    assert (await used(store, "mine")).calls == 1
    await store.aclose()


async def test_no_message_and_no_representation_holds_the_password(own: Server) -> None:
    """Whatever goes wrong with it."""
    with own.client() as client:
        client.config_set("requirepass", PASSWORD)
    right = RedisStore(own.url.replace("redis://", f"redis://:{PASSWORD}@"))
    await taken(right, [account("a", 1)])
    wrong = RedisStore(own.url.replace("redis://", f"redis://user:{PASSWORD}x@"))
    with pytest.raises(StoreError, match=r"AuthenticationError|ResponseError") as raised:
        await wrong.reserve([account("a", 1)], ONE)
    texts = [repr(right), repr(wrong), str(raised.value), repr(raised.value.__cause__)]
    with pytest.raises(ValueError, match="the URL of a Redis store") as unread:
        RedisStore(f"redis://:{PASSWORD}@host:port")
    assert not any(PASSWORD in text for text in [*texts, str(unread.value)])
    await right.aclose()
    await wrong.aclose()


async def test_everything_that_is_kept_ends_some_time(server: Server) -> None:
    """A million keys from outside are bounded by time, also when nobody comes back to drop them."""
    store = RedisStore(server.url, prefix="ends", retention=1000.0)
    await taken(store, [account("a", 9), account("b", 9, 60.0)])
    await store.pace("r", interval=60.0, burst=1)
    await store.swap("v", version=0, value=b"x", keep=60.0)
    await store.lease("l", "me", seconds=60.0)
    with server.client() as client:
        lives = {key.split(b":")[2]: client.pttl(key) for key in client.scan_iter(match="ends:*")}
    assert set(lives) == {b"a", b"h", b"r", b"v", b"l"}
    assert all(0 < life <= 3_600_000 for life in lives.values())
    await store.aclose()


async def test_two_prefixes_share_nothing(server: Server) -> None:
    """One server for staging and production."""
    one, other = RedisStore(server.url, prefix="one"), RedisStore(server.url, prefix="other")
    await taken(one, [account("a", 1)])
    await taken(other, [account("a", 1)])
    await one.aclose()
    await other.aclose()


async def test_two_guards_share_a_budget_and_a_rate_through_a_server(server: Server) -> None:
    """N hosts are not N limits."""
    tools, prefix = FakeServer(), os.urandom(4).hex()
    tools.tool("work").returns("done")
    stores = [RedisStore(server.url, prefix=prefix) for _ in range(2)]
    guards = [
        Guard(
            [Budget(id="day", per="tenant", calls=4), RateLimit(id="rate", calls=3, seconds=3600)],
            store=store,
        )
        for store in stores
    ]
    texts = [await answer(guard, tools) for guard in guards * 3]
    assert texts[:3] == ["done"] * 3
    assert all("Too many calls" in text for text in texts[3:])
    for store in stores:
        await store.aclose()


@pytest.mark.parametrize("fail_open", [False, True])
async def test_a_server_that_is_gone_denies_unless_the_policy_says_otherwise(
    tmp_path: Path, fail_open: bool
) -> None:
    """Either way with an event."""
    with running(tmp_path) as server:
        store = RedisStore(server.url)
    sink, tools = RecordingSink(), FakeServer()
    tools.tool("work").returns("done")
    guard = Guard(
        [Budget(per="tenant", fail_open=fail_open), RateLimit(calls=9, fail_open=fail_open)],
        store=store,
        sinks=[sink],
    )
    assert (await answer(guard, tools) == "done") is fail_open
    assert len(tools.calls("work")) == fail_open
    assert [event.interceptor for event in sink.of("interceptor_failed")] == (
        ["budget", "rate_limit"] if fail_open else ["budget"]
    )
    await store.aclose()
