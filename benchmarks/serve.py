"""What `mcpguard serve` over HTTP takes, beside the server behind it, side by side on loopback.

Three processes: the SDK's own server, the guard in front of it with a standard policy, and this client. The
same calls go to both in shuffled blocks, one at a time for the overhead and several at a time for the rate;
the direct server stands there twice, and how far it lies apart from itself is noise. A client with its own
HTTP connection sends the messages of a session as they are on the wire: an SDK's client would take longer
than what is measured. Server and guard are each held to one core.

On SDK 2.x a server of the SDK's that only forwards stands there too: what lies between is the guard's. With
`--memory` memory is measured over so many calls, with `--sessions` for as many that are idle as there may be.

    python benchmarks/serve.py [--calls N] [--rounds N] [--memory N] [--sessions N] [--stdio]
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

SERVER = """
import socket, sys
from importlib.metadata import version
import uvicorn
if version("mcp").startswith("1."):
    from mcp.server.fastmcp import FastMCP as Made
else:
    from mcp.server.mcpserver import MCPServer as Made
app = Made("real")
@app.tool()
def echo(text: str) -> str:
    return text
if sys.argv[1] == "stdio":
    app.run("stdio")
else:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    made = app.streamable_http_app()
    config = uvicorn.Config(made, log_level="critical", timeout_keep_alive=600)
    uvicorn.Server(config).run([listening])
"""

FORWARDER = """
import socket, sys
import anyio, mcp, uvicorn
from mcp.server.lowlevel.server import Server
async def main():
    async with mcp.Client(sys.argv[1], cache=None) as client:
        async def call(_context, params):
            return await client.call_tool(params.name, params.arguments)
        async def tools(_context, _params):
            return await client.list_tools()
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        app = Server("forward", on_call_tool=call, on_list_tools=tools).streamable_http_app()
        config = uvicorn.Config(app, log_level="critical", timeout_keep_alive=600)
        await uvicorn.Server(config).serve([listening])
anyio.run(main)
"""
"""What forwarding takes without a guard, with the same parts of the SDK."""

POLICY = """
version: 1
servers:
  real: {server}
interceptors:
  access: {{default: allow, deny: [{{tools: ["delete_*"]}}]}}
  inbound_requests: {{}}
  loop_detector: {{mode: audit}}
  budget: {{id: cap, per: run, calls: 100000000}}
  rate_limit: {{calls: 1000000, seconds: 1.0}}
  text_hygiene: {{}}
  result_limit: {{}}
connection: {{}}
http: {{connections: 2000, sessions: {sessions}}}
"""

TEXT = "x" * 1000
WIDTH = 16
"""Calls at a time, where the rate is measured."""


@contextmanager
def started(arguments: list[str], core: int) -> Iterator[tuple[str, int]]:
    """A process that says on stderr where it listens, on one core; its URL and id."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    process = subprocess.Popen(
        [sys.executable, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pin,  # noqa: PLW1509 - there are no threads yet
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            found = re.search(r"http://\S+", line)
            if found:
                yield found[0], process.pid
                return
        raise SystemExit("it did not start")
    finally:
        process.terminate()
        process.wait(20)


class RefusedError(Exception):
    """There is no session: what HTTP says."""


class Connection:
    """One session over one HTTP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._session = ""

    @classmethod
    async def opened(cls, url: str) -> "Connection":
        """Open a session."""
        port = int(url.rpartition(":")[2].partition("/")[0])
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        info = {"name": "bench", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        head, _ = await made._post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        found = re.search(rb"mcp-session-id: (\S+)", head, re.IGNORECASE)
        if found is None:
            made.close()
            raise RefusedError(head.partition(b"\r\n")[0].decode())
        made._session = f"Mcp-Session-Id: {found[1].decode()}\r\nMcp-Protocol-Version: 2025-06-18\r\n"
        await made._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return made

    async def call(self, name: str) -> None:
        """Call the tool once."""
        params = {"name": name, "arguments": {"text": TEXT}}
        _, body = await self._post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        assert TEXT.encode() in body, body[:300]

    def close(self) -> None:
        """Leave."""
        self._writer.close()

    async def _post(self, message: dict[str, Any]) -> tuple[bytes, bytes]:
        body = json.dumps(message).encode()
        head = (
            "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{self._session}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        told = await self._reader.readuntil(b"\r\n\r\n")
        if b"chunked" in told.lower():
            parts = list[bytes]()
            while size := int(await self._reader.readline(), 16):
                parts.append((await self._reader.readexactly(size + 2))[:-2])
            await self._reader.readexactly(2)
            return told, b"".join(parts)
        found = re.search(rb"content-length: (\d+)", told, re.IGNORECASE)
        return told, await self._reader.readexactly(int(found[1]) if found else 0)


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """Some sessions."""
    async with AsyncExitStack() as stack:
        made = [await Connection.opened(url) for _ in range(count)]
        for one in made:
            stack.callback(one.close)
        yield made


async def measured(direct: str, served: str, calls: int, rounds: int) -> None:
    """Overhead and rate."""
    tools = {"direct": (direct, "echo"), "direct again": (direct, "echo"), "served": (served, "real__echo")}
    took: dict[str, list[float]] = {name: [] for name in tools}
    rates: dict[str, list[float]] = {name: [] for name in tools}
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(connections(url, WIDTH)) for name, (url, _) in tools.items()
        }
        for number in range(rounds + 1):
            for name in random.sample(list(tools), len(tools)):
                one, tool = opened[name][0], tools[name][1]
                for _ in range(calls):
                    begun = time.perf_counter()
                    await one.call(tool)
                    if number:
                        took[name].append(time.perf_counter() - begun)
            for name in random.sample(list(tools), len(tools)):
                tool = tools[name][1]
                begun = time.perf_counter()
                await asyncio.gather(*(many(one, tool, calls // 4) for one in opened[name]))
                if number:
                    rates[name].append(WIDTH * (calls // 4) / (time.perf_counter() - begun))
    base = statistics.median(took["direct"])
    for name in tools:
        middle = statistics.median(took[name])
        print(
            f"{name:>14}: median {middle * 1e3:6.2f} ms, {(middle - base) * 1e3:+6.2f} ms over direct,"
            f" 9 in 10 under {statistics.quantiles(took[name], n=10)[-1] * 1e3:6.2f} ms;"
            f" {statistics.median(rates[name]):6.0f} calls/s with {WIDTH} at a time"
        )


async def many(one: Connection, tool: str, calls: int) -> None:
    """Call it in a row."""
    for _ in range(calls):
        await one.call(tool)


def resident(pid: int) -> float:
    """MiB of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def used(pid: int) -> float:
    """Seconds of CPU that a process has used; counted in ticks it would be wrong on a busy machine."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(Path(one, "schedstat").read_text().split()[0]) for one in threads) / 1e9


async def spent(name: str, url: str, tool: str, pid: int, calls: int) -> None:
    """CPU that a call takes of a server's core."""
    async with connections(url, WIDTH) as opened:
        await asyncio.gather(*(many(one, tool, 10) for one in opened))
        begun = used(pid)
        await asyncio.gather(*(many(one, tool, calls // WIDTH) for one in opened))
        took = (used(pid) - begun) / (calls // WIDTH * WIDTH)
        print(f"{name:>14}: {took * 1e3:.2f} ms of CPU for a call, so {1 / took:.0f} calls/s at most")


async def grown(served: str, pid: int, calls: int) -> None:
    """Memory over many calls."""
    async with connections(served, WIDTH) as opened:
        await asyncio.gather(*(many(one, "real__echo", 200) for one in opened))
        before = resident(pid)
        for part in range(1, 6):
            await asyncio.gather(*(many(one, "real__echo", calls // WIDTH // 5) for one in opened))
            print(f"{calls * part // 5:>14} calls: {resident(pid) - before:+6.1f} MiB of {before:.0f}")


async def idle(served: str, pid: int, sessions: int) -> None:
    """Memory for sessions that nobody uses, up to the limit; what is there goes on beyond it."""
    before = resident(pid)
    first = await Connection.opened(served)
    opened = 1
    while True:
        try:
            (await Connection.opened(served)).close()
        except RefusedError as refused:
            print(f"{opened:>9} idle sessions, then: {refused}")
            break
        opened += 1
    after = resident(pid)
    print(f"{opened:>9} idle sessions: {(after - before) / opened * 1024:.0f} KiB each of {after:.0f} MiB")
    begun = time.perf_counter()
    await many(first, "real__echo", 100)
    took = (time.perf_counter() - begun) / 100
    print(f"      a call of the first of them: {took * 1e3:.1f} ms; {resident(pid) - after:+.1f} MiB")
    first.close()
    assert opened <= sessions, (opened, sessions)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--sessions", type=int, default=0)
    parser.add_argument("--stdio", action="store_true", help="the guard starts the server behind it")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "server.py")
        script.write_text(SERVER)
        with started([str(script), "http"], cores[0]) as (direct, behind):
            how = f"{{url: '{direct}'}}"
            if options.stdio:
                how = f"{{command: '{sys.executable}', args: ['{script}', stdio]}}"
            policy = Path(folder, "policy.yaml")
            sessions = max(1000, options.sessions)
            policy.write_text(POLICY.format(server=how, sessions=sessions))
            serve = [
                "-m",
                "mcpguard",
                "serve",
                str(policy),
                "--http",
                "127.0.0.1:0",
                "--user",
                "a",
                "--tenant",
                "b",
            ]
            with started(serve, cores[-1]) as (served, pid):
                asyncio.run(measured(direct, served, options.calls, options.rounds))
                asyncio.run(spent("direct", direct, "echo", behind, options.calls * options.rounds))
                asyncio.run(spent("served", served, "real__echo", pid, options.calls * options.rounds))
                if options.memory:
                    asyncio.run(grown(served, pid, options.memory))
                if options.sessions:
                    asyncio.run(idle(served, pid, sessions))
            if not version("mcp").startswith("1."):
                forwarder = Path(folder, "forwarder.py")
                forwarder.write_text(FORWARDER)
                with started([str(forwarder), direct], cores[-1]) as (forwarded, pid):
                    asyncio.run(spent("forwarded", forwarded, "echo", pid, options.calls * options.rounds))


if __name__ == "__main__":
    main()
