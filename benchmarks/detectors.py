"""How fast what passes is looked at: hygiene, redaction, the injection scan, flow, pins, the result limit.

Three tables. Throughput of the detectors over texts made here at run time, beside parsing the same text from
JSON, which the SDK does with every answer: the control, there twice, so that the distance of its rows is
noise. The same texts through detect-secrets and Presidio's pattern recognisers, where they are installed. And
what one call with an answer of a kilobyte costs in a chain, beside a filter that does nothing.

With `--injection`, `--descriptions` or `--runs` it prints what the injection scan finds, and nothing else.

    python benchmarks/detectors.py [--rounds N] [--injection FILE] [--descriptions FILE] [--runs FILE]
"""

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

from mcpguard import (
    Call,
    DestinationRule,
    FlowControl,
    InjectionScan,
    Interceptor,
    Redaction,
    Result,
    ResultLimit,
    Run,
    ServerOptions,
    TextHygiene,
    ToolOptions,
    ToolPinning,
)
from mcpguard.core.chain import Chain
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import JSONObject
from mcpguard.detectors.injection.scan import scan
from mcpguard.detectors.invisible import clean
from mcpguard.detectors.provenance import ReadDestinations
from mcpguard.detectors.redactor import Redactor

SIZE = 64 * 1024
"""Characters of each text."""

BLOCK = 20

WORDS = """
the of and to a in is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said
what its about than into them can only other time new some could these two may first then do any like my now
over such our man me even most made after also did many off before must well back through years where much
your way down should because long each just those people too little good very make world still see own work
men day get here old life both between being under three never know same last another while us might great
state go come since against right came take used few house use during without again place around however
home small found part thought went say general once high upon school every does got left number until always
away something fact water though less public put think almost hand enough far took head yet better set
nothing end why find going look asked later point next program city business give group toward days young
let room side social given present several order national possible rather second face per among form often
things early white case large need four within felt children along saw best church ever least power
development light thing family interest seemed want members mind country area others done turned service
problem system request user file error server page report list value change data open close answer message
reply text field table build release version test issue update
"""
"""Words as frequent in English as their place in this list says, and then words of tools."""

COMMON = WORDS.split()


def prose(draw: random.Random) -> str:
    """Sentences of common words, the commoner the more often."""
    weights = [1 / (rank + 3) for rank in range(len(COMMON))]
    sentences: list[str] = []
    size = 0
    while size < SIZE:
        words = draw.choices(COMMON, weights, k=draw.randint(6, 18))
        sentences.append(" ".join(words).capitalize() + draw.choice([". ", ". ", ", and ", "?\n"]))
        size += len(sentences[-1])
    return "".join(sentences)[:SIZE]


def listing(draw: random.Random) -> str:
    """What a tool that lists things answers: JSON with names, numbers, dates, paths and digests."""
    items: list[dict[str, Any]] = []
    while len(items) < SIZE // 150:
        items.append(
            {
                "id": draw.randrange(10**6),
                "title": " ".join(draw.choices(COMMON, k=4)),
                "state": draw.choice(["open", "closed"]),
                "updated_at": f"2026-0{draw.randint(1, 9)}-{draw.randint(10, 28)}T10:30:00Z",
                "path": f"src/{draw.choice(COMMON)}/{draw.choice(COMMON)}.py",
                "sha": f"{draw.getrandbits(160):040x}",
            }
        )
    return json.dumps(items)[:SIZE]


def log(draw: random.Random) -> str:
    """Lines of a server's log."""
    lines = [
        f"2026-11-0{draw.randint(1, 9)} 12:{draw.randint(10, 59)}:20,{draw.randint(100, 999)}"
        f" {draw.choice(['INFO', 'DEBUG', 'WARNING'])} app.{draw.choice(COMMON)}:"
        f" {' '.join(draw.choices(COMMON, k=7))} in {draw.randint(1, 900)} ms"
        for _ in range(SIZE // 80)
    ]
    return "\n".join(lines)[:SIZE]


def mixed(draw: random.Random) -> str:
    """Prose with other scripts, accents and emoji in it."""
    parts = [
        "Grüße aus Köln. ",
        "Привет, мир. ",
        "日本語の文章です。",
        "שלום עולם ",
        "می‌خواهم ",
        "हिन्दी पाठ ",
        "👩‍👩‍👧 ok ",
    ]
    pieces: list[str] = []
    while sum(map(len, pieces)) < SIZE // 8:
        pieces += [draw.choice(parts), " ".join(draw.choices(COMMON, k=6)), ". "]
    return "".join(pieces * 8)[:SIZE]


TEXTS: Mapping[str, Callable[[random.Random], str]] = {
    "prose": prose,
    "listing": listing,
    "log": log,
    "mixed scripts": mixed,
}


def detectors() -> dict[str, Callable[[str], object]]:
    """What is measured over a text, the control first."""
    redactor, tools = Redactor(), {"send_mail": 0.5, "git_push": 0.25, "read_file": 0.25}
    return {
        "hygiene": clean,
        "redaction": redactor.find,
        "injection scan": lambda text: scan(text, tools),
        "destinations read (flow)": lambda text: ReadDestinations().read([text]),
    }


def others() -> Iterator[tuple[str, Callable[[str], object]]]:
    """The same work by whoever else is installed."""
    try:
        core, manager = import_module("detect_secrets.core.scan"), import_module("detect_secrets.settings")
        with manager.default_settings():
            pass

        def secrets(text: str) -> object:
            with manager.default_settings():
                return [found for line in text.splitlines() for found in core.scan_line(line)]

        yield "detect-secrets, all its plugins", secrets
    except ModuleNotFoundError:
        print("\ndetect-secrets is not installed: nothing to stand beside")
    try:
        module = import_module("presidio_analyzer.predefined_recognizers")
    except ModuleNotFoundError:
        print("\npresidio-analyzer is not installed: nothing to stand beside")
        return
    names = ("EmailRecognizer", "CreditCardRecognizer", "IbanRecognizer", "UsSsnRecognizer", "IpRecognizer")
    made = [getattr(module, name)() for name in names]

    def personal(text: str) -> object:
        return [one.analyze(text, one.supported_entities, None) for one in made]

    yield "Presidio, five pattern recognisers", personal


def timed(work: Callable[[str], object], text: str) -> float:
    """Seconds of CPU that one text takes."""
    began = time.process_time()
    work(text)
    return time.process_time() - began


def throughput(rounds: int) -> None:
    """Print megabytes a second of each detector over each text, and how much longer than parsing it takes."""
    draw = random.Random(20)  # noqa: S311 - the same texts every time
    for title, make in TEXTS.items():
        text = make(draw)
        packed, size = json.dumps(text), len(text.encode())

        def parsed(_text: str, packed: str = packed) -> object:
            return json.loads(packed)

        cases = {"control: parsed from JSON": parsed, "control, again": parsed, **detectors()}
        spent: dict[str, list[float]] = {name: [] for name in cases}
        order = list(cases)
        for _ in range(rounds):
            draw.shuffle(order)
            for name in order:
                spent[name].append(timed(cases[name], text))
        rows = {name: statistics.median(spent[name]) for name in cases}
        if title == "log":
            rows |= {name: timed(work, text) for name, work in others()}
        base = rows["control: parsed from JSON"]
        print(f"\n{f'{title}, {size:,} bytes':44}{'MB/s':>10}{'us a KB':>10}{'ratio':>9}")
        for name, seconds in rows.items():
            taken = max(seconds, 1e-9)
            speed, each = size / taken / 1e6, taken / size * 1024e6
            print(f"{name:44}{speed:10.1f}{each:10.2f}{taken / max(base, 1e-9):9.1f}")


class Idle(Interceptor):
    """A filter that does nothing: what any filter costs."""

    handles = {("tools/call", "outbound")}

    def filter(self, call: Call, result: Result) -> Result:
        return result


SERVERS = {
    "web": ServerOptions(trust=False),
    "mail": ServerOptions(
        labels=["private"], tools={"send": ToolOptions(labels=["sink"], arguments={"to": ["destination"]})}
    ),
}

FACTS = ToolFacts("send", {"name": "send", "description": "Send a mail.", "inputSchema": {"type": "object"}})


def chains(lock: Path) -> dict[str, Chain]:
    """A chain for each case."""

    def flow() -> FlowControl:
        return FlowControl(trifecta="deny", destinations=DestinationRule(action="deny"))

    made: dict[str, list[Interceptor]] = {
        "control: a filter that does nothing": [Idle()],
        "control, again": [Idle()],
        "pins": [ToolPinning(lock=lock, first_use="trust")],
        "flow: labels": [FlowControl(trifecta="deny")],
        "flow: labels and destinations": [flow()],
        "hygiene": [TextHygiene()],
        "injection scan": [InjectionScan()],
        "redaction": [Redaction()],
        "result limit": [ResultLimit()],
        "all of them": [
            ToolPinning(lock=lock, first_use="trust"),
            flow(),
            ResultLimit(),
            Redaction(),
            InjectionScan(),
            TextHygiene(),
        ],
    }
    emitter = Emitter((), clock=SYSTEM_CLOCK)
    return {
        name: Linked(
            arrange(sorted(interceptors, key=lambda one: one.place or 0)), emitter, servers=SERVERS
        ).chain("tools/call", "outbound")
        for name, interceptors in made.items()
    }


async def a_call(rounds: int, lock: Path) -> None:
    """Print what a call with an answer of a kilobyte costs, by kind of answer."""
    draw = random.Random(21)  # noqa: S311 - the same texts every time
    for title, make in TEXTS.items():
        body = make(draw)
        answers = [body[at : at + 1024] for at in range(0, SIZE, 1024)]
        made = chains(lock)
        times: dict[str, list[int]] = {name: [] for name in made}
        order = list(made.items())
        run = Run(id="bench")
        run.user_said("ada@example.com")
        params: JSONObject = {"name": "send", "arguments": {"to": "ada@example.com", "text": answers[0]}}
        gc.disable()
        for _ in range(rounds):
            draw.shuffle(order)
            for name, chain in order:
                for _ in range(BLOCK):
                    text = draw.choice(answers)

                    async def wire(_call: Call, text: str = text) -> Result:
                        return Result.of({"content": [{"type": "text", "text": text}]})

                    call = Call(id="c", method="tools/call", params=params, server="web", run=run, tool=FACTS)
                    began = time.perf_counter_ns()
                    await chain(call, wire)
                    times[name].append(time.perf_counter_ns() - began)
        gc.enable()
        base = statistics.median(times["control: a filter that does nothing"]) / 1000
        print(f"\n{f'a call, {title} of a kilobyte':44}{'median':>10}{'over control':>14}{'ratio':>8}")
        for name in made:
            median = statistics.median(times[name]) / 1000
            print(f"{name:44}{median:8.2f}us{median - base:+12.2f}us{median / base:8.2f}")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="shuffled rounds (default 30)")
    found = parser.add_argument_group("what the injection scan finds")
    found.add_argument("--injection", type=Path, help="gzipped JSON lines: text, label, source, kind")
    found.add_argument("--descriptions", type=Path, help="gzipped JSON lines: text")
    found.add_argument("--runs", type=Path, help="gzipped JSON lines: calls with results")
    found.add_argument("--show", choices=["missed", "false"], help="print these texts")
    arguments = parser.parse_args()
    if arguments.injection or arguments.descriptions or arguments.runs:
        sys.path.insert(0, str(Path(__file__).parent))
        import_module("injection").figures(arguments)
        return
    throughput(arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(a_call, arguments.rounds, Path(folder) / "tools.lock")


if __name__ == "__main__":
    main()
