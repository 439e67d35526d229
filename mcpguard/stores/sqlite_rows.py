"""The tables of a `SQLiteStore` and their rows, inside whatever transaction is under way.

What a step of a limit is stands in `sqlite`; transactions and the file in `sqlite_file`.
"""

import sqlite3
from typing import Final, TypeAlias

from mcpguard.core.errors import StoreError
from mcpguard.stores.store import MAX_AMOUNT, Record
from mcpguard.stores.total import Total

__all__ = ["TABLES", "AccountRow", "Spot", "drop_ended", "encoded", "find_account", "put", "read_record"]

Spot: TypeAlias = tuple[bytes, bytes]
"""Group and key of a rate, a value or a lease."""

TABLES: Final = """
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, window REAL, expires REAL NOT NULL,
    calls INTEGER NOT NULL, cost INTEGER NOT NULL, tokens INTEGER NOT NULL, bytes INTEGER NOT NULL,
    latest INTEGER NOT NULL, ahead INTEGER NOT NULL, slices BLOB NOT NULL);
CREATE INDEX accounts_expires ON accounts (expires);
CREATE TABLE rates (
    id INTEGER PRIMARY KEY, kin BLOB NOT NULL, key BLOB NOT NULL, due REAL NOT NULL, at REAL NOT NULL,
    expires REAL NOT NULL, UNIQUE (kin, key));
CREATE INDEX rates_expires ON rates (expires);
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kin BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    keep REAL NOT NULL, expires REAL NOT NULL, UNIQUE (kin, key));
CREATE INDEX records_expires ON records (expires);
CREATE TABLE leases (
    id INTEGER PRIMARY KEY, kin BLOB NOT NULL, key BLOB NOT NULL, owner BLOB NOT NULL, seconds REAL NOT NULL,
    expires REAL NOT NULL, UNIQUE (kin, key));
CREATE INDEX leases_expires ON leases (expires)
"""

_COLUMNS: Final = "id, window, expires, calls, cost, tokens, bytes, latest, ahead, slices"
_SELECT: Final = {
    column: f"SELECT {_COLUMNS} FROM accounts WHERE {column} = ?"  # noqa: S608 - constants
    for column in ("id", "key")
}
_SET: Final = "window = ?, calls = ?, cost = ?, tokens = ?, bytes = ?, latest = ?, ahead = ?, slices = ?"
_UPDATE: Final = f"UPDATE accounts SET {_SET} WHERE id = ?"  # noqa: S608 - constants
_UPDATE_KEPT: Final = f"UPDATE accounts SET {_SET}, expires = ? WHERE id = ?"  # noqa: S608 - constants
_INSERT: Final = (
    "INSERT INTO accounts (key, expires, window, calls, cost, tokens, bytes, latest, ahead, slices) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class AccountRow:
    """A row of the table of accounts."""

    __slots__ = ("ahead", "expires", "id", "is_kept", "key", "total")

    def __init__(
        self,
        id: int | None,
        window: float | None,
        expires: float,
        calls: int,
        cost: int,
        tokens: int,
        bytes: int,
        latest: int,
        ahead: int,
        slices: bytes,
        *,
        key: str = "",
    ) -> None:
        self.id, self.expires, self.is_kept, self.key, self.ahead = id, expires, True, key, ahead
        total = self.total = Total(None)
        total.window, total.latest, total.ahead = window, latest, ahead
        total.calls, total.cost, total.tokens, total.bytes = calls, cost, tokens, bytes
        try:
            total.restore(slices)
        except ValueError:
            raise StoreError("an account in the store is damaged") from None

    def keep(self, least: float, wanted: float) -> None:
        """Keep it until `wanted`, if it is not kept until `least` anyway: an index changes seldom."""
        if self.expires < least:
            self.expires, self.is_kept = wanted, False

    def touch(self, connection: sqlite3.Connection) -> None:
        """Write that it is kept for longer, and that the clock was put back; nothing else has changed."""
        if self.id is not None and not (self.is_kept and self.ahead == self.total.ahead):
            self.write(connection)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write it back, or for the first time."""
        total = self.total
        sums = [min(one, MAX_AMOUNT) for one in (total.calls, total.cost, total.tokens, total.bytes)]
        values = (total.window, *sums, total.latest, total.ahead, total.dump())
        if self.id is None:
            made = connection.execute(_INSERT, (encoded(self.key), self.expires, *values))
            self.id = made.lastrowid
        elif self.is_kept:
            connection.execute(_UPDATE, (*values, self.id))
        else:
            connection.execute(_UPDATE_KEPT, (*values, self.expires, self.id))


def find_account(connection: sqlite3.Connection, column: str, value: object) -> AccountRow | None:
    """The row of an account, by its `id` or `key`."""
    found = connection.execute(_SELECT[column], (value,)).fetchone()
    return None if found is None else AccountRow(*found)


def read_record(connection: sqlite3.Connection, place: Spot, now: float) -> Record:
    """A value and its version. After a clock was put back it is kept as long as from the beginning."""
    found = connection.execute(
        "SELECT id, value, keep, expires FROM records WHERE kin = ? AND key = ?", place
    ).fetchone()
    if found is None or found[3] <= now:
        return Record(None, 0)
    version, value, keep, expires = found
    if expires > now + keep:
        connection.execute("UPDATE records SET expires = ? WHERE id = ?", (now + keep, version))
    return Record(value, version)


def put(connection: sqlite3.Connection, table: str, place: Spot, **values: float | bytes) -> None:
    """Write a row anew, in place of one that is there."""
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(
        f"INSERT OR REPLACE INTO {table} (kin, key, {columns}) VALUES (?, ?, {marks})",  # noqa: S608 - constants
        (*place, *values.values()),
    )


def drop_ended(connection: sqlite3.Connection, now: float, most: int) -> None:
    """Take out what has ended, at most so many rows of each table."""
    for table in ("accounts", "rates", "records", "leases"):
        ended = f"SELECT id FROM {table} WHERE expires <= ? LIMIT {most}"  # noqa: S608 - constants
        connection.execute(f"DELETE FROM {table} WHERE id IN ({ended})", (now,))  # noqa: S608 - constants


def encoded(text: str) -> bytes:
    """Any name at all, also one that is no proper Unicode."""
    return text.encode("utf-8", "surrogatepass")
