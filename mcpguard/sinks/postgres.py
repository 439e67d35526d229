"""Keep events in a PostgreSQL server: the same chained records as `JsonLines`, for who has one to back up.

What is written, and what it proves, is `audit`'s business; here is which server, and when a call waits.
"""

from pathlib import Path
from typing import Final

from mcpguard.audit.kept import Kept, signer
from mcpguard.audit.postgres import Tables
from mcpguard.audit.postgres_url import Address
from mcpguard.audit.writer import Durability, Overflow
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.extra import Extra

__all__ = ["PostgreSQL"]


class PostgreSQL(Kept):
    """Keep a trail of events in tables of a PostgreSQL server, written by one thread in groups.

    - `strict`: a call goes out once the server's disk has its intent (`synchronous_commit=on`); where it
      cannot be written, the call is denied. A server with `fsync=off` is refused.
    - `durable`: a call goes out once its intent is committed (`synchronous_commit=off`): a killed process
      loses no intent, a crash of process and server together a second.
    - `async`: nothing waits.
    - A server that is gone is waited for up to `timeout` while events queue, and no batch is kept twice; what
      it lost in a crash of its last five seconds is kept once more. After `timeout` what comes is dropped and
      counted, and the trail says so once the server is back.
    - A trail that was changed, or that somebody else has gone on with, takes nothing any more.
    - One trail has one writer: a second is refused. Readers are welcome.

    Args:
        url: `postgresql://user@host:port/database?sslmode=verify-full`, with what libpq knows. A server
            elsewhere is reached by TLS only. The password is best left to `passfile`.
        trail: Name of this trail among those in the same tables; one for each process that writes.
        mode: What a call waits for before it goes out.
        overflow: What happens where more than `queue` events wait: calls wait too, or events are dropped
            and counted. A strict trail drops nothing: a call whose intent finds no room is denied.
        queue: Events that may wait to be written. At least 1.
        timeout: Seconds for which a server that is gone or does not answer is waited for. Greater than 0.
        key: File with the private key that signs checkpoints, as `mcpguard audit keygen` makes it. None:
            the trail is chained and not signed. Needs the extra `audit`.
        checkpoint_seconds: Seconds between two checkpoints, with or without events between them.
        anchor: A file in another place that gets every checkpoint too.
        clock: Time of the trail's own records.

    Raises:
        OSError: If the server cannot be reached or used, or somebody else writes this trail.
        ValueError: If an option is out of range, or `key` holds no key.
        ModuleNotFoundError: If `psycopg` is not installed: it comes with the extra `postgres`.
    """

    extra: Final = Extra("postgres", package="psycopg")

    def __init__(
        self,
        url: str,
        *,
        trail: str = "mcpguard",
        mode: Durability = "durable",
        overflow: Overflow = "wait",
        queue: int = 10_000,
        timeout: float = 10.0,
        key: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        anchor: str | Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout is greater than 0, not {timeout}")
        self.extra.require()
        address = Address.of(url, trail)
        signs = signer(key)
        medium = Tables(address, is_synced=mode == "strict", timeout=timeout)
        super().__init__(
            address.label,
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
