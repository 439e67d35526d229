"""Accounts that are told of once they have little left, and batches of them that are taken from together.

How much is little is part of an account. What has been used is a store's; who is told is its caller's.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mcpguard.core.wire import JSON, canonical
from mcpguard.stores.store import Account, Amounts, Limits, Refusal, Store

__all__ = ["NOTHING", "Batch", "Watch", "WatchedAccount"]

MAX_KEY: Final = 512
"""Bytes of an account's key in a store; a longer one, made of names from outside, is hashed."""

MAX_TOLD: Final = 4096
"""Accounts that are known to have been told of, before all are forgotten."""

NOTHING: Final = Amounts()
"""What to look with, to see whether more has been used than an account may hold."""


@dataclass(frozen=True, slots=True)
class WatchedAccount(Account):
    """An account, and the same one with as much as may be used without a warning."""

    low: Account

    @classmethod
    def of(
        cls,
        name: JSON,
        *,
        label: str,
        limits: Limits,
        unwarned: Limits,
        group: str,
        window: float | None,
        ends_at: float | None,
    ) -> "WatchedAccount":
        """An account.

        Args:
            name: What makes it this one; of any length.
            label: What the operator's record calls it.
            limits: The most that may be used of it.
            unwarned: The most that may be used without a warning.
            group: What is kept together.
            window: Seconds of a rolling window, or None.
            ends_at: Seconds since the epoch after which it need not be kept, or None.
        """
        words = canonical(name)
        key = words.decode() if len(words) <= MAX_KEY else hashlib.sha256(words).hexdigest()
        low = Account(key, label=label, limits=unwarned, group=group, window=window, ends_at=ends_at)
        return cls(key, label=label, limits=limits, group=group, window=window, ends_at=ends_at, low=low)


class Batch(tuple[WatchedAccount, ...]):
    """Accounts of one group, and as much as may be used of each without a warning."""

    lows: Sequence[Account]

    @classmethod
    def of(cls, accounts: Iterable[WatchedAccount]) -> "Batch":
        """A batch of `accounts`."""
        batch = cls(accounts)
        batch.lows = tuple(account.low for account in batch)
        return batch


class Watch:
    """Tell of each account once that it has little left; in a rolling window once a window."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def low(self, store: Store, batch: Batch, now: float) -> Iterator[Refusal]:
        """Accounts that have little left and were not told of, with what has been used of them."""
        for account in batch:
            last = self._told.get(account.key)
            if last is not None and (account.window is None or now - last < account.window):
                continue
            short = store.look([account.low], NOTHING)
            if short is not None:
                if len(self._told) >= MAX_TOLD:
                    self._told.clear()
                self._told[account.key] = now
                yield short

    def forget(self, account: Account) -> None:
        """Know nothing of an account any longer. Called while garbage is collected: one step."""
        self._told.pop(account.key, None)
