"""What telemetry costs a call: where nobody has set OpenTelemetry up, and where somebody has.

Each row is a guard beside the same guard without `Tracing`, turn by turn in one process, so that the load of
the machine falls on both.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Sequence

import anyio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from mcpguard import Access, AccessRule, Tracing
from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.result import Result

ANSWER = Result.of({"content": []})
BATCH = 200


async def wire(_call: Call) -> Result:
    """Answer at once."""
    return ANSWER


def access() -> Access:
    """A rule that allows."""
    return Access(default="allow", deny=[AccessRule(tools=["rm"])])


def chain(*interceptors: Interceptor) -> Chain:
    """The chain of tool calls, without a record."""
    return Linked(arrange(interceptors), Emitter((), clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")


async def batch(one: Chain) -> float:
    """Microseconds a call."""
    call = Call(id="1", method="tools/call", params={"name": "read", "arguments": {}}, server="files")
    began = time.perf_counter()
    for _ in range(BATCH):
        await one.run(call, wire)
    return (time.perf_counter() - began) / BATCH * 1e6


async def compared(what: str, bare: Chain, traced: Chain, rounds: int) -> None:
    """Print a row."""
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        gc.collect(0)
        pairs.append((await batch(bare), await batch(traced)))
    more = [one - other for other, one in pairs]
    without, with_it = (_middle([pair[side] for pair in pairs]) for side in (0, 1))
    print(f"{what:44}{without:9.2f} us{with_it:9.2f} us{_middle(more):+9.2f} us")


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values)


async def measure(rounds: int) -> None:
    """All of it."""
    print(f"{'':44}{'without':>12}{'with':>12}{'more':>12}")
    await compared("the same twice", chain(access()), chain(access()), rounds)
    await compared("no provider, Tracing", chain(access()), chain(Tracing(), access()), rounds)
    unsampled, sampled = TracerProvider(sampler=ALWAYS_OFF), TracerProvider()
    meters = MeterProvider([InMemoryMetricReader()])
    for what, tracing in (
        ("spans, not sampled", Tracing(tracer_provider=unsampled)),
        ("spans, sampled", Tracing(tracer_provider=sampled)),
        ("measurements", Tracing(meter_provider=meters)),
        ("both", Tracing(tracer_provider=sampled, meter_provider=meters)),
    ):
        await compared(what, chain(access()), chain(tracing, access()), rounds)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    anyio.run(measure, parser.parse_args().rounds)


if __name__ == "__main__":
    main()
