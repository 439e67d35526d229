"""Purse: a token is fetched once for whoever waits, and used until shortly before its end."""

import threading

import anyio
import anyio.lowlevel
import pytest

from mcpguard import Secret, Token
from mcpguard.testing import FakeClock
from mcpguard.tokens.purse import Purse
from mcpguard.tokens.secret import TokenError

pytestmark = pytest.mark.anyio


class Mint:
    """A source that the test holds back and counts."""

    def __init__(self, lifetime: float = 100.0) -> None:
        self.count = 0
        self.lifetime = lifetime
        self.may_go = anyio.Event()
        self.error: Exception | None = None

    async def fetch(self) -> Token:
        self.count += 1
        number = self.count
        await self.may_go.wait()
        if self.error is not None:
            raise self.error
        return Token(Secret(f"t{number}"), lifetime=self.lifetime)


async def test_a_hundred_that_wait_are_served_by_one_fetch() -> None:
    """One refresh in flight per key; rotating tokens cannot be fetched twice (claude-code #91641)."""
    purse, mint, got = Purse(FakeClock()), Mint(), list[str]()

    async def ask() -> None:
        got.append((await purse.get("k", mint.fetch)).secret.reveal())

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        mint.may_go.set()
    assert (mint.count, set(got), len(got)) == (1, {"t1"}, 100)


async def test_where_the_one_that_fetches_is_cancelled_the_next_takes_over() -> None:
    """Nobody waits for a task that has gone."""
    purse, mint, got = Purse(FakeClock()), Mint(), list[str]()

    async def ask() -> None:
        got.append((await purse.get("k", mint.fetch)).secret.reveal())

    async def first() -> None:
        with scope:
            await ask()

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask)
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        mint.may_go.set()
    assert (mint.count, got) == (2, ["t2", "t2"])


async def test_a_failure_is_told_to_all_that_waited_and_not_kept() -> None:
    """Its text stays inside: it may hold what was sent."""
    purse, mint, told = Purse(FakeClock()), Mint(), list[str]()
    mint.error = RuntimeError("s3cret")

    async def ask() -> None:
        with pytest.raises(TokenError) as raised:
            await purse.get("k", mint.fetch)
        told.append(str(raised.value))
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__ or raised.value.__context__ is None

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        mint.may_go.set()
    assert told == ["its source failed with RuntimeError"] * 5
    assert mint.count == 1
    mint.error = None
    assert (await purse.get("k", mint.fetch)).secret.reveal() == "t2"


@pytest.mark.parametrize(("lifetime", "good_for"), [(1000.0, 970.0), (100.0, 90.0), (0.0, 0.0)])
async def test_a_token_is_used_until_shortly_before_its_end(lifetime: float, good_for: float) -> None:
    """30 seconds before, or a tenth of its lifetime."""
    clock = FakeClock()
    purse, mint = Purse(clock), Mint(lifetime)
    mint.may_go.set()
    await purse.get("k", mint.fetch)
    if good_for:
        clock.advance(good_for - 0.001)
        await purse.get("k", mint.fetch)
        assert mint.count == 1
        clock.advance(0.001)
    await purse.get("k", mint.fetch)
    assert mint.count == 2


async def test_only_the_token_that_was_refused_is_dropped() -> None:
    """Of many 401s for one token the first leads to a new one."""
    purse, mint = Purse(FakeClock()), Mint()
    mint.may_go.set()
    old = await purse.get("k", mint.fetch)
    purse.drop("k", old)
    new = await purse.get("k", mint.fetch)
    purse.drop("k", old)
    assert purse.known("k") is new


def test_tasks_on_other_event_loops_wait_for_the_same_fetch() -> None:
    """Hosts run sessions on background threads."""
    purse, started, go = Purse(FakeClock()), threading.Event(), threading.Event()
    fetched, got = list[int](), list[str]()

    async def fetch() -> Token:
        fetched.append(1)
        started.set()
        await anyio.to_thread.run_sync(go.wait)
        return Token(Secret("t"), lifetime=10.0)

    async def ask() -> None:
        got.append((await purse.get("k", fetch)).secret.reveal())

    def run() -> None:
        anyio.run(ask)

    async def ask_and_release() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            go.set()

    first = threading.Thread(target=run)
    first.start()
    assert started.wait(10)
    anyio.run(ask_and_release)
    first.join(10)
    assert (fetched, got) == ([1], ["t", "t"])
