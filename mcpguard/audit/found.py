"""A trail's file as it is found: how far its chain holds, which is where a writer goes on."""

import json
from pathlib import Path

from mcpguard.audit.chain import START, link, parted
from mcpguard.audit.merkle import Tree
from mcpguard.audit.stream import Position, Stream
from mcpguard.core.wire import JSON

__all__ = ["chain_of"]


def chain_of(path: Path) -> tuple[Stream | None, dict[str, str | int | bool], int, int]:
    """Follow a file's chain as far as it holds: where it stands, what to say, and how many bytes are good."""
    data = path.read_bytes() if path.is_file() else b""
    head: bytes | None = None
    tree, good, seq, closed = Tree(), 0, 0, False
    stream = Stream()
    damaged = False
    for raw in data.splitlines(keepends=True):
        parts = parted(raw)
        if parts is None:
            damaged = raw.endswith(b"}\n")
            break
        hashed, body = parts
        if head is None:
            record: dict[str, JSON] = json.loads(body)
            head = bytes.fromhex(str(record.get("previous", START.hex())))
            stream = Stream(id=str(record.get("stream")), segment=int(str(record.get("segment", 1))))
            seq = int(str(record["seq"])) - 1
        linked = link(head, body)
        if linked.hex().encode() != hashed:
            damaged = True
            break
        head, good, seq = linked, good + len(raw), seq + 1
        tree.add(linked)
        closed = b'"kind":"closed"' in body
    if head is None or not tree.size:
        return None, {}, 0, len(data)
    stream.restore(Position(stream.segment, seq, head, tree))
    members: dict[str, str | int | bool] = {} if closed and good == len(data) else {"unclean": True}
    if damaged:
        members["lost"] = "damaged"
    return stream, members, good, len(data)
