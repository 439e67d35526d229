"""Keep a trail in a PostgreSQL server: one writer, batches that are kept once, connections made again.

The writer holds an advisory lock for as long as it is connected. A batch is one statement, so it is kept
whole or not at all; where an answer is lost with the connection, the next one shows whether the batch is
there. No message of the server is repeated: it may quote a record.
"""

import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, TypeVar

from mcpguard.audit.chain import START, link
from mcpguard.audit.medium import Start
from mcpguard.audit.merkle import Tree
from mcpguard.audit.postgres_tables import FORMAT, TABLES, forget, insert, last, named, rows_of, shown
from mcpguard.audit.postgres_url import Address
from mcpguard.audit.recent import Recent
from mcpguard.audit.stream import Entry, Stream

if TYPE_CHECKING:
    from mcpguard.audit.postgres_tables import Line

__all__ = ["Tables"]

PAUSE: Final = 0.05
"""Seconds between two attempts to reach a server that is gone, at first; they double up to a second."""

SYNCED_AFTER: Final = 5.0
"""Seconds after which a server has synced what it has taken: three times `wal_writer_delay`, 0.6 by default
(PostgreSQL, Asynchronous Commit)."""

_LOCK: Final = "mcpguard.audit"
"""What advisory locks are named after, so that they meet no others."""

T = TypeVar("T")


class Tables:
    """Keep entries in a PostgreSQL server.

    - A server that is gone or does not answer is waited for up to `timeout`, and what was under way is kept
      once; after that every batch fails at once until the server is back.
    - A trail that somebody else has gone on with meanwhile takes nothing any more.

    Args:
        address: Server and trail.
        is_synced: Whether a commit waits for the server's disk (`synchronous_commit`).
        timeout: Seconds to wait for the server.

    Raises:
        OSError: If it cannot be reached or used, or another writer has the trail.
    """

    def __init__(self, address: Address, *, is_synced: bool, timeout: float) -> None:
        self._address = address
        self._is_synced = is_synced
        self._timeout = timeout
        self._open: Line | None = None
        self._recent: Recent | None = None
        self._doubtful: Sequence[Entry] = ()
        self._is_gone = True
        try:
            self.start = self._tried(self._found, seconds=None)
        except BaseException:
            self.close()
            raise
        found = self.start.stream
        self._recent = Recent((found.seq, found.head), seconds=0.0 if is_synced else SYNCED_AFTER)

    def append(self, entries: Sequence[Entry], /) -> None:
        """Keep entries in one statement."""

        def keep(run: "Line") -> None:
            if not self._is_kept(run, entries):
                self._doubtful = entries
                insert(run, self._address.trail, entries)

        self._tried(keep)
        self._doubtful = ()
        if self._recent is not None:
            self._recent.add(entries, monotonic())

    def sync(self) -> None:
        """Nothing more to do: a commit of a strict trail has waited, and others are synced by the server."""

    def rollback(self) -> None:
        """Never called: `sync` cannot fail."""

    def note(self, text: str, /) -> None:
        """Keep a checkpoint."""
        row = (self._address.trail, text)
        self._tried(lambda run: run.execute("INSERT INTO mcpguard_notes (trail, text) VALUES (%s, %s)", row))

    def is_full(self) -> bool:
        """Never."""
        return False

    def rotate(self, segment: int, /) -> None:
        """Never called."""

    def lost(self) -> str | None:
        """Nothing is lost in silence: a trail that was changed takes nothing any more."""
        return None

    def close(self) -> None:
        """Close the connection, which lets other writers in."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _is_kept(self, run: "Line", entries: Sequence[Entry]) -> bool:
        """Whether a batch whose answer was lost is there; one that nobody wants any more is taken back."""
        if not self._doubtful:
            return False
        doubted = self._doubtful
        if last(run, self._address.trail) == (doubted[-1].seq, doubted[-1].hashed):
            if doubted is entries:
                return True
            forget(run, self._address.trail, doubted[0].seq)
        self._doubtful = ()
        return False

    def _resume(self, run: "Line", recent: Recent) -> None:
        """Keep once more what a server that has crashed had not synced.

        Raises:
            OSError: If somebody else has written this trail.
        """
        head = last(run, self._address.trail)
        if self._doubtful and head == (self._doubtful[-1].seq, self._doubtful[-1].hashed):
            return
        lost = recent.after(head)
        if lost is None:
            raise OSError(5, "somebody else has written this audit trail", self._address.label)
        if lost:
            insert(run, self._address.trail, lost)

    def _tried(self, act: "Callable[[Line], T]", *, seconds: float | None = 0.0) -> T:
        """Do something at the server; if that is gone, wait for it and try again, unless it has been.

        Args:
            act: What to do, with a connection.
            seconds: For how long that may take; 0 for `timeout`, None for as long as it takes.
        """
        import psycopg  # noqa: PLC0415 - an extra

        until = monotonic() + (0.0 if self._is_gone else self._timeout)
        pause = PAUSE
        while True:
            try:
                run = self._open or self._connected()
                with nullcontext() if seconds is None else _cut_off(run, seconds or self._timeout):
                    done = act(run)
            except (psycopg.Error, BlockingIOError) as error:
                if isinstance(error, BlockingIOError) and self._recent is None:
                    raise
                is_lost = self._open is None or self._open.closed
                if is_lost:
                    self.close()
                if not is_lost or monotonic() + pause > until:
                    self._is_gone = is_lost
                    what = f"the audit trail cannot be written: {named(error)}"
                    raise OSError(5, what, self._address.label) from None
            else:
                self._is_gone = False
                return done
            sleep(pause)
            pause = min(1.0, pause * 2)

    def _connected(self) -> "Line":
        run = self._address.connect(self._timeout)
        try:
            with _cut_off(run, self._timeout):
                row = run.execute(
                    "SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s))", (_LOCK, self._address.trail)
                ).fetchone()
                if row != (True,):
                    what = "the audit trail is written by another process or sink"
                    raise BlockingIOError(11, what, self._address.label)
                if shown(run, "server_encoding") != "UTF8":
                    raise OSError(22, "the database is not in UTF8", self._address.label)
                if self._is_synced and shown(run, "fsync") != "on":
                    raise OSError(22, "the server does not sync: fsync is off", self._address.label)
                run.execute(f"SET synchronous_commit = {'on' if self._is_synced else 'off'}")
                if self._recent is not None:
                    self._resume(run, self._recent)
        except BaseException:
            run.close()
            raise
        self._open = run
        return run

    def _found(self, run: "Line") -> Start:
        trail = self._address.trail
        with run.transaction():
            run.execute("SET LOCAL synchronous_commit = on")
            run.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 0)", (_LOCK,))
            if run.execute("SELECT to_regclass('mcpguard_trails')").fetchone() == (None,):
                run.execute(TABLES)
            known = run.execute(
                "SELECT id, format FROM mcpguard_trails WHERE trail = %s", (trail,)
            ).fetchone()
            if known is None:
                stream = Stream()
                run.execute("INSERT INTO mcpguard_trails VALUES (%s, %s, %s)", (trail, stream.id, FORMAT))
                return Start(stream, {})
        if known[1] != FORMAT:
            raise OSError(22, f"its format is {known[1]}; this version knows {FORMAT}", self._address.label)
        head, seq, tree, body = START, 0, Tree(), ""
        for stored, hashed, body in rows_of(run, trail):
            if link(head, body.encode()) != hashed or stored != seq + 1:
                what = f"record {seq + 1} was changed; verify the trail and begin a new one"
                raise OSError(5, what, self._address.label)
            head, seq = hashed, stored
            tree.add(hashed)
        unclean = bool(seq) and '"kind":"closed"' not in body
        members: dict[str, str | int | bool] = {"unclean": True} if unclean else {}
        return Start(Stream(id=str(known[0]), seq=seq, head=head, tree=tree), members)


@contextmanager
def _cut_off(run: "Line", seconds: float) -> Generator[None]:
    """Shut a connection down after `seconds`: a server that hangs must not hold the writer for ever."""
    lock = threading.Lock()
    is_over = False

    def cut() -> None:
        with lock, suppress(OSError):
            if not is_over and not run.closed:
                with socket.socket(fileno=socket.dup(run.fileno())) as held:
                    held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            is_over = True
