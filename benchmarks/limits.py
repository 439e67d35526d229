"""What rate limits, slots, deadlines and caches cost a call, beside a bare control and beside others.

First in a chain: blocks of calls are shuffled, so that whatever else the machine does falls on all alike.
The control is a chain whose one layer does nothing, and stands there twice: how far its two rows lie apart is
noise. Then the same work by itself, next to `limits` and `aiolimiter` where they are installed: whether one
more call is within the rate. No SDK and no server take part; `overhead.py` has a whole call's figures.

    python benchmarks/limits.py [--rounds N]
"""

import argparse
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

import anyio

from mcpguard import (
    Budget,
    Call,
    CallNext,
    CircuitBreaker,
    Concurrency,
    Deadline,
    Interceptor,
    LoopDetector,
    Principal,
    RateLimit,
    Result,
    ResultCache,
    Retry,
    Run,
)
from mcpguard.core.chain import Chain
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.wire import JSONObject
from mcpguard.stores.memory import MemoryStore

BLOCK = 50

ARGUMENTS: JSONObject = {"path": "x" * 1000, "limit": 20}

ANSWER = Result.of({"content": [{"type": "text", "text": "x" * 1000}]})

OFTEN = 10**8
"""Calls a second: a rate that no benchmark reaches."""

MANY = 10**14
"""A limit that no benchmark reaches."""


class Idle(Interceptor):
    """A layer that does nothing: what any layer costs."""

    handles = {("tools/call", "outbound")}

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return await call_next(call)


def cases() -> dict[str, list[Interceptor]]:
    """What is compared."""
    return {
        "control: a layer that does nothing": [Idle()],
        "control, again": [Idle()],
        "rate limit, per tenant": [RateLimit(calls=OFTEN, seconds=1)],
        "rate limit, per run": [RateLimit(calls=OFTEN, seconds=1, per="run")],
        "rate limit, per tool, for some tools": [
            RateLimit(calls=OFTEN, seconds=1, per="tool", tools=["re*"])
        ],
        "concurrency, a slot is free": [Concurrency(slots=4)],
        "deadline, per call": [Deadline(seconds=60)],
        "deadline, per call and run": [Deadline(seconds=60, run_seconds=10**8)],
        "deadline, for other tools": [Deadline(seconds=60, tools=["crawl_*"])],
        "cache, a hit": [ResultCache(tools=["read"])],
        "cache, another tool": [ResultCache(tools=["list_*"], invalidated_by=["write_*"])],
        "rate limit, concurrency, deadline": [
            Concurrency(slots=4),
            Deadline(seconds=60),
            RateLimit(calls=OFTEN, seconds=1),
        ],
        "three layers that do nothing": [Idle(), Idle(), Idle()],
        "all eight limits": [
            LoopDetector(mode="audit"),
            ResultCache(tools=["list_*"]),
            Concurrency(slots=4),
            Deadline(seconds=60),
            Retry(),
            Budget(calls=MANY),
            RateLimit(calls=OFTEN, seconds=1),
            CircuitBreaker(),
        ],
    }


def chains() -> dict[str, Chain]:
    """A chain for each case."""
    emitter = Emitter((), clock=SYSTEM_CLOCK)
    return {
        name: Linked(arrange(interceptors), emitter).chain("tools/call", "outbound")
        for name, interceptors in cases().items()
    }


async def wire(_call: Call) -> Result:
    """Answer at once."""
    return ANSWER


async def compare(rounds: int) -> None:
    """Print each case's median."""
    run = Run(principal=Principal(tenant="acme", user="ada", agent="bench"))
    params: JSONObject = {"name": "read", "arguments": ARGUMENTS}
    made, times = chains(), dict[str, list[int]]()
    order = list(made.items())
    gc.disable()
    for _ in range(rounds):
        random.shuffle(order)
        for name, chain in order:
            spent = times.setdefault(name, [])
            for _ in range(BLOCK):
                call = Call.outgoing("c", "tools/call", params, "files", run.principal, run, 0)
                began = time.perf_counter_ns()
                await chain(call, wire)
                spent.append(time.perf_counter_ns() - began)
    gc.enable()
    report("in a chain", {name: times[name] for name in made})


def steps() -> dict[str, Callable[[], Awaitable[Any]]]:
    """One step of a rate, by whoever can take it."""

    async def nothing() -> None:
        pass

    store = MemoryStore()

    async def own() -> None:
        await store.pace("k", interval=1e-8, burst=OFTEN)

    found: dict[str, Callable[[], Awaitable[Any]]] = {"control: nothing": nothing, "mcpguard, in memory": own}
    try:
        aiolimiter = import_module("aiolimiter")
        limits, aio = import_module("limits"), import_module("limits.aio")
    except ModuleNotFoundError as missing:
        print(f"\n{missing.name} is not installed: nothing to stand beside")
        return found
    bucket = aiolimiter.AsyncLimiter(OFTEN, 1)
    limit = limits.RateLimitItemPerSecond(OFTEN)
    window = aio.strategies.FixedWindowRateLimiter(aio.storage.MemoryStorage())
    sliding = aio.strategies.SlidingWindowCounterRateLimiter(aio.storage.MemoryStorage())
    found["aiolimiter, leaky bucket"] = bucket.acquire
    found["limits, fixed window"] = lambda: window.hit(limit, "k")
    found["limits, sliding window counter"] = lambda: sliding.hit(limit, "k")
    return found


async def compare_steps(rounds: int) -> None:
    """Print the median of each step."""
    made, times = steps(), dict[str, list[int]]()
    order = list(made.items())
    for _ in range(rounds):
        random.shuffle(order)
        for name, step in order:
            spent = times.setdefault(name, [])
            for _ in range(BLOCK):
                began = time.perf_counter_ns()
                await step()
                spent.append(time.perf_counter_ns() - began)
    report("one step of a rate", {name: times[name] for name in made})


def report(title: str, times: Mapping[str, list[int]]) -> None:
    """One line a case, beside the first."""
    medians = {name: statistics.median(spent) / 1000 for name, spent in times.items()}
    base = next(iter(medians.values()))
    print(f"\n{title:44}{'median':>10}{'over control':>14}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:44}{median:8.2f}us{median - base:+12.2f}us{median / base:8.2f}")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="shuffled rounds of blocks (default 200)")
    rounds = parser.parse_args().rounds
    anyio.run(compare, rounds)
    anyio.run(compare_steps, rounds)


if __name__ == "__main__":
    main()
