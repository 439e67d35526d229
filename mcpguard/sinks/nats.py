"""Publish records to a NATS JetStream stream, one message each.

What is published is the record of an event, as a trail has it, without chain: the stream keeps its own order.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mcpguard.audit.courier import Answer, Batch, Courier
from mcpguard.audit.queued import Queued
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.extra import Extra

if TYPE_CHECKING:
    from nats.aio.client import Client

__all__ = ["JetStream"]

IDLE: Final = 60.0
"""Seconds after which a connection is made anew: a server gives up one that does not answer its pings (every
two minutes by default), and between two batches nobody does."""


class JetStream(Queued):
    """Publish events to a subject that a JetStream stream listens to, and wait for each acknowledgement.

    - No call waits for it, and it is never strict: put `JsonLines` beside it where none must be lost.
    - What the stream has not acknowledged is published again, with pauses that double up to a minute, until
      it is; a server that is gone, and a stream that is not there, are waited for. `Nats-Msg-Id` is the same
      each time, so that the stream keeps one of them within its duplicate window.
    - What is stored outlives the client; what a crash of the server costs is the stream's business (replicas,
      `sync_interval`).
    - What comes while `queue` events wait is dropped and counted; the next message says how many, in the
      header `Mcpguard-Dropped`. A message that the server finds too large is dropped.
    - `aclose` publishes what is left, tries three times, and drops the rest.

    Args:
        url: `tls://host:port`, or `nats://host:port` for this machine itself.
        subject: Where to; no wildcards.
        credentials: File with the user's JWT and seed (`.creds`), as `nsc` makes it. None: what the URL says.
        queue: Events that may wait to be published. At least 1.
        batch: Messages that wait for their acknowledgements at a time. At least 1.
        linger: Seconds for which a batch gathers events.
        timeout: Seconds to wait for a connection, and for acknowledgements.
        clock: Time of the pauses.

    Raises:
        ValueError: If an option is out of range, or the line would be open.
        OSError: If the credentials cannot be read.
        ModuleNotFoundError: If `nats` is not installed: it comes with the extra `nats`.
    """

    extra: Final = Extra("nats", package="nats")

    def __init__(
        self,
        url: str,
        *,
        subject: str = "mcpguard.audit",
        credentials: str | Path | None = None,
        queue: int = 10_000,
        batch: int = 500,
        linger: float = 1.0,
        timeout: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.extra.require()
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "tls" or (parts.scheme == "nats" and local)):
            raise ValueError("url is tls://host:port, or nats:// to localhost")
        tokens = subject.split(".")
        if not all(one.isprintable() and one not in ("", "*", ">") and " " not in one for one in tokens):
            raise ValueError("subject is words with dots in between, without wildcards")
        if queue < 1 or batch < 1 or not linger >= 0 or not timeout > 0:
            raise ValueError("queue and batch are at least 1, linger at least 0, timeout greater than 0")
        if credentials is not None:
            Path(credentials).read_bytes()
        carrier = _Publisher(url, subject, None if credentials is None else str(credentials), timeout)
        courier = Courier("stream", carrier, queue=queue, batch=batch, linger=linger, clock=clock)
        super().__init__(courier)
        self._where = f"{parts.hostname}, {subject}"

    def __repr__(self) -> str:
        return f"JetStream(<{self._where}>)"


class _Publisher:
    """Publishes batches, in an event loop that runs while one is under way."""

    def __init__(self, url: str, subject: str, credentials: str | None, timeout: float) -> None:
        self._url = url
        self._subject = subject
        self._credentials = credentials
        self._timeout = timeout
        self._runner: asyncio.Runner | None = None
        self._client: Client | None = None
        self._used = 0.0
        self._batch = ""
        self._settled: set[int] = set()

    def carry(self, batch: Batch) -> Answer:
        """Publish what of the batch is not stored yet."""
        if batch.id != self._batch:
            self._batch, self._settled = batch.id, set()
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(self._published(batch))
        except Exception:  # noqa: BLE001 - whatever keeps it from arriving, it is tried again
            self._runner.run(self._left())
        if len(self._settled) < len(batch.records):
            return "again"
        return "taken"

    def close(self) -> None:
        """Let the connection go."""
        if self._runner is not None:
            self._runner.run(self._left())
            self._runner.close()

    async def _published(self, batch: Batch) -> None:
        from nats.errors import MaxPayloadError  # noqa: PLC0415 - an extra
        from nats.js import JetStreamContext  # noqa: PLC0415

        stream = JetStreamContext(await self._connected(), timeout=self._timeout)

        async def publish(number: int) -> None:
            headers = {"Nats-Msg-Id": f"{batch.id}-{number}"}
            if number == 0 and batch.dropped:
                headers["Mcpguard-Dropped"] = str(batch.dropped)
            with suppress(MaxPayloadError):
                await stream.publish(self._subject, batch.records[number], headers=headers)
            self._settled.add(number)

        left = [number for number in range(len(batch.records)) if number not in self._settled]
        failed = await asyncio.gather(*map(publish, left), return_exceptions=True)
        self._used = monotonic()
        if any(failed):
            await self._left()

    async def _connected(self) -> "Client":
        if self._client is not None and monotonic() - self._used > IDLE:
            await self._left()
        if self._client is None:
            from nats.aio.client import Client  # noqa: PLC0415 - an extra

            self._client = Client()
            async with asyncio.timeout(self._timeout):
                await self._client.connect(
                    self._url,
                    name="mcpguard",
                    allow_reconnect=False,
                    connect_timeout=max(1, round(self._timeout)),
                    user_credentials=self._credentials,
                    error_cb=_silent,
                )
        return self._client

    async def _left(self) -> None:
        """Close the connection, and let the client's own tasks end: nothing runs between two batches."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest, timeout=1.0)


async def _silent(_error: Exception) -> None:
    """What goes wrong shows where it is waited for; the client's own log may name the URL."""
