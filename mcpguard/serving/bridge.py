"""One server on stdio, byte for byte: each message between a client and the server passes a guard as it is.

Nothing is translated and nothing is lost, whatever revision of the protocol the two speak. The one who
started it is one principal, and the connection is one run. Above: the command line. Below: a seam.
"""

import logging
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
import anyio.to_thread

from mcpguard.core.principal import Principal
from mcpguard.guard import Guard

__all__ = ["Stdin", "bridged"]

_log: Final = logging.getLogger("mcpguard")

MAX_LINE: Final = 16 * 2**20
"""Bytes of a line of the client's, kept while it is read; what one message of a server's may have at most."""

LAST_WORDS: Final = 0.5
"""Seconds for what was said last to be written, once a side has left."""


async def bridged(guard: Guard, transport: Any, principal: Principal | None) -> None:
    """Stand between stdio and a server until one side leaves, or this is cancelled.

    Args:
        guard: The guard, entered.
        transport: The guarded transport to the server, not entered.
        principal: On whose behalf the client calls.
    """
    from mcp.server.stdio import stdio_server

    async with guard.run(principal=principal):
        with anyio.CancelScope() as ending:
            async with stdio_server(stdin=Stdin()) as (from_client, to_client):  # type: ignore[arg-type]
                async with transport as (from_server, to_server, *_), anyio.create_task_group() as tasks:
                    tasks.start_soon(_pump, from_server, to_client, tasks.cancel_scope)
                    tasks.start_soon(_pump, from_client, to_server, tasks.cancel_scope)
                await to_client.aclose()
                ending.deadline = anyio.current_time() + LAST_WORDS


async def _pump(source: Any, target: Any, scope: anyio.CancelScope) -> None:
    """Hand on what comes, until one side leaves; what is no message is logged and dropped."""
    try:
        async for message in source:
            if isinstance(message, Exception):
                _log.warning("dropped what is no message: %s", type(message).__name__)
            else:
                await target.send(message)
    finally:
        scope.cancel()


class Stdin:
    """Lines of stdin; unlike the SDK's own they are bounded, and can be given up while nothing comes."""

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await anyio.to_thread.run_sync(_line, abandon_on_cancel=True):
            yield line.decode("utf-8", "replace")


def _line() -> bytes:
    """The next line that is not too long; empty at the end."""
    while len(line := sys.stdin.buffer.readline(MAX_LINE)) == MAX_LINE and not line.endswith(b"\n"):
        _log.warning("dropped a line of the client's: it is longer than %s bytes", MAX_LINE)
        while line and not line.endswith(b"\n"):
            line = sys.stdin.buffer.readline(MAX_LINE)
    return line
