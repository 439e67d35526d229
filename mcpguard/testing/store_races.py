"""What `check_store` tries of several at once, and of who is cancelled."""

import threading

import anyio
import anyio.to_thread

from mcpguard.stores.store import Amounts, Hold, Store
from mcpguard.testing.store_trials import ONE, Keys, expect, held, of, used

__all__ = ["finishes_when_cancelled", "never_overspends_tasks", "never_overspends_threads"]


async def never_overspends_tasks(store: Store, keys: Keys) -> None:
    """Tasks of one event loop."""
    account, granted = of(keys("a"), calls=20), list[Hold]()

    async def spend(number: int) -> None:
        answer = await store.reserve([of(keys(f"own-{number}"), calls=9), account], ONE)
        if isinstance(answer, Hold):
            granted.append(answer)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(spend, number)
    expect(len(granted) == 20, "of 40 tasks 20 are given 20 calls")
    expect(await used(store, account) == Amounts(calls=20), "what tasks were given is counted")


async def finishes_when_cancelled(store: Store, keys: Keys) -> None:
    """Whatever was begun."""
    account = of(keys("a"), cost=100)
    hold = await held(store, [account], Amounts(cost=50))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.settle(hold, Amounts(cost=7))
    expect(await used(store, account) == Amounts(cost=7), "a settlement is finished, cancelled or not")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.reserve([account], Amounts(cost=5))
    left = await used(store, account)
    expect(left.cost in (7, 12), "a cancelled reservation is made once or not at all")


async def never_overspends_threads(store: Store) -> None:
    """Threads with event loops of their own."""
    keys, granted = Keys(), list[int]()
    account = of(keys("a"), calls=200)

    async def spend() -> None:
        count = 0
        for number in range(40):
            answer = await store.reserve([account], ONE)
            if isinstance(answer, Hold) and number % 4:
                count += 1
            elif isinstance(answer, Hold):
                await store.release(answer)
        granted.append(count)

    threads = [threading.Thread(target=anyio.run, args=(spend,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    expect(len(granted) == len(threads), "a store can be used from any thread and event loop")
    total = (await used(store, account)).calls
    expect(sum(granted) == total <= 200, "threads with event loops of their own never overspend")
    await store.aclose()
