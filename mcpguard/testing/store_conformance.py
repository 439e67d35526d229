"""The promises of a store that the author of one can check on their own class.

`check_store` tries every operation, alone and from several tasks and threads at once. What a store does when
its file or its server is gone, and what other processes see, is its own tests' business.
"""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio

from mcpguard.core.errors import StoreError
from mcpguard.stores.store import MAX_AMOUNT, MEMBERS, SLICES, Account, Amounts, Hold, Limits, Refusal, Store
from mcpguard.testing.store_races import (
    finishes_when_cancelled,
    never_overspends_tasks,
    never_overspends_threads,
)
from mcpguard.testing.store_trials import (
    ONE,
    Keys,
    expect,
    held,
    holds_value,
    is_leased,
    keeps_pace,
    of,
    used,
)

__all__ = ["check_store"]

NAMES: Final = ("", "a", "a ", "A", "{a}", "}a{", "a\x00b", "a:b", "ä", "\ud800", "a" * 2000, "' OR 1=1 --")
"""Keys and groups that a store must tell apart."""


async def check_store(
    make: Callable[[], Store],
    *,
    advance: Callable[[float], Awaitable[object]] = anyio.sleep,
    unit: float = 0.5,
) -> None:
    """Check that a store keeps its promises; return nothing if it does.

    Args:
        make: Builds the store; called anew for every promise. What it builds may all keep its state in one
            place: no key is used twice.
        advance: Lets so many seconds of the store's time pass. By default they really do.
        unit: How long windows, rates and leases are that are tried, in seconds.

    Raises:
        AssertionError: If it breaks a promise. The sentence names it.
    """
    rules = (
        _takes_from_all_or_none,
        _limits_each_thing,
        _settles_what_was_used,
        _ends_a_hold_once,
        _tells_names_apart,
        _counts_a_lot,
        _forgets,
        _says_what_it_knows,
        _rejects_what_is_not_its_own,
        never_overspends_tasks,
        finishes_when_cancelled,
        partial(_rolls, advance=advance, unit=unit),
        partial(_changes_windows, unit=unit),
        partial(keeps_pace, advance=advance, unit=unit),
        partial(holds_value, advance=advance, unit=unit),
        partial(is_leased, advance=advance, unit=unit),
    )
    for rule in rules:
        store = make()
        try:
            await rule(store, Keys())
        finally:
            await store.aclose()
    await never_overspends_threads(make())
    await _raises_when_closed(make())


async def _takes_from_all_or_none(store: Store, keys: Keys) -> None:
    small, large = of(keys("small"), calls=1), of(keys("large"), calls=9)
    await held(store, [small, large])
    refused = await store.reserve([large, small], ONE)
    expect(
        isinstance(refused, Refusal)
        and (refused.account.key, refused.used, refused.what) == (small.key, ONE, "calls"),
        "a refusal names the account that is short, what was used, and of what",
    )
    expect(await used(store, large) == ONE, "a refusal leaves every account as it was")
    twice = of(keys("twice"), calls=1)
    hold = await held(store, [twice, of(keys("twice"), calls=1)])
    expect(await used(store, twice) == ONE, "an account that is named twice is charged once")
    await store.release(hold)
    expect(await used(store, twice) == Amounts(), "an account that is named twice is given back once")
    await held(store, [], ONE)


async def _limits_each_thing(store: Store, keys: Keys) -> None:
    for what in MEMBERS:
        account = Account(keys(what), label="tried", limits=Limits(**{what: 5}))
        await held(store, [account], Amounts(**{what: 3}))
        refused = await store.reserve([account], Amounts(**{what: 3}))
        expect(isinstance(refused, Refusal) and refused.what == what, f"{what} are limited")
        await held(store, [account], Amounts(**{what: 2}))
        expect(await used(store, account) == Amounts(**{what: 5}), f"{what} are counted exactly")
    unlimited = of(keys("unlimited"))
    await held(store, [unlimited], Amounts(calls=1, cost=2, tokens=3, bytes=4))
    counted = await used(store, unlimited)
    expect(counted == Amounts(calls=1, cost=2, tokens=3, bytes=4), "what is not limited is counted too")


async def _settles_what_was_used(store: Store, keys: Keys) -> None:
    account, other = of(keys("a"), cost=10), of(keys("b"), cost=100)
    await store.settle(await held(store, [account, other], Amounts(cost=6)), Amounts(cost=2))
    for one in (account, other):
        expect(
            await used(store, one) == Amounts(cost=2), "what was used replaces what was held, of each account"
        )
    await store.settle(await held(store, [account], Amounts(cost=3)), Amounts(cost=50, calls=1))
    expect(await used(store, account) == Amounts(cost=52, calls=1), "more may be settled than the limit")
    expect(
        isinstance(await store.reserve([account], Amounts()), Refusal),
        "what is over its limit admits nothing",
    )
    await store.release(await held(store, [other], Amounts(cost=98)))
    await held(store, [other], Amounts(cost=98))
    expect(await used(store, other) == Amounts(cost=100), "a hold that is left stays charged")


async def _ends_a_hold_once(store: Store, keys: Keys) -> None:
    account = of(keys("a"), cost=50)
    first = await held(store, [account], Amounts(cost=9))
    settled = await held(store, [account], Amounts(cost=9))
    for _ in range(2):
        await store.release(first)
        await store.settle(settled, Amounts(cost=1))
        await store.release(settled)
        await store.settle(first, Amounts(cost=40))
    expect(await used(store, account) == Amounts(cost=1), "a hold ends once, whatever is done to it later")
    expect(not first.is_open and not settled.is_open, "a hold that has ended is not open")
    again = await held(store, [account], Amounts(cost=20))
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(store.settle, again, Amounts(cost=2))
    expect(
        await used(store, account) == Amounts(cost=3), "a hold that several settle at once is settled once"
    )


async def _tells_names_apart(store: Store, keys: Keys) -> None:
    for name in NAMES:
        await held(store, [of(keys(name), calls=1, group=name)])
        expect((await store.pace(keys(name), interval=999, burst=1)).is_admitted, "rates have their own keys")
        for group in (keys(name), keys(f"{name}/")):
            wrote = await store.swap(
                name, version=0, value=name[:1].encode("utf-8", "replace"), keep=99, group=group
            )
            expect(wrote, "a value has a key within its group")
            expect(
                await store.lease(name, "a", seconds=99, group=group), "a lease has a key within its group"
            )
    for name in NAMES:
        expect(
            await used(store, of(keys(name), calls=1, group=name)) == ONE,
            "any text is a key, and only its own",
        )
    expect(keys("") not in repr(store), "a store does not show its keys")


async def _counts_a_lot(store: Store, keys: Keys) -> None:
    account = of(keys("a"), cost=MAX_AMOUNT)
    await held(store, [account], Amounts(cost=MAX_AMOUNT - 1))
    refused = await store.reserve([account], Amounts(cost=2))
    expect(isinstance(refused, Refusal), "the largest limit is exact")
    await held(store, [account], Amounts(cost=1))
    huge = await store.reserve([account], Amounts(cost=10**30))
    expect(isinstance(huge, Refusal), "an amount larger than any limit is refused")
    unlimited = of(keys("b"), calls=10)
    hold = await held(store, [unlimited], Amounts(calls=1, tokens=10**30))
    await store.settle(hold, Amounts(calls=1, tokens=5))
    expect((await used(store, unlimited)).tokens == 5, "a huge amount can be corrected")
    nothing = of(keys("c"), calls=0)
    await held(store, [nothing], Amounts())
    expect(isinstance(await store.reserve([nothing], ONE), Refusal), "a limit of 0 admits nothing")


async def _forgets(store: Store, keys: Keys) -> None:
    account, other = of(keys("a"), calls=5), of(keys("b"), calls=5)
    hold = await held(store, [account, other], Amounts(calls=3))
    store.forget(account)
    store.forget(account)
    store.forget(of(keys("nobody's")))
    await store.release(hold)
    expect(await used(store, other) == Amounts(), "what was held with a forgotten account is given back")
    expect(await used(store, account) == Amounts(), "a forgotten account is dropped with the next operations")
    await held(store, [account], Amounts(calls=2))
    await store.settle(hold, Amounts(calls=1))
    expect(await used(store, account) == Amounts(calls=2), "a late settlement changes no later account")


async def _says_what_it_knows(store: Store, keys: Keys) -> None:
    account = of(keys("a"), calls=3)
    expect(store.look([account], ONE) is None, "nothing is known to speak against what was never used")
    expect(store.peek(account) == Amounts(), "of what was never used nothing was used")
    hold = await held(store, [account], Amounts(calls=3))
    expect(store.peek(account) == Amounts(calls=3), "what was just reserved is known")
    seen = store.look([of(keys("b"), calls=1), account], ONE)
    expect(
        seen is not None
        and (seen.account.key, seen.what, seen.used) == (account.key, "calls", Amounts(calls=3)),
        "what just left no room is known to speak against more",
    )
    await store.settle(hold, ONE)
    expect(
        store.peek(account) == ONE and store.look([account], ONE) is None, "what was just settled is known"
    )


async def _rejects_what_is_not_its_own(store: Store, keys: Keys) -> None:
    try:
        await store.settle(Hold([of(keys("a"), calls=1)], ONE), Amounts())
    except StoreError:
        return
    raise AssertionError("the hold of another store is a StoreError")


async def _rolls(
    store: Store, keys: Keys, *, advance: Callable[[float], Awaitable[object]], unit: float
) -> None:
    account = of(keys("a"), cost=10, window=unit)
    await store.settle(await held(store, [account], Amounts(cost=10)), Amounts(cost=4))
    refused = await store.reserve([account], Amounts(cost=7))
    expect(isinstance(refused, Refusal), "what was used in a window counts in it")
    assert isinstance(refused, Refusal)  # noqa: S101 - for the type checker
    wait = refused.refills_in
    expect(
        wait is not None and 0 < wait <= unit * (SLICES + 1) / SLICES + 1e-6,
        "a refusal says when enough has left the window",
    )
    never = await store.reserve([account], Amounts(cost=11))
    expect(
        isinstance(never, Refusal) and never.refills_in is None, "what no window has room for never refills"
    )
    late = await held(store, [account], Amounts(cost=5))
    await advance(wait or 0.0)
    await held(store, [account], Amounts(cost=1))
    await advance(2 * unit)
    await store.settle(late, Amounts(cost=2))
    expect(await used(store, account) == Amounts(), "what has left the window is not given back once more")
    await held(store, [account], Amounts(cost=10))


async def _changes_windows(store: Store, keys: Keys, *, unit: float) -> None:
    for before, after in ((None, 99 * unit), (99 * unit, None), (99 * unit, 999 * unit)):
        key = keys(f"{before} {after}")
        await held(store, [of(key, calls=3, window=before)], Amounts(calls=2))
        refused = await store.reserve([of(key, calls=3, window=after)], Amounts(calls=2))
        expect(isinstance(refused, Refusal), "an account whose window has changed keeps what counted")


async def _raises_when_closed(store: Store) -> None:
    await held(store, [of(Keys()(secrets.token_hex(4)), calls=1)])
    await store.aclose()
    await store.aclose()
    try:
        await store.reserve([of(Keys()("a"), calls=1)], ONE)
    except StoreError:
        return
    raise AssertionError("a store that is closed raises StoreError")
