"""Long texts in pages, for as long as the run lives that they were made for: in memory, bounded.

A text cannot be asked for by a name that was guessed, and belongs to one run (and those inside it) and to one
tenant. How pages are asked for, and who may, is decided elsewhere.
"""

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from mcpguard.core.run import Run
from mcpguard.detectors.size import ASCII_WEIGHT, Size, text_size

__all__ = ["Kept", "Pages", "paged"]

MAX_BYTES: Final = 512 * 2**20
"""Bytes of all runs together; what comes after that is not kept."""

SCHEME: Final = "mcpguard://result/"
"""What the URIs of pages begin with."""

FRAME: Final = Size.of(320, 80)
"""What a page's URI and last line take."""

MAX_DIGITS: Final = 9
"""Digits that the number of a page has fewer of."""

LINE: Final = 0.8
"""Share of a page behind which it may end with a line rather than in one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a text is kept.

    Args:
        uri: Of its first page.
        pages: How many it has.
    """

    uri: str
    pages: int

    @property
    def said(self) -> str:
        """The same for the model."""
        return f"All of it is kept, in {self.pages} pages; the first is the resource {self.uri}."


@dataclass(frozen=True, slots=True)
class _Text:
    """One text.

    Args:
        pages: Its pages.
        tenant: Whose it is.
        bytes: What it takes, at most.
    """

    pages: tuple[str, ...]
    tenant: str | None
    bytes: int


class Pages:
    """Texts by run; safe across threads.

    Args:
        bytes: Bytes of one run, at four a character. When there are more, its oldest texts go.
    """

    __slots__ = ("_bytes", "_head", "_lock", "_texts")

    def __init__(self, bytes: int) -> None:
        self._bytes = bytes
        self._texts: WeakKeyDictionary[Run, dict[str, _Text]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._head = f"{SCHEME}{secrets.token_hex(4)}"

    def names(self, uri: str) -> bool:
        """Whether a URI is of a page that is or was here."""
        return uri.startswith(self._head)

    def keep(self, run: Run, tenant: str | None, text: str, room: Size) -> Kept | None:
        """Keep a text, in pages that fit in `room`; None if there is too much of it."""
        if 4 * len(text) > self._bytes:
            return None
        kept = _Text(tuple(paged(text, room - FRAME)), tenant, 4 * len(text))
        with self._lock:
            its = self._texts.setdefault(run, {})
            while its and kept.bytes + _bytes(its) > self._bytes:
                del its[next(iter(its))]
            whole = sum(map(_bytes, self._texts.values()))
            if kept.bytes + whole > MAX_BYTES:
                return None
            uri = self._head + secrets.token_hex(12)
            its[uri] = kept
        return Kept(f"{uri}/1", len(kept.pages))

    def page(self, run: Run | None, tenant: str | None, uri: str) -> str | None:
        """A page of a text of this run, or of one it is part of, with a line that says which it is."""
        name, _, digits = uri.rpartition("/")
        number = int(digits) if digits.isdecimal() and len(digits) < MAX_DIGITS else 0
        with self._lock:
            for one in () if run is None else run.lineage:
                kept = self._texts.get(one, {}).get(name)
                if kept is None or kept.tenant != tenant or not 1 <= number <= len(kept.pages):
                    continue
                more = f"The next is {name}/{number + 1}" if number < len(kept.pages) else "It is the last"
                return f"{kept.pages[number - 1]}\n[Page {number} of {len(kept.pages)}. {more}.]"
        return None

    def count(self) -> int:
        """How many texts are kept."""
        with self._lock:
            return sum(map(len, self._texts.values()))


def paged(text: str, room: Size) -> Iterator[str]:
    """`text` in pieces that each fit in `room`, whole lines where that is near."""
    most = max(1, min(room.bytes, room.weight // ASCII_WEIGHT))
    start = 0
    while start < len(text):
        piece = _fitting(text[start : start + most], room)
        if start + len(piece) < len(text):
            end = piece.rfind("\n", int(len(piece) * LINE))
            piece = piece[: end + 1] or piece
        yield piece
        start += len(piece)


def _fitting(piece: str, room: Size) -> str:
    """A beginning of `piece` that fits, a character at least; its share of it is about that of the size."""
    found = text_size(piece)
    while not found <= room and len(piece) > 1:
        share = min(room.bytes / found.bytes, room.weight / found.weight)
        piece = piece[: max(1, min(len(piece) - 1, int(len(piece) * share)))]
        found = text_size(piece)
    return piece


def _bytes(kept: dict[str, _Text]) -> int:
    return sum(one.bytes for one in kept.values())
