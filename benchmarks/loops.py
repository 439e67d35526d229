"""How often loop rules stop runs they should not, and how many stuck runs they catch, on logs of agents.

Beside `LoopDetector`'s own rule, those of other agents, as published: the second identical call (crewAI),
five identical (Cline), five times the same calls with a period of up to five (gemini-cli), and repeats of
one or two steps (OpenHands). Then what a call costs, and what a run takes in memory.

    python benchmarks/loops.py --runs RUNS.jsonl.gz [--seed N]

A line of the file is one run: `succeeded`, and `calls` with `tool`, `arguments`, `result` and `error`.

- harmful: of the runs that succeeded, those in which something never seen before came after the stop.
- caught: of the runs that failed and whose last six calls or more brought nothing new, those stopped.
"""

import argparse
import gc
import gzip
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from mcpguard import Call, JSONObject, LoopDetector, LoopThresholds, Result, Run
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.detectors.repeats import Repeats, Unit
from mcpguard.detectors.volatile import masked

STUCK = 6
"""Calls at the end of a failed run that brought nothing new: it was stuck."""


@dataclass(frozen=True, slots=True)
class Step:
    """One logged call: what was asked, of what, and what came of it."""

    asked: int
    tool: int
    answered: int
    failed: bool


Stops = Callable[[Sequence[Step]], int | None]
"""A rule: the position of the first call it stops, or None."""


def own(limits: LoopThresholds, *, blocks: bool) -> Stops:
    """The detector's rule: the first call that is refused, or the first whose answer is warned of."""

    def stop(steps: Sequence[Step]) -> int | None:
        repeats = Repeats()
        for position, step in enumerate(steps):
            expected = repeats.expected(step.asked, step.tool)
            if blocks and expected is not None and limits.blocks(expected):
                return position
            failure = (step.tool, step.answered) if step.failed else None
            found = repeats.observe(Unit(hash((step.asked, step.answered)), (step.asked,), failure))
            if not blocks and found is not None and limits.warns(found):
                return position + 1
        return None

    return stop


def repeated(times: int, *, periods: int = 1, answers: bool = False) -> Stops:
    """The last block of up to `periods` calls came `times` times in a row."""

    def stop(steps: Sequence[Step]) -> int | None:
        symbols = [hash((step.asked, step.answered)) if answers else step.asked for step in steps]
        for end in range(1, len(symbols) + 1):
            for period in range(1, periods + 1):
                length = period * times
                if end >= length and symbols[end - length : end] == symbols[end - period : end] * times:
                    return end
        return None

    return stop


def either(*rules: Stops) -> Stops:
    """The first of several rules."""

    def stop(steps: Sequence[Step]) -> int | None:
        return min((position for rule in rules if (position := rule(steps)) is not None), default=None)

    return stop


RULES: dict[str, Stops] = {
    "LoopDetector, refusing (5)": own(LoopThresholds(), blocks=True),
    "LoopDetector, warning (3)": own(LoopThresholds(), blocks=False),
    "2nd identical call (crewAI)": repeated(2),
    "5 identical calls (Cline)": repeated(5),
    "5 times up to 5 calls (gemini-cli)": repeated(5, periods=5),
    "repeats of 1 or 2 steps (OpenHands)": either(
        repeated(4, answers=True), repeated(3, periods=2, answers=True)
    ),
}


def read(path: Path, noise: random.Random | None, *, masks: bool) -> Iterator[tuple[bool, list[Step]]]:
    """The runs; with `noise`, a time, an identifier and a duration are added to every result."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            yield run["succeeded"], [_step(call, noise, masks=masks) for call in run["calls"]]


def _step(call: dict[str, Any], noise: random.Random | None, *, masks: bool) -> Step:
    asked = hash((call["tool"], json.dumps(call["arguments"], sort_keys=True)))
    result = str(call["result"])
    if noise is not None:
        result += (
            f' {{"request_id": "{noise.getrandbits(128):032x}", "elapsed_ms": {noise.randint(1, 99_999)},'
            f' "at": "2026-0{noise.randint(1, 9)}-{noise.randint(10, 28)}T{noise.randint(10, 23)}:15:00Z"}}'
        )
    answered = hash((masked(result) if masks else result, call["error"]))
    return Step(asked, hash(call["tool"]), answered, call["error"] is not None)


def judge(path: Path, seed: int) -> None:
    """Print a table of the rules, on the logs as they are and with volatile fields added."""
    told = list(read(path, None, masks=False))
    print(f"{len(told)} runs, {sum(succeeded for succeeded, _ in told)} of them succeeded")
    print(f"{'':62}{'harmful':>18}{'stuck caught':>18}")
    for title, noise in (("", False), (", volatile fields added", True)):
        logs = {
            masks: list(read(path, random.Random(seed) if noise else None, masks=masks))  # noqa: S311
            for masks in (True, False)
        }
        for name, rule in RULES.items():
            masks = name.startswith("LoopDetector")
            harmful = succeeded_runs = caught = stuck = 0
            for (succeeded, plain), (_, steps) in zip(told, logs[masks], strict=True):
                stop = rule(steps)
                seen: set[tuple[int, int]] = set()
                is_new = [not _known(seen, step) for step in plain]
                if succeeded:
                    succeeded_runs += 1
                    harmful += stop is not None and any(is_new[stop:])
                elif len(plain) >= STUCK and not any(is_new[-STUCK:]):
                    stuck += 1
                    caught += stop is not None
            print(f"{name + title:62}{_share(harmful, succeeded_runs)}{_share(caught, stuck)}")


def _known(seen: set[tuple[int, int]], step: Step) -> bool:
    symbol = (step.asked, step.answered)
    known = symbol in seen
    seen.add(symbol)
    return known


def _share(part: int, whole: int) -> str:
    return f"{part:6} {100 * part / max(1, whole):8.3f} % "


async def cost(rounds: int) -> None:
    """Print what a call with 1 KB of arguments and 1 KB of result costs beside an empty chain."""
    answer = Result.of({"content": [{"type": "text", "text": "the quick brown fox " * 50}]})

    async def wire(_call: Call) -> Result:
        return answer

    run = Run()
    chains = {
        name: Linked(arrange(interceptors), Emitter((), clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")
        for name, interceptors in (("bare chain", []), ("LoopDetector", [LoopDetector()]))
    }
    times: dict[str, list[int]] = {name: [] for name in chains}
    gc.disable()
    for number in range(rounds):
        for name, chain in chains.items():
            params: JSONObject = {"name": "search", "arguments": {"query": "x" * 1000, "page": number}}
            call = Call(id="1", method="tools/call", params=params, server="web", run=run)
            began = time.perf_counter_ns()
            await chain(call, wire)
            times[name].append(time.perf_counter_ns() - began)
    gc.enable()
    base = statistics.median(times["bare chain"]) / 1000
    for name, spent in times.items():
        each = statistics.median(spent) / 1000
        print(f"{name:38}{each:8.1f} us a call{each - base:+8.1f}")


async def memory() -> None:
    """Print what one run takes after many different calls."""
    detector = LoopDetector()
    chain = Linked(arrange([detector]), Emitter((), clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")

    async def wire(call: Call) -> Result:
        return Result.of({"content": [{"type": "text", "text": f"{call.arguments}" * 20}]})

    for calls in (100, 2_000):
        runs = [Run() for _ in range(20)]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for run in runs:
            for number in range(calls):
                params: JSONObject = {"name": "read", "arguments": {"n": number}}
                await chain(Call(id="1", method="tools/call", params=params, server="web", run=run), wire)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(runs)
        tracemalloc.stop()
        print(f"{'a run of ' + str(calls) + ' calls':38}{each / 1024:8.1f} KB")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="logs of agents, JSON Lines, compressed with gzip")
    parser.add_argument("--seed", type=int, default=1, help="of the volatile fields (default 1)")
    parser.add_argument("--rounds", type=int, default=5_000, help="calls that are timed (default 5000)")
    arguments = parser.parse_args()
    if arguments.runs is not None:
        judge(arguments.runs, arguments.seed)
    anyio.run(cost, arguments.rounds)
    anyio.run(memory)


if __name__ == "__main__":
    main()
