"""The memory store: all accounts or none, never above a limit, whoever asks at the same time."""

import threading
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal

pytestmark = pytest.mark.anyio

T = TypeVar("T")

ONE = Amounts(calls=1)


def account(key: str, limit: int) -> Account:
    """An account that may hold `limit` calls."""
    return Account(key, label=key, limits=Limits(calls=limit))


async def held(store: MemoryStore, accounts: Sequence[Account], calls: int = 1) -> Hold:
    """A reservation that is expected to succeed."""
    hold = await store.reserve(accounts, Amounts(calls=calls))
    assert isinstance(hold, Hold)
    return hold


async def test_what_is_reserved_counts_at_once() -> None:
    """Reserve, then settle: a second caller sees the first one's hold."""
    store, run = MemoryStore(), account("run", 2)
    await held(store, [run], 2)
    assert store.peek(run) == Amounts(calls=2)
    refusal = await store.reserve([run], ONE)
    assert refusal == Refusal(run, Amounts(calls=2), "calls")


def test_what_is_given_back_while_its_thread_holds_the_lock_does_not_stall_it() -> None:
    """Garbage is collected wherever a thread happens to be; here, while a key is looked up."""

    class Key(str):
        """A key whose look-up is when the garbage goes."""

        __slots__ = ()

        def __hash__(self) -> int:
            while holds:
                with pytest.raises(StopIteration):
                    store.release(holds.pop()).send(None)
            return super().__hash__()

    async def main() -> None:
        hold = await held(store, [account("run", 1)])
        holds.append(hold)
        await held(store, [account(Key("other"), 1)])
        await held(store, [account("run", 1)])
        done.append(True)

    holds: list[Hold] = []
    done: list[bool] = []
    store = MemoryStore()
    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [True]


async def test_all_accounts_are_charged_or_none() -> None:
    """One reserve touches all matching accounts or none, and says which refused."""
    store, small, large = MemoryStore(), account("small", 1), account("large", 9)
    await held(store, [small, large])
    assert await store.reserve([large, small], ONE) == Refusal(small, ONE, "calls")
    assert store.peek(large) == ONE
    assert await store.reserve([small, large], ONE) == Refusal(small, ONE, "calls")
    assert store.peek(large) == ONE


async def test_a_release_gives_back_to_every_account() -> None:
    """Nothing was sent."""
    store, accounts = MemoryStore(), [account("a", 5), account("b", 5)]
    hold = await held(store, accounts, 3)
    await store.release(hold)
    assert [store.peek(one) for one in accounts] == [Amounts(), Amounts()]


async def test_settling_corrects_the_reservation() -> None:
    """What was really used replaces what was held, above the limit too."""
    store, run = MemoryStore(), account("run", 5)
    await store.settle(await held(store, [run], 3), ONE)
    assert store.peek(run) == ONE
    await store.settle(await held(store, [run], 4), Amounts(calls=9))
    assert store.peek(run) == Amounts(calls=10)
    assert isinstance(await store.reserve([run], Amounts()), Refusal)


async def test_a_hold_ends_once() -> None:
    """A late settle or release changes nothing: no doubled refunds."""
    store, run = MemoryStore(), account("run", 5)
    released, settled = await held(store, [run]), await held(store, [run])
    for _ in range(3):
        await store.release(released)
        await store.settle(settled, ONE)
        await store.release(settled)
        await store.settle(released, Amounts(calls=5))
    assert store.peek(run) == ONE


async def test_a_hold_that_is_left_stays_charged() -> None:
    """What became of the call is unknown."""
    store, run = MemoryStore(), account("run", 1)
    await held(store, [run])
    assert isinstance(await store.reserve([run], ONE), Refusal)


async def test_an_account_named_twice_is_charged_once() -> None:
    """And given back once."""
    store, run = MemoryStore(), account("run", 1)
    hold = await held(store, [run, account("run", 1)])
    assert store.peek(run) == ONE
    await store.release(hold)
    assert store.peek(run) == Amounts()


async def test_a_forgotten_account_leaves_nothing() -> None:
    """Bounded: what nobody will use again is gone, and a late settle does not bring it back."""
    store, run, other = MemoryStore(), account("run", 5), account("other", 5)
    hold = await held(store, [run, other])
    store.forget(run)
    store.forget(run)
    await store.release(hold)
    assert len(store) == 1
    assert store.peek(run) == Amounts()


async def test_the_store_does_not_show_keys() -> None:
    """Keys name tenants and runs."""
    store = MemoryStore()
    await held(store, [account("tenant-a", 5)])
    assert repr(store) == "MemoryStore(1 keys)"


def test_amounts_are_not_negative() -> None:
    """A negative amount would be a refund."""
    with pytest.raises(ValueError, match="at least 0, not -1"):
        Amounts(calls=-1)


def test_threads_with_their_own_loops_never_overspend() -> None:
    """Hosts run sessions on background threads: 16 of them, 10,000 grants."""
    store, parent = MemoryStore(), account("parent", 10_000)
    granted: list[int] = []
    start = threading.Barrier(16)

    async def spend(own: Account) -> int:
        count = 0
        for attempt in range(1_000):
            hold = await store.reserve([own, parent], ONE)
            if isinstance(hold, Hold):
                if attempt % 7 == 0:
                    await store.release(hold)
                else:
                    await store.settle(hold, ONE)
                    count += 1
        return count

    def work(number: int) -> None:
        start.wait()
        granted.append(anyio.run(spend, account(f"own-{number}", 1_000)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 16
    assert sum(granted) == store.peek(parent).calls == 10_000


def done(steps: Coroutine[object, None, T]) -> T:
    """What a coroutine returns that never waits; no event loop is needed for it."""
    try:
        steps.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("it waits")


KEYS = ("a", "b", "c")
LIMIT = 6


class Machine(RuleBasedStateMachine):
    """The store beside a model of it, under any interleaving of its operations."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.accounts = {key: account(key, LIMIT) for key in KEYS}
        self.used = dict.fromkeys(KEYS, 0)

    @rule(target=holds, keys=st.sets(st.sampled_from(KEYS), min_size=1), calls=st.integers(0, 4))
    def reserve(self, keys: set[str], calls: int) -> tuple[Hold | None, frozenset[str], int]:
        answer = done(self.store.reserve([self.accounts[key] for key in keys], Amounts(calls=calls)))
        fits = all(self.used[key] + calls <= LIMIT for key in keys)
        assert isinstance(answer, Hold if fits else Refusal)
        if isinstance(answer, Refusal):
            assert answer.used.calls + calls > LIMIT
            return None, frozenset(), 0
        for key in keys:
            self.used[key] += calls
        return answer, frozenset(keys), calls

    @rule(entry=consumes(holds))
    def release(self, entry: tuple[Hold | None, frozenset[str], int]) -> None:
        hold, keys, calls = entry
        if hold is not None:
            done(self.store.release(hold))
            done(self.store.release(hold))
            for key in keys:
                self.used[key] -= calls

    @rule(entry=consumes(holds), share=st.integers(0, 4))
    def settle(self, entry: tuple[Hold | None, frozenset[str], int], share: int) -> None:
        hold, keys, calls = entry
        if hold is not None:
            real = min(share, calls)
            done(self.store.settle(hold, Amounts(calls=real)))
            for key in keys:
                self.used[key] += real - calls

    @invariant()
    def agrees_with_the_model(self) -> None:
        for key in KEYS:
            assert self.store.peek(self.accounts[key]).calls == self.used[key] <= LIMIT


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, deadline=None)
