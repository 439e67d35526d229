"""The way through a trail, record by record: follow its chain, and note what its records say of it.

It stops at the first record that does not follow from the one before. Checkpoints are given, and held against
what was found on the way.

Above: `verify`. Below: `chain`, `merkle` and `payloads`, which know how records hang together.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from mcpguard.audit.chain import START, link, parted
from mcpguard.audit.merkle import Tree
from mcpguard.audit.note import Checkpoint
from mcpguard.audit.payloads import Rows
from mcpguard.audit.reading import Segment
from mcpguard.audit.record import MAX_INTEGER
from mcpguard.audit.verdict import Finding, State, Verdict

__all__ = ["Walk"]

_KIND: Final = b'"kind":"'
"""What stands before a record's kind. Members are sorted, so its position and payload come after it; in a
value the quotes would be escaped."""

_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a member of a record raises that no sink has written."""

_CALL: Final = re.compile(rb'"call_id":"((?:[^"\\]|\\.)*)"')
_COMMITMENT: Final = re.compile(rb'"payload_commitment":"([0-9a-f]{64})"')


class Walk:
    """Walk through a trail.

    Args:
        verdict: Takes what is found and counted.
        checkpoints: Those that there are, of whatever trail.
    """

    def __init__(self, verdict: Verdict, checkpoints: Sequence[Checkpoint]) -> None:
        self._verdict = verdict
        self._checkpoints = checkpoints
        self._head = START
        self._segment = 0
        self._roots: dict[tuple[int, int], tuple[bytes, bytes, int]] = {}
        self._sizes: dict[int, int] = {}
        self._announced: dict[tuple[int, int], bool] = {}
        """File and size of announced checkpoints; true for one that may not have been signed."""
        self._open: set[bytes] = set()
        self._tree = Tree()

    def follow(self, segment: Segment, *, is_last: bool) -> bool:
        """Follow one file; whether it can be gone on from its end."""
        verdict = self._verdict
        wanted: set[int] | None = None
        payloads = Rows(segment.rows())
        self._tree = tree = Tree()
        for number, raw in enumerate(segment.lines(), start=1):
            parts = parted(raw)
            if parts is None:
                place = f"{segment.name}:{number}"
                if is_last and not raw.endswith(b"\n"):
                    self._finish(segment, payloads, is_last=True)
                    return self._bad("incomplete", place, "the last line is cut off: a crash, or a cut")
                return self._bad("tampered", place, "no record")
            hashed, body = parts
            if wanted is None:
                if not self._enter(f"{segment.name}:{number}", body):
                    return False
                wanted = {one.size for one in self._checkpoints if one.segment == self._segment}
            linked = link(self._head, body)
            if linked.hex().encode() != hashed:
                place = f"{segment.name}:{number}"
                return self._bad("tampered", place, "its hash does not follow from the record before it")
            seq = verdict.seq + 1
            at = max(0, body.find(_KIND))
            if body.find(b'"seq":%d,' % seq, at) < 0 and not body.endswith(b'"seq":%d}' % seq):
                place = f"{segment.name}:{number}"
                return self._bad("tampered", place, "its position is not the next one")
            self._head = verdict.head = linked
            verdict.seq = seq
            verdict.records += 1
            if wanted:
                tree.add(linked)
                if tree.size in wanted:
                    self._roots[self._segment, tree.size] = tree.root, linked, seq
                    wanted.remove(tree.size)
            self._sizes[self._segment] = number
            try:
                self._note(segment, body, at, payloads)
            except _UNREADABLE:
                return self._bad("tampered", f"{segment.name}:{number}", "no record of this trail's making")
        if wanted is None:
            return self._bad("incomplete", segment.name, "the file is empty")
        self._finish(segment, payloads, is_last=is_last)
        verdict.unanswered = len(self._open)
        return True

    def check_announced(self, known: Sequence[Checkpoint]) -> None:
        """Find checkpoints that the trail speaks of and that are not there."""
        there = {(one.segment, one.size) for one in known if one.stream == self._verdict.stream}
        for (segment, size), may_be_missing in self._announced.items():
            if (segment, size) not in there and not may_be_missing:
                what = f"the one over {size} records of file {segment} is missing"
                self._verdict.findings.append(Finding("incomplete", "checkpoints", what))
                return

    def check_checkpoints(self, are_signed: bool) -> None:
        """Hold the checkpoints against what was found."""
        verdict = self._verdict
        for one in self._checkpoints:
            if one.stream != verdict.stream or one.segment < min(self._sizes, default=1):
                continue
            known = self._roots.get((one.segment, one.size))
            if known == (one.root, one.head, one.seq):
                verdict.signed_seq = max(verdict.signed_seq, one.seq if are_signed else 0)
                continue
            if verdict.state == "tampered":
                return None
            where = f"checkpoint over {one.size} records of file {one.segment}"
            if known is not None:
                what = "the records are others than those that were signed"
                return self._found("tampered", where, what, one.seq)
            if one.segment in self._sizes or one.segment > max(self._sizes, default=0):
                what = f"records up to {one.seq} were there; {verdict.seq} is the last: the end was cut off"
                return self._found("tampered", where, what, verdict.seq + 1)
        return None

    def _enter(self, place: str, body: bytes) -> bool:
        """Enter a file by its first record."""
        verdict = self._verdict
        try:
            record = json.loads(body)
            stream, segment = str(record["stream"]), int(record["segment"])
            previous, seq = bytes.fromhex(record["previous"]), int(record["seq"])
        except _UNREADABLE:
            return self._bad("tampered", place, "a file begins with a record that says which it is")
        if verdict.stream not in (None, stream):
            return self._bad("tampered", place, "the file is of another trail")
        if verdict.stream is None:
            verdict.stream = stream
            if segment != 1:
                self._found("incomplete", place, f"files 1 to {segment - 1} are not here", 1)
                self._head, verdict.seq = previous, seq - 1
        elif segment > self._segment + 1:
            missing = f"{self._segment + 1} to {segment - 1}"
            self._found("incomplete", place, f"the files {missing} are not here", verdict.seq + 1)
            self._head, verdict.seq = previous, seq - 1
        elif segment != self._segment + 1:
            return self._bad("tampered", place, "the file is not the next one")
        self._segment = segment
        return True

    def _note(self, segment: Segment, body: bytes, at: int, payloads: Rows) -> None:
        """What a record says that verifying counts or compares; its kind stands `at` there."""
        verdict = self._verdict
        verdict.is_closed = False
        if body.find(b'"payload_commitment":', at) >= 0:
            match = _COMMITMENT.search(body)
            what = payloads.expect(verdict.seq, "" if match is None else match[1].decode())
            if what is not None:
                self._found("tampered", segment.name, what, verdict.seq)
        begins = at + len(_KIND)
        match body[begins : body.find(b'"', begins)]:
            case b"dispatched":
                called = _CALL.search(body)
                self._open.add(b"" if called is None else called[1])
            case b"completed" | b"cancelled":
                called = _CALL.search(body)
                self._open.discard(b"" if called is None else called[1])
            case b"opened":
                if b'"unclean":true' in body:
                    verdict.crashes += 1
                    self._forgive()
            case b"closed":
                verdict.is_closed = True
                self._insist()
            case b"dropped":
                verdict.dropped += _count(body, "count")
            case b"checkpoint":
                self._insist()
                self._announced[self._segment, _count(body, "size")] = True
            case _:
                pass

    def _finish(self, segment: Segment, payloads: Rows, *, is_last: bool) -> None:
        """Count what was erased, and find payloads that no record commits to."""
        self._verdict.erased += payloads.erased
        is_open = is_last and not self._verdict.is_closed
        for seq, what in payloads.left(self._verdict.seq if is_open else None):
            self._found("tampered", segment.name, what, seq)

    def _insist(self) -> None:
        """Whoever wrote on after announcing a checkpoint has signed it."""
        self._announced = dict.fromkeys(self._announced, False)

    def _forgive(self) -> None:
        """A process that was killed may have announced a checkpoint and not signed it."""
        for place in [place for place, is_last in self._announced.items() if is_last]:
            del self._announced[place]

    def _bad(self, state: State, place: str, what: str) -> bool:
        self._found(state, place, what, self._verdict.seq + 1)
        return False

    def _found(self, state: State, place: str, what: str, seq: int | None) -> None:
        self._verdict.findings.append(Finding(state, place, what, seq))


def _count(body: bytes, name: str) -> int:
    """A member that counts something.

    Raises:
        ValueError: If it is no number, or none that anything can be counted by.
    """
    number = json.loads(body)[name]
    if type(number) is not int or not 0 < number <= MAX_INTEGER:
        raise ValueError(f"{name} counts nothing")
    return number
