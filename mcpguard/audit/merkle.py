"""The Merkle tree over a file's records, as RFC 6962 (Certificate Transparency) defines it.

It keeps the roots of its whole subtrees, one for each binary digit of its size, so adding a leaf and asking
for the root take logarithmic time at most, and memory is bounded.
"""

import hashlib
from typing import Final

__all__ = ["EMPTY_ROOT", "Tree"]

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""RFC 6962, 2.1: the root of no leaves."""


class Tree:
    """A tree that grows.

    Attributes:
        size: Leaves so far.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, entry: bytes) -> None:
        """Add a leaf."""
        node = hashlib.sha256(b"\x00" + entry).digest()
        size = self.size
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = hashlib.sha256(b"\x01" + peak + node).digest()
        return node

    def copy(self) -> "Tree":
        """A tree that grows apart from this one."""
        other = Tree()
        other.size = self.size
        other._peaks = list(self._peaks)
        return other
