"""A fake server as a process of its own: lines on this process's stdin and stdout.

Nothing of the SDK is imported, and what a script prints goes to stderr.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import NoReturn

import anyio
import anyio.to_thread

from mcpguard.testing.connection import Connection, Lines

__all__ = ["serve"]


async def serve(opened: Callable[[Lines], Connection]) -> None:
    """Serve the one client on the other end of stdin and stdout, until it leaves."""
    lines = _StdioLines()
    with redirect_stdout(sys.stderr):
        connection = opened(lines)
        await connection.run()
    if connection.failures:
        raise connection.failures[0]


class _StdioLines:
    """`Lines` over the file descriptors 0 and 1."""

    def __init__(self) -> None:
        self._stdin = sys.stdin.buffer
        self._stdout = sys.stdout.buffer
        self._writing = anyio.Lock()
        self._is_over = False

    async def receive(self) -> tuple[str, Mapping[str, str]]:
        line = await anyio.to_thread.run_sync(self._stdin.readline, abandon_on_cancel=True)
        if not line:
            self._is_over = True
            raise anyio.EndOfStream
        return line.decode("utf-8", "replace"), {}

    async def send(self, line: str) -> None:
        async with self._writing:
            await anyio.to_thread.run_sync(self._write, line.encode() + b"\n")

    def close(self) -> None:
        """The client left, or the script drops it: a process does that by ending."""
        if not self._is_over:
            _leave()

    def _write(self, line: bytes) -> None:
        try:
            self._stdout.write(line)
            self._stdout.flush()
        except BrokenPipeError:
            _leave()


def _leave() -> NoReturn:
    """End the process at once: a thread may be waiting for stdin, and would hold it."""
    os._exit(0)
