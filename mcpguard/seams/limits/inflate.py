"""Decompression of an HTTP body in pieces that are bounded, however much the body claims to be.

Above: `http` and `events`. Not here: brotli and zstandard, which are never asked for.
"""

import zlib
from collections.abc import Iterator
from typing import Final

import anyio
import anyio.lowlevel

__all__ = ["Inflater", "Pace", "TooLarge"]

PIECE: Final = 2**16
"""Bytes that are decompressed at once."""

TURN_BYTES: Final = 2**20
"""Bytes after which others have their turn: decompressing them takes some milliseconds."""

_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Pace:
    """Gives others their turn while a body is decompressed, of which a chunk may hold megabytes."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = 0

    async def take(self, size: int) -> None:
        """`size` more bytes are there."""
        self._taken += size
        if self._taken >= TURN_BYTES:
            self._taken = 0
            await anyio.lowlevel.checkpoint()


class TooLarge(Exception):  # noqa: N818 - it becomes an answer
    """A body that is not read on."""


class Inflater:
    """Decompresses one body.

    Args:
        encoding: What `Content-Encoding` says; None or `identity` for a plain body.

    Raises:
        TooLarge: If it is anything else than gzip or deflate: a bound on it could not be held.
    """

    def __init__(self, encoding: str | None) -> None:
        name = (encoding or "identity").strip().lower()
        if name != "identity" and name not in _WINDOWS:
            raise TooLarge
        self._zip = None if name == "identity" else zlib.decompressobj(_WINDOWS[name])
        self._is_raw_deflate_possible = name == "deflate"

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` says, a bounded piece at a time.

        Raises:
            zlib.error: If it is not what the header said.
        """
        if self._zip is None:
            yield chunk
            return
        piece = b""
        while chunk or len(piece) == PIECE:  # what was taken in may not be out yet
            try:
                piece = self._zip.decompress(chunk, PIECE)
            except zlib.error:
                if not self._is_raw_deflate_possible:
                    raise
                self._zip = zlib.decompressobj(-zlib.MAX_WBITS)  # what many servers mean by deflate
                self._is_raw_deflate_possible = False
                continue
            self._is_raw_deflate_possible = False
            chunk = self._zip.unconsumed_tail
            yield piece
            if self._zip.eof:
                return
