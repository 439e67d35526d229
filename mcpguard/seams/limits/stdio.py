"""A server in a process of its own, read line by line within limits.

In the place of the SDK's `stdio_client`: a line is bounded while it is read, one bad line costs that line, a
server that has died is noticed though its children hold the pipes, and with it those end too. On Windows the
SDK's own is used, and messages are measured when they have been parsed.

Above: `sources`. Below: `frames`, what stands in a line.
"""

import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from math import inf
from typing import Any, Final, TextIO

import anyio
import anyio.abc

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.seams.limits.brake import Brake
from mcpguard.seams.limits.frames import Fault, parse, read
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.session import sdk_major

__all__ = ["limited_stdio"]

POLL_SECONDS: Final = 0.1
"""How often the process is asked whether it lives; waiting for it would wait for its children's pipes too."""

LAST_WORDS_SECONDS: Final = 0.5
"""How long what a dead server wrote is still read."""

GRACE_SECONDS: Final = 1.5
"""How long a server is given to end by itself, and again after SIGTERM (MCP 2025-11-25, lifecycle), where
`close_seconds` leaves time for that."""

_log = logging.getLogger("mcpguard")

_UNSAID: Final = "exclude_none" if sdk_major() < 2 else "exclude_unset"
"""What the SDK leaves out of the messages it writes."""


@asynccontextmanager
async def limited_stdio(
    server: Any, errlog: TextIO = sys.stderr, *, watch: Watch
) -> AsyncGenerator[tuple[Any, Any]]:
    """Start a server and talk to it over its stdin and stdout.

    Args:
        server: The SDK's `StdioServerParameters`.
        errlog: Where its stderr goes.
        watch: Told of what cannot be parsed, and of the end.

    Raises:
        OSError: If the process cannot be started.
    """
    environment = import_module("mcp.client.stdio").get_default_environment()
    process = await anyio.open_process(
        [server.command, *server.args],
        env={**environment, **(server.env or {})},
        stderr=errlog,
        cwd=server.cwd,
        start_new_session=True,
    )
    to_writer, outbox = anyio.create_memory_object_stream[Any](0)
    lines = _Lines(process, server, watch)
    try:
        async with anyio.create_task_group() as tasks:
            writer = _Writer(process, server, watch)
            watch.is_looked_at = True
            tasks.start_soon(writer.run, outbox)
            tasks.start_soon(_mourn, process, watch, writer)
            try:
                yield lines, to_writer
            finally:
                tasks.cancel_scope.cancel()
    finally:
        to_writer.close()
        outbox.close()
        with anyio.CancelScope(shield=True):
            await _stop(process, min(GRACE_SECONDS, watch.limits.close_seconds / 4))
        if lines.has_ended and process.returncode not in (None, 0, -signal.SIGTERM, -signal.SIGKILL):
            _log.warning("%s ended with exit status %d", ascii(server.command), process.returncode)


class _Lines:
    """The messages on a process's stdout."""

    def __init__(self, process: anyio.abc.Process, server: Any, watch: Watch) -> None:
        self._process = process
        self._watch = watch
        self._decodes = str(server.encoding).replace("_", "-").lower() not in ("utf-8", "utf8", "ascii")
        self._encoding: str = server.encoding
        self._errors: str = server.encoding_error_handler
        self._cutter = _Cutter(watch.limits)
        self._brake = Brake()
        self.has_ended = False
        """Whether the process has closed its stdout."""
        self._open: bytes | None = None
        """The line that is parsed, perhaps in a thread; a reader woken meanwhile comes back for it."""

    async def receive(self) -> Any:
        """The next message.

        Raises:
            EndOfStream: If the process has closed its stdout.
        """
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it was opened with pipes
        while True:
            line = self._cutter.next() if self._open is None else self._open
            if line is None:
                try:
                    self._cutter.feed(await stdout.receive())
                except (anyio.EndOfStream, anyio.ClosedResourceError, OSError):
                    self.has_ended = True
                    raise anyio.EndOfStream from None
                continue
            if isinstance(line, Fault):
                self._watch.refused(line)
            elif line.strip():
                text = line.decode(self._encoding, self._errors).encode() if self._decodes else line
                self._open = line
                parsed, _ = await read(text, self._watch.limits, self._watch.lists)
                self._open = None
                if not isinstance(parsed, Fault):
                    self._brake.release()
                    return parsed
                if parsed.is_answer or parsed.id is not None or text.lstrip().startswith((b"{", b"[")):
                    self._watch.refused(parsed)  # else it is a line that somebody printed
            if self._watch.own:
                self._watch.wake()
                await anyio.lowlevel.checkpoint()
            await self._brake.slow()

    def close(self) -> None:
        """Nothing to do: the pipes go with the process."""

    async def aclose(self) -> None:
        """Nothing to do: the pipes go with the process."""


class _Cutter:
    """Cuts chunks into lines, and keeps no more of one than the limit."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._lines: list[bytes | Fault] = []
        self._rest = bytearray()
        self._is_skipping = False

    def next(self) -> bytes | Fault | None:
        """The next line; None if it is not there yet."""
        return self._lines.pop() if self._lines else None

    def feed(self, chunk: bytes) -> None:
        """Take what was read."""
        if not (self._rest or self._is_skipping) and chunk.find(b"\n") == len(chunk) - 1:
            # one whole line, as nearly all are; how long it may be is `parse`'s business
            self._lines = [chunk[:-1]]
            return
        first, *others = chunk.split(b"\n")
        lines: list[bytes | Fault] = []
        self._add(first, lines)
        if others:
            if not self._is_skipping:
                lines.append(bytes(self._rest))
            self._rest = bytearray()
            self._is_skipping = False
            lines += filter(None, others[:-1])
            self._add(others[-1], lines)
        self._lines = lines[::-1]

    def _add(self, piece: bytes, lines: list[bytes | Fault]) -> None:
        if self._is_skipping:
            return
        self._rest += piece
        if len(self._rest) > self._limits.message_bytes:
            fault = parse(bytes(self._rest), self._limits)
            assert isinstance(fault, Fault)  # noqa: S101 - it is over the limit
            lines.append(fault)
            self._rest = bytearray()
            self._is_skipping = True


class _Writer:
    """Writes each message, in a task of its own: whoever is cancelled must not leave half a line."""

    def __init__(self, process: anyio.abc.Process, server: Any, watch: Watch) -> None:
        self._process = process
        self._server = server
        self._watch = watch
        self._scope = anyio.CancelScope()
        self._item: Any = None
        """What is being written."""
        self._seen: Any = None
        self._until = inf

    async def run(self, outbox: Any) -> None:
        """Write what comes until the process takes no more."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it was opened with pipes
        encoding, errors = self._server.encoding, self._server.encoding_error_handler
        try:
            with self._scope:
                async for item in outbox:
                    text = item.message.model_dump_json(by_alias=True, **{_UNSAID: True}) + "\n"
                    self._item = item
                    await stdin.send(text.encode(encoding, errors))
                    self._item = None
            if self._scope.cancelled_caught:
                self._watch.hit("write_seconds", "the server does not read: the connection is given up")
                self._watch.end("write_seconds")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            await anyio.sleep(LAST_WORDS_SECONDS)
            self._watch.end("ended")
        finally:
            outbox.close()

    def look(self) -> None:
        """Give up on a server that has not read for too long; a timer for each message costs more."""
        now = anyio.current_time()
        if self._item is not self._seen:
            self._seen, self._until = self._item, now + self._watch.limits.write_seconds
        elif self._item is not None and self._until <= now:
            self._scope.cancel()


async def _mourn(process: anyio.abc.Process, watch: Watch, writer: _Writer) -> None:
    """Wait for the process to end by itself; then the connection has, whoever holds its pipes.

    Meanwhile, see to what takes too long.
    """
    while process.returncode is None:
        await anyio.sleep(POLL_SECONDS)
        watch.look()
        writer.look()
    await anyio.sleep(LAST_WORDS_SECONDS)
    watch.end("ended")
    _signal(process, signal.SIGKILL)


async def _stop(process: anyio.abc.Process, grace: float) -> None:
    """Close its stdin, wait, and end whatever is left of it and its children."""
    assert process.stdin is not None  # noqa: S101 - it was opened with pipes
    assert process.stdout is not None  # noqa: S101 - it was opened with pipes
    with anyio.move_on_after(grace), suppress(OSError, anyio.BrokenResourceError):
        await process.stdin.aclose()
    if not await _is_gone(process, grace):
        _signal(process, signal.SIGTERM)
        await _is_gone(process, grace)
    _signal(process, signal.SIGKILL)
    await _is_gone(process, grace)
    with anyio.move_on_after(grace), suppress(OSError, anyio.BrokenResourceError):
        await process.stdout.aclose()
    close = getattr(getattr(getattr(process, "_process", None), "_transport", None), "close", None)
    if callable(close):  # asyncio keeps the pipes open for children that have them too
        with suppress(PermissionError):
            close()
    await anyio.lowlevel.checkpoint()


async def _is_gone(process: anyio.abc.Process, grace: float) -> bool:
    with anyio.move_on_after(grace):
        pause = 0.005
        while process.returncode is None:
            await anyio.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS)
    return process.returncode is not None


def _signal(process: anyio.abc.Process, number: int) -> None:
    """Signal the process and all of its group, of which it is the leader."""
    with suppress(OSError):
        os.killpg(process.pid, number)
