"""Keep events in files, one record a line, each hashed with the one before.

What is written, and what it proves, is `audit`'s business; here is which file, and when a call waits for it.
"""

from pathlib import Path
from typing import Final

from mcpguard.audit.files import trail_file
from mcpguard.audit.kept import Kept, signer
from mcpguard.audit.medium import FileMedium
from mcpguard.audit.writer import Durability, Overflow
from mcpguard.core.clock import SYSTEM_CLOCK, Clock

__all__ = ["JsonLines"]

MAX_BYTES: Final = 64 * 2**20
"""Size of a file by default: some 100,000 records, which a process that goes on with it reads in a second."""


class JsonLines(Kept):
    """Keep a trail of events in files: JSON Lines, chained by hashes, rotated by size.

    - `strict`: a call goes out once the disk has its intent; where it cannot be written, the call is denied.
    - `durable`: a call goes out once the system has its intent. A killed process loses no intent, and at
      most 20 ms of what nobody waits for, outcomes for one; a power cut loses a second.
    - `async`: nothing waits for the disk. A killed process loses 20 ms, a power cut a second.
    - What cannot be written is counted, in `guard.status()` and in the trail itself as soon as that can be
      written again. A line cut short by a full disk is cut off again.
    - A file that is removed or replaced while it is written is followed by a new one, which says so.
    - One trail has one writer: a second, in this process or another, is refused.

    Args:
        path: The file that is written, made with its directories if missing, readable by its owner only. A
            directory, or a path that is missing and has no suffix or ends in a slash, gets a file
            `events.jsonl` inside. Full files are beside it, as `events.000001.jsonl` and on.
        mode: What a call waits for before it goes out.
        overflow: What happens where more than `queue` events wait: calls wait too, or events are dropped
            and counted. A strict trail drops nothing: a call whose intent finds no room is denied.
        queue: Events that may wait to be written. At least 1.
        max_bytes: Size at which a new file is begun. At least 1,000.
        key: File with the private key that signs checkpoints, as `mcpguard audit keygen` makes it. None:
            the trail is chained and not signed. Needs the extra `audit`.
        checkpoint_seconds: Seconds between two checkpoints, with or without events between them.
        anchor: A file in another place that gets every checkpoint too: on a disk, host or bucket that whoever
            can write the trail cannot.
        clock: Time of the trail's own records.

    Attributes:
        path: The file that is written.

    Raises:
        OSError: If a file cannot be opened, or somebody else writes this trail.
        ValueError: If an option is out of range, or `key` holds no key.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mode: Durability = "durable",
        overflow: Overflow = "wait",
        queue: int = 10_000,
        max_bytes: int = MAX_BYTES,
        key: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        anchor: str | Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if max_bytes < 1000:
            raise ValueError(f"max_bytes is at least 1000, not {max_bytes}")
        file = trail_file(path)
        signs = signer(key)
        medium = FileMedium(file, max_bytes=max_bytes)
        self.path = file
        super().__init__(
            str(file),
            medium,
            medium.start,
            mode=mode,
            overflow=overflow,
            queue=queue,
            signer=signs,
            checkpoint_seconds=checkpoint_seconds,
            anchor=anchor,
            clock=clock,
        )
