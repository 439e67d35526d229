"""What a file of a `SQLiteStore` is known by: made where there is none, refused where it is something else.

Below is SQLite alone; who may write, and who waits, is `sqlite_file`'s business.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from mcpguard.core.errors import StoreFormatError

__all__ = ["make", "prepare", "transacted"]

T = TypeVar("T")

APPLICATION: Final = 0x6D637067
"""What SQLite's header calls a file of ours: "mcpg"."""

FORMAT: Final = 1
"""The version of the tables. A file of a later one is refused: what it means is not known."""


def make(path: Path) -> None:
    """Make a file that only its owner can read, unless there is one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def prepare(connection: sqlite3.Connection, tables: str, *, pages: int, name: str) -> None:
    """Make the tables, unless they are there, and set the connection up.

    Args:
        connection: A file that has just been opened.
        tables: Statements that make the tables.
        pages: How large the file may become.
        name: What an error calls it.

    Raises:
        StoreFormatError: If the file is no store, or one of a newer release; it is left as it is.
        sqlite3.Error: If it cannot be done.
    """
    connection.execute("BEGIN")
    _is_ours(connection, name)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    if not _is_ours(connection, name):
        for statement in tables.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA max_page_count = {pages}")


def transacted(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do `work` in a transaction, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return value


def _is_ours(connection: sqlite3.Connection, name: str) -> bool:
    """Whether there are tables, ours and of a format that is known."""
    application, version = _number(connection, "application_id"), _number(connection, "user_version")
    if application == APPLICATION and version > FORMAT:
        raise StoreFormatError(
            f"{name} has format {version}; this release of mcpguard knows {FORMAT} and none later"
        )
    if application == APPLICATION and version == FORMAT:
        return True
    if application or version or _number(connection, "schema_version"):
        raise StoreFormatError(f"{name} is a database of something else, and is left alone")
    return False


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
