"""What limits on the connection cost on honest traffic, beside a bare client and a second one as control.

In one process; blocks of calls are shuffled. Over stdio to a raw server, in memory to the SDK's own, and one
large result over stdio. Small calls are told in CPU time of this process, which a busy machine does not
change; large ones in time that passes.

    python benchmarks/connection.py [--rounds N]
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from overhead import server

from mcpguard import ConnectionLimits, Guard

BLOCK = 20
RAW = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "r", "version": "1"}}
    elif m["method"] == "tools/list":
        r = {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in ("small", "large")]}
    else:
        text = "It is a text, of words. " * (42 if m["params"]["name"] == "small" else 436906)
        r = {"content": [{"type": "text", "text": text}]}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}) + "\\n")
    sys.stdout.flush()
"""


async def compare(rounds: int) -> None:
    """Print medians, and their distance from bare."""
    limits = ConnectionLimits()
    async with AsyncExitStack() as stack:
        small: dict[str, Callable[[], Awaitable[Any]]] = {}
        large: dict[str, Callable[[], Awaitable[Any]]] = {}
        guards = {
            "bare": None,
            "bare, again": None,
            "guard without limits": Guard(),
            "limits": Guard(connection=limits),
        }
        for name, guard in guards.items():
            command = StdioServerParameters(command=sys.executable, args=["-S", "-c", RAW])
            made: Any = stdio_client(command)
            transport = made if guard is None else guard.transport(made, name="s")
            read, write, *_ = await stack.enter_async_context(transport)
            session = await stack.enter_async_context(ClientSession(read, write))
            await session.initialize()
            await session.list_tools()
            small[f"stdio, {name}"] = partial(session.call_tool, "small", {})
            large[f"stdio, 10 MB, {name}"] = partial(session.call_tool, "large", {})
            client = Client(server(), cache=None)
            if guard is not None:
                client = guard.client(server(), name="s")
            inside = (await stack.enter_async_context(client)).session
            await inside.list_tools()
            small[f"in process, {name}"] = partial(inside.call_tool, "read", {})
        report(await timed(small, rounds, BLOCK, time.process_time_ns))
        report(await timed(large, max(3, rounds // 10), 1, time.perf_counter_ns))


async def timed(
    calls: dict[str, Callable[[], Awaitable[Any]]], rounds: int, block: int, clock: Callable[[], int]
) -> dict[str, list[float]]:
    """Nanoseconds a call, of blocks."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        order = list(calls)
        random.shuffle(order)
        for name in order:
            began = clock()
            for _ in range(block):
                await calls[name]()
            times[name].append((clock() - began) / block)
    return times


def report(times: dict[str, list[float]]) -> None:
    """Print one line a case."""
    for name, spent in times.items():
        bare = max((case for case in times if case.endswith(" bare") and name.startswith(case[:-4])), key=len)
        median, base = statistics.median(spent) / 1000, statistics.median(times[bare]) / 1000
        print(f"{name:32}{median:12.1f}us{median - base:+12.1f}us{median / base:8.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    anyio.run(compare, parser.parse_args().rounds)
