"""The store in memory, where time matters: windows, periods, rates, values and leases."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.errors import StoreError, StoreFull
from mcpguard.core.host import Host
from mcpguard.stores.lent import lent
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import SLICES, Account, Amounts, Hold, Limits, Refusal
from mcpguard.testing import FakeClock

pytestmark = pytest.mark.anyio

ONE = Amounts(calls=1)


def rolling(limit: int, window: float = 60.0) -> Account:
    """An account of calls in a rolling window."""
    return Account("k", label="k", limits=Limits(calls=limit), window=window)


@given(
    limit=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.floats(0, 40), st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=40
    ),
)
def test_in_no_window_is_more_used_than_the_limit(limit: int, steps: list[tuple[float, int, int]]) -> None:
    """Whatever is taken, settled for less, and when."""

    async def use() -> list[tuple[float, int]]:
        clock = FakeClock()
        store, used = MemoryStore(clock=clock), list[tuple[float, int]]()
        for gap, wanted, really in steps:
            clock.advance(gap)
            hold = await store.reserve([rolling(limit)], Amounts(calls=wanted))
            if isinstance(hold, Hold):
                await store.settle(hold, Amounts(calls=min(really, wanted)))
                used.append((clock.now(), min(really, wanted)))
        return used

    used = anyio.run(use)
    for start, _ in used:
        assert sum(calls for time, calls in used if start <= time < start + 60) <= limit


async def test_what_was_used_comes_back_at_most_a_slice_late() -> None:
    """And the refusal says when."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    assert isinstance(await store.reserve([rolling(1)], ONE), Hold)
    refused = await store.reserve([rolling(1)], ONE)
    assert isinstance(refused, Refusal)
    assert refused.refills_in is not None
    assert 60 <= refused.refills_in <= 60 * (SLICES + 1) / SLICES
    clock.advance(refused.refills_in)
    assert store.look([rolling(1)], ONE) is None
    assert store.peek(rolling(1)) == Amounts()
    assert isinstance(await store.reserve([rolling(1)], ONE), Hold)
    never = await store.reserve([rolling(1)], Amounts(calls=2))
    assert isinstance(never, Refusal)
    assert never.refills_in is None


async def test_a_late_settlement_counts_more_now_and_gives_back_what_has_not_left_the_window() -> None:
    """What was taken long ago is no longer there to be given back."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    account = Account("k", label="k", limits=Limits(cost=100), window=60.0)
    early = await store.reserve([account], Amounts(cost=50))
    late = await store.reserve([account], Amounts(cost=10))
    assert isinstance(early, Hold)
    assert isinstance(late, Hold)
    await store.settle(early, Amounts(cost=20))
    assert store.peek(account) == Amounts(cost=30)
    clock.advance(200)
    await store.settle(late, Amounts(cost=25))
    assert store.peek(account) == Amounts(cost=15)
    await store.settle(late, Amounts(cost=99))
    assert store.peek(account) == Amounts(cost=15)


@pytest.mark.parametrize("what", ["calls", "cost", "tokens", "bytes"])
async def test_each_thing_that_is_counted_is_limited(what: str) -> None:
    """And the refusal says which was short, and of how much."""
    store = MemoryStore()
    account = Account("k", label="k", limits=Limits(**{what: 5}))
    assert isinstance(await store.reserve([account], Amounts(**{what: 3})), Hold)
    refused = await store.reserve([account], Amounts(**{what: 3}))
    assert refused == Refusal(account, Amounts(**{what: 3}), what)


async def test_a_calendar_period_refills_when_it_ends() -> None:
    """By the clock on the wall."""
    clock = FakeClock(epoch=1000.0)
    store = MemoryStore(clock=clock)
    account = Account("k", label="k", limits=Limits(calls=0), ends_at=1500.0)
    refused = await store.reserve([account], ONE)
    assert isinstance(refused, Refusal)
    assert refused.refills_in == 500.0


async def test_of_several_that_swap_one_succeeds() -> None:
    """Compare and set; a version is never used again."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    assert (await store.read("k")).version == 0
    assert await store.swap("k", version=0, value=b"a", keep=10)
    assert not await store.swap("k", version=0, value=b"b", keep=10)
    first = await store.read("k")
    assert first.value == b"a"
    assert await store.swap("k", version=first.version, value=b"b", keep=10)
    second = await store.read("k")
    assert second.version != first.version
    assert (await store.read("k", group="other")).value is None
    assert await store.swap("k", version=second.version, value=None, keep=10)
    assert (await store.read("k")).version == 0
    assert await store.swap("k", version=0, value=b"c", keep=10)
    assert (await store.read("k")).version not in (0, first.version, second.version)
    clock.advance(10)
    assert (await store.read("k")).value is None


async def test_a_lease_is_held_by_one_and_frees_itself() -> None:
    """Prolonged by its owner, given back by nobody else."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    assert await store.lease("probe", "a", seconds=10)
    assert not await store.lease("probe", "b", seconds=10)
    clock.advance(9)
    assert await store.lease("probe", "a", seconds=10)
    clock.advance(9)
    await store.free("probe", "b")
    assert not await store.lease("probe", "b", seconds=10)
    clock.advance(1)
    assert await store.lease("probe", "b", seconds=10)
    await store.free("probe", "b")
    assert await store.lease("probe", "a", seconds=10)


async def test_a_store_that_is_full_is_not_searched_for_each_new_key() -> None:
    """Who makes up names must not make everybody wait; what has ended goes a moment later."""

    class Counted(FakeClock):
        """A clock that counts how often it is asked for the day: once for each search."""

        asked = 0

        def time(self) -> float:
            self.asked += 1
            return super().time()

    clock = Counted()
    store = MemoryStore(clock=clock, max_keys=1000)
    for number in range(1000):
        await store.pace(f"k{number}", interval=60, burst=1)
    clock.asked = 0
    for number in range(50):
        with pytest.raises(StoreFull):
            await store.pace(f"new{number}", interval=60, burst=1)
    assert clock.asked == 1
    clock.advance(60)
    assert (await store.pace("new", interval=60, burst=1)).is_admitted
    assert len(store) == 1


async def test_an_account_that_is_dropped_while_the_store_makes_room_is_dropped_once() -> None:
    """Forgetting takes no lock: it runs while garbage is collected."""

    class Key(str):
        """A key that is forgotten when it is looked up for the last time."""

        __slots__ = ()

        def __hash__(self) -> int:
            while forgotten:
                store.forget(forgotten.pop())
            return super().__hash__()

    forgotten: list[Account] = []
    clock = FakeClock()
    store = MemoryStore(clock=clock, max_keys=1)
    ending = Account(Key("day"), label="day", limits=Limits(calls=9), ends_at=clock.time() + 1)
    await store.reserve([ending], Amounts(calls=1))
    clock.advance(2)
    forgotten.append(ending)
    await store.reserve([Account("run", label="run", limits=Limits(calls=9))], Amounts(calls=1))
    assert len(store) == 1


async def test_a_store_that_is_full_refuses_what_is_new_and_keeps_what_it_has() -> None:
    """A million keys from outside end at the bound; what has ended makes room."""
    clock = FakeClock(epoch=0.0)
    store = MemoryStore(clock=clock, max_keys=1500)
    for number in range(500):
        account = Account(f"period-{number}", label="k", limits=Limits(calls=9), ends_at=100.0)
        assert isinstance(await store.reserve([account], ONE), Hold)
        await store.pace(f"rate-{number}", interval=1.0, burst=1)
        await store.lease(f"lease-{number}", "a", seconds=5)
    forever = Account("forever", label="k", limits=Limits(calls=9))
    with pytest.raises(StoreFull):
        await store.reserve([forever], ONE)
    assert len(store) == 1500
    clock.advance(100)
    assert isinstance(await store.reserve([forever], ONE), Hold)
    assert len(store) == 1
    assert await store.swap("value", version=0, value=b"v", keep=1)
    clock.advance(1)
    for number in range(1498):
        await store.reserve([Account(f"run-{number}", label="k", limits=Limits(calls=9))], ONE)
    await store.reserve([Account("one more", label="k", limits=Limits(calls=9))], ONE)
    assert (await store.read("value")).value is None


async def test_a_window_that_is_over_makes_room_too() -> None:
    """And one that is not does not."""
    clock = FakeClock()
    store = MemoryStore(clock=clock, max_keys=1)
    await store.reserve([rolling(5)], ONE)
    other = Account("other", label="k", limits=Limits(calls=9))
    clock.advance(30)
    with pytest.raises(StoreFull):
        await store.reserve([other], ONE)
    clock.advance(60)
    assert isinstance(await store.reserve([other], ONE), Hold)


async def test_a_closed_store_refuses_and_another_stores_hold_is_no_ones() -> None:
    """Fail closed."""
    store, other = MemoryStore(), MemoryStore()
    account = Account("k", label="k", limits=Limits(calls=9))
    hold = await other.reserve([account], ONE)
    assert isinstance(hold, Hold)
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        await store.reserve([account], ONE)
    with pytest.raises(StoreError, match="another"):
        await store.settle(Hold([account], ONE), ONE)


def test_amounts_and_sizes_are_not_negative() -> None:
    """A negative amount would give what nobody had."""
    with pytest.raises(ValueError, match="cost is at least 0"):
        Amounts(cost=-1)
    with pytest.raises(ValueError, match="max_keys"):
        MemoryStore(max_keys=0)


def test_an_interceptor_gets_its_own_store_the_guards_or_one_in_memory() -> None:
    """In this order; what is no store is refused when the guard is built."""
    own, guards = MemoryStore(), MemoryStore()
    emitter = Emitter((), clock=SYSTEM_CLOCK)
    assert lent(Host(emitter, guards), own) is own
    assert lent(Host(emitter, guards)) is guards
    assert isinstance(lent(Host(emitter)), MemoryStore)
    wrong: Any = "redis://localhost"
    with pytest.raises(TypeError, match="str has not"):
        lent(Host(emitter, wrong))
