"""What keeps a trail's entries: files in JSON Lines. `sinks.sqlite` has the other medium.

A medium is used by one thread. Whole batches are kept or nothing of them is: what a full disk has cut short
is cut off again, so that the chain never has half a link.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from mcpguard.audit.files import Files, Lock, own
from mcpguard.audit.found import chain_of
from mcpguard.audit.payloads import set_aside, trim
from mcpguard.audit.stream import Entry, Stream

__all__ = ["FileMedium", "Medium", "Start"]


class Start:
    """How a trail was found: what its first new record says of it.

    Args:
        stream: Where it stands.
        members: For the record: `unclean` where the last writer did not close, `torn_bytes` cut off.
    """

    __slots__ = ("members", "stream")

    def __init__(self, stream: Stream, members: dict[str, str | int | bool]) -> None:
        self.stream = stream
        self.members = members


class Medium(Protocol):
    """Where entries are kept.

    - `append` keeps all entries or raises and keeps none; what it has kept survives the process.
    - `sync` returns once all of it survives a power cut.
    - `rollback` forgets what was appended since the last `sync` or `settle`.
    """

    def append(self, entries: Sequence[Entry], /) -> None:
        """Keep entries."""
        ...

    def sync(self) -> None:
        """Make them survive a power cut."""
        ...

    def rollback(self) -> None:
        """Take back the last `append`, whose `sync` has failed."""
        ...

    def note(self, text: str, /) -> None:
        """Keep a signed checkpoint, synced."""
        ...

    def is_full(self) -> bool:
        """Whether the next entries belong into a new file."""
        ...

    def rotate(self, segment: int, /) -> None:
        """Begin a new file; `segment` is the number of the one that is full."""
        ...

    def lost(self) -> str | None:
        """What became of the file behind our back: `removed`, `replaced`, `damaged`; it is set aside."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


_sync: Final = getattr(os, "fdatasync", os.fsync)
"""Content and size of a file; its times may wait."""

_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_APPEND
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
"""Append only; a pipe nobody reads is an error."""


class FileMedium:
    """Files in JSON Lines, readable by their owner only.

    Args:
        path: The file that is written.
        max_bytes: Size at which a new one is begun.

    Raises:
        OSError: If it cannot be opened, or another writer has it.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.files = Files(path)
        self._max_bytes = max_bytes
        self._payloads: int | None = None
        self._payloads_kept = 0
        self._segment = 1
        self._is_damaged = False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "a trail is kept in a regular file", str(path))
        self._lock = Lock(self.files.lock)
        self._descriptor = -1
        try:
            if path.exists():
                os.close(own(os.open(path, _FLAGS, 0o600), path))
            self.start = self._found()
            self._descriptor = self._opened()
        except BaseException:
            self.close()
            raise
        self._size = self._kept = os.fstat(self._descriptor).st_size

    def append(self, entries: Sequence[Entry], /) -> None:
        """Keep entries: payloads first, then the records that commit to them."""
        rows = [entry.payload + b"\n" for entry in entries if entry.payload is not None]
        self._kept = self._size
        if rows and self._payloads is None:
            self._payloads = os.open(self.files.payloads(self._segment), _FLAGS, 0o600)
        if self._payloads is not None:
            self._payloads_kept = os.fstat(self._payloads).st_size
        data = b"".join([entry.line for entry in entries])
        try:
            if self._payloads is not None:
                _write(self._payloads, b"".join(rows))
            _write(self._descriptor, data)
        except OSError:
            self.rollback()
            raise
        self._size += len(data)

    def sync(self) -> None:
        """Wait for the disk."""
        if self._payloads is not None:
            _sync(self._payloads)
        _sync(self._descriptor)

    def rollback(self) -> None:
        """Cut the files back to what was kept before; what cannot be cut is set aside by `lost`."""
        try:
            os.ftruncate(self._descriptor, self._kept)
            self._size = self._kept
            if self._payloads is not None:
                os.ftruncate(self._payloads, self._payloads_kept)
        except OSError:
            self._is_damaged = True

    def note(self, text: str, /) -> None:
        """Add a checkpoint to those there are."""
        descriptor = os.open(self.files.notes, _FLAGS, 0o600)
        try:
            _write(descriptor, text.encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def is_full(self) -> bool:
        """Whether the file has reached its size."""
        return self._size >= self._max_bytes

    def rotate(self, segment: int, /) -> None:
        """Put the full file aside under its number and begin anew."""
        self.sync()
        set_aside(self.files.payloads(segment + 1))
        fresh = self.files.path.with_name(f"{self.files.path.name}.new")
        descriptor = own(os.open(fresh, _FLAGS | os.O_TRUNC, 0o600), fresh)
        try:
            self.files.path.rename(self.files.full(segment))
        except OSError:
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            raise
        fresh.rename(self.files.path)
        self._begin(descriptor, segment + 1)

    def lost(self) -> str | None:
        """Look whether the file is still where it was; if it is not, begin a new one under its name."""
        try:
            here = self.files.path.stat()
            mine = os.fstat(self._descriptor)
            what = None if (here.st_ino, here.st_dev) == (mine.st_ino, mine.st_dev) else "replaced"
        except FileNotFoundError:
            what = "removed"
        if what is None and self._is_damaged:
            what = "damaged"
        if what is None:
            return None
        self.files.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        set_aside(self.files.payloads(self._segment + 1))
        if what == "damaged":
            self.files.path.rename(self.files.full(self._segment))
        elif what == "replaced":
            alien = self.files.path.with_name(f"{self.files.path.name}.replaced-{self._segment}")
            self.files.path.rename(alien)
        self._begin(own(os.open(self.files.path, _FLAGS, 0o600), self.files.path), self._segment + 1)
        return what

    def close(self) -> None:
        """Close the files and let other writers in."""
        for descriptor in (self._descriptor, self._payloads):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._descriptor, self._payloads = -1, None
        self._lock.release()

    def _begin(self, descriptor: int, segment: int) -> None:
        os.close(self._descriptor)
        if self._payloads is not None:
            os.close(self._payloads)
        self._descriptor, self._payloads, self._segment = descriptor, None, segment
        self._size = self._kept = 0
        self._is_damaged = False
        _sync_directory(self.files.path.parent)

    def _opened(self) -> int:
        descriptor = own(os.open(self.files.path, _FLAGS, 0o600), self.files.path)
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        return descriptor

    def _found(self) -> Start:
        """Where the trail stands, read from its last file."""
        segments = list(self.files.segments())
        if not segments:
            set_aside(self.files.payloads(1))
            return Start(Stream(), {})
        last = segments[-1]
        stream, members, good, length = chain_of(last)
        is_new = True
        if stream is None:  # an empty file, or one of another kind
            if length:
                last.rename(last.with_name(f"{last.name}.replaced-0"))
                members["lost"] = "replaced"
            if len(segments) == 1:
                set_aside(self.files.payloads(1))
                return Start(Stream(), members)
            stream, before, *_ = chain_of(segments[-2])
            members = {**before, **members}
            stream = stream or Stream()
            stream.next_segment()
        elif last != self.files.path:
            stream.next_segment()
        elif members.get("lost"):
            last.rename(self.files.full(stream.segment))
            stream.next_segment()
        else:
            is_new = False
            if good < length:
                os.truncate(last, good)
                members["torn_bytes"] = length - good
        self._segment = stream.segment
        rows = self.files.payloads(stream.segment)
        if is_new:
            set_aside(rows)
        else:
            trim(rows, stream.seq)
        return Start(stream, members)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
