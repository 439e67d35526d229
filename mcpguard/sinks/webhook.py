"""Send records to an HTTP endpoint, in batches.

What is sent is the record of an event, as a trail has it, without chain: the receiver keeps its own. The
body is signed, so that the receiver knows who sent it and when.
"""

import hmac
import json
import logging
import os
import random
import threading
import weakref
from collections import deque
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from anyio import CancelScope, to_thread

from mcpguard.audit.record import encode, of_event
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.events import Event

__all__ = ["Webhook"]

MAX_ATTEMPTS_AT_END: Final = 3
"""Attempts at what is left once the sink is closed: an endpoint that is down must not hold up the end."""

MAX_PAUSE: Final = 60.0
"""Seconds between two attempts, at most."""

_log: Final = logging.getLogger("mcpguard")


class Webhook:
    """POST events to a URL, as `{"records": [...]}`, signed and retried.

    - Nothing waits for it, and it is never strict: put `JsonLines` beside it where none must be lost.
    - A batch that is not answered with a status of 200 to 299 is sent again, with pauses that double up to a
      minute, until it is taken. One answered with 400 to 499, but 408 and 429, is dropped: it never would be.
    - What comes while `queue` events wait is dropped and counted, and the next batch says how many.
    - `aclose` sends what is left, tries three times, and drops the rest.
    - Redirects are not followed. A batch may arrive twice: `id` tells.

    The header `Mcpguard-Signature` is `t=<seconds>,v1=<hex>`: HMAC-SHA256 with the secret, over the
    seconds, a dot, and the body.

    Args:
        url: Where to; https, or http to this machine itself.
        secret: File with the secret that signs, 16 bytes at least. None: unsigned.
        queue: Events that may wait to be sent. At least 1.
        batch: Events in one request, at most. At least 1.
        linger: Seconds for which a batch gathers events.
        timeout: Seconds for one request.
        clock: Time of the signatures.

    Raises:
        ValueError: If an option is out of range, or the secret is too short.
        OSError: If the secret cannot be read.
        ModuleNotFoundError: If `httpx` is not installed: it comes with the extra `webhook`.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | Path | None = None,
        queue: int = 10_000,
        batch: int = 500,
        linger: float = 1.0,
        timeout: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        import httpx  # noqa: PLC0415 - an extra

        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise ValueError("url is https, or http to localhost")
        if queue < 1 or batch < 1 or not linger >= 0 or not timeout > 0:
            raise ValueError("queue and batch are at least 1, linger at least 0, timeout greater than 0")
        key = None if secret is None else Path(secret).read_bytes().strip()
        if key is not None and len(key) < 16:
            raise ValueError(f"the secret has {len(key)} bytes; 16 at least")
        self.dropped = 0
        client = httpx.Client(timeout=timeout, follow_redirects=False)
        self._sender = _Sender(client, url, key, batch, linger, clock)
        self._limit = queue
        self._close = weakref.finalize(self, self._sender.close)
        self._host = parts.hostname

    def emit(self, event: Event) -> None:
        """Queue one event.

        Raises:
            BufferError: If the queue is full.
            ValueError: If the sink is closed.
        """
        sender = self._sender
        if sender.is_closing:
            raise ValueError("the sink is closed")
        if len(sender.queue) >= self._limit:
            self.dropped += 1
            sender.dropped += 1
            raise BufferError("the queue of the webhook is full")
        sender.queue.append(event)
        if sender.is_idle:
            sender.rouse()

    async def aclose(self) -> None:
        """Send what is left. Closing twice is closing once."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    def __repr__(self) -> str:
        return f"Webhook(<{self._host}>)"


class _Sender:
    """The thread that sends."""

    def __init__(
        self, client: object, url: str, key: bytes | None, batch: int, linger: float, clock: Clock
    ) -> None:
        self.queue: deque[Event] = deque()
        self.dropped = 0
        self.is_closing = False
        self.is_idle = True
        self._client = client
        self._url = url
        self._key = key
        self._batch = batch
        self._linger = linger
        self._clock = clock
        self._wake = threading.Event()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._name = os.urandom(8).hex()
        self._number = 0

    def rouse(self) -> None:
        """Wake the thread, which the first event starts."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mcpguard-webhook", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Send what is left, and let go."""
        self.is_closing = True
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._client.close()  # type: ignore[attr-defined]

    def _run(self) -> None:
        while not self.is_closing or self.queue:
            self._wake.clear()
            self.is_idle = True
            if not self.queue and not self.is_closing:
                self._wake.wait()
            self.is_idle = False
            until = monotonic() + self._linger
            while len(self.queue) < self._batch and not self.is_closing and monotonic() < until:
                self._end.wait(min(0.05, self._linger))
            if self.queue and not self._sent(self._body()):
                _log.warning("a batch of audit records was not taken by the webhook and is dropped")

    def _body(self) -> bytes:
        taken = [self.queue.popleft() for _ in range(min(self._batch, len(self.queue)))]
        dropped, self.dropped = self.dropped, 0
        self._number += 1
        head = json.dumps({"id": f"{self._name}-{self._number}", "dropped": dropped})[:-1]
        records = b",".join(encode(of_event(event)) for event in taken)
        return b'%b,"records":[%b]}' % (head.encode(), records)

    def _sent(self, body: bytes) -> bool:
        """Whether the endpoint has taken a batch, however long that takes."""
        attempt, left = 0, MAX_ATTEMPTS_AT_END
        while True:
            status = self._post(body)
            if 200 <= status < 300:
                return True
            if 400 <= status < 500 and status not in (408, 429):
                return False
            attempt += 1
            if self.is_closing:
                left -= 1
                if left <= 0:
                    return False
            if attempt == 1:
                _log.warning("the webhook does not take audit records (status %d); they wait", status)
            pause = min(MAX_PAUSE, 0.25 * 2 ** min(attempt, 12)) * random.uniform(0.5, 1.0)  # noqa: S311
            if self.is_closing:
                threading.Event().wait(min(pause, 0.25))
            else:
                self._end.wait(pause)

    def _post(self, body: bytes) -> int:
        """The answer's status; 0 for none."""
        headers = {"content-type": "application/json"}
        if self._key is not None:
            seconds = str(int(self._clock.time()))
            signature = hmac.digest(self._key, seconds.encode() + b"." + body, "sha256").hex()
            headers["mcpguard-signature"] = f"t={seconds},v1={signature}"
        try:
            answer = self._client.post(self._url, content=body, headers=headers)  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - whatever keeps it from arriving, it is tried again
            return 0
        return int(answer.status_code)
