"""`mcpguard serve POLICY --server NAME -- COMMAND`: one server behind a policy, for agents in any language.

It is started where the server would be and starts the server itself: each message between stdin and stdout
and the server's own passes a guard, as it is on the wire, so nothing is translated and nothing is lost. The
one who started it is one principal, and the connection is one run. Several servers behind one session, and
HTTP, are not here.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mcpguard.cli.output import fail

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.guard import Guard

__all__ = ["add_parser", "run"]

_log: Final = logging.getLogger("mcpguard")


LAST_WORDS: Final = 0.5
"""Seconds for what was said last to be written, once a side has left."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `serve` command to the program's commands."""
    parser = commands.add_parser(
        "serve",
        help="put one server behind a policy, on stdio",
        description="Start a server and stand between it and whoever started this: an MCP server on stdin and"
        " stdout, every message of which passes the policy. The policy file is watched, and a changed one is"
        " enforced from the next call on.",
    )
    parser.add_argument("policy", metavar="POLICY", help="the policy file")
    parser.add_argument("--server", required=True, metavar="NAME", help="what the policy calls the server")
    for who in ("user", "tenant", "agent"):
        parser.add_argument(f"--{who}", metavar="NAME", help=f"on whose behalf: the {who}")
    parser.add_argument("--role", action="append", default=[], metavar="NAME", help="a role; may be repeated")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what starts the server, after --")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes; 0, or 2 if the server cannot be started."""
    import anyio

    from mcpguard.core.principal import Principal
    from mcpguard.guard import Guard

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    guard = Guard.from_policy(arguments.policy)
    given = {who: getattr(arguments, who) for who in ("user", "tenant", "agent")}
    roles = frozenset(arguments.role)
    principal = Principal(**given, roles=roles) if roles or any(given.values()) else None
    from mcp import StdioServerParameters
    from mcp.client.stdio import stdio_client

    command: list[str] = arguments.command
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    try:
        transport = guard.transport(stdio_client(server), name=arguments.server)
    except ValueError as error:
        return fail([f"mcpguard serve: {error}"])
    code = 0
    try:
        anyio.run(_serve, guard, transport, principal)
    except* OSError as group:
        reason = next(iter(group.exceptions))
        code = fail([f"mcpguard serve: {command[0]} cannot be started: {reason}"])
    with suppress(ValueError, OSError):  # the SDK has closed it, or its reader has
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread may still wait for stdin, and would hold the process


async def _serve(guard: "Guard", transport: Any, principal: Any) -> None:
    from anyio import CancelScope, create_task_group, current_time
    from mcp.server.stdio import stdio_server

    async with guard, guard.reloading(), guard.run(principal=principal):
        with CancelScope() as ending:
            async with stdio_server(stdin=_Stdin()) as (from_client, to_client):  # type: ignore[arg-type]
                async with transport as (from_server, to_server, *_), create_task_group() as tasks:
                    scope = tasks.cancel_scope
                    tasks.start_soon(_pump, from_server, to_client, scope)
                    tasks.start_soon(_pump, from_client, to_server, scope)
                    tasks.start_soon(_until_told, scope)
                await to_client.aclose()
                ending.deadline = current_time() + LAST_WORDS


async def _pump(source: Any, target: Any, scope: Any) -> None:
    """Hand on what comes, until one side leaves; what is no message is logged and dropped."""
    try:
        async for message in source:
            if isinstance(message, Exception):
                _log.warning("dropped what is no message: %s", type(message).__name__)
            else:
                await target.send(message)
    finally:
        scope.cancel()


async def _until_told(scope: Any) -> None:
    from anyio import open_signal_receiver

    with open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            scope.cancel()
            return


class _Stdin:
    """Lines of stdin; unlike the SDK's own it can be given up while nothing comes."""

    async def __aiter__(self) -> AsyncIterator[str]:
        from anyio import to_thread

        while line := await to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
            yield line.decode("utf-8", "replace")
