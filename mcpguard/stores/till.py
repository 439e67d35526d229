"""Take from accounts and give back, whatever happens to the call they are charged for.

A store takes from the accounts of one group at once. Here several groups become one step for the caller: all
of them, or none. What a store in memory does is done in one go; any other is given time to finish it, also
when the caller has been cancelled, and no more than that.

Above: interceptors that hold. Below: stores.
"""

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

import anyio
import anyio.lowlevel

from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Account, Amounts, Hold, Refusal, Store

__all__ = ["Till"]

T = TypeVar("T")

STORE_TIME: Final = 10.0
"""Seconds for which a store may hold up a call, per operation: more than a store needs that is well."""


class Till:
    """Take and settle holds of one store.

    - A refusal, an error and a cancellation of `take` leave nothing held, unless giving back fails too.
    - `close` never raises, except what it was cancelled with, after it has finished.

    Args:
        store: Where what is used is kept.
    """

    __slots__ = ("is_quick", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_quick = isinstance(store, MemoryStore)
        """Whether the store neither waits nor fails nor can be cancelled half-way."""

    async def take(self, batches: Sequence[Sequence[Account]], amounts: Amounts) -> Sequence[Hold] | Refusal:
        """Take `amounts` from every account in every batch, or from none.

        Args:
            batches: Accounts, each batch of one group.
            amounts: What to take from each.

        Raises:
            StoreError: If the store cannot tell.
            TimeoutError: If it takes too long; what it was asked for last may then be charged.
        """
        holds: list[Hold] = []
        try:
            for batch in batches:
                hold = await self._bounded(self.store.reserve(batch, amounts))
                if isinstance(hold, Refusal):
                    await self.close(holds, None)
                    return hold
                holds.append(hold)
            if not self.is_quick:
                await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            await self.close(holds, None)
            raise
        return holds

    async def close(self, holds: Sequence[Hold], used: Amounts | None) -> Sequence[tuple[Hold, Exception]]:
        """Settle `holds` with what was used, or release them.

        Args:
            holds: What was taken.
            used: What was used of each; None: nothing, the call was not sent.

        Returns:
            The holds that stay charged because the store failed, and how.
        """
        failed: list[tuple[Hold, Exception]] = []
        for hold in holds:
            try:
                await self._bounded(
                    self.store.release(hold) if used is None else self.store.settle(hold, used)
                )
            except Exception as error:  # noqa: BLE001 - any store, any failure
                failed.append((hold, error))
        return failed

    async def _bounded(self, work: Awaitable[T]) -> T:
        if self.is_quick:
            return await work
        with anyio.fail_after(STORE_TIME, shield=True):
            return await work
