"""The file of a `SQLiteStore`: opened, checked, shared with other processes, never waited for in a loop.

A transaction is tried where it is asked for. If another process or thread is just writing it is tried again,
first for a moment, then whenever its task has slept, for a bounded time. Below: `sqlite_format` knows the
file; what the tables mean is `sqlite`'s business.
"""

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from mcpguard.core.errors import StoreError, StoreFormatError, StoreFull
from mcpguard.stores.sqlite_format import make, prepare, transacted
from mcpguard.stores.workers import Workers

__all__ = ["SQLiteFile"]

T = TypeVar("T")

PAGE: Final = 4096
"""Bytes of a page."""

CHECKPOINT: Final = 1000
"""Transactions after which a process moves what is in the log to the file, in a worker thread."""

WORKERS: Final = 4
"""Threads of an event loop that move the log, or finish what was cancelled; others wait for one of them."""

PAUSE: Final = 0.002
"""Seconds between two attempts at most; a transaction takes a twentieth of it."""

SPELL: Final = 0.0005
"""Seconds for which an event loop attempts one transaction: half of the shortest sleep it can do instead."""

_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_let_others_run: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)

_workers: Final = Workers("sqlite")

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
        self._place = os.fspath(path)
        self._tables = tables
        self._pages = max(1, max_bytes // PAGE)
        self._patience = patience
        self._is_closed = False
        self._open: sqlite3.Connection | None = None
        self._begin_anew()
        try:
            make(path)
        except OSError as error:
            raise self._told(error) from error
        self._patiently(lambda _: None)

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        at_once: Callable[[sqlite3.Connection], T | None] | None = None,
        finish: bool = False,
    ) -> T:
        """Do `work` in one transaction, all of it or nothing.

        Args:
            work: Is done again if it could not be committed.
            at_once: One statement, read to its end, that is tried before: a transaction of its own, which
                does as much as `work` or, giving None, nothing.
            finish: Whether it is done even if the caller has been cancelled.

        Raises:
            StoreError: If it cannot be done.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        for pause in self._pauses():
            if self._since_checkpoint >= CHECKPOINT:
                break
            if self._lock.acquire(blocking=False):
                try:
                    return self._soon(work, at_once)
                except _Busy:
                    pass
                finally:
                    self._lock.release()
            try:
                with anyio.CancelScope(shield=finish):
                    await anyio.sleep(pause)
            except anyio.get_cancelled_exc_class():
                if finish:  # asyncio's own cancellation passes shields
                    with contextlib.suppress(StoreError):
                        await self._in_thread(work, at_once, finish=True)
                raise
        return await self._in_thread(work, at_once, finish=finish)

    async def aclose(self) -> None:
        """Close it, once what is under way is done."""
        self._is_closed = True
        await anyio.to_thread.run_sync(self._close, limiter=_workers.limited_to(WORKERS))

    async def _in_thread(
        self,
        work: Callable[[sqlite3.Connection], T],
        at_once: Callable[[sqlite3.Connection], T | None] | None,
        *,
        finish: bool,
    ) -> T:
        with anyio.move_on_after(2 * self._patience if finish else None, shield=finish):
            return await anyio.to_thread.run_sync(
                self._patiently, work, at_once, limiter=_workers.limited_to(WORKERS)
            )
        raise StoreError(f"{self._name} has too many callers waiting")

    def _patiently(
        self,
        work: Callable[[sqlite3.Connection], T],
        at_once: Callable[[sqlite3.Connection], T | None] | None = None,
    ) -> T:
        pauses = self._pauses()
        while True:
            pause = next(pauses)
            try:
                with self._lock:
                    value = self._attempt(work, at_once)
                break
            except _Busy:
                time.sleep(pause)
        if self._since_checkpoint >= CHECKPOINT:
            self._checkpoint()
        return value

    def _pauses(self) -> Generator[float]:
        """Seconds to wait, each after an attempt that was in vain, until it has been patient."""
        until, longest = time.monotonic() + self._patience, PAUSE / 64
        while True:
            longest = min(2 * longest, PAUSE)
            yield random.uniform(0, longest)  # noqa: S311 - no secret
            if time.monotonic() >= until:
                raise StoreError(f"{self._name} was locked for {self._patience:g} seconds")

    def _soon(
        self,
        work: Callable[[sqlite3.Connection], T],
        at_once: Callable[[sqlite3.Connection], T | None] | None,
    ) -> T:
        """Attempt it, and again while others are let run, for no longer than a sleep would take anyway."""
        until = 0.0
        while True:
            try:
                return self._attempt(work, at_once)
            except _Busy:
                now = time.monotonic()
                until = until or now + SPELL
                if now >= until:
                    raise
            _let_others_run()

    def _attempt(
        self,
        work: Callable[[sqlite3.Connection], T],
        at_once: Callable[[sqlite3.Connection], T | None] | None,
    ) -> T:
        try:
            connection = self._connection()
            value = None if at_once is None else at_once(connection)
            if value is None:
                value = transacted(connection, work)
        except (sqlite3.Error, OSError) as error:
            raise self._told(error) from error
        self._since_checkpoint += 1
        return value

    def _connection(self) -> sqlite3.Connection:
        """The connection to the file that is there now: one that was removed is not written to any longer."""
        if self._is_closed:
            raise StoreError(f"{self._name} is closed")
        try:
            there = os.stat(self._place)  # noqa: PTH116 - on every operation
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
            prepare(connection, self._tables, pages=self._pages, name=self._name)
        except BaseException:
            connection.close()
            raise
        self._identity = (there.st_dev, there.st_ino)
        self._open = connection
        self._since_checkpoint = CHECKPOINT
        return connection

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
