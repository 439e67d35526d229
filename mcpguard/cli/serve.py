"""`mcpguard serve POLICY`: servers behind a policy, for agents in any language.

On stdio it is started where a server would be: with a command it stands between that one server and whoever
started it, message by message; without, the policy's servers are offered as one. With `--http` the same is
offered to many clients, each of whom proves who it is by a token.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcpguard.cli.open_files import allow
from mcpguard.cli.output import fail

if TYPE_CHECKING:
    import anyio

    from mcpguard.cli import Commands
    from mcpguard.core.principal import Principal
    from mcpguard.guard import Guard

__all__ = ["add_parser", "run"]

Work: TypeAlias = "Callable[[Guard, Principal | None, anyio.Event], Awaitable[None]]"
"""Serves until it has nothing more to do, or somebody sets the event."""

LEVELS: Final = {
    "mcpguard.audit": logging.INFO,  # of the sink `logging`, where the policy has it
    "mcp.server.transport_security": logging.ERROR,  # it repeats what it refuses
}
"""The least that is shown of loggers that are not heard from `WARNING` on."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `serve` command to the program's commands."""
    parser = commands.add_parser(
        "serve",
        help="put servers behind a policy, on stdio or HTTP",
        description="Be an MCP server, every message of which passes the policy: in front of the one that"
        " COMMAND starts, or of all that the policy or a file says how to reach. The policy file is watched,"
        " and a changed one is enforced from the next call on; SIGHUP has it read at once.",
    )
    parser.add_argument("policy", metavar="POLICY", help="the policy file")
    parser.add_argument("--server", metavar="NAME", help="only this one, by what the policy calls it")
    parser.add_argument(
        "--servers", type=Path, metavar="FILE", help="a client's mcpServers JSON: serve those it lists"
    )
    parser.add_argument(
        "--from-env",
        action="store_true",
        help="the one --server listens at MCPGUARD_URL, and wants the headers in MCPGUARD_HEADERS, a line"
        " each; its tools keep their names",
    )
    parser.add_argument("--http", metavar="HOST:PORT", help="listen there, at /mcp, rather than on stdio")
    parser.add_argument(
        "--without-tokens",
        action="store_true",
        help="let everybody call who reaches HOST, from elsewhere too",
    )
    for who in ("user", "tenant", "agent"):
        parser.add_argument(f"--{who}", metavar="NAME", help=f"on whose behalf: the {who}")
    parser.add_argument("--role", action="append", default=[], metavar="NAME", help="a role; may be repeated")
    parser.set_defaults(command=[])
    parser.epilog = "After -- stands what starts the one --server: COMMAND and its arguments."
    return parser


@contextmanager
def _logged() -> Generator[None]:
    """What is logged meanwhile is on stderr, in as much detail as is read there."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    before = {name: logging.getLogger(name).level for name in LEVELS}
    try:
        for name, level in LEVELS.items():
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@_logged()
def run(arguments: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes; 0, or 2 if that cannot be begun."""
    import anyio

    from mcpguard.core.errors import MCPGuardError
    from mcpguard.core.principal import Principal
    from mcpguard.guard import Guard

    if arguments.command and (arguments.http or arguments.servers or not arguments.server):
        return fail(["mcpguard serve: a COMMAND starts the one --server on stdio"])
    if arguments.from_env and (arguments.command or arguments.servers or not arguments.server):
        return fail(["mcpguard serve: --from-env is how the one --server is reached, and no other is"])
    guard = Guard.from_policy(arguments.policy)
    given = {who: getattr(arguments, who) for who in ("user", "tenant", "agent")}
    roles = frozenset(arguments.role)
    principal = Principal(**given, roles=roles) if roles or any(given.values()) else None
    code = 0
    try:
        work = _bridge(guard, arguments) if arguments.command else _hub(guard, arguments)
        anyio.run(_serve, guard, principal, work)
    except* (ValueError, MCPGuardError) as group:
        code = fail([f"mcpguard serve: {line}" for line in str(_first(group)).splitlines()])
    except* OSError as group:
        what = arguments.http or (arguments.command or ["a server"])[0]
        done = "used" if arguments.http else "started"
        code = fail([f"mcpguard serve: {what} cannot be {done}: {_first(group)}"])
    if arguments.http:
        return code
    with suppress(ValueError, OSError):  # the SDK has closed it, or its reader has
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread may still wait for stdin, and would hold the process


def _bridge(guard: "Guard", arguments: argparse.Namespace) -> Work:
    """One server, message by message."""
    from mcp import StdioServerParameters
    from mcp.client.stdio import stdio_client

    from mcpguard.serving.bridge import bridged

    command: list[str] = arguments.command
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    transport = guard.transport(stdio_client(server), name=arguments.server)

    async def serve(guard: "Guard", principal: "Principal | None", told: "anyio.Event") -> None:
        await _cut_short(bridged(guard, transport, principal), told)

    return serve


def _hub(guard: "Guard", arguments: argparse.Namespace) -> Work:
    """All of them as one."""
    from mcpguard.serving.listening import Address, listening
    from mcpguard.serving.piped import piped

    hub = guard.hub(_servers(guard, arguments), naming="refuse" if arguments.from_env else "prefix")
    address = None if arguments.http is None else Address.parsed(arguments.http)

    async def serve(guard: "Guard", principal: "Principal | None", told: "anyio.Event") -> None:
        async with hub:
            if address is None:
                await _cut_short(piped(guard, hub, principal), told)
                return
            if guard.policy is not None:
                allow(guard.policy.options.http.connections)
            options: Any = {"principal": principal, "without_tokens": arguments.without_tokens}
            async with listening(guard, hub, address, **options) as bound:
                host = f"[{bound.host}]" if ":" in bound.host else bound.host
                print(f"mcpguard serve: http://{host}:{bound.port}/mcp", file=sys.stderr, flush=True)
                await told.wait()

    return serve


def _servers(guard: "Guard", arguments: argparse.Namespace) -> dict[str, Any]:
    """What is served, by name.

    Raises:
        ValueError: If nothing is.
    """
    from mcpguard.cli.servers_env import taken
    from mcpguard.cli.servers_file import read_servers
    from mcpguard.cli.wrapped import is_wrapped
    from mcpguard.core.servers import ServerOptions

    if arguments.from_env:
        return {arguments.server: taken()}
    declared: Mapping[str, ServerOptions] = {} if guard.policy is None else guard.policy.servers
    found = {name: one for name, one in declared.items() if one.command or one.url}
    if arguments.servers is not None:
        listed = read_servers(arguments.servers)[1]
        behind = [one.name for one in listed if is_wrapped(one)]
        if behind:
            raise ValueError(
                f"{arguments.servers}: {behind[0]} is behind a policy already: give the file as it was before"
                " `mcpguard wrap`, which is beside it as .bak"
            )
        found = {
            one.name: ServerOptions(command=one.command, args=one.args, env=one.env)
            if one.command is not None
            else ServerOptions(url=one.url, headers=one.headers)
            for one in listed
        }
    if arguments.server is not None and found:
        if arguments.server not in found:
            known = ", ".join(map(ascii, sorted(found)))
            raise ValueError(f"there is no server {arguments.server!a} to serve; there are {known}")
        found = {arguments.server: found[arguments.server]}
    if not found:
        raise ValueError(
            "no server to serve: give servers a command or a url in the policy, or --servers FILE"
        )
    return found


async def _serve(guard: "Guard", principal: "Principal | None", work: Work) -> None:
    from anyio import Event, create_task_group

    told = Event()
    async with guard, guard.reloading(signals=[signal.SIGHUP]), create_task_group() as tasks:
        tasks.start_soon(_listen_to_signals, told, tasks.cancel_scope)
        await work(guard, principal, told)
        tasks.cancel_scope.cancel()


async def _listen_to_signals(told: "anyio.Event", scope: "anyio.CancelScope") -> None:
    """The first says to end; another, to end at once, whatever is under way."""
    from anyio import open_signal_receiver

    with open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            if told.is_set():
                scope.cancel()
                return
            told.set()


async def _cut_short(work: Coroutine[Any, Any, None], told: "anyio.Event") -> None:
    """Do something until somebody says to end: whoever started a server on stdio waits for no answer then."""
    from anyio import create_task_group

    async with create_task_group() as tasks:

        async def end() -> None:
            await told.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end)
        await work
        tasks.cancel_scope.cancel()


def _first(error: BaseException) -> BaseException:
    """The first of what went wrong."""
    inner: Any = getattr(error, "exceptions", None)
    return _first(inner[0]) if inner else error
