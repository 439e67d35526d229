"""The hash chain: each record's hash covers the one before, byte for byte; and the line that holds both.

A line is `{"hash":"<64 hexadecimal digits>","record":<canonical record>}`. The hash is SHA-256 of the hash
before (32 bytes; zeros before the first record of all) and the record's bytes as they stand. The chain goes
on from file to file. By itself it shows accidents and clumsy hands: whoever may write the file can hash it
all anew, or cut off its end. `note` is what stands against that.
"""

import hashlib
from typing import Final

__all__ = ["START", "line", "link", "parted"]

START: Final = bytes(32)
"""What stands before the first record of a trail."""

_OPENING: Final = b'{"hash":"'
_MIDDLE: Final = b'","record":'
_HASH_END: Final = len(_OPENING) + 64
_BODY: Final = _HASH_END + len(_MIDDLE)


def link(head: bytes, body: bytes) -> bytes:
    """The hash of a record that follows the one hashed to `head`."""
    return hashlib.sha256(head + body).digest()


def line(hashed: bytes, body: bytes) -> bytes:
    """The line that keeps a record, its end included."""
    return b"%b%b%b%b}\n" % (_OPENING, hashed.hex().encode(), _MIDDLE, body)


def parted(line: bytes) -> tuple[bytes, bytes] | None:
    """The hash (as hexadecimal digits) and the record's bytes; None for what is no such line."""
    if line[: len(_OPENING)] != _OPENING or line[_HASH_END:_BODY] != _MIDDLE or line[-2:] != b"}\n":
        return None
    return line[len(_OPENING) : _HASH_END], line[_BODY:-2]
