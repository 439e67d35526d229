"""What one trail keeps: events as records, batch by batch, checkpoints, and how many events were lost.

A batch is kept whole or not at all. Nothing here waits or wakes: `writer` says when, in its one thread.

Above: `writer`. Below: `stream`, which makes the records; `medium`, where they lie.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from mcpguard.audit.medium import Medium, Start
from mcpguard.audit.note import Signer
from mcpguard.audit.stream import Entry
from mcpguard.core.clock import Clock
from mcpguard.core.events import Event

__all__ = ["SYNC_SECONDS", "Journal"]

SYNC_SECONDS: Final = 1.0
"""Seconds after which what was written is synced, where nobody waits for that: what a power cut can lose."""

_log: Final = logging.getLogger("mcpguard")


class Journal:
    """Keep events on a medium.

    Args:
        medium: Where to.
        start: How it was found.
        signer: Signs checkpoints; None for none.
        checkpoint_seconds: Between two of them, with or without records in between.
        anchor: A file that takes every checkpoint a second time.
        clock: Time of the trail's own records.

    Raises:
        OSError: If it cannot be begun. The medium is closed then.
    """

    def __init__(
        self,
        medium: Medium,
        start: Start,
        *,
        signer: Signer | None,
        checkpoint_seconds: float,
        anchor: Path | None,
        clock: Clock,
    ) -> None:
        self.dropped = 0
        """Events that are not in the trail."""
        self._medium = medium
        self._stream = start.stream
        self._stream.is_signed = signer is not None
        self._members = start.members
        self._signer = signer
        self._interval = checkpoint_seconds
        self._anchor = anchor
        self._clock = clock
        self._lock = threading.RLock()
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._error: Exception | None = None
        self._unreported = 0
        self._is_announced = False
        self._is_dirty = False
        self._synced = self._signed = monotonic()
        error = self._keep((), is_due=False, sync=False, last=False)
        if error is not None:
            medium.close()
            raise error

    @property
    def may_be_due(self) -> bool:
        """Whether there is something to do once time has passed: a sync or a checkpoint."""
        return self._is_dirty or self._signer is not None

    def lose(self, events: int) -> None:
        """Count events that are not kept; the trail will say so. From any thread."""
        with self._lock:
            self.dropped += events
            self._unreported += events

    def keep(self, events: Sequence[Event], *, sync: bool) -> Exception | None:
        """Keep a batch, and what is due; why it could not be, or None.

        Args:
            events: The batch.
            sync: Whether the disk must have it.
        """
        return self._keep(events, is_due=self._is_due(), sync=sync, last=False)

    def tend(self) -> None:
        """Do what is due by time alone."""
        if self._is_due():
            self._keep((), is_due=True, sync=False, last=False)
        elif self._is_dirty and monotonic() - self._synced >= SYNC_SECONDS:
            self._attempt(self._sync)

    def end(self) -> None:
        """Sign, and say that the trail ends here in good order."""
        self._keep((), is_due=self._signer is not None, sync=False, last=True)

    def close(self) -> None:
        """Let go of the medium."""
        self._medium.close()

    def _is_due(self) -> bool:
        return self._signer is not None and monotonic() - self._signed >= self._interval

    def _keep(self, events: Sequence[Event], *, is_due: bool, sync: bool, last: bool) -> Exception | None:
        is_appended = False
        mark, unreported = self._stream.mark(), self._unreported
        try:
            self._move_on()
            mark = self._stream.mark()
            entries = self._ahead(unreported)
            entries += map(self._stream.event, events)
            if is_due or last:
                entries += self._behind(is_due=is_due, last=last)
            if entries:
                self._medium.append(entries)
                is_appended = self._is_dirty = True
            if sync or is_due or last or monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()
        except Exception as error:  # noqa: BLE001 - told to who waits, counted for the others
            if is_appended:
                self._medium.rollback()
            self._stream.restore(mark)
            self.lose(len(events))
            if self._error is None:
                _log.warning("the audit trail cannot be written: %s", type(error).__name__)
            self._error = error
            return error
        self._error = None
        self._is_announced = True
        with self._lock:
            self._unreported -= unreported
        if is_due:
            self._attempt(self._sign)
        return None

    def _move_on(self) -> None:
        """Begin a new file where the old one is gone or full."""
        lost = self._medium.lost()
        if lost is not None:
            _log.warning("the file of the audit trail was %s; a new one is begun", lost)
            self._stream.next_segment()
            self._members, self._is_announced = {"lost": lost}, False
        elif self._medium.is_full() and self._attempt(self._rotate) is None:
            if self._is_announced:
                self._members = {}
            self._is_announced = False

    def _ahead(self, unreported: int) -> list[Entry]:
        """What comes before the events: that a file begins, that records are missing."""
        entries: list[Entry] = []
        if not self._is_announced:
            entries.append(self._stream.opened(self._time(), **self._members))
        if unreported:
            entries.append(self._stream.own("dropped", self._time(), count=unreported))
        return entries

    def _behind(self, *, is_due: bool, last: bool) -> Iterable[Entry]:
        if is_due and self._signer is not None:
            size = self._stream.tree.size + (2 if last else 1)
            yield self._stream.own("checkpoint", self._time(), size=size, key=self._signer.verifier)
        if last:
            yield self._stream.own("closed", self._time())

    def _rotate(self) -> None:
        self._sync()
        if self._signer is not None:
            self._sign()
        self._medium.rotate(self._stream.segment)
        self._stream.next_segment()

    def _sync(self) -> None:
        self._medium.sync()
        self._is_dirty = False
        self._synced = monotonic()

    def _sign(self) -> None:
        if self._signer is None:
            return
        self._signed = monotonic()
        checkpoint = self._stream.checkpoint(self._time())
        note = self._signer.note(checkpoint)
        self._medium.note(note)
        _log.info("audit checkpoint %s", " ".join(checkpoint.text.split("\n")).strip())
        if self._anchor is not None:
            self._anchor.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._anchor.open("a", encoding="utf-8") as place:
                place.write(f"{note}\n")
                place.flush()
                os.fsync(place.fileno())

    def _attempt(self, act: Callable[[], None]) -> Exception | None:
        """Do what the records themselves do not depend on."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the next interval tries again
            _log.warning("the audit trail: %s failed with %s", act.__name__.strip("_"), type(error).__name__)
            return error
        return None

    def _time(self) -> int:
        return round(self._clock.time() * 1_000_000)
