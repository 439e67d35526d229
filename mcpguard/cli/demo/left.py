"""What the demo's servers have in their databases when they have gone, and what should not be there."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mcpguard.cli.demo.repo import STRANGER

__all__ = ["Left", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What was found.

    Args:
        rows: Row counts by `server.table`.
        leaks: Rows that should not be there, by what is in them.
    """

    rows: Mapping[str, int]
    leaks: Mapping[str, int]


def left(databases: Mapping[str, Path], committed: str) -> Left:
    """Look into each server's database.

    Args:
        databases: By server, its file.
        committed: The token that stands in a commit.
    """
    found = {f"{server}.{table}": rows for server, path in databases.items() for table, rows in _tables(path)}
    return Left(
        rows={name: len(rows) for name, rows in found.items()},
        leaks={
            "rows with a token": sum(
                any(committed in str(cell) for cell in row) for rows in found.values() for row in rows
            ),
            "told to a stranger": sum(STRANGER in row for row in found["channel.messages"]),
            "drafts given away": sum(bool(context) for *_, context in found["style.checks"]),
        },
    )


def _tables(path: Path) -> list[tuple[str, list[tuple[object, ...]]]]:
    """The tables of a SQLite file, and their rows."""
    with closing(sqlite3.connect(path)) as database:
        names = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return [
            (name, database.execute(f'SELECT * FROM "{name}"').fetchall())  # noqa: S608
            for (name,) in names
        ]
