"""Trails for tests: written by the sinks, read as lines, and made again from changed lines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcpguard import Event, JsonLines
from mcpguard.audit.note import new_key
from mcpguard.audit.reading import Segment, Trail, open_trail, records
from mcpguard.audit.verdict import Verdict
from mcpguard.audit.verify import verify

Lines = list[bytes]

OWN = {"opened", "closed", "checkpoint", "dropped"}
"""Records that are about the trail."""


def event(seq: int = 1, **members: Any) -> Event:
    """Something that happened."""
    return Event(**{"kind": "received", "seq": seq, "time": 1.5, **members})


def write_key(folder: Path) -> tuple[Path, str]:
    """A new private key in a file, and the public one."""
    secret, public = new_key("tests")
    (folder / "key").write_text(secret, "utf-8")
    return folder / "key", public


async def write(path: Path, events: Sequence[Event], **options: Any) -> None:
    """Write a trail and close it."""
    sink = JsonLines(path, **options)
    for one in events:
        sink.emit(one)
        await sink.settle()
    await sink.aclose()


def lines_of(path: Path) -> Lines:
    """The lines of a file."""
    return path.read_bytes().splitlines(keepends=True)


def trail_of(*files: bytes, notes: str = "") -> Trail:
    """A trail in memory."""

    def reader(data: bytes) -> Callable[[], Lines]:
        return lambda: data.splitlines(keepends=True)

    segments = [
        Segment(name=f"file {number}", lines=reader(data), rows=lambda: ())
        for number, data in enumerate(files, start=1)
    ]
    return Trail(segments=tuple(segments), notes=notes)


def verified(lines: Lines | bytes, **options: Any) -> Verdict:
    """What verifying one file says."""
    notes = options.pop("notes", "")
    data = lines if isinstance(lines, bytes) else b"".join(lines)
    return verify(trail_of(data, notes=notes), **options)


def kept(path: Path) -> list[dict[str, Any]]:
    """The records of events, in order."""
    return [record for record in records(open_trail(path)) if record["kind"] not in OWN]
