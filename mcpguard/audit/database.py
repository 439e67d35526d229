"""A trail in SQLite: the same records in the same chain, in a table; and reading it back.

One file holds the whole trail: it is not rotated. Its lines, written out, are those of the files.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from mcpguard.audit.chain import START, line, link
from mcpguard.audit.files import Lock
from mcpguard.audit.medium import Start
from mcpguard.audit.merkle import Tree
from mcpguard.audit.payloads import row_of
from mcpguard.audit.reading import Segment, Trail
from mcpguard.audit.stream import Entry, Stream

__all__ = ["Database", "trail_in"]

FORMAT: Final = 1
"""The tables' version, kept as SQLite's `user_version`."""

_TABLES: Final = """
CREATE TABLE records (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE payloads (seq INTEGER NOT NULL, line TEXT NOT NULL) STRICT;
CREATE INDEX payloads_seq ON payloads (seq);
CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE trail (id TEXT NOT NULL) STRICT;
"""


class Database:
    """Keep entries in an SQLite file, in WAL mode.

    Args:
        path: The file; directories are made.
        is_synced: Whether every transaction waits for the disk (`synchronous=FULL`).

    Raises:
        OSError: If another writer has the trail, or the file cannot be opened.
    """

    def __init__(self, path: Path, *, is_synced: bool) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        file = path.resolve()
        self._lock = Lock(file.with_name(f"{file.name}.lock"))
        self._first = 0
        try:
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self.start = self._found(is_synced)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            self._lock.release()
            raise OSError(5, f"no SQLite file of an audit trail: {error}", str(path)) from error
        except BaseException:
            self._lock.release()
            raise
        self._inode = path.stat().st_ino

    def append(self, entries: Sequence[Entry], /) -> None:
        """Keep entries in one transaction."""
        run = self._connection
        run.execute("BEGIN IMMEDIATE")
        try:
            run.executemany(
                "INSERT INTO records VALUES (?, ?, ?)",
                [(entry.seq, entry.hashed, entry.body.decode()) for entry in entries],
            )
            rows = [(entry.seq, entry.payload.decode()) for entry in entries if entry.payload is not None]
            run.executemany("INSERT INTO payloads VALUES (?, ?)", rows)
            run.execute("COMMIT")
        except sqlite3.Error as error:
            if run.in_transaction:
                run.execute("ROLLBACK")
            raise OSError(5, f"the audit trail cannot be written: {error}", str(self._path)) from error
        self._first = entries[0].seq

    def sync(self) -> None:
        """Nothing more to do: a transaction of a strict trail has waited, and others are synced by SQLite."""

    def rollback(self) -> None:
        """Take back the last transaction."""
        self._connection.execute("DELETE FROM payloads WHERE seq >= ?", (self._first,))
        self._connection.execute("DELETE FROM records WHERE seq >= ?", (self._first,))

    def note(self, text: str, /) -> None:
        """Keep a checkpoint."""
        self._connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))

    def is_full(self) -> bool:
        """Never."""
        return False

    def rotate(self, segment: int, /) -> None:
        """Never called."""

    def lost(self) -> str | None:
        """Refuse to go on into a file that nobody can find.

        Raises:
            FileNotFoundError: If the file was removed or replaced while it was open.
        """
        if not self._path.exists() or self._path.stat().st_ino != self._inode:
            raise FileNotFoundError(2, "the file of the audit trail was removed or replaced", str(self._path))
        return None

    def close(self) -> None:
        """Close the file and let other writers in."""
        self._connection.close()
        self._lock.release()

    def _found(self, is_synced: bool) -> Start:
        run = self._connection
        run.execute("PRAGMA busy_timeout = 5000")
        run.execute("PRAGMA journal_mode = WAL")
        run.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
        version: int = run.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT):
            raise sqlite3.DatabaseError(f"its format is {version}; this version knows {FORMAT}")
        if version == 0:
            stream = Stream()
            run.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
            run.execute("INSERT INTO trail VALUES (?)", (stream.id,))
            return Start(stream, {})
        (identity,) = run.execute("SELECT id FROM trail").fetchone()
        head, seq, tree, body = START, 0, Tree(), ""
        for stored, hashed, body in run.execute("SELECT seq, hash, body FROM records ORDER BY seq"):
            if link(head, body.encode()) != hashed or stored != seq + 1:
                raise sqlite3.DatabaseError(
                    f"record {seq + 1} was changed; verify the trail and begin a new one"
                )
            head, seq = hashed, stored
            tree.add(hashed)
        unclean = bool(seq) and '"kind":"closed"' not in body
        return Start(Stream(id=identity, seq=seq, head=head, tree=tree), {"unclean": True} if unclean else {})


def trail_in(path: Path) -> Trail:
    """The trail in an SQLite file, read only.

    Raises:
        OSError: If it is another kind of file.
    """
    try:
        with closing(_reading(path)) as run:
            notes = [text for (text,) in run.execute("SELECT text FROM notes ORDER BY id")]
            run.execute("SELECT seq, hash, body FROM records LIMIT 1")
    except sqlite3.Error as error:
        raise OSError(5, f"no SQLite file of an audit trail: {error}", str(path)) from error

    def lines() -> Iterator[bytes]:
        with closing(_reading(path)) as run:
            for hashed, body in run.execute("SELECT hash, body FROM records ORDER BY seq"):
                yield line(hashed, body.encode())

    def rows() -> Iterator[bytes]:
        with closing(_reading(path)) as run:
            for seq, row in run.execute("SELECT seq, line FROM payloads ORDER BY seq"):
                yield row_of(seq, row)

    return Trail(segments=(Segment(name=path.name, lines=lines, rows=rows),), notes="\n".join(notes) + "\n")


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
