"""Keep events in an SQLite file: the same chained records as `JsonLines`, for who wants to query them.

What is written, and what it proves, is `audit`'s business; here is which file, and when a call waits for it.
"""

from pathlib import Path

from mcpguard.audit.database import Database
from mcpguard.audit.kept import Kept, signer
from mcpguard.audit.writer import Durability, Overflow
from mcpguard.core.clock import SYSTEM_CLOCK, Clock

__all__ = ["SQLite"]


class SQLite(Kept):
    """Keep a trail of events in an SQLite file, in WAL mode, written by one thread in groups.

    - `strict`: a call goes out once the disk has its intent (`synchronous=FULL`); where it cannot be
      written, the call is denied.
    - `durable`: a call goes out once its intent is committed (`synchronous=NORMAL`): a killed process loses
      no intent, a power cut what SQLite has not synced.
    - `async`: nothing waits.
    - What cannot be written is counted, in `guard.status()` and in the trail itself once that can be written.
    - A file that is removed or replaced while it is open takes nothing any more; a file that was changed is
      not gone on with.
    - One trail has one writer: a second, in this process or another, is refused. Readers are welcome.

    Args:
        path: The file, made with its directories if missing, readable by its owner only.
        mode: What a call waits for before it goes out.
        overflow: What happens where more than `queue` events wait: calls wait too, or events are dropped
            and counted. A strict trail drops nothing: a call whose intent finds no room is denied.
        queue: Events that may wait to be written. At least 1.
        key: File with the private key that signs checkpoints, as `mcpguard audit keygen` makes it. None:
            the trail is chained and not signed. Needs the extra `audit`.
        checkpoint_seconds: Seconds between two checkpoints, with or without events between them.
        anchor: A file in another place that gets every checkpoint too.
        clock: Time of the trail's own records.

    Attributes:
        path: The file that is written.

    Raises:
        OSError: If the file cannot be opened, or somebody else writes this trail.
        ValueError: If an option is out of range, or `key` holds no key.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mode: Durability = "durable",
        overflow: Overflow = "wait",
        queue: int = 10_000,
        key: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        anchor: str | Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not str(path):
            raise ValueError("path is empty; name a file")
        file = Path(path).absolute()
        signs = signer(key)
        medium = Database(file, is_synced=mode == "strict")
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
