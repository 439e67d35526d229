"""What the sinks that keep a trail have in common: events in, a wait for the writer, a clean end."""

import weakref
from pathlib import Path
from typing import Final

from anyio import CancelScope, to_thread

from mcpguard.audit.medium import Medium, Start
from mcpguard.audit.note import Signer
from mcpguard.audit.writer import Durability, Overflow, Writer
from mcpguard.core.clock import Clock
from mcpguard.core.events import Event

__all__ = ["Kept", "signer"]


class Kept:
    """A sink with a writer behind it.

    Attributes:
        where: What is written, for its repr.
        mode: What a call waits for before it goes out.
        strict: Whether a call whose intent is not kept is denied.
        waits: Whether calls wait at all.
    """

    def __init__(
        self,
        where: str,
        medium: Medium,
        start: Start,
        *,
        mode: Durability,
        overflow: Overflow,
        queue: int,
        signer: Signer | None,
        checkpoint_seconds: float,
        anchor: str | Path | None,
        clock: Clock,
    ) -> None:
        self.where = where
        self.mode = mode
        self.strict = mode == "strict"
        self.waits = mode != "async" or overflow == "wait"
        self._writer: Final = Writer(
            medium,
            start,
            mode=mode,
            overflow=overflow,
            queue=queue,
            signer=signer,
            checkpoint_seconds=checkpoint_seconds,
            anchor=None if anchor is None else Path(anchor),
            clock=clock,
        )
        self._close = weakref.finalize(self, self._writer.close)

    @property
    def dropped(self) -> int:
        """Events that were not kept, so far."""
        return self._writer.dropped

    def emit(self, event: Event) -> None:
        """Queue one event.

        Raises:
            BufferError: If the queue is full.
            ValueError: If the sink is closed.
        """
        self._writer.put(event)

    async def settle(self) -> None:
        """Wait until what was emitted before is as safe as `mode` says.

        Raises:
            OSError: If it could not be written.
        """
        await self._writer.settle()

    async def aclose(self) -> None:
        """Write what is queued, sign it and let go. Closing twice is closing once."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.where!r}, mode={self.mode!r})"


def signer(key: str | Path | None) -> Signer | None:
    """The signer whose private key is in a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no key.
    """
    return None if key is None else Signer(Path(key).read_text("utf-8"))
