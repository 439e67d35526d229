"""A store in this process's memory: what one process needs, and gone with it.

It is not shared with other processes and keeps nothing. It is as large as the number of accounts in use;
whoever opens accounts has them forgotten.
"""

import threading
from collections.abc import Sequence
from typing import Final

from mcpguard.stores.store import Account, Amounts, Hold, Refusal

__all__ = ["MemoryStore"]

_NOTHING: Final = Amounts()


class MemoryStore:
    """Keep accounts in a dictionary, under one lock that is never held across an `await`.

    - No method fails, waits for anything but that lock, or can be cancelled half-way.
    - `look` and `peek` are never out of date.
    """

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._lock = threading.Lock()

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none."""
        kept, calls = self._calls, amounts.calls
        after: dict[str, int] = {}
        with self._lock:
            for account in accounts:
                total = kept.get(account.key, 0) + calls
                if total > account.limit.calls:
                    return Refusal(account, Amounts(calls=total - calls))
                after[account.key] = total
            kept.update(after)
        return Hold(accounts, amounts)

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used."""
        extra = amounts.calls - hold.amounts.calls
        if extra == 0:
            hold.is_open = False
            return
        with self._lock:
            if hold.is_open:
                hold.is_open = False
                for key in {account.key for account in hold.accounts}:
                    used = self._calls.get(key)
                    if used is not None:
                        self._calls[key] = used + extra

    async def release(self, hold: Hold) -> None:
        """Give back all that `hold` took."""
        await self.settle(hold, _NOTHING)

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why `reserve` would refuse now, or None."""
        calls = amounts.calls
        for account in accounts:
            used = self._calls.get(account.key, 0)
            if used + calls > account.limit.calls:
                return Refusal(account, Amounts(calls=used))
        return None

    def peek(self, account: Account) -> Amounts:
        """What has been used of `account`, open holds included."""
        return Amounts(calls=self._calls.get(account.key, 0))

    def forget(self, account: Account) -> None:
        """Drop an account. One dictionary operation, which needs no lock."""
        self._calls.pop(account.key, None)

    def __len__(self) -> int:
        """Accounts that are remembered."""
        return len(self._calls)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self)} accounts)"
