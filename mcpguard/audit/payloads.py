"""The file with the payloads that the records of one file commit to: its rows, and keeping it to those.

Rows are written before their records, so a process that is killed can leave rows of records that never came.
They are cut off before anything else takes their positions.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpguard.audit.record import commitment

__all__ = ["Payload", "Rows", "row_of", "set_aside", "trim"]

_ROW: Final = b'{"payload":'
_SALT: Final = b',"salt":"'


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload row.

    Args:
        seq: Position of the record that commits to it.
        body: Its canonical bytes; None if it was erased.
        salt: What the commitment is keyed with.
    """

    seq: int
    body: bytes | None
    salt: bytes

    @property
    def commitment(self) -> str | None:
        """What the record must hold; None if it was erased."""
        return None if self.body is None else commitment(self.salt, self.body)

    @property
    def erased(self) -> bytes:
        """What stands in its place once it is erased."""
        return b'{"erased":true,"seq":%d}' % self.seq

    @classmethod
    def parse(cls, row: bytes) -> "Payload | None":
        """The payload in a row, or the mark of one that was erased; None for what no sink has written."""
        try:
            if not row.startswith(_ROW):
                mark = cls(int(json.loads(row)["seq"]), None, b"")
                return mark if row.rstrip(b" \n") == mark.erased else None
            body, _, tail = row[len(_ROW) :].rpartition(_SALT)
            salt, _, seq = tail.strip().removesuffix(b"}").partition(b'","seq":')
            return cls(int(seq), body, bytes.fromhex(salt.decode()))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None


class Rows:
    """The payload rows of one file, held against the records that commit to them.

    Args:
        rows: All of them, one a line.
    """

    def __init__(self, rows: Iterable[bytes]) -> None:
        self.erased = 0
        """Payloads that were erased, of the records that were held against."""
        self._known: dict[int, str | None] = {}
        self._doubled: set[int] = set()
        self._alien = False
        self._half = False
        for row in rows:
            payload = Payload.parse(row)
            if payload is None:
                self._alien = self._alien or row.endswith(b"\n")
                self._half = not row.endswith(b"\n")
            elif payload.seq not in self._known:
                self._known[payload.seq] = payload.commitment
            elif payload.body is not None or self._known[payload.seq] is not None:
                self._doubled.add(payload.seq)

    def expect(self, seq: int, commitment: str) -> str | None:
        """Hold a record's commitment against its payload: what is wrong with it, in a sentence."""
        found = self._known.pop(seq, None)
        if seq in self._doubled:
            return "it has more than one payload"
        if found is None:
            self.erased += 1
            return None
        return None if found == commitment else "its payload is not the one that the record commits to"

    def left(self, last: int | None) -> Iterator[tuple[int | None, str]]:
        """What is wrong with the rows that no record has asked for, and of which.

        Args:
            last: Position of the last record of a file that may still be written: rows after it, and half a
                row at the end, may have been written ahead of their records. None for a closed file.
        """
        if self._alien or (self._half and last is None):
            yield None, "a row among the payloads is none of a sink's making"
        for seq, found in self._known.items():
            is_ahead = last is not None and seq > last
            if not is_ahead and (found is not None or seq in self._doubled):
                yield seq, "it has a payload, and commits to none"


def row_of(seq: int, text: str) -> bytes:
    """A row of a table, as in a file; one that stands under another position is none of a sink's making."""
    row = text.encode()
    payload = Payload.parse(row)
    return b"\n" if payload is None or payload.seq != seq or b"\n" in row else row + b"\n"


def trim(path: Path, seq: int) -> None:
    """Cut off what a killed process has left at the end: rows of records after `seq`, and half a row.

    Raises:
        OSError: If the file cannot be written.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        rows = file.readlines()
    good = length = sum(map(len, rows))
    for row in reversed(rows):
        payload = Payload.parse(row)
        if row.endswith(b"\n") and payload is not None and payload.seq <= seq:
            break
        good -= len(row)
    if good < length:
        os.truncate(path, good)


def set_aside(path: Path) -> None:
    """Move away what lies where a new file's payloads will be: it is another trail's, or nobody's.

    Raises:
        OSError: If it cannot be moved.
    """
    if not path.exists():
        return
    number = 0
    while (place := path.with_name(f"{path.name}.replaced-{number}")).exists():
        number += 1
    path.rename(place)
