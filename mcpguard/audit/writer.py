"""The one thread that writes a trail: takes events off a queue, keeps them in batches, tells who waits.

Callers only add to the queue. A batch holds all that has come while the batch before was written, so a
hundred callers share one wait for the disk (group commit). Above: the sinks. Below: `journal`, which keeps
a batch; `waiter`.
"""

import os
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from mcpguard.audit.journal import SYNC_SECONDS, Journal
from mcpguard.audit.medium import Medium, Start
from mcpguard.audit.note import Signer
from mcpguard.audit.record import MAX_PAYLOAD, OMITTED
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

MAX_BATCH: Final = 2_000
"""Events in one batch."""

MAX_WAITING: Final = 4 * MAX_PAYLOAD
"""Bytes of what was called or answered, beyond which its payload is left out before it waits in the queue."""

HARD_LIMIT: Final = 4
"""Times the queue's limit that it holds at most, while callers wait for it to shrink."""


class Writer:
    """Write one trail.

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
        self._journal = Journal(
            medium, start, signer=signer, checkpoint_seconds=checkpoint_seconds, anchor=anchor, clock=clock
        )
        self._mode = mode
        self._overflow = overflow
        self._limit = queue
        self._queue: deque[Event | Waiter] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._is_idle = False
        self._lock = threading.RLock()
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._is_closing = False

    @property
    def dropped(self) -> int:
        """Events that are not in the trail."""
        return self._journal.dropped

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
            self._journal.lose(1)
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
            self._wake.wait(SYNC_SECONDS if self._journal.may_be_due else None)
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

    def _commit(self, batch: list[Event | Waiter]) -> None:
        if not batch:
            self._journal.tend()
            return
        waiters = [one for one in batch if isinstance(one, Waiter)]
        events = [one for one in batch if isinstance(one, Event)]
        sync = self._mode == "strict" and bool(waiters)
        tell(waiters, self._journal.keep(events, sync=sync))

    def _finish(self) -> None:
        try:
            self._drain()
            self._journal.end()
            self._release(OSError("the trail is closed"))
        finally:
            self._journal.close()

    def _release(self, error: Exception) -> None:
        """Let go whoever waits; what is queued is lost."""
        rest = list(self._queue)
        self._queue.clear()
        tell([one for one in rest if isinstance(one, Waiter)], error)


def _check(mode: str, overflow: str, queue: int, checkpoint_seconds: float) -> None:
    if mode not in get_args(Durability):
        raise ValueError(f"mode is one of {', '.join(get_args(Durability))}, not {mode!r}")
    if overflow not in get_args(Overflow):
        raise ValueError(f"overflow is 'wait' or 'drop', not {overflow!r}")
    if queue < 1:
        raise ValueError(f"queue is at least 1, not {queue}")
    if not checkpoint_seconds > 0:
        raise ValueError(f"checkpoint_seconds is greater than 0, not {checkpoint_seconds}")
