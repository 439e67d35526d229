"""How the demo's servers are reached: bare, a session with each; guarded, one virtual server.

Five servers and `mcp-server-git` speak over stdio, one over HTTP on this machine. Bare, the tokens they want
are the agent's; guarded, the guard puts them where they belong.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, TextIO

import anyio
import mcp
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import get_default_environment, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcpguard import Guard, Run
from mcpguard.cli.demo.agent import SEPARATOR
from mcpguard.cli.demo.repo import DemoError

__all__ = ["Servers", "bare", "virtual"]

STARTUP = 60.0
"""Seconds within which all servers have to be there."""

LEAVING = 5.0
"""Seconds that the server over HTTP may take to end."""

MAX_LINE = 1000
"""Bytes of the line with a server's URL."""

PROTOCOL_ERROR: type[Exception] = getattr(mcp, "MCPError" if hasattr(mcp, "MCPError") else "McpError")
"""What the SDK raises for an error that is not a tool's and for a lost connection; 1.x has another name."""

BROKEN = (PROTOCOL_ERROR, OSError, TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What comes out of a session whose server is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is started.

    Args:
        stdio: By the name that the policy has for it, how each server over stdio is started.
        http: The same for servers over HTTP; each prints its URL, and ends when its input does.
        stderr: A file, open for reading too, for what the servers write there.
    """

    stdio: Mapping[str, StdioServerParameters]
    http: Mapping[str, StdioServerParameters]
    stderr: TextIO


@asynccontextmanager
async def bare(servers: Servers, tokens: Mapping[str, str]) -> AsyncGenerator[dict[str, ClientSession]]:
    """Initialized sessions by what is put before the names of their tools, as hosts do that merge them.

    Args:
        servers: What is started, side by side.
        tokens: By server over HTTP, the token that the agent holds for it.

    Raises:
        DemoError: If a connection fails at any time, with the last line that the servers wrote.
    """
    utils: Any = import_module("mcp.shared._httpx_utils")
    async with _told(servers.stderr), AsyncExitStack() as stack:
        streams: dict[str, Any] = {}
        for name, server in servers.stdio.items():
            streams[name] = await stack.enter_async_context(stdio_client(server, errlog=servers.stderr))
        for name, url in (await _listening(servers, stack)).items():
            headers = {"Authorization": f"Bearer {tokens[name]}"} if name in tokens else {}
            client = await stack.enter_async_context(utils.create_mcp_http_client(headers=headers))
            streams[name] = await stack.enter_async_context(streamable_http_client(url, http_client=client))
        sessions: dict[str, ClientSession] = {}
        for name, (read, write, *_) in streams.items():
            sessions[name + SEPARATOR] = await stack.enter_async_context(ClientSession(read, write))
        with anyio.fail_after(STARTUP):
            for session in sessions.values():
                await session.initialize()
        yield sessions


@asynccontextmanager
async def virtual(servers: Servers, guard: Guard, run: Run) -> AsyncGenerator[dict[str, ClientSession]]:
    """One initialized session with a hub of guarded servers, which has all their tools.

    Args:
        servers: What is started, side by side.
        guard: Guards each server, and gives it the tokens it wants.
        run: Whose calls they are.

    Raises:
        DemoError: If a server does not start, or a connection fails, with the last line that they wrote.
    """
    memory: Any = import_module("mcp.shared.memory")
    async with _told(servers.stderr), AsyncExitStack() as stack:
        sources: dict[str, Any] = dict(await _listening(servers, stack))
        for name, one in servers.stdio.items():
            variables = {**(one.env or {}), **await guard.environment(name=name, run=run)}
            given = one.model_copy(update={"env": variables})
            sources[name] = partial(stdio_client, given, errlog=servers.stderr)
        hub = await stack.enter_async_context(guard.hub(sources, start_timeout=STARTUP))
        server: Any = hub.server(run=run)
        ours, theirs = await stack.enter_async_context(memory.create_client_server_memory_streams())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(server.run, *theirs, server.create_initialization_options())
        stack.callback(tasks.cancel_scope.cancel)
        session = await stack.enter_async_context(ClientSession(*ours))
        await session.initialize()
        await hub.tools()
        down = [name for name, state in hub.status().items() if state != "up"]
        if down:
            raise OSError(f"{', '.join(down)} did not start")
        yield {"": session}


@asynccontextmanager
async def _told(stderr: TextIO) -> AsyncGenerator[None]:
    """Say what a connection broke of, in one line."""
    try:
        yield
    except* BROKEN as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        stderr.seek(0)
        complaint = (stderr.read().strip().splitlines() or ["they wrote nothing to stderr"])[-1]
        raise DemoError(f"a server failed: {str(error) or type(error).__name__}; {complaint}") from group


async def _listening(servers: Servers, stack: AsyncExitStack) -> dict[str, str]:
    """The URLs of servers over HTTP, which end with the stack."""
    urls: dict[str, str] = {}
    for name, server in servers.http.items():
        command = [server.command, *server.args]
        variables = {**get_default_environment(), **(server.env or {})}
        process = await anyio.open_process(command, env=variables, stderr=servers.stderr)
        stack.push_async_callback(_end, process)
        with anyio.fail_after(STARTUP):
            try:
                line = await BufferedByteReceiveStream(_output(process)).receive_until(b"\n", MAX_LINE)
            except (anyio.IncompleteRead, anyio.DelimiterNotFound):
                raise OSError(f"{name} did not say where it listens") from None
        urls[name] = line.decode()
    return urls


def _output(process: Process) -> ByteReceiveStream:
    if process.stdout is None:
        raise OSError("a process without an output")
    return process.stdout


async def _end(process: Process) -> None:
    """Close its input and wait; end it if it takes long."""
    with anyio.move_on_after(LEAVING, shield=True):
        await process.aclose()
