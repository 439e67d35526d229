"""Write events to a file, one JSON object a line.

The lines are ASCII, with everything else escaped, so that no name in an event can break a line or reach the
terminal of whoever reads the file. This is a plain file: it is not rotated here, and it proves nothing to
anybody who does not trust the machine it is on.
"""

import json
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mcpguard.core.events import Event
from mcpguard.core.wire import JSON, JSONObject

__all__ = ["JsonLines"]

FILE_NAME: Final = "events.jsonl"
"""The file in a path that is a directory."""

_log: Final = logging.getLogger("mcpguard")

_FLAGS: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
"""Append, so that processes sharing a file do not overwrite each other; a pipe nobody reads is an error."""

_NEWLINE: Final = 10


class JsonLines:
    """Append events to a file.

    - Once `emit` has returned, the system has the line: killing the process loses nothing. A power cut may.
    - What cannot be written raises from `emit`, a full disk for one. A line cut short by that, or by a
      process that was killed, stays as it is; the next event begins on a line of its own.
    - A file that was removed is made anew at the next event, with a warning in the log `mcpguard`. One that
      was renamed is followed until the sink is closed: rotate by copying and truncating.
    - A sink may be used from any thread. Lines of several processes do not mix on a local file system.

    Args:
        path: The file, made with its directories if missing, readable by its owner only. A directory, or a
            path that is missing and has no suffix or ends in a slash, gets a file `events.jsonl` inside.
        strict: Whether a call is denied whose event cannot be written before it goes out.

    Raises:
        OSError: If the file cannot be opened.
    """

    _descriptor: int | None = None

    def __init__(self, path: str | Path, *, strict: bool = False) -> None:
        self.path = _file(path)
        self.strict = strict
        self._lock = threading.Lock()
        self._descriptor = self._opened()

    def emit(self, event: Event) -> None:
        """Append one line.

        Raises:
            OSError: If it cannot be written.
            ValueError: If the sink is closed.
        """
        line = _line(event)
        with self._lock:
            if self._descriptor is None:
                raise ValueError("the sink is closed")
            if os.fstat(self._descriptor).st_nlink == 0:
                _log.warning("%s was removed; it is made anew", self.path)
                made = self._opened()
                os.close(self._descriptor)
                self._descriptor = made
            self._write(self._descriptor, b"\n" + line if self._is_torn else line)

    async def aclose(self) -> None:
        """Close the file. Closing twice is closing once."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        self._close()

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r}, strict={self.strict})"

    def _opened(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._is_torn = _ends_within_line(self.path)
        descriptor = os.open(self.path, _FLAGS, 0o600)
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
        finally:
            if written:
                self._is_torn = data[written - 1] != _NEWLINE

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _file(path: str | Path) -> Path:
    """The file that `path` means."""
    if not str(path):
        raise ValueError("path is empty; name a file or a directory")
    file = Path(path).absolute()
    if file.is_dir():
        return file / FILE_NAME
    if not file.exists() and (not file.suffix or str(path).endswith(("/", os.sep))):
        return file / FILE_NAME
    return file


def _ends_within_line(file: Path) -> bool:
    """Whether a process was killed while it wrote the last line."""
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with file.open("rb") as before:
        before.seek(-1, os.SEEK_END)
        return before.read() != b"\n"


def _line(event: Event) -> bytes:
    """The event as JSON, whatever is in it: an event is not lost for a value that JSON does not have."""
    members = event.as_dict()
    try:
        text = _encode(members)
    except (TypeError, ValueError, RecursionError):
        text = _encode_anything(members)
    return f"{text}\n".encode("ascii")


def _encode_anything(members: JSONObject) -> str:
    try:
        return _encode(_finite(members))
    except (TypeError, ValueError, RecursionError):
        return _encode(_finite({**members, "payload": "<not JSON>"}))


def _finite(value: JSON) -> JSON:
    """A copy with `nan`, `inf` and `-inf` as strings."""
    if isinstance(value, Mapping):
        return {str(name): _finite(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(member) for member in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
