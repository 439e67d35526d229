"""A lock file's text, read whole and replaced whole.

What stands in it is not known here. A writer that is killed leaves the old file or the new one, never half
of either; of two writers at once the later one wins, so whoever writes merges what it has read just before.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

__all__ = ["read_lock", "write_lock"]

MAX_BYTES: Final = 64 * 2**20
"""Size of a lock that is read: 64 MiB."""


def read_lock(path: Path) -> str | None:
    """The text, or None if there is no such file.

    Raises:
        OSError: If it is there and cannot be read.
        ValueError: If it is no regular file, too large, or not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("the lock is not a regular file")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(content) > MAX_BYTES:
        raise ValueError(f"the lock is longer than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the lock is not text in UTF-8") from None


def write_lock(path: Path, text: str) -> None:
    """Replace the file.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with beside.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
