"""What a hub adds to a guarded call and a list, and how long its servers take to start.

Ten servers of fifty tools each, in memory, behind one guard; calls of one of them through the hub and on its
own session, in shuffled blocks of one process. The direct call stands there twice: how far they lie apart is
noise. A warm list is one of 500 tools that has been fetched before. A start is bounded by the slowest server.

    python benchmarks/hub.py [--rounds N]
"""

import argparse
import gc
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from mcpguard import Access, AccessRule, Guard, Hub
from mcpguard.testing import FakeServer

SERVERS = 10
TOOLS = 50
BLOCK = 20
SLOWEST = 1.0
"""Seconds that the slowest of the servers takes to start."""

ARGUMENTS: dict[str, Any] = {"path": "x" * 1000, "limit": 20}


class Bare:
    """A session that answers at once: what is left is what the hub itself takes."""

    async def call_tool(self, _name: str, _arguments: dict[str, Any]) -> None:
        """Answer."""

    @asynccontextmanager
    async def connect(self, _callbacks: Any) -> AsyncIterator["Bare"]:
        """Be there."""
        yield self


class SlowStart:
    """A server that takes a while to start: an even share of a second more than the one before it."""

    def __init__(self, server: FakeServer, seconds: float) -> None:
        self._server = server
        self._seconds = seconds

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        """Take a while, and connect."""
        await anyio.sleep(self._seconds)
        async with self._server.connect() as streams:
            yield streams


async def grab(caller: Any, own: str) -> tuple[Any, str]:
    """The guarded client behind a hub, and the server's own name of a tool."""
    return caller, own


async def compare(rounds: int) -> None:
    """Print calls and lists, direct and through the hub."""
    guard = Guard([Access(default="allow", deny=[AccessRule(tools=["rm"])])])
    servers = {f"s{number}": FakeServer() for number in range(SERVERS)}
    for server in servers.values():
        for number in range(TOOLS):
            server.tool(f"t{number}", description="d" * 200).returns("done")
    slow = {
        name: SlowStart(one, SLOWEST * (number + 1) / SERVERS)
        for number, (name, one) in enumerate(servers.items())
    }
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(guard.hub(slow))
        began = time.perf_counter_ns()
        count = len(await hub.tools())
        took = (time.perf_counter_ns() - began) / 1e9
        total = SLOWEST * (SERVERS + 1) / 2
        print(f"{SERVERS} starts and the first list of {count} tools: {took:.2f} s", end="; ")
        print(f"the slowest server takes {SLOWEST:.2f} s, all in a row would take {total:.2f} s")
        direct, own = await hub.send("tools/list", "s3__t7", grab, None)
        times = await measured(
            {
                "control: direct guarded call": lambda: direct.call_tool(own, ARGUMENTS),
                "control again": lambda: direct.call_tool(own, ARGUMENTS),
                "through the hub": lambda: hub.call("s3__t7", ARGUMENTS),
            },
            rounds,
        )
        report("a call in memory", times)
        report("a list, warm", await measured({"hub.tools(), 500 tools": hub.tools}, rounds))
        bare = Bare()
        hub = await stack.enter_async_context(Hub({"s3": bare.connect}))
        alone = {
            "control: a session that answers at once": lambda: bare.call_tool("t7", ARGUMENTS),
            "the hub alone, over it": lambda: hub.call("s3__t7", ARGUMENTS),
        }
        report("the hub alone", await measured(alone, rounds))


async def measured(cases: Mapping[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of each run of each case."""
    times: dict[str, list[int]] = {name: [] for name in cases}
    order = list(cases.items())
    gc.disable()
    for _ in range(rounds):
        random.shuffle(order)
        for name, step in order:
            for _ in range(BLOCK):
                began = time.perf_counter_ns()
                await step()
                times[name].append(time.perf_counter_ns() - began)
    gc.enable()
    return times


def report(title: str, times: Mapping[str, list[int]]) -> None:
    """One line a case, beside the first."""
    medians = {name: statistics.median(spent) / 1000 for name, spent in times.items()}
    base = next(iter(medians.values()))
    print(f"\n{title:44}{'median':>10}{'over control':>14}")
    for name, median in medians.items():
        print(f"{name:44}{median:8.2f}us{median - base:+12.2f}us")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="shuffled rounds of blocks (default 100)")
    anyio.run(compare, parser.parse_args().rounds)


if __name__ == "__main__":
    main()
