"""The one thread that writes a trail: takes events off a queue, keeps them in batches, tells who waits.

Callers only add to the queue. A batch holds all that has come while the batch before was written, so a
hundred callers share one wait for the disk (group commit). Above: the sinks. Below: `stream`, `medium`,
`waiter`.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final, Literal, TypeAlias, get_args

from mcpguard.audit.medium import Medium, Start
from mcpguard.audit.note import Signer
from mcpguard.audit.record import MAX_PAYLOAD, OMITTED
from mcpguard.audit.stream import Entry
from mcpguard.audit.waiter import Waiter, tell
from mcpguard.core.clock import Clock
from mcpguard.core.events import Event

__all__ = ["Durability", "Overflow", "Writer"]

Durability: TypeAlias = Literal["strict", "durable", "async"]
"""`strict`: a call waits until the disk has its intent, or is denied. `durable`: it waits until the system
has it, which outlives the process and not a power cut. `async`: it does not wait."""

Overflow: TypeAlias = Literal["wait", "drop"]

LINGER: Final = 0.02
"""Seconds for which an async trail gathers events; what a killed process can lose."""

LOOKS: Final = 50
"""Times that the thread looks for events by itself, `LINGER` apart, before it sleeps until it is roused:
waking a thread costs a caller more than queueing an event."""

SYNC_SECONDS: Final = 1.0
"""Seconds after which what was written is synced, where nobody waits for that: what a power cut can lose."""

MAX_BATCH: Final = 2_000
"""Events in one batch."""

MAX_WAITING: Final = 4 * MAX_PAYLOAD
"""Bytes of what was called or answered, beyond which its payload is left out before it waits in the queue."""

HARD_LIMIT: Final = 4
"""Times the queue's limit that it holds at most, while callers wait for it to shrink."""

_log: Final = logging.getLogger("mcpguard")


class Writer:
    """Writes one trail.

    Args:
        medium: Where to.
        start: How it was found.
        mode: Who waits for what.
        overflow: What happens beyond `queue`: calls wait, or events are dropped and counted.
        queue: Events that may wait.
        signer: Signs checkpoints; None for none.
        checkpoint_seconds: Between two of them, with or without records in between.
        anchor: A file that takes every checkpoint a second time.
        clock: Time of the trail's own records.
    """

    def __init__(
        self,
        medium: Medium,
        start: Start,
        *,
        mode: Durability,
        overflow: Overflow,
        queue: int,
        signer: Signer | None,
        checkpoint_seconds: float,
        anchor: Path | None,
        clock: Clock,
    ) -> None:
        try:
            _check(mode, overflow, queue, checkpoint_seconds)
            if anchor is not None and signer is None:
                raise ValueError("an anchor takes signed checkpoints: give a key as well")
        except ValueError:
            medium.close()
            raise
        self.dropped = 0
        self._medium = medium
        self._stream = start.stream
        self._stream.is_signed = signer is not None
        self._members = start.members
        self._mode = mode
        self._overflow = overflow
        self._limit = queue
        self._signer = signer
        self._interval = checkpoint_seconds
        self._anchor = anchor
        self._clock = clock
        self._queue: deque[Event | Waiter] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._is_idle = False
        self._is_announced = False
        self._lock = threading.RLock()
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._is_closing = False
        self._error: Exception | None = None
        self._unreported = 0
        self._is_dirty = False
        self._synced = self._signed = monotonic()
        error = self._keep([], is_due=False, sync=False, last=False)
        if error is not None:
            medium.close()
            raise error

    def put(self, event: Event) -> None:
        """Queue an event.

        Raises:
            BufferError: If the queue is full.
            ValueError: If the writer is closed, or belongs to the process that this one was forked from.
        """
        if self._is_closing:
            raise ValueError("the sink is closed")
        if self._process != os.getpid():
            raise ValueError("this process was forked; make a guard and its sinks after forking")
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._limit and (self._overflow == "drop" or waiting >= self._limit * HARD_LIMIT):
            self._hurry.set()
            with self._lock:
                self.dropped += 1
                self._unreported += 1
            raise BufferError("the queue of the audit trail is full")
        if (
            event.payload is not None
            and max(event.arguments_bytes or 0, event.result_bytes or 0) > MAX_WAITING
        ):
            event = replace(event, payload=OMITTED)
        queue.append(event)
        if self._is_idle or self._thread is None:
            self._rouse()

    async def settle(self) -> None:
        """Wait until all that was queued before is kept; in an async trail, until the queue has room.

        Raises:
            OSError: If it could not be kept.
        """
        if self._mode == "async" and len(self._queue) < self._limit:
            return
        if self._is_closing:
            raise OSError("the trail is closed")
        waiter = Waiter()
        self._queue.append(waiter)
        if not self._hurry.is_set():
            self._hurry.set()
        if self._is_idle or self._thread is None:
            self._rouse()
        await waiter.wait()

    def close(self) -> None:
        """Keep what is queued, sign, and let go. Closing twice is closing once."""
        with self._lock:
            is_closed, self._is_closing = self._is_closing, True
            if is_closed or self._process != os.getpid():
                return
        if self._thread is not None:
            self._hurry.set()
            self._wake.set()
            self._thread.join()
        self._finish()

    def _rouse(self) -> None:
        """Wake the thread, which is started by the first event."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="mcpguard-audit", daemon=True)
                    self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        looks = 0
        while not self._is_closing:
            if looks >= LOOKS:
                self._sleep()
            if self._queue or looks < LOOKS:
                self._hurry.wait(LINGER)
                self._hurry.clear()
            looks = 0 if self._queue else looks + 1
            try:
                self._drain()
            except Exception as error:  # noqa: BLE001 - whoever waits must not wait for ever
                self._release(error)

    def _sleep(self) -> None:
        """Wait to be roused, or for the next sync or checkpoint."""
        self._wake.clear()
        self._is_idle = True
        if not self._queue and not self._is_closing:
            self._wake.wait(SYNC_SECONDS if self._is_dirty or self._signer is not None else None)
        self._is_idle = False

    def _drain(self) -> None:
        queue = self._queue
        while True:
            batch: list[Event | Waiter] = []
            while queue and len(batch) < MAX_BATCH:
                batch.append(queue.popleft())
            self._commit(batch)
            if not queue:
                return

    def _commit(self, batch: list[Event | Waiter], *, last: bool = False) -> None:
        waiters = [one for one in batch if isinstance(one, Waiter)]
        events = [one for one in batch if isinstance(one, Event)]
        now = monotonic()
        is_due = self._signer is not None and (last or now - self._signed >= self._interval)
        error = None
        if events or waiters or is_due or last:
            error = self._keep(
                events, is_due=is_due, sync=self._mode == "strict" and bool(waiters), last=last
            )
        elif self._is_dirty and now - self._synced >= SYNC_SECONDS:
            error = self._attempt(self._sync)
        tell(waiters, error)

    def _keep(self, events: list[Event], *, is_due: bool, sync: bool, last: bool) -> Exception | None:
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
            with self._lock:
                self.dropped += len(events)
                self._unreported += len(events)
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

    def _finish(self) -> None:
        try:
            self._drain()
            self._commit([], last=True)
            self._release(OSError("the trail is closed"))
        finally:
            self._medium.close()

    def _release(self, error: Exception) -> None:
        """Let go whoever waits; what is queued is lost."""
        rest = list(self._queue)
        self._queue.clear()
        tell([one for one in rest if isinstance(one, Waiter)], error)

    def _time(self) -> int:
        return round(self._clock.time() * 1_000_000)


def _check(mode: str, overflow: str, queue: int, checkpoint_seconds: float) -> None:
    if mode not in get_args(Durability):
        raise ValueError(f"mode is one of {', '.join(get_args(Durability))}, not {mode!r}")
    if overflow not in get_args(Overflow):
        raise ValueError(f"overflow is 'wait' or 'drop', not {overflow!r}")
    if queue < 1:
        raise ValueError(f"queue is at least 1, not {queue}")
    if not checkpoint_seconds > 0:
        raise ValueError(f"checkpoint_seconds is greater than 0, not {checkpoint_seconds}")
