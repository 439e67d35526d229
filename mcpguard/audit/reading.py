"""Read a trail back: its files in order, its records, its payloads and its checkpoints."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from mcpguard.audit.chain import parted
from mcpguard.audit.files import Files, trail_file
from mcpguard.audit.postgres_url import SCHEMES

__all__ = ["Segment", "Trail", "open_trail", "records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file of a trail.

    Args:
        name: What findings call it.
        lines: Its lines, read anew at every call.
        rows: Its payload rows, read anew at every call.
    """

    name: str
    lines: Callable[[], Iterable[bytes]]
    rows: Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """A trail as it lies there.

    Args:
        segments: Its files in order.
        notes: Its signed checkpoints, one after the other.
    """

    segments: tuple[Segment, ...]
    notes: str


def open_trail(path: str | Path) -> Trail:
    """The trail at `path`: a file in JSON Lines, its directory, an SQLite file, or the URL of a server.

    Args:
        path: A path, or `postgresql://user@host/database#trail`.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it cannot be read.
        ValueError: If it is a URL that names no trail.
        ModuleNotFoundError: If it is a URL, and `psycopg` is not installed.
    """
    if isinstance(path, str) and path.startswith(SCHEMES):
        from mcpguard.audit.postgres_tables import trail_at  # noqa: PLC0415 - an extra

        return trail_at(path)
    file = trail_file(path)
    if file.is_file() and _is_database(file):
        from mcpguard.audit.database import trail_in  # noqa: PLC0415 - sqlite3 loads on use

        return trail_in(file)
    files = Files(file)
    found = list(files.segments())
    if not found:
        raise FileNotFoundError(2, "there is no audit trail", str(file))
    segments = [
        Segment(
            name=one.name,
            lines=lambda one=one: _lines(one),  # type: ignore[misc]
            rows=lambda one=one: _lines(files.payloads(_number(one))),  # type: ignore[misc]
        )
        for one in found
    ]
    notes = files.notes.read_text("utf-8", errors="replace") if files.notes.is_file() else ""
    return Trail(segments=tuple(segments), notes=notes)


def records(trail: Trail) -> Iterator[dict[str, str | int | bool]]:
    """Every record that can be read, in order; whether they are genuine is `verify`'s business."""
    for segment in trail.segments:
        for line in segment.lines():
            parts = parted(line)
            if parts is None:
                continue
            try:
                text = str(parts[1], "utf-8")
                record, end = _decode(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict) and end == len(text):
                yield cast("dict[str, str | int | bool]", record)


_decode: Final = json.JSONDecoder().raw_decode
"""Decodes what begins with a value; canonical records have no white space around it."""


def _lines(path: Path) -> Iterator[bytes]:
    if path.is_file():
        with path.open("rb") as stream:
            yield from stream


def _is_database(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\x00"


def _number(path: Path) -> int:
    """A file's number, from its first record."""
    for line in _lines(path):
        parts = parted(line)
        try:
            return 0 if parts is None else int(json.loads(parts[1]).get("segment", 0))
        except (ValueError, AttributeError, TypeError):
            return 0
    return 0
