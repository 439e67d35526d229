"""Brings records somewhere in batches, from a thread of its own, until they are taken; no call waits for it.

Above: the sinks that hand records to a service, each with a carrier that knows how that is spoken to. Trails,
for which calls may wait, have a `writer`.
"""

import logging
import os
import random
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal, Protocol, TypeAlias

from mcpguard.audit.record import encode, of_event
from mcpguard.core.clock import Clock
from mcpguard.core.events import Event

__all__ = ["Answer", "Batch", "Carrier", "Courier"]

Answer: TypeAlias = Literal["taken", "again", "refused"]
"""What became of a batch: it arrived; it did not, and is sent again; it never will be, and is dropped."""

MAX_ATTEMPTS_AT_END: Final = 3
"""Attempts at what is left once the sink is closed: a service that is down must not hold up the end."""

MAX_PAUSE: Final = 60.0
"""Seconds between two attempts, at most."""

_LOOK: Final = 0.05
"""Seconds between two looks at the clock."""

_log: Final = logging.getLogger("mcpguard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes together.

    Args:
        id: The same for each attempt, and for no other batch.
        records: Canonical records, in order.
        dropped: Events that were dropped since the batch before.
    """

    id: str
    records: tuple[bytes, ...]
    dropped: int


class Carrier(Protocol):
    """Speaks to a service, in the courier's thread."""

    def carry(self, batch: Batch, /) -> Answer:
        """Try once. It does not raise."""
        ...

    def close(self) -> None:
        """Let go; nothing is carried any more."""
        ...


class Courier:
    """The queue and the thread.

    Args:
        service: What the log calls it.
        carrier: How it is spoken to.
        queue: Events that may wait.
        batch: Events in one batch, at most.
        linger: Seconds for which a batch gathers events.
        clock: Measures the pauses between attempts.

    Attributes:
        dropped: Events that found no room.
    """

    def __init__(
        self, service: str, carrier: Carrier, *, queue: int, batch: int, linger: float, clock: Clock
    ) -> None:
        self.dropped = 0
        self._service = service
        self._carrier = carrier
        self._limit = queue
        self._batch = batch
        self._linger = linger
        self._clock = clock
        self._queue: deque[Event] = deque()
        self._unreported = 0
        self._is_closing = False
        self._is_idle = True
        self._wake = threading.Event()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._name = os.urandom(8).hex()
        self._number = 0

    def put(self, event: Event) -> None:
        """Queue one event.

        Raises:
            BufferError: If the queue is full.
            ValueError: If the sink is closed.
        """
        if self._is_closing:
            raise ValueError("the sink is closed")
        if len(self._queue) >= self._limit:
            with self._lock:
                self.dropped += 1
                self._unreported += 1
            raise BufferError(f"the queue of the {self._service} is full")
        self._queue.append(event)
        if self._is_idle:
            self._rouse()

    def close(self) -> None:
        """Send what is left, and let go."""
        with self._lock:
            is_closed, self._is_closing = self._is_closing, True
        if is_closed:
            return
        self._end.set()
        self._wake.set()
        if self._thread is None:
            self._carrier.close()
        else:
            self._thread.join()

    def _rouse(self) -> None:
        """Wake the thread, which the first event starts."""
        with self._lock:
            if self._thread is None:
                name = f"mcpguard-{self._service}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while not self._is_closing or self._queue:
            self._wake.clear()
            self._is_idle = True
            if not self._queue and not self._is_closing:
                self._wake.wait()
            self._is_idle = False
            until = monotonic() + self._linger
            while len(self._queue) < self._batch and not self._is_closing and monotonic() < until:
                self._end.wait(min(_LOOK, self._linger))
            if self._queue and not self._is_delivered(self._next()):
                _log.warning("a batch of audit records was not taken by the %s and is dropped", self._service)
        self._carrier.close()

    def _next(self) -> Batch:
        taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
        with self._lock:
            dropped, self._unreported = self._unreported, 0
        self._number += 1
        records = tuple(encode(of_event(event)) for event in taken)
        return Batch(id=f"{self._name}-{self._number}", records=records, dropped=dropped)

    def _is_delivered(self, batch: Batch) -> bool:
        """Whether the service has taken a batch, however long that takes."""
        attempt, left = 0, MAX_ATTEMPTS_AT_END
        while True:
            answer = self._carrier.carry(batch)
            if answer != "again":
                return answer == "taken"
            attempt += 1
            if self._is_closing:
                left -= 1
                if left <= 0:
                    return False
            if attempt == 1:
                _log.warning("the %s does not take audit records; they wait", self._service)
            self._pause(min(MAX_PAUSE, 0.25 * 2 ** min(attempt, 12)) * random.uniform(0.5, 1.0))  # noqa: S311

    def _pause(self, seconds: float) -> None:
        if self._is_closing:
            threading.Event().wait(min(seconds, 0.25))
        until = self._clock.now() + seconds
        while not self._is_closing and self._clock.now() < until:
            self._end.wait(_LOOK)
