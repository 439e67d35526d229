"""What a guard costs, beside a bare client and a second bare client as control, in one process.

Blocks of calls are shuffled, so that whatever else the machine does falls on all alike; the second bare
client shows how much of a difference is noise. Times are medians of single calls on an in-memory server.

    python benchmarks/overhead.py [--rounds N]
"""

import argparse
import gc
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

from mcpguard import ALLOW, Access, Budget, Call, Guard, Interceptor, Result, Run
from mcpguard.core.interceptor import CallNext
from mcpguard.core.verdict import Verdict

ARGUMENTS = {"path": "x" * 1000}
BLOCK = 20


class NoCheck(Interceptor):
    """A check that does nothing."""

    handles = {("tools/call", "outbound")}

    def check(self, call: Call) -> Verdict:
        return ALLOW


class NoLayer(Interceptor):
    """A layer that does nothing."""

    handles = {("tools/call", "outbound")}

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return await call_next(call)


def server() -> Server[Any]:
    """A server whose answer costs as little as can be."""

    async def call_tool(_ctx: Any, _params: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text="x" * 1000)])

    async def list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="read", input_schema={"type": "object"})])

    async def list_prompts(_ctx: Any, _params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[])

    return Server("s", on_call_tool=call_tool, on_list_tools=list_tools, on_list_prompts=list_prompts)


async def compare(rounds: int) -> None:
    """Print the median of each case and its distance from bare."""
    idle: list[Interceptor] = [*(NoCheck() for _ in range(10)), NoLayer(), NoLayer()]
    run = Run(id="bench")
    real = [Access(default="allow"), Budget(calls=10_000_000)]
    made = {
        "bare": Client(server(), cache=None),
        "bare, again": Client(server(), cache=None),
        "guard, empty": Guard().client(server(), name="s"),
        "guard, method nobody handles": Guard(idle).client(server(), name="s"),
        "guard, 10 checks + 2 layers": Guard(idle).client(server(), name="s"),
        "guard, access + budget": Guard(real).client(server(), name="s", run=run),
    }
    async with AsyncExitStack() as stack:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {}
        baselines: dict[str, str] = {}
        for name, client in made.items():
            session = (await stack.enter_async_context(client)).session
            await session.list_tools()
            if "nobody" in name:
                calls[name] = session.list_prompts
                baselines[name] = "bare, listing"
            else:
                calls[name] = partial(session.call_tool, "read", ARGUMENTS)
        calls["bare, listing"] = made["bare"].session.list_prompts
        times: dict[str, list[int]] = {name: [] for name in calls}
        gc.disable()
        for _ in range(rounds):
            order = list(calls)
            random.shuffle(order)
            for name in order:
                call, spent = calls[name], times[name]
                for _ in range(BLOCK):
                    began = time.perf_counter_ns()
                    await call()
                    spent.append(time.perf_counter_ns() - began)
        gc.enable()
    print(f"{'':34}{'median':>10}{'over bare':>12}{'ratio':>8}")
    for name, spent in times.items():
        median = statistics.median(spent) / 1000
        base = statistics.median(times[baselines.get(name, "bare")]) / 1000
        print(f"{name:34}{median:8.1f}us{median - base:+10.1f}us{median / base:8.3f}")


async def chain_alone(rounds: int) -> None:
    """Print what the chain costs without the SDK around it: the floor of the figures above."""
    from mcpguard.core.result import Result as Answer

    answer = Answer.of({"content": []})
    params = {"name": "read", "arguments": ARGUMENTS}

    async def wire(_call: Any) -> Result:
        return answer

    cases: dict[str, list[Interceptor]] = {
        "chain, 1 check": [NoCheck()],
        "chain, 10 checks + 2 layers": [*(NoCheck() for _ in range(10)), NoLayer(), NoLayer()],
    }
    for name, interceptors in cases.items():
        guard = Guard(interceptors)
        async with guard.client(server(), name="s") as client:
            connection = client.session.__dict__["_mcpguard_connection"].connection
            chain = connection.chain("tools/call")
            best = min(
                [
                    await _block(lambda: connection.outbound("tools/call", params, chain, wire))
                    for _ in range(rounds)
                ]
            )
        print(f"{name:34}{best / 1000:8.2f}us at best")


async def _block(call: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter_ns()
    for _ in range(BLOCK):
        await call()
    return (time.perf_counter_ns() - began) / BLOCK


def import_cost() -> None:
    """Print the CPU time of importing the package and of its first name, each in a fresh interpreter."""
    for code in ("import mcpguard", "from mcpguard import Guard"):
        timed = f"import time; began = time.process_time(); {code}; print(time.process_time() - began)"
        spent = [
            float(
                subprocess.run(
                    [sys.executable, "-c", timed], capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(5)
        ]
        print(f"{code:34}{min(spent):8.3f}s of CPU")


async def memory() -> None:
    """Print bytes per guarded session beyond a bare one, and per open run."""
    count = 50
    guard = Guard([NoCheck() for _ in range(10)])

    async def held(make: Callable[[], Any]) -> float:
        async with AsyncExitStack() as stack:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(count):
                await stack.enter_async_context(make())
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / count

    tracemalloc.start()
    await held(lambda: Client(server(), cache=None))
    bare = await held(lambda: Client(server(), cache=None))
    guarded = await held(lambda: guard.client(server(), name="s"))
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    runs = [Run() for _ in range(1000)]
    per_run = (tracemalloc.get_traced_memory()[0] - before) / len(runs)
    tracemalloc.stop()
    print(f"{'memory per guarded session':34}{(guarded - bare) / 1024:8.1f}KB beyond bare")
    print(f"{'memory per run':34}{per_run / 1024:8.2f}KB")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="shuffled rounds of blocks (default 200)")
    rounds = parser.parse_args().rounds
    anyio.run(compare, rounds)
    anyio.run(chain_alone, rounds)
    import_cost()
    anyio.run(memory)


if __name__ == "__main__":
    main()
