"""The file of a `SQLiteStore`: opened, checked, shared with other processes, never waited for in a loop.

A transaction is tried where it is asked for, without waiting. If another process or thread is just writing,
it is tried again in a worker thread, for a bounded time. What the tables mean is `sqlite`'s business.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from mcpguard.core.errors import StoreError, StoreFormatError, StoreFull

__all__ = ["SQLiteFile"]

T = TypeVar("T")

APPLICATION: Final = 0x6D637067
"""What SQLite's header calls a file of ours: "mcpg"."""

FORMAT: Final = 1
"""The version of the tables. A file of a later one is refused: what it means is not known."""

PAGE: Final = 4096
"""Bytes of a page."""

CHECKPOINT: Final = 1000
"""Transactions after which a process moves what is in the log to the file, in a worker thread."""

WORKERS: Final = 4
"""Threads of an event loop that wait for the file; who comes later waits for one of them."""

PAUSE: Final = 0.002
"""Seconds between two attempts at most; a transaction takes a twentieth of it."""

_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_workers: Final = RunVar[anyio.CapacityLimiter]("mcpguard_sqlite_workers")

_left_by_parents: Final[list[object]] = []
"""Connections of a process this one was forked from: they must be neither used nor closed here."""


class _Busy(Exception):  # noqa: N818 - not an error: a turn that was not ours
    """Somebody else is writing."""


class SQLiteFile:
    """An SQLite file with the tables of a store.

    Args:
        path: Where it is; made, for its owner alone, if it is not there. Its folder must be.
        tables: Statements that make the tables.
        max_bytes: Size above which nothing new is taken.
        patience: Seconds for which a transaction waits for others, all in all.

    Raises:
        StoreFormatError: If there is a file that is no store, or one of a newer release.
        StoreError: If it cannot be opened or made.
    """

    def __init__(self, path: Path, *, tables: str, max_bytes: int, patience: float) -> None:
        self.path = path
        self._tables = tables
        self._pages = max(1, max_bytes // PAGE)
        self._patience = patience
        self._is_closed = False
        self._open: sqlite3.Connection | None = None
        self._begin_anew()
        try:
            _make(path)
        except OSError as error:
            raise self._told(error) from error
        self._patiently(lambda _: None)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, finish: bool = False) -> T:
        """Do `work` in one transaction, all of it or nothing.

        Args:
            work: Is done again if it could not be committed.
            finish: Whether it is done even if the caller has been cancelled.

        Raises:
            StoreError: If it cannot be done.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        if self._since_checkpoint < CHECKPOINT and self._lock.acquire(blocking=False):
            try:
                return self._attempt(work)
            except _Busy:
                pass
            finally:
                self._lock.release()
        with anyio.move_on_after(2 * self._patience if finish else None, shield=finish):
            return await anyio.to_thread.run_sync(self._patiently, work, limiter=_limiter())
        raise StoreError(f"{self._name} has too many callers waiting")

    async def aclose(self) -> None:
        """Close it, once what is under way is done."""
        self._is_closed = True
        await anyio.to_thread.run_sync(self._close, limiter=_limiter())

    def _patiently(self, work: Callable[[sqlite3.Connection], T]) -> T:
        until, pause = time.monotonic() + self._patience, PAUSE / 64
        while True:
            try:
                with self._lock:
                    value = self._attempt(work)
                break
            except _Busy:
                if time.monotonic() >= until:
                    raise StoreError(f"{self._name} was locked for {self._patience:g} seconds") from None
            pause = min(2 * pause, PAUSE)
            time.sleep(random.uniform(0, pause))  # noqa: S311 - no secret
        if self._since_checkpoint >= CHECKPOINT:
            self._checkpoint()
        return value

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                value = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._told(error) from error
        self._since_checkpoint += 1
        return value

    def _connection(self) -> sqlite3.Connection:
        """The connection to the file that is there now: one that was removed is not written to any longer."""
        if self._is_closed:
            raise StoreError(f"{self._name} is closed")
        try:
            there = os.stat(self.path)  # noqa: PTH116 - on every operation
        except FileNotFoundError:
            raise StoreError(f"{self._name} is gone") from None
        if self._open is None or (there.st_dev, there.st_ino) != self._identity:
            self._disconnect()
            return self._connect()
        return self._open

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=0.0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            there = self.path.stat()
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._identity = (there.st_dev, there.st_ino)
        self._open = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        self._check(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if not self._check(connection):
            for statement in self._tables.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA max_page_count = {self._pages}")
        self._since_checkpoint = CHECKPOINT

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Whether there are tables, ours and of a format that is known."""
        application, version = _number(connection, "application_id"), _number(connection, "user_version")
        if application == APPLICATION and version > FORMAT:
            raise StoreFormatError(
                f"{self._name} has format {version}; this release of mcpguard knows {FORMAT} and none later"
            )
        if application == APPLICATION and version == FORMAT:
            return True
        if application or version or _number(connection, "schema_version"):
            raise StoreFormatError(f"{self._name} is a database of something else, and is left alone")
        return False

    def _checkpoint(self) -> None:
        """Move the log into the file, on a connection of its own: it takes as long as the disk does."""
        self._since_checkpoint = 0
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.0)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()
        except sqlite3.Error:
            return

    def _begin_anew(self) -> None:
        """Have no connection; one that a parent process opened is left to it."""
        if self._open is not None:
            _left_by_parents.append(self._open)
        self._open = None
        self._identity = (0, 0)
        self._lock = threading.Lock()
        self._since_checkpoint = 0
        self._pid = os.getpid()

    def _disconnect(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def _close(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                self._disconnect()

    def __del__(self) -> None:
        if getattr(self, "_pid", None) == os.getpid():
            self._disconnect()

    @property
    def _name(self) -> str:
        return f"the store {self.path.name}"

    def _told(self, error: sqlite3.Error | OSError) -> Exception:
        """The error in the words of stores."""
        if isinstance(error, OSError):
            return StoreError(f"{self._name} cannot be opened: {error.strerror}")
        code: int = getattr(error, "sqlite_errorcode", -1)
        if code & 0xFF in _BUSY:
            return _Busy()
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"{self._name} is full, or its disk is")
        if code == sqlite3.SQLITE_NOTADB:
            return StoreFormatError(f"{self._name} is not an SQLite database")
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StoreError(f"{self._name} cannot be used ({name})")


def _make(path: Path) -> None:
    """Make a file that only its owner can read, unless there is one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value


def _limiter() -> anyio.CapacityLimiter:
    """The worker threads of this event loop."""
    try:
        return _workers.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(WORKERS)
        _workers.set(limiter)
        return limiter
