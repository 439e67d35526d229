"""Send records to an HTTP endpoint, in batches.

What is sent is the record of an event, as a trail has it, without chain: the receiver keeps its own. The
body is signed, so that the receiver knows who sent it and when.
"""

import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mcpguard.audit.courier import Answer, Batch, Courier
from mcpguard.audit.queued import Queued
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.extra import Extra

if TYPE_CHECKING:
    from httpx import Client

__all__ = ["Webhook"]


class Webhook(Queued):
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
        clock: Time of the signatures, and of the pauses.

    Raises:
        ValueError: If an option is out of range, or the secret is too short.
        OSError: If the secret cannot be read.
        ModuleNotFoundError: If `httpx` is not installed: it comes with the extra `webhook`.
    """

    extra: Final = Extra("webhook", package="httpx")

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
        self.extra.require()
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
        client = httpx.Client(timeout=timeout, follow_redirects=False)
        courier = Courier(
            "webhook", _Post(client, url, key, clock), queue=queue, batch=batch, linger=linger, clock=clock
        )
        super().__init__(courier)
        self._host = parts.hostname

    def __repr__(self) -> str:
        return f"Webhook(<{self._host}>)"


class _Post:
    """Posts batches, signed."""

    def __init__(self, client: "Client", url: str, key: bytes | None, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._key = key
        self._clock = clock

    def carry(self, batch: Batch) -> Answer:
        """Post once."""
        head = json.dumps({"id": batch.id, "dropped": batch.dropped})[:-1]
        body = b'%b,"records":[%b]}' % (head.encode(), b",".join(batch.records))
        headers = {"content-type": "application/json"}
        if self._key is not None:
            seconds = str(int(self._clock.time()))
            signature = hmac.digest(self._key, seconds.encode() + b"." + body, "sha256").hex()
            headers["mcpguard-signature"] = f"t={seconds},v1={signature}"
        try:
            status = self._client.post(self._url, content=body, headers=headers).status_code
        except Exception:  # noqa: BLE001 - whatever keeps it from arriving, it is tried again
            return "again"
        if 200 <= status < 300:
            return "taken"
        return "refused" if 400 <= status < 500 and status not in (408, 429) else "again"

    def close(self) -> None:
        """Let connections go."""
        self._client.close()
