"""What the sinks that keep a trail have in common: a writer, and that calls may wait for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcpguard.audit.medium import Medium, Start
from mcpguard.audit.note import Signer
from mcpguard.audit.queued import Queued
from mcpguard.audit.writer import Durability, Overflow, Writer
from mcpguard.core.clock import Clock
from mcpguard.core.extra import Extra

__all__ = ["Kept", "signer"]


class Kept(Queued):
    """A sink with a writer behind it.

    Attributes:
        where: What is written, for its repr.
        mode: What a call waits for before it goes out.
        strict: Whether a call whose intent is not kept is denied.
        waits: Whether calls wait at all.
        option_extras: What options take that not everybody has installed.
    """

    option_extras: Final[Mapping[str, Extra]] = {"key": Extra("audit", package="cryptography")}

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
        super().__init__(self._writer)

    async def settle(self) -> None:
        """Wait until what was emitted before is as safe as `mode` says.

        Raises:
            OSError: If it could not be written.
        """
        await self._writer.settle()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.where!r}, mode={self.mode!r})"


def signer(key: str | Path | None) -> Signer | None:
    """The signer whose private key is in a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds no key.
    """
    return None if key is None else Signer(Path(key).read_text("utf-8"))
