"""A store in an SQLite file: what several processes on one host share, and a restart does not lose.

Not for files on a network: SQLite's locks do not hold there. Below: `sqlite_file` has the file and its
transactions, `total` what a window does.
"""

import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import StoreError
from mcpguard.stores.known import Known, Sums, sums
from mcpguard.stores.sqlite_file import SQLiteFile
from mcpguard.stores.sqlite_rows import (
    TABLES,
    AccountRow,
    drop_ended,
    encoded,
    find_account,
    put,
    read_record,
)
from mcpguard.stores.sqlite_steps import take_lease, take_step
from mcpguard.stores.store import SLICES, Account, Amounts, Hold, Pace, Record, Refusal, counted
from mcpguard.stores.total import Total

__all__ = ["SQLiteStore"]

T = TypeVar("T")

RETENTION: Final = 90 * 86_400.0
"""Seconds for which an account is kept that has neither window nor end, and is not used."""

MAX_BYTES: Final = 2**30
"""Size of a store: 1 GiB, some three million accounts."""

PATIENCE: Final = 5.0
"""Seconds for which an operation waits for other processes: half of what a limit gives its store."""

_SWEEP_EVERY: Final = 64
"""Transactions of a process from one look for what has ended to the next."""

_SWEPT: Final = 512
"""Rows of each table that one look takes out at most: more than can have come since the last."""

_FORGOTTEN: Final = 10_000
"""Accounts to be dropped that are remembered until the next transaction; of more, retention takes care."""

_AHEAD: Final = 1.25
"""How much longer a row is kept than it must be, so that its index does not change with every call."""

_AFTER: Final = 1 + 1 / SLICES
"""Windows after which nothing of what was used counts any more."""


class SQLiteStore:
    """Keep everything in one SQLite file (WAL), for all processes of a host that open it.

    - A process that is killed at any time loses nothing that was answered and breaks nothing; what its open
      holds took stays charged. A machine that loses power may lose the last seconds.
    - An operation never waits in the event loop for another process: it waits in a worker thread, at most
      `patience` seconds, then it raises.
    - A file that is removed, replaced by something else, read-only, full or damaged raises `StoreError`. If
      another process has made it anew, that one is used.
    - `look` and `peek` know what this process saw within the last second, and last.
    - A clock that is put forward ends windows, rates and leases as early.
    - A process that forks may go on using it on both sides.

    Args:
        path: The file. If it is not there it is made, for its owner alone, in a folder that is. SQLite keeps
            two more beside it, with `-wal` and `-shm` at the end of their names.
        clock: Time; only `time()` is read. All processes must agree on it.
        max_bytes: Size above which nothing new is kept, in bytes.
        retention: Seconds after which an account is dropped that has no window and no end, and is not used.
        patience: Seconds for which an operation waits for others.

    Raises:
        StoreFormatError: If the file is no store, or one of a newer release.
        StoreError: If it cannot be opened or made.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock = SYSTEM_CLOCK,
        max_bytes: int = MAX_BYTES,
        retention: float = RETENTION,
        patience: float = PATIENCE,
    ) -> None:
        for name, number in (("max_bytes", max_bytes), ("retention", retention), ("patience", patience)):
            if not number > 0:
                raise ValueError(f"{name} is above 0, not {number}")
        self._clock = clock
        self._retention = retention
        self._known = Known(clock)
        self._forgotten: deque[str] = deque(maxlen=_FORGOTTEN)
        self._until_sweep = 0
        self._file = SQLiteFile(Path(path), tables=TABLES, max_bytes=max_bytes, patience=patience)

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none."""
        taken = counted(amounts)

        def work(connection: sqlite3.Connection) -> _Taken | Refusal:
            time = self._clock.time()
            rows: dict[str, AccountRow] = {}
            for account in accounts:
                row = rows.get(account.key) or self._account(connection, account, time)
                short = row.total.short_of(account.limits, taken)
                if short is not None:
                    row.touch(connection)
                    return self._refusal(account, row.total, taken, short, time)
                rows[account.key] = row
            hold = _Taken(accounts, taken)
            for key, row in rows.items():
                row.total.add(taken)
                row.write(connection)
                hold.rows.append((key, row.id, row.total.latest))
                hold.seen.append(row.total.sums())
            return hold

        answer = await self._run(work)
        if isinstance(answer, Refusal):
            self._known.note(answer.account.key, sums(answer.used), answer.refills_in)
            return answer
        for (key, _, _), used in zip(answer.rows, answer.seen, strict=True):
            self._known.note(key, used)
        return answer

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used."""
        if not isinstance(hold, _Taken):
            raise StoreError("this hold is another store's")
        used = counted(amounts)
        if used == hold.amounts or not hold.is_open:
            hold.is_open = False
            return

        is_mine = False

        def work(connection: sqlite3.Connection) -> list[tuple[str, Sums]]:
            nonlocal is_mine
            if not hold.is_open and not is_mine:
                return []
            hold.is_open, is_mine = False, True
            time, seen = self._clock.time(), list[tuple[str, Sums]]()
            for key, place, taken_in in hold.rows:
                row = find_account(connection, "id", place)
                if row is not None:
                    row.total.slide(time)
                    row.total.correct(hold.amounts, used, taken_in)
                    row.write(connection)
                    seen.append((key, row.total.sums()))
            return seen

        try:
            seen = await self._run(work, finish=True)
        except BaseException:
            hold.is_open = hold.is_open or is_mine
            raise
        for key, total in seen:
            self._known.note(key, total)

    async def release(self, hold: Hold) -> None:
        """Give back all that `hold` took."""
        await self.settle(hold, Amounts())

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why `reserve` would have refused within the last second."""
        return self._known.look(accounts, amounts)

    def peek(self, account: Account) -> Amounts:
        """What had been used of `account` when this process last saw it."""
        return self._known.used(account.key)

    def forget(self, account: Account) -> None:
        """Drop an account with the next transaction."""
        self._known.drop(account.key)
        self._forgotten.append(account.key)

    async def pace(
        self, key: str, *, interval: float, burst: int, max_wait: float = 0.0, group: str = ""
    ) -> Pace:
        """One step of a rate."""
        place = (encoded(group), encoded(key))

        return await self._run(
            lambda connection: take_step(
                connection, place, self._clock.time(), interval=interval, burst=burst, max_wait=max_wait
            )
        )

    async def read(self, key: str, *, group: str = "") -> Record:
        """The value under `key`."""
        place = (encoded(group), encoded(key))
        return await self._run(lambda connection: read_record(connection, place, self._clock.time()))

    async def swap(
        self, key: str, *, version: int, value: bytes | None, keep: float, group: str = ""
    ) -> bool:
        """Write `value`, or delete it (None), if the version is still `version`."""
        place = (encoded(group), encoded(key))

        def work(connection: sqlite3.Connection) -> bool:
            now = self._clock.time()
            if read_record(connection, place, now).version != version:
                return False
            if value is None:
                connection.execute("DELETE FROM records WHERE kin = ? AND key = ?", place)
            else:
                put(connection, "records", place, value=value, keep=keep, expires=now + keep)
            return True

        return await self._run(work)

    async def lease(self, key: str, owner: str, *, seconds: float, group: str = "") -> bool:
        """Take a lease that frees itself after `seconds`, or prolong one's own."""
        place, name = (encoded(group), encoded(key)), encoded(owner)
        return await self._run(
            lambda connection: take_lease(connection, place, self._clock.time(), owner=name, seconds=seconds)
        )

    async def free(self, key: str, owner: str, *, group: str = "") -> None:
        """Give a lease back."""
        mine = (encoded(group), encoded(key), encoded(owner))
        await self._run(
            lambda connection: connection.execute(
                "DELETE FROM leases WHERE kin = ? AND key = ? AND owner = ?", mine
            ).close()
        )

    async def aclose(self) -> None:
        """Close the file; operations afterwards raise."""
        await self._file.aclose()

    def __repr__(self) -> str:
        return f"SQLiteStore({self._file.path.name!r})"

    async def _run(self, work: Callable[[sqlite3.Connection], T], *, finish: bool = False) -> T:
        """Do `work`, and now and then drop what has ended, in one transaction."""
        if not self._forgotten and self._until_sweep:
            self._until_sweep -= 1
            return await self._file.run(work, finish=finish)

        def swept(connection: sqlite3.Connection) -> T:
            value = work(connection)
            self._sweep(connection)
            return value

        return await self._file.run(swept, finish=finish)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(IndexError):
            for _ in range(_SWEPT):
                key = self._forgotten.popleft()
                connection.execute("DELETE FROM accounts WHERE key = ?", (encoded(key),))
        if self._until_sweep:
            self._until_sweep -= 1
            return
        self._until_sweep = _SWEEP_EVERY
        drop_ended(connection, self._clock.time(), _SWEPT)

    def _account(self, connection: sqlite3.Connection, account: Account, time: float) -> "AccountRow":
        """The row of an account, up to date, and kept for long enough."""
        row = find_account(connection, "key", encoded(account.key))
        if row is None:
            row = AccountRow(None, account.window, 0.0, 0, 0, 0, 0, 0, 0, b"", key=account.key)
        if row.total.window != account.window:
            row.total.roll(account.window, time)
        row.total.slide(time)
        if account.ends_at is not None:
            row.keep(account.ends_at, account.ends_at)
        else:
            unused = self._retention if account.window is None else _AFTER * account.window
            row.keep(time + unused, time + _AHEAD * unused)
        return row

    def _refusal(self, account: Account, total: Total, amounts: Amounts, short: str, time: float) -> Refusal:
        refills_in = total.refills_in(account.limits, amounts, short, time)
        if refills_in is None and account.ends_at is not None:
            refills_in = max(0.0, account.ends_at - time)
        return Refusal(account, total.amounts(), short, refills_in)


class _Taken(Hold):
    """A hold that knows the rows it was counted in, and the slices."""

    __slots__ = ("rows", "seen")

    def __init__(self, accounts: Sequence[Account], amounts: Amounts) -> None:
        self.accounts = accounts
        self.amounts = amounts
        self.id = ""
        self.is_open = True
        self.rows: list[tuple[str, int | None, int]] = []
        self.seen: list[Sums] = []
