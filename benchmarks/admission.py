"""What it costs to say who may do what: `View`, `Access`, 20 `ArgumentRules` and `Credentials` from cache.

A call with a kilobyte of arguments passes each of them alone, then all of them, in a chain without a session,
in shuffled blocks of one process. The control is a chain whose one layer does nothing; it stands there twice:
how far they lie apart is noise. Nothing waits, so that processor time is measured.

    python benchmarks/admission.py [--rounds N]
"""

import argparse
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from mcpguard import (
    Accepted,
    Access,
    AccessRule,
    ArgumentRule,
    ArgumentRules,
    Call,
    CallNext,
    Credential,
    Credentials,
    Interceptor,
    PathRule,
    Principal,
    Result,
    Run,
    Secret,
    ToolView,
    UrlRule,
    View,
)
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.wire import JSONObject
from mcpguard.tokens.voucher import VOUCHER_KEY

BLOCK = 50

ARGUMENTS: JSONObject = {
    "path": "/srv/project/src/payments/service.py",
    "since": "2026-11-21",
    "limit": 20,
    "kinds": ["added", "changed"],
    "origin": "https://git.example.com/team/project",
    "note": "x" * 900,
}
ANSWER = Result.of({"content": [{"type": "text", "text": "x" * 1000}]})


class Idle(Interceptor):
    """A layer that does nothing: what any layer costs."""

    handles = frozenset({("tools/call", "outbound")})

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Go on."""
        return await call_next(call)


def rules(*, with_condition: bool) -> list[ArgumentRule]:
    """Twenty, of which the last is about the call: most of a policy is about other tools.

    Args:
        with_condition: Whether one of the others is about the call but for a condition in CEL.
    """
    when = 'call.arguments.limit > 100 && principal.tenant == "other"' if with_condition else None
    others = [
        ArgumentRule(servers=["git"], tools=[f"git_{number}_*"], arguments={"path": Accepted(max_length=100)})
        for number in range(16)
    ]
    conditions = [
        ArgumentRule(servers=["git"], tenants=["other"] if when is None else [], when=when),
        ArgumentRule(servers=["git"], tools=["git_log"], tenants=["other"], effect="deny"),
        ArgumentRule(servers=["git"], tools=["git_log"], roles=["guest"], effect="deny"),
    ]
    about = ArgumentRule(
        servers=["git"],
        tools=["git_log"],
        arguments={
            "path": Accepted(path=PathRule(roots=["/srv/project"])),
            "since": Accepted(patterns=[r"\d{4}-\d\d-\d\d"]),
            "limit": Accepted(minimum=1, maximum=50),
            "kinds[*]": Accepted(values=["added", "changed", "removed"]),
            "origin": Accepted(url=UrlRule(schemes=["https"], hosts=["*.example.com"])),
            "note": Accepted(max_length=2000),
        },
    )
    return [*others, *conditions, about]


async def compare(rounds: int) -> None:
    """Print what each costs, and all of them."""
    who = Principal(tenant="acme", user="ana")
    view = View(
        expose_tools=["git_*"],
        tools=[ToolView("git_log", name="history", pin={"repo": "/srv"}, narrow={"limit": {"maximum": 50}})],
    )
    access = Access(default="deny", allow=[AccessRule(tools=["git_log"], tenants=["acme"])])
    credentials = Credentials(
        rules=[Credential(servers=["git"], header="Authorization", secret=Secret("k" * 32), tenants=["acme"])]
    )
    plain = ArgumentRules(rules=rules(with_condition=False))
    conditional = ArgumentRules(rules=rules(with_condition=True))
    made: dict[str, tuple[str, list[Interceptor]]] = {
        "control: a layer that does nothing": ("git_log", [Idle()]),
        "control again": ("git_log", [Idle()]),
        "View": ("history", [view]),
        "Access": ("git_log", [access]),
        "ArgumentRules, 20 of them": ("git_log", [plain]),
        "... with one condition in CEL": ("git_log", [conditional]),
        "Credentials, a header from cache": ("git_log", [credentials]),
        "all of them": ("history", [view, access, plain, credentials]),
        "... with one condition in CEL, too": ("history", [view, access, conditional, credentials]),
    }

    async def wire(call: Call) -> Result:
        """As the HTTP client does: take what the call has a right to."""
        meta = call.params.get("_meta")
        number = meta.get(VOUCHER_KEY) if isinstance(meta, Mapping) else None
        if isinstance(number, str):
            voucher = credentials.voucher(number, call.method)
            if voucher is not None:
                voucher.was_used = True
        return ANSWER

    def step(name: str, interceptors: list[Interceptor]) -> Callable[[], Awaitable[Result]]:
        chain = Linked(arrange(interceptors), Emitter((), clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")
        params: JSONObject = {"name": name, "arguments": ARGUMENTS}
        run = Run(principal=who)
        return lambda: chain(Call.outgoing("c", "tools/call", params, "git", who, run, 0), wire)

    cases = {title: step(*given) for title, given in made.items()}
    for title, case in cases.items():
        if (await case()).denial is not None:
            raise SystemExit(f"{title}: the call is refused")
    report(await measured(cases, rounds))


async def measured(cases: Mapping[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, list[float]]:
    """Nanoseconds of processor time of one call, for each block of each case."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases.items())
    gc.disable()
    for _ in range(rounds):
        random.shuffle(order)
        for name, case in order:
            began = time.thread_time_ns()
            for _ in range(BLOCK):
                await case()
            times[name].append((time.thread_time_ns() - began) / BLOCK)
        gc.collect()
    gc.enable()
    return times


def report(times: Mapping[str, list[float]]) -> None:
    """One line a case, beside the first."""
    medians = {name: statistics.median(spent) / 1000 for name, spent in times.items()}
    base = next(iter(medians.values()))
    print(f"{'a call in a chain':44}{'median':>10}{'over control':>14}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:44}{median:8.2f}us{median - base:+12.2f}us{median / base:8.1f}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="shuffled rounds of blocks (default 200)")
    anyio.run(compare, parser.parse_args().rounds)


if __name__ == "__main__":
    main()
