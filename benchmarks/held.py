"""How long one large message holds the event loop, bare and guarded, over stdio, HTTP and an event stream.

A task asks for its turn all the time. What lies between two turns is told in CPU time of the process, all
threads together: a busy machine does not change that much. Beside it the time in which SHA-256 takes a
megabyte, as control. What the process held before is frozen out of the garbage collector, whose full run
over the SDK's own objects takes longer than a message does, whoever sets it off.

    python benchmarks/held.py [--rounds N] [--ways stdio HTTP events]
"""

import argparse
import gc
import hashlib
import json
import os
import socketserver
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib import import_module
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import ConnectionLimits, Guard

ANSWERS: dict[str, Any] = {
    "1 MB of text": {"content": [{"type": "text", "text": "It is a text, of words. " * 43_690}]},
    "10 MB of text": {"content": [{"type": "text", "text": "It is a text, of words. " * 436_906}]},
    "9 MB in 24,000 objects": {
        "content": [],
        "structuredContent": {
            "n": [{"name": "x" * 180, "a": n, "b": [n, n, "y" * 150]} for n in range(12_000)]
        },
    },
    "199,000 numbers": {"content": [], "structuredContent": {"n": list(range(199_000))}},
    "16 MB in escapes": {"content": [{"type": "text", "text": "\u00e9" * 2_700_000}]},
    "190,000 names": {"content": [], "structuredContent": {f"n{n}": "x" for n in range(190_000)}},
}
"""What the tools answer; each within the default limits."""

HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "serverInfo": {"name": "r", "version": "1"},
}
TOOLS = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ANSWERS]}


def answered(asked: dict[str, Any]) -> bytes:
    """The answer to a request."""
    results = {"initialize": HELLO, "tools/list": TOOLS}
    result = results.get(asked["method"]) or ANSWERS[asked["params"]["name"]]
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()


class Site(socketserver.StreamRequestHandler):
    """One connection: a JSON body, or an event for a path that says so."""

    def handle(self) -> None:
        """Answer one request."""
        verb, path, _ = self.rfile.readline().split()
        headers = dict(line.lower().split(b": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
        asked = json.loads(self.rfile.read(int(headers.get(b"content-length", b"0"))) or b"{}")
        if verb != b"POST" or "id" not in asked:
            self.wfile.write(b"HTTP/1.1 %s\r\n" % (b"202 OK" if verb == b"POST" else b"405 No"))
            self.wfile.write(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            return
        body, kind = answered(asked), b"application/json"
        if path.endswith(b"events"):
            body, kind = b"data: " + body + b"\n\n", b"text/event-stream"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        with suppress(OSError):  # a client that wants no more
            self.wfile.write(head % (kind, len(body)) + body)


def serve() -> None:
    """Be the server: of HTTP where a port is asked for, else of stdio."""
    if sys.argv[1] == "--http":
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Site) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            sys.stdout.buffer.write(answered(asked) + b"\n")
            sys.stdout.buffer.flush()


async def held(call: Callable[[], Any]) -> float:
    """Milliseconds between two turns, at most, while the call runs."""
    longest = 0.0

    async def turn() -> None:
        nonlocal longest
        while True:
            began = time.process_time()
            await anyio.sleep(0.001)
            longest = max(longest, time.process_time() - began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await anyio.sleep(0.01)
        await call()
        tasks.cancel_scope.cancel()
    return longest * 1000


def control() -> float:
    """Milliseconds in which SHA-256 takes a megabyte."""
    began = time.process_time()
    hashlib.sha256(b"x" * 2**20).digest()
    return (time.process_time() - began) * 1000


async def compare(rounds: int, chosen: list[str]) -> None:
    """Print medians and the worst."""
    http: Any = import_module("mcp.client.streamable_http").streamable_http_client
    async with AsyncExitStack() as stack:
        site = await anyio.open_process([sys.executable, __file__, "--http"], stderr=None)
        stack.push_async_callback(site.aclose)
        stack.callback(site.kill)
        assert site.stdout is not None
        port = int(await site.stdout.receive())
        command = StdioServerParameters(
            command=sys.executable, args=[__file__, "--stdio"], env={**os.environ}
        )
        ways: dict[str, Callable[[], Any]] = {
            "stdio": partial(stdio_client, command),
            "HTTP": partial(http, f"http://127.0.0.1:{port}/"),
            "events": partial(http, f"http://127.0.0.1:{port}/events"),
        }
        guard = Guard(connection=ConnectionLimits())
        gc.freeze()
        print(f"SHA-256 of 1 MB: {statistics.median(control() for _ in range(20)):.1f} ms")
        for way in chosen:
            for mode in ("bare", "guarded"):
                async with AsyncExitStack() as one:
                    made = ways[way]()
                    transport = made if mode == "bare" else guard.transport(made, name="s")
                    read, write, *_ = await one.enter_async_context(transport)
                    session = await one.enter_async_context(ClientSession(read, write))
                    await session.initialize()
                    await session.list_tools()
                    for name in ANSWERS:
                        try:
                            spent = [await held(partial(session.call_tool, name, {})) for _ in range(rounds)]
                        except Exception as error:  # noqa: BLE001 - the SDK takes events of a megabyte at most
                            print(f"{way:8}{mode:9}{name:24}{type(error).__name__:>11}")
                            continue
                        median = statistics.median(spent)
                        print(
                            f"{way:8}{mode:9}{name:24}{median:8.1f} ms{max(spent):8.1f} at most", flush=True
                        )


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in ("--http", "--stdio"):
        serve()
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ways", nargs="+", default=["stdio", "HTTP", "events"])
    chosen = parser.parse_args()
    anyio.run(compare, chosen.rounds, chosen.ways)
