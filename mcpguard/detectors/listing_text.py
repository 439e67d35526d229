"""The text of a listing, without the definitions in it that nobody may or can parse.

What one definition breaks, it breaks for itself: too deep, too full, no UTF-8, half a surrogate. In its
place stands the name of the limit, a string, which is no definition. Pure; what is wrong, the caller tells.

Beside: `shapes`, what a text may be; `listings`, what becomes of a list with such names in it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from mcpguard.core.wire import LISTINGS

__all__ = ["INSIDE", "MAX_BYTES", "MAX_MARKS", "may_list", "without_broken"]

MAX_BYTES: Final = 2**21
"""Size of a text that is searched: one string of that size, which nothing interrupts, takes milliseconds."""

MAX_MARKS: Final = 1_000_000
"""Brackets and quotes that are looked at, some tenths of a second of them; of a text with more, nothing is
left out."""

_NAMES: Final = frozenset(b'"%s"' % listing.items.encode() for listing in LISTINGS.values())
_MARK: Final = re.compile(rb'"[^"]*(?:"|\Z)|[\[\]{}]')
"""A string that is cut off reaches to the end, so that none is looked at again from each quote in it."""
INSIDE: Final = 3
"""How deep definitions stand: in the message, its result, and a list of that."""


def may_list(text: bytes) -> bool:
    """Whether `text` is worth the search: it seems to have a list of definitions, and not too much else."""
    if len(text) > MAX_BYTES or not any(name in text for name in _NAMES):
        return False
    return sum(map(text.count, b'[]{}"')) <= MAX_MARKS


def without_broken(text: bytes, fault: Callable[[bytes], str | None], *, most: int) -> bytes | None:
    """`text` with the name of a limit for each definition that breaks it; None if none does.

    Args:
        text: A message, which may be no JSON.
        fault: Which limit the text of a definition breaks, so that it must not be parsed or cannot be.
        most: Definitions that are looked at; where there are more, nothing is left out.
    """
    pieces: list[bytes] = []
    kept = 0
    for number, (begin, end) in enumerate(_definitions(text)):
        if number == most:
            return None
        broken = fault(text[begin:end])
        if broken is not None:
            pieces += text[kept:begin], b'"%s"' % broken.encode()
            kept = end
    return b"".join((*pieces, text[kept:])) if pieces else None


def _definitions(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the objects and arrays in the lists of a result begin and end."""
    depth = begin = 0
    name = b""
    is_result = is_list = False
    unescaped = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # as long as it was
    for match in _MARK.finditer(unescaped):
        mark = match[0]
        if mark in b"[{":
            if depth == 1:
                is_result = name == b'"result"'
            elif depth == 2:
                is_list = is_result and mark == b"[" and name in _NAMES
            elif depth == INSIDE:
                begin = match.start()
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == INSIDE and is_list:
                yield begin, match.end()
        elif depth < INSIDE:
            name = mark
