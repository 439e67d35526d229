"""A trail being written: where it stands, and the next entry. A state machine; it writes nothing itself.

Above: `writer`, which keeps entries somewhere and takes the state back where that failed.
"""

import os
import platform
import secrets
import socket
from dataclasses import dataclass
from typing import NamedTuple

from mcpguard.audit.chain import START, line, link
from mcpguard.audit.merkle import Tree
from mcpguard.audit.note import Checkpoint
from mcpguard.audit.record import OwnKind, Record, encode, of_event, payload_row, text
from mcpguard.core.events import Event

__all__ = ["Entry", "Position", "Stream"]


class Entry(NamedTuple):
    """One record, ready to be kept.

    Args:
        seq: Its position in the trail, from 1.
        hashed: Its hash.
        body: Its canonical bytes.
        payload: The row that keeps the payload it commits to, if it has one.
    """

    seq: int
    hashed: bytes
    body: bytes
    payload: bytes | None = None

    @property
    def line(self) -> bytes:
        """Hash and record on one line."""
        return line(self.hashed, self.body)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a trail stood: what a failed write is taken back to."""

    segment: int
    seq: int
    head: bytes
    tree: Tree


class Stream:
    """The next record's place.

    Args:
        id: The trail's id; a random one for a new trail.
        segment: Number of the file that is written, from 1.
        seq: Position of the last record.
        head: Its hash.
        tree: The tree over this file's records.

    Attributes:
        is_signed: Whether somebody signs what the tree comes to; else it does not grow.
    """

    def __init__(
        self,
        *,
        id: str | None = None,
        segment: int = 1,
        seq: int = 0,
        head: bytes = START,
        tree: Tree | None = None,
    ) -> None:
        self.id = id or secrets.token_hex(8)
        self.segment = segment
        self.seq = seq
        self.head = head
        self.tree = Tree() if tree is None else tree
        self.is_signed = True

    def mark(self) -> Position:
        """Where it stands."""
        return Position(self.segment, self.seq, self.head, self.tree.copy())

    def restore(self, position: Position) -> None:
        """Stand where it stood: nothing that came after was kept."""
        self.segment, self.seq, self.head = position.segment, position.seq, position.head
        self.tree = position.tree.copy()

    def next_segment(self) -> None:
        """Go on in a new file. The chain goes on, the tree begins anew."""
        self.segment += 1
        self.tree = Tree()

    def event(self, event: Event) -> Entry:
        """The entry of an event."""
        record = of_event(event)
        row = None
        if event.payload is not None:
            kept = payload_row(self.seq + 1, event.payload)
            if kept is None:
                record["payload_omitted"] = True
            else:
                record["payload_commitment"], row = kept
        return self._entry(record, row)

    def opened(self, time_us: int, **members: str | int | bool) -> Entry:
        """The entry with which a process begins to write: first in every file, and after every restart."""
        return self.own(
            "opened",
            time_us,
            stream=self.id,
            segment=self.segment,
            previous=self.head.hex(),
            version=1,
            host=text(socket.gethostname()),
            process=os.getpid(),
            python=platform.python_version(),
            **members,
        )

    def own(self, kind: OwnKind, time_us: int, **members: str | int | bool) -> Entry:
        """An entry about the trail itself."""
        return self._entry({"kind": kind, "time_us": time_us, **members}, None)

    def checkpoint(self, time_us: int) -> Checkpoint:
        """What there is to sign."""
        return Checkpoint(
            stream=self.id,
            segment=self.segment,
            size=self.tree.size,
            root=self.tree.root,
            head=self.head,
            seq=self.seq,
            time_us=time_us,
        )

    def _entry(self, record: Record, row: bytes | None) -> Entry:
        record["seq"] = self.seq + 1
        body = encode(record)
        hashed = link(self.head, body)
        self.head = hashed
        self.seq += 1
        if self.is_signed:
            self.tree.add(hashed)
        return Entry(self.seq, hashed, body, row)
