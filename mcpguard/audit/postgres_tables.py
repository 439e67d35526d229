"""The tables of trails in PostgreSQL: what is asked of them, and a trail read back."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from mcpguard.audit.chain import START, line
from mcpguard.audit.payloads import row_of
from mcpguard.audit.postgres_url import Address
from mcpguard.audit.reading import Segment, Trail
from mcpguard.audit.recent import Head
from mcpguard.audit.stream import Entry

if TYPE_CHECKING:
    from psycopg import Connection

    Line: TypeAlias = Connection[tuple[object, ...]]

__all__ = ["FORMAT", "TABLES", "Line", "forget", "insert", "last", "named", "rows_of", "shown", "trail_at"]

FORMAT: Final = 1
"""The tables' version, kept with each trail."""

TABLES: Final = """
CREATE TABLE mcpguard_trails (trail text PRIMARY KEY, id text NOT NULL, format integer NOT NULL);
CREATE TABLE mcpguard_records (trail text, seq bigint, hash bytea NOT NULL, body text NOT NULL,
    PRIMARY KEY (trail, seq));
CREATE TABLE mcpguard_payloads (trail text, seq bigint, line text NOT NULL, PRIMARY KEY (trail, seq));
CREATE TABLE mcpguard_notes (trail text, id bigint GENERATED ALWAYS AS IDENTITY, text text NOT NULL,
    PRIMARY KEY (trail, id));
"""

_INSERT: Final = """
WITH payloads AS (
    INSERT INTO mcpguard_payloads SELECT %(trail)s, * FROM unnest(%(at)s::bigint[], %(rows)s::text[])
)
INSERT INTO mcpguard_records
    SELECT %(trail)s, * FROM unnest(%(seqs)s::bigint[], %(hashes)s::bytea[], %(bodies)s::text[])
"""

_FORGET: Final = """
WITH payloads AS (DELETE FROM mcpguard_payloads WHERE trail = %(trail)s AND seq >= %(seq)s)
DELETE FROM mcpguard_records WHERE trail = %(trail)s AND seq >= %(seq)s
"""


def insert(run: "Line", trail: str, entries: Sequence[Entry]) -> None:
    """Keep entries in one statement."""
    paid = [(entry.seq, entry.payload.decode()) for entry in entries if entry.payload is not None]
    run.execute(
        _INSERT,
        {
            "trail": trail,
            "at": [seq for seq, _ in paid],
            "rows": [row for _, row in paid],
            "seqs": [entry.seq for entry in entries],
            "hashes": [entry.hashed for entry in entries],
            "bodies": [entry.body.decode() for entry in entries],
        },
    )


def forget(run: "Line", trail: str, seq: int) -> None:
    """Take back the records from `seq` on."""
    run.execute(_FORGET, {"trail": trail, "seq": seq})


def rows_of(run: "Line", trail: str) -> Iterator[tuple[int, bytes, str]]:
    """Position, hash and body of each record, a thousand or so at a time."""
    with run.transaction(), run.cursor(name="records") as cursor:
        cursor.itersize = 2000
        cursor.execute("SELECT seq, hash, body FROM mcpguard_records WHERE trail = %s ORDER BY seq", (trail,))
        for seq, hashed, body in cursor:
            yield int(str(seq)), hashed if isinstance(hashed, bytes) else b"", str(body)


def last(run: "Line", trail: str) -> Head:
    """Position and hash of a trail's last record."""
    found = "SELECT seq, hash FROM mcpguard_records WHERE trail = %s ORDER BY seq DESC LIMIT 1"
    row = run.execute(found, (trail,)).fetchone()
    return (0, START) if row is None else (int(str(row[0])), row[1] if isinstance(row[1], bytes) else b"")


def shown(run: "Line", setting: str) -> str:
    """A setting of the server."""
    row = run.execute("SELECT current_setting(%s)", (setting,)).fetchone()
    return "" if row is None else str(row[0])


def named(error: Exception) -> str:
    """An error without its text: class and, where the server gave one, its SQLSTATE."""
    state = getattr(error, "sqlstate", None)
    return type(error).__name__ if state is None else f"{type(error).__name__} ({state})"


def trail_at(url: str) -> Trail:
    """The trail at `postgresql://user@host/database#trail`, read only.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If the server cannot be reached or used.
        ValueError: If `url` is none.
    """
    import psycopg  # noqa: PLC0415 - an extra

    address = Address.of(url)

    @contextmanager
    def reading() -> "Generator[Line]":
        try:
            with address.connect(10.0) as run:
                run.read_only = True
                yield run
        except psycopg.Error as error:
            raise OSError(5, f"the audit trail cannot be read: {named(error)}", address.label) from None

    with reading() as run:
        where = (address.trail,)
        known = run.execute("SELECT to_regclass('mcpguard_trails')").fetchone() != (None,)
        if not known or not run.execute("SELECT 1 FROM mcpguard_trails WHERE trail = %s", where).fetchone():
            raise FileNotFoundError(2, "there is no audit trail", address.label)
        notes = run.execute("SELECT text FROM mcpguard_notes WHERE trail = %s ORDER BY id", where).fetchall()

    def lines() -> Iterator[bytes]:
        with reading() as run:
            for _, hashed, body in rows_of(run, address.trail):
                yield line(hashed, body.encode())

    def rows() -> Iterator[bytes]:
        with reading() as run, run.transaction(), run.cursor(name="payloads") as cursor:
            cursor.execute("SELECT seq, line FROM mcpguard_payloads WHERE trail = %s ORDER BY seq", where)
            for seq, row in cursor:
                yield row_of(int(str(seq)), str(row))

    segment = Segment(name=address.label, lines=lines, rows=rows)
    return Trail(segments=(segment,), notes="\n".join(str(text) for (text,) in notes) + "\n")
