"""What a budget costs a call: a chain with it beside chains without, in one process, on one wire.

Blocks of calls are shuffled, so that whatever else the machine does falls on all alike. The control is a
chain whose one layer does nothing, and stands there twice: how far its two rows lie apart is noise. No SDK
and no server take part; `overhead.py` has a whole call's figures.

    python benchmarks/budget.py [--rounds N]
"""

import argparse
import gc
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import anyio

from mcpguard import Call, CallNext, Interceptor, Principal, Result, Run
from mcpguard.core.chain import Chain
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.verdict import ALLOW, Verdict
from mcpguard.core.wire import JSONObject
from mcpguard.interceptors.budget import Budget, Price

BLOCK = 50

ARGUMENTS: JSONObject = {"path": "x" * 1000, "limit": 20}

ANSWER = Result.of(
    {"content": [{"type": "text", "text": "x" * 1000}], "structuredContent": {"cost": 0.001, "tokens": 312}}
)

MANY = 10**14
"""A limit that no benchmark reaches."""


class Idle(Interceptor):
    """A check and a layer that do nothing: what any interceptor of a budget's shape costs."""

    handles = {("tools/call", "outbound")}

    def check(self, call: Call) -> Verdict:
        return ALLOW

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return await call_next(call)


def cases() -> dict[str, list[Interceptor]]:
    """What is compared."""
    money = "900000000 USD"
    return {
        "control: check and layer that do nothing": [Idle()],
        "control, again": [Idle()],
        "calls per run": [Budget(calls=MANY)],
        "calls per run, no warnings": [Budget(calls=MANY, warn_at=None)],
        "calls per tenant": [Budget(per="tenant", calls=MANY)],
        "calls per user and day": [Budget(per="user", calls=MANY, every="day", timezone="Europe/Berlin")],
        "calls per tool in a rolling hour": [Budget(per="tool", calls=MANY, within=3600)],
        "money by tool": [Budget(cost=money, prices={"re*": "0.01 USD"})],
        "money by argument": [Budget(cost=money, prices=[Price("0.001 USD", per_argument="limit")])],
        "money and tokens, told": [
            Budget(
                cost=money,
                tokens=MANY,
                max_cost="0.1 USD",
                max_tokens=1000,
                usage={"cost": "/structuredContent/cost", "tokens": "/structuredContent/tokens"},
            )
        ],
        "bytes": [Budget(bytes=MANY, max_bytes=10_000)],
        "two budgets: run and tenant": [
            Budget(id="run", calls=MANY),
            Budget(id="tenant", per="tenant", calls=MANY),
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


async def compare(rounds: int, depth: int) -> None:
    """Print each case's median for runs nested `depth` deep."""
    run = Run(principal=Principal(tenant="acme", user="ada", agent="bench"))
    for _ in range(depth - 1):
        run = Run(parent=run)
    who = run.principal
    params: JSONObject = {"name": "read", "arguments": ARGUMENTS}
    made, times = chains(), dict[str, list[int]]()
    gc.disable()
    for _ in range(rounds):
        order = list(made.items())
        random.shuffle(order)
        for name, chain in order:
            spent = times.setdefault(name, [])
            for _ in range(BLOCK):
                call = Call.outgoing("c", "tools/call", params, "files", who, run, 0)
                began = time.perf_counter_ns()
                await chain(call, wire)
                spent.append(time.perf_counter_ns() - began)
    gc.enable()
    report(made, times, depth)


def report(made: dict[str, Any], times: dict[str, list[int]], depth: int) -> None:
    """One line a case, beside the control."""
    names: Sequence[str] = list(made)
    base = statistics.median(times[names[0]]) / 1000
    print(f"\n{f'runs nested {depth} deep':44}{'median':>10}{'over control':>14}{'ratio':>8}")
    for name in names:
        median = statistics.median(times[name]) / 1000
        print(f"{name:44}{median:8.2f}us{median - base:+12.2f}us{median / base:8.2f}")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="shuffled rounds of blocks (default 200)")
    rounds = parser.parse_args().rounds
    for depth in (1, 3):
        anyio.run(compare, rounds, depth)


if __name__ == "__main__":
    main()
