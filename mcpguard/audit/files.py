"""The files of a trail in JSON Lines: their names, their order, and the lock that keeps a second writer out.

For `audit/events.jsonl`: that file is being written; `events.000001.jsonl` and on are full ones;
`events.000001.payloads.jsonl` has the payloads of file 1; `events.checkpoints` the signed notes.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FILE_NAME", "Files", "Lock", "own", "trail_file"]

FILE_NAME: Final = "events.jsonl"
"""The file in a path that is a directory."""

_DIGITS: Final = 6

_TAKEN: Final = "another process or sink is writing this trail; give each a path of its own"


@dataclass(frozen=True, slots=True)
class Files:
    """Where a trail's parts are.

    Args:
        path: The file that is being written.
    """

    path: Path

    @property
    def notes(self) -> Path:
        """Where signed checkpoints are added."""
        return self.path.with_name(f"{self.path.stem}.checkpoints")

    @property
    def lock(self) -> Path:
        """What the writer holds locked: one for all symbolic links to a trail."""
        file = self.path.resolve()
        return file.with_name(f"{file.stem}.lock")

    def full(self, segment: int) -> Path:
        """Where a file goes once it is full."""
        return self.path.with_name(f"{self.path.stem}.{segment:0{_DIGITS}}{self.path.suffix}")

    def payloads(self, segment: int) -> Path:
        """Where a file's payloads are."""
        return self.path.with_name(f"{self.path.stem}.{segment:0{_DIGITS}}.payloads.jsonl")

    def segments(self) -> Iterator[Path]:
        """The trail's files in order, the one that is being written last."""
        pattern = re.compile(rf"{re.escape(self.path.stem)}\.(\d{{{_DIGITS},}}){re.escape(self.path.suffix)}")
        if self.path.parent.is_dir():
            numbered = [(one, pattern.fullmatch(one.name)) for one in self.path.parent.iterdir()]
            full = [(int(match[1]), one) for one, match in numbered if match is not None]
            yield from (one for _, one in sorted(full))
        if self.path.exists():
            yield self.path


class Lock:
    """Keep other writers out, of this process too; the system lets go when the process ends.

    Raises:
        BlockingIOError: If somebody else writes this trail.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(
            path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600
        )
        try:
            _lock(self._descriptor)
        except OSError as error:
            self.release()
            raise BlockingIOError(errno.EAGAIN, _TAKEN, str(path)) from error

    def release(self) -> None:
        """Let others in."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def own(descriptor: int, path: Path) -> int:
    """Keep those out who have a file under another name, a hard link; the descriptor, which is closed if not.

    Where locks are mandatory (Windows) nothing is done: readers would be kept out, too.

    Raises:
        BlockingIOError: If somebody else writes it.
    """
    if os.name == "nt":
        return descriptor
    try:
        _lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise BlockingIOError(errno.EAGAIN, _TAKEN, str(path)) from error
    return descriptor


def trail_file(path: str | Path) -> Path:
    """The file that `path` means.

    A directory, or a path that is missing and has no suffix or ends in a slash, means `events.jsonl` inside.

    Raises:
        ValueError: If `path` is empty.
    """
    if not str(path):
        raise ValueError("path is empty; name a file or a directory")
    file = Path(path).absolute()
    if file.is_dir():
        return file / FILE_NAME
    if not file.exists() and (not file.suffix or str(path).endswith(("/", os.sep))):
        return file / FILE_NAME
    return file


def _lock(descriptor: int) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        import msvcrt  # noqa: PLC0415

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
