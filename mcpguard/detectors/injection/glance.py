"""What a few passes over a text's bytes tell: its words, and whether a disguise may be in it at all.

Tables are applied to bytes many times faster than patterns and tables of characters are to text.
"""

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["base64_runs", "looks_apart", "words_of", "words_unleeted"]

MIN_BASE64: Final = 24
"""Characters of base64 that are worth decoding: eighteen letters."""

MAX_BASE64: Final = 4096
"""Characters of base64 in a row beyond which it is a file."""

_LETTER: Final = b"abcdefghijklmnopqrstuvwxyz"
_BLANKED: Final = bytes(byte if byte >= 0x80 or byte in _LETTER else 0x20 for byte in range(256))
_UNLEETED: Final = bytes.maketrans(b"013457@$2689", b"oieastasZZZZ").translate(
    bytes(0x5A if byte == 0x5A else blanked for byte, blanked in enumerate(_BLANKED))
)
"""Digits as letters; those that are none stay in their word, which is then none."""

_LEET: Final = "013457@$"
_LEET_SHAPE: Final = bytes(
    0x61 if byte in _LETTER else 0x30 if chr(byte) in _LEET else 0x20 for byte in range(256)
)
_APART_SHAPE: Final = bytes(
    0x61 if byte >= 0x80 or chr(byte).isalnum() else 0x20 if byte in b" .-_*" else 0x2F for byte in range(256)
)
_CONTINUED: Final = bytes(range(0x80, 0xC0))
_BASE64_SHAPE: Final = bytes(
    0x61 if byte in _LETTER + _LETTER.upper() + b"0123456789+/_-" else 0x3D if byte == 0x3D else 0x20
    for byte in range(256)
)
_OTHER_MARKS: Final = re.compile(r"[^\w\x00-\x7f]+")
_RUN: Final = b"a" * MIN_BASE64
_NOT_BASE64: Final = re.compile(rb"[^a]")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: what stands between blanks, digits and punctuation."""
    return _split(text, _BLANKED)


def words_unleeted(text: str) -> list[str]:
    """Words of a text with digits read as letters; none where no digit stands among letters."""
    if not any(map(text.__contains__, _LEET)):
        return []
    shape = text.encode("utf-8", "surrogatepass").translate(_LEET_SHAPE)
    return _split(text, _UNLEETED) if b"0aa" in shape or b"a0a" in shape else []


def _split(text: str, table: bytes) -> list[str]:
    """The bytes apart: a table of bytes is applied many times faster than one of characters."""
    if text.isascii():
        return text.encode().translate(table).decode().split()
    read = _OTHER_MARKS.sub(" ", text).encode("utf-8", "surrogatepass").translate(table)
    return read.decode("utf-8", "surrogatepass").split()


def looks_apart(text: str) -> bool:
    """Whether letters stand by themselves, six in a row."""
    shape = text.encode("utf-8", "surrogatepass").translate(_APART_SHAPE, _CONTINUED)
    return b"a a a a a a" in shape


def base64_runs(text: str) -> Iterator[tuple[int, int]]:
    """Where there is so much base64 in a row that it may say something, its padding included."""
    shape = text.encode("ascii", "replace").translate(_BASE64_SHAPE)
    start = shape.find(_RUN)
    while start >= 0:
        behind = _NOT_BASE64.search(shape, start)
        end = len(shape) if behind is None else behind.start()
        padded = end + shape.startswith(b"=", end) + shape.startswith(b"==", end)
        is_whole = shape[padded : padded + 1] not in (b"a", b"=") and shape[start - 1 : start] != b"="
        if is_whole and end - start <= MAX_BASE64:
            yield start, padded
        start = shape.find(_RUN, end)
