"""Erase payloads from a trail that is kept in files; the records stay, and the chain holds.

A row is overwritten where it stands, with spaces up to its old length: so this may be done while the trail
is being written. The salt goes with the payload, so that the commitment no longer tells what it was.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from mcpguard.audit.files import Files, trail_file
from mcpguard.audit.payloads import Payload
from mcpguard.audit.reading import open_trail, records

__all__ = ["Choice", "erase"]

Choice: TypeAlias = Callable[[dict[str, str | int | bool]], bool]
"""Whether the payload of a record is to be erased."""


def erase(path: str | Path, choose: Choice) -> int:
    """Erase the payloads of the records that `choose` picks; how many rows were erased.

    So is every row of a record that commits to none: nobody could ever pick it.

    Raises:
        FileNotFoundError: If there is no trail in files.
        OSError: If a file cannot be written.
    """
    chosen = {
        int(record["seq"])
        for record in records(open_trail(path))
        if "payload_commitment" not in record or choose(record)
    }
    files = Files(trail_file(path))
    pattern = f"{files.path.stem}.*.payloads.jsonl"
    return sum(_erased(one, chosen) for one in sorted(files.path.parent.glob(pattern)))


def _erased(path: Path, chosen: set[int]) -> int:
    number, offset = 0, 0
    with path.open("r+b") as file:
        for row in file.readlines():
            payload = Payload.parse(row)
            if payload is not None and payload.body is not None and payload.seq in chosen:
                file.seek(offset)
                file.write(payload.erased.ljust(len(row) - 1))
                number += 1
            offset += len(row)
        file.flush()
        os.fsync(file.fileno())
    return number
