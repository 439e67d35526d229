"""A store in this process's memory: what one process needs, and gone with it.

It is not shared with other processes and keeps nothing.
"""

import threading
from collections.abc import Sequence
from typing import Final

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import StoreError, StoreFull
from mcpguard.stores.store import PRECISION, Account, Amounts, Hold, Pace, Record, Refusal
from mcpguard.stores.total import Total

__all__ = ["MemoryStore"]

MAX_KEYS: Final = 1_000_000
"""Accounts, rates, values and leases kept together: some 300 MB at the most."""

_FIRST_SWEEP: Final = 1024
"""Keys from which on what has ended is looked for whenever their number has doubled."""

_NOTHING: Final = Amounts()
_NO_RECORD: Final = Record(None, 0)


class MemoryStore:
    """Keep everything in dictionaries, under one lock that is never held across an `await`.

    - No method waits for anything but that lock, or can be cancelled half-way.
    - `look` and `peek` are never out of date.

    Args:
        clock: Its time.
        max_keys: What it keeps at most. At least 1.

    Raises:
        ValueError: If `max_keys` is below 1.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, max_keys: int = MAX_KEYS) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys is at least 1, not {max_keys}")
        self._clock = clock
        self._max_keys = max_keys
        self._accounts: dict[str, Total] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._records: dict[tuple[str, str], tuple[Record, float]] = {}
        self._leases: dict[tuple[str, str], tuple[str, float]] = {}
        self._versions = 0
        self._sweep_at = _FIRST_SWEEP
        self._is_closed = False
        self._lock = threading.Lock()

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none."""
        kept = self._accounts
        touched: list[Total] = []
        with self._lock:
            for account in accounts:
                total = kept.get(account.key)
                if total is None:
                    total = self._opened(account)
                elif total.window != account.window:
                    total.roll(account.window, self._clock.now())
                elif total.window is not None:
                    total.slide(self._clock.now())
                short = total.short_of(account.limits, amounts)
                if short is not None:
                    return self._refusal(account, total, amounts, short)
                if total not in touched:
                    touched.append(total)
            for total in touched:
                total.add(amounts)
        return _Taken(accounts, amounts, touched)

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used."""
        if not isinstance(hold, _Taken):
            raise StoreError("this hold is another store's")
        with self._lock:
            if not hold.is_open:
                return
            hold.is_open = False
            if amounts is not hold.amounts and amounts != hold.amounts:
                for total, taken_in in zip(hold.totals, hold.slices, strict=True):
                    if total.window is not None:
                        total.slide(self._clock.now())
                    total.correct(hold.amounts, amounts, taken_in)

    async def release(self, hold: Hold) -> None:
        """Give back all that `hold` took."""
        await self.settle(hold, _NOTHING)

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why `reserve` would refuse now, or None."""
        kept = self._accounts
        for account in accounts:
            total = kept.get(account.key, _EMPTY)
            if total.window is not None:
                with self._lock:
                    total.slide(self._clock.now())
            short = total.short_of(account.limits, amounts)
            if short is not None:
                return self._refusal(account, total, amounts, short)
        return None

    def peek(self, account: Account) -> Amounts:
        """What has been used of `account`, open holds included."""
        total = self._accounts.get(account.key, _EMPTY)
        if total.window is not None:
            with self._lock:
                total.slide(self._clock.now())
        return total.amounts()

    def forget(self, account: Account) -> None:
        """Drop an account. One dictionary operation, which needs no lock."""
        self._accounts.pop(account.key, None)

    async def pace(
        self, key: str, *, interval: float, burst: int, max_wait: float = 0.0, group: str = ""
    ) -> Pace:
        """One step of a rate."""
        now = self._clock.now()
        place = (group, key)
        with self._lock:
            due = self._rates.get(place)
            if due is None:
                self._make_room()
                due = now
            wait = due - (burst - 1) * interval - now
            if wait > max_wait + PRECISION:
                return Pace(False, wait)
            self._rates[place] = max(now, due) + interval
        return Pace(True, wait) if wait > PRECISION else _AT_ONCE

    async def read(self, key: str, *, group: str = "") -> Record:
        """The value under `key`."""
        with self._lock:
            return self._record((group, key))

    async def swap(
        self, key: str, *, version: int, value: bytes | None, keep: float, group: str = ""
    ) -> bool:
        """Write `value`, or delete it (None), if the version is still `version`."""
        place = (group, key)
        with self._lock:
            if self._record(place).version != version:
                return False
            if value is None:
                self._records.pop(place, None)
                return True
            if place not in self._records:
                self._make_room()
            self._versions += 1
            self._records[place] = (Record(value, self._versions), self._clock.now() + keep)
            return True

    async def lease(self, key: str, owner: str, *, seconds: float, group: str = "") -> bool:
        """Take a lease that frees itself after `seconds`, or prolong one's own."""
        place, now = (group, key), self._clock.now()
        with self._lock:
            held = self._leases.get(place)
            if held is not None and held[0] != owner and held[1] > now:
                return False
            if held is None:
                self._make_room()
            self._leases[place] = (owner, now + seconds)
            return True

    async def free(self, key: str, owner: str, *, group: str = "") -> None:
        """Give a lease back."""
        place = (group, key)
        with self._lock:
            held = self._leases.get(place)
            if held is not None and held[0] == owner:
                del self._leases[place]

    async def aclose(self) -> None:
        """Keep nothing any longer; what is new is refused from now on."""
        with self._lock:
            self._is_closed = True
            self._accounts.clear()
            self._rates.clear()
            self._records.clear()
            self._leases.clear()

    def __len__(self) -> int:
        """Accounts, rates, values and leases that are kept."""
        return len(self._accounts) + len(self._rates) + len(self._records) + len(self._leases)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self)} keys)"

    def _opened(self, account: Account) -> "Total":
        self._make_room()
        total = Total(account)
        if total.window is not None:
            total.slide(self._clock.now())
        self._accounts[account.key] = total
        return total

    def _record(self, place: tuple[str, str]) -> Record:
        record, until = self._records.get(place, (_NO_RECORD, 0.0))
        if record.version and until <= self._clock.now():
            del self._records[place]
            return _NO_RECORD
        return record

    def _refusal(self, account: Account, total: "Total", amounts: Amounts, short: str) -> Refusal:
        refills_in = total.refills_in(account.limits, amounts, short, self._clock.now())
        if refills_in is None and account.ends_at is not None:
            refills_in = max(0.0, account.ends_at - self._clock.time())
        return Refusal(account, total.amounts(), short, refills_in)

    def _make_room(self) -> None:
        """Drop what has ended, now and then, before something is kept under a new key."""
        if self._is_closed:
            raise StoreError("this store is closed")
        size = len(self)
        if size < self._sweep_at and size < self._max_keys:
            return
        now, time = self._clock.now(), self._clock.time()
        for key, total in list(self._accounts.items()):
            if total.is_over(now, time):
                del self._accounts[key]
        for place, due in list(self._rates.items()):
            if due <= now:
                del self._rates[place]
        for place, (_, until) in list(self._records.items()):
            if until <= now:
                del self._records[place]
        for place, (_, until) in list(self._leases.items()):
            if until <= now:
                del self._leases[place]
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self))
        if len(self) >= self._max_keys:
            raise StoreFull(f"the store keeps {self._max_keys} keys, all of them in use")


class _Taken(Hold):
    """A hold that knows what it was counted in."""

    __slots__ = ("slices", "totals")

    def __init__(self, accounts: Sequence[Account], amounts: Amounts, totals: list[Total]) -> None:
        self.accounts = accounts
        self.amounts = amounts
        self.id = ""
        self.is_open = True
        self.totals = totals
        self.slices = [total.latest for total in totals]


_EMPTY: Final = Total(None)
_AT_ONCE: Final = Pace(True, 0.0)
