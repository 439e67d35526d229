"""What `check_store` tries of rates, values and leases, and what all of its trials share."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import anyio

from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal, Store

__all__ = ["ONE", "Keys", "expect", "held", "holds_value", "is_leased", "keeps_pace", "of", "used"]

ONE: Final = Amounts(calls=1)

Advance: TypeAlias = Callable[[float], Awaitable[object]]


class Keys:
    """Names that nobody has used before."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)

    def __call__(self, name: str) -> str:
        """`name`, as nobody else calls it."""
        return f"{self._prefix}/{name}"


def expect(is_kept: bool, promise: str) -> None:
    """Raise `AssertionError` with the promise that is not kept."""
    if not is_kept:
        raise AssertionError(f"broken promise: {promise}")


def of(key: str, *, window: float | None = None, group: str = "", **limits: int) -> Account:
    """An account."""
    return Account(key, label="tried", limits=Limits(**limits), window=window, group=group)


async def used(store: Store, account: Account) -> Amounts:
    """What has been used of an account, as a refusal says it."""
    asked = Account(
        account.key, label="asked", limits=Limits(calls=0), group=account.group, window=account.window
    )
    answer = await store.reserve([asked], ONE)
    if not isinstance(answer, Refusal):
        raise AssertionError("a limit of 0 calls admits a call")
    return answer.used


async def held(store: Store, accounts: Sequence[Account], amounts: Amounts = ONE) -> Hold:
    """A hold that must be given."""
    hold = await store.reserve(accounts, amounts)
    expect(isinstance(hold, Hold), "what the limits leave room for is reserved")
    assert isinstance(hold, Hold)  # noqa: S101 - for the type checker
    expect(hold.is_open, "a new hold is open")
    return hold


async def keeps_pace(store: Store, keys: Keys, *, advance: Advance, unit: float) -> None:
    """One step an interval, a burst after a rest, and waits that are told and bounded."""
    key = keys("a")
    steps = [await store.pace(key, interval=unit, burst=3) for _ in range(4)]
    expect(
        [step.is_admitted for step in steps] == [True, True, True, False], "a burst is admitted, and no more"
    )
    expect(all(step.wait == 0 for step in steps[:3]), "a burst need not wait")
    expect(0 < steps[3].wait <= unit + 1e-6, "a refusal says when the next step can be taken")
    early = await store.pace(key, interval=unit, burst=3, max_wait=unit)
    expect(
        early.is_admitted and 0 < early.wait <= unit,
        "a step that is a little early is taken, and told to wait",
    )
    later = await store.pace(key, interval=unit, burst=3, max_wait=unit)
    expect(not later.is_admitted and later.wait > unit, "a step that is too early is not taken")
    expect(
        (await store.pace(key, interval=unit, burst=1, group="g")).is_admitted,
        "groups have rates of their own",
    )
    await advance(later.wait + unit / 50)
    expect((await store.pace(key, interval=unit, burst=3)).is_admitted, "a refused step changes nothing")
    expect(
        not (await store.pace(key, interval=unit, burst=3)).is_admitted, "one step an interval is admitted"
    )
    await advance(5 * unit)
    steps = [await store.pace(key, interval=unit, burst=3) for _ in range(4)]
    expect(
        [step.is_admitted for step in steps] == [True, True, True, False], "a rest gives one burst, not more"
    )
    many, admitted = keys("many"), list[bool]()

    async def step() -> None:
        admitted.append((await store.pace(many, interval=999 * unit, burst=5)).is_admitted)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(step)
    expect(sum(admitted) == 5, "of several steps at once no more than a burst is taken")


async def holds_value(store: Store, keys: Keys, *, advance: Advance, unit: float) -> None:
    """Compare and set."""
    key = keys("a")
    empty = await store.read(key)
    expect((empty.value, empty.version) == (None, 0), "what was never written has version 0")
    expect(
        not await store.swap(key, version=7, value=b"x", keep=99), "what is not there has no other version"
    )
    written = list[bool]()

    async def write(value: bytes) -> None:
        written.append(await store.swap(key, version=0, value=value, keep=99 * unit))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, bytes([number, 0, 255]))
    expect(sum(written) == 1, "of several that swap at once one succeeds")
    first = await store.read(key)
    expect(first.value is not None and first.value[1:] == b"\x00\xff", "bytes come back as they were written")
    expect(
        await store.swap(key, version=first.version, value=b"", keep=99 * unit),
        "the current version is replaced",
    )
    second = await store.read(key)
    expect(second.value == b"" and second.version not in (0, first.version), "a version is not used again")
    expect(
        not await store.swap(key, version=first.version, value=None, keep=9), "an old version deletes nothing"
    )
    expect(
        await store.swap(key, version=second.version, value=None, keep=9), "the current version is deleted"
    )
    expect((await store.read(key)).version == 0, "what was deleted is gone")
    expect(await store.swap(key, version=0, value=b"c", keep=unit), "what was deleted can be written anew")
    third = await store.read(key)
    expect(
        third.version not in (0, first.version, second.version),
        "a version is not used again after a deletion",
    )
    await advance(1.1 * unit)
    expect((await store.read(key)).version == 0, "a value is dropped when its time is over")
    expect(
        not await store.swap(key, version=third.version, value=b"d", keep=9),
        "what was dropped is not replaced",
    )


async def is_leased(store: Store, keys: Keys, *, advance: Advance, unit: float) -> None:
    """One owner at a time, for a bounded time."""
    key = keys("a")
    expect(await store.lease(key, "a", seconds=unit), "what nobody has is leased")
    expect(not await store.lease(key, "b", seconds=unit), "what one has no other gets")
    expect(await store.lease(key, "b", seconds=unit, group="g"), "groups have leases of their own")
    await advance(0.7 * unit)
    expect(await store.lease(key, "a", seconds=unit), "an owner prolongs its lease")
    await advance(0.7 * unit)
    await store.free(key, "b")
    expect(
        not await store.lease(key, "b", seconds=unit),
        "a lease that was prolonged goes on, and only its owner frees it",
    )
    await advance(0.5 * unit)
    expect(await store.lease(key, "b", seconds=99 * unit), "a lease frees itself")
    await store.free(key, "a")
    expect(not await store.lease(key, "a", seconds=unit), "a former owner frees nothing")
    await store.free(key, "b")
    expect(await store.lease(key, "c", seconds=unit), "a lease that was given back is free")
    many, got = keys("many"), list[bool]()

    async def take(owner: str) -> None:
        got.append(await store.lease(many, owner, seconds=99 * unit))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(take, str(number))
    expect(sum(got) == 1, "of several that lease at once one succeeds")
