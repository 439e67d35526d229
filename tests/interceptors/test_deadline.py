"""Deadline: calls end in time, runs too, and the clock stands still while somebody is asked."""

import gc
import threading
from datetime import timedelta
from typing import Any

import anyio
import pytest
from chains import OK, Wire, linked, tool_call
from harness import LEGACY_SEAMS, V1, MCPError, accept, code, opened, text

from mcpguard import Call, Deadline, Fate, Guard, Outcome, Result, Run
from mcpguard.testing import FakeClock, FakeServer, Gate, RecordingSink
from mcpguard.testing.messages import Elicit

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]

SOON = 0.02
"""Seconds of real time: a call that never ends must end."""


async def hang(call: Call) -> Result:
    """A server that never answers."""
    await anyio.sleep_forever()
    return OK


async def test_a_call_that_takes_too_long_ends_as_a_timeout_of_unknown_fate() -> None:
    """It may have been carried out."""
    sink = RecordingSink()
    chain = linked(Deadline(seconds=SOON), sinks=[sink]).chain("tools/call", "outbound")
    result = await chain(tool_call(), hang)
    assert (result.outcome, result.fate) == (Outcome.TIMEOUT, Fate.SENT)
    assert "deadline_exceeded" in [event.code for event in sink.events if event.kind == "warning"]


@pytest.mark.parametrize(("seconds", "given"), [(60.0, SOON), (SOON, 60.0), (None, SOON)])
async def test_the_shorter_of_its_own_time_and_the_callers_counts(
    seconds: float | None, given: float
) -> None:
    """The SDK's timeout is lifted; its seconds are not forgotten."""
    deadline = Deadline(seconds=seconds, run_seconds=None if seconds else 100.0)
    chain = linked(deadline).chain("tools/call", "outbound")
    assert (await chain(tool_call().with_timeout(given), hang)).outcome is Outcome.TIMEOUT


async def test_a_run_has_only_so_much_time_with_all_that_is_inside_it() -> None:
    """A sub-agent is no way round it."""
    clock = FakeClock()
    chain = linked(Deadline(run_seconds=100), clock=clock).chain("tools/call", "outbound")
    outer = Run()
    assert await chain(tool_call(run=outer), Wire()) is OK
    clock.advance(99)
    inner = Run(parent=outer)
    assert await chain(tool_call(run=inner), Wire()) is OK
    clock.advance(1)
    for run in (outer, inner):
        denial = (await chain(tool_call(run=run), Wire())).denial
        assert denial is not None
        assert denial.code == "run_deadline"
    assert await chain(tool_call(run=Run()), Wire()) is OK
    assert await chain(tool_call(), Wire()) is OK


async def test_the_rest_of_a_run_bounds_a_call() -> None:
    """A call that begins in time does not outlive it."""
    chain = linked(Deadline(seconds=None, run_seconds=SOON)).chain("tools/call", "outbound")
    assert (await chain(tool_call(run=Run()), hang)).outcome is Outcome.TIMEOUT


async def test_a_callers_own_cancellation_is_no_timeout() -> None:
    """It goes through as it came."""
    chain = linked(Deadline()).chain("tools/call", "outbound")
    with anyio.move_on_after(0) as scope:
        await chain(tool_call(), hang)
    assert scope.cancelled_caught


@pytest.mark.parametrize("seam", [seam for seam in LEGACY_SEAMS if seam != "transport"])
async def test_a_callers_timeout_holds_for_calls_that_are_not_named(seam: str) -> None:
    """The SDK's is lifted for all tools; what is not in the scope has its caller's time, and no other."""
    server = FakeServer()
    server.tool("read")
    server.on_call("read").hangs()
    allowed: Any = timedelta(seconds=SOON) if V1 else SOON
    async with opened(Guard([Deadline(seconds=600, tools=["crawl_*"])]), server, seam) as peer:
        with pytest.raises(MCPError), anyio.fail_after(10):
            await peer.call("read", read_timeout_seconds=allowed)


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_the_server_is_told_that_a_call_is_given_up(seam: str) -> None:
    """A timeout of SDK 1.x sends nothing."""
    server = FakeServer()
    server.tool("read").returns("data")
    server.tool("other").returns("data")
    server.on_call("read").hangs()
    async with opened(Guard([Deadline(seconds=SOON, tools=["read"])]), server, seam) as peer:
        with pytest.raises(MCPError):
            await peer.call("read")
        with anyio.fail_after(10):
            await server.until_seen("notifications/cancelled")
        assert text(await peer.call("other")) == "data"


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_the_clock_stands_still_while_a_person_is_asked(seam: str) -> None:
    """An elicitation of 1.0 s under a timeout of 0.4 s fails on both majors; here it does not."""
    server = FakeServer()
    server.tool("read")
    server.on_call("read").asks(Elicit("who?")).returns("done")
    seconds = 0.2

    async def think(context: Any, params: Any) -> Any:
        began = anyio.current_time()
        while anyio.current_time() < began + 2 * seconds:
            await anyio.lowlevel.checkpoint()
        return await accept(context, params)

    guard = Guard([Deadline(seconds=seconds)])
    async with opened(guard, server, seam, elicitation_callback=think) as peer:
        assert text(await peer.call("read")) == "done"


async def test_the_clock_goes_on_when_everybody_has_been_answered() -> None:
    """What is left then is what was left before."""
    gate = Gate()
    server = FakeServer()
    server.tool("read")
    server.on_call("read").asks(Elicit("who?")).waits_for(gate).returns("late")
    async with opened(
        Guard([Deadline(seconds=SOON * 5)]), server, "session", elicitation_callback=accept
    ) as peer:
        with pytest.raises(MCPError), anyio.fail_after(10):
            await peer.call("read")


def asked(run: Run | None = None, **about: Any) -> Call:
    """What a server asks in between."""
    members = {"id": "2", "method": "elicitation/create", "direction": "inbound", "server": "files"}
    return Call(**{**members, "run": run, **about})


async def test_a_runs_time_stands_still_while_a_person_is_asked() -> None:
    """Also for the calls beside, and where the question comes between two rounds of a call."""
    clock, run = FakeClock(), Run()
    both = linked(Deadline(run_seconds=100), clock=clock)
    outbound, inbound = both.chain("tools/call", "outbound"), both.chain("elicitation/create", "inbound")

    async def think(call: Call) -> Result:
        clock.advance(500)
        assert await outbound(tool_call(run=run), Wire()) is OK
        return OK

    assert await outbound(tool_call(run=run), Wire()) is OK
    clock.advance(99)
    assert await inbound(asked(Run(parent=run), parent="call-1"), think) is OK
    assert await outbound(tool_call(run=run), Wire()) is OK
    clock.advance(1)
    assert (await outbound(tool_call(run=run), Wire())).denial is not None


async def test_a_server_that_asks_and_asks_does_not_hold_a_call_for_ever() -> None:
    """The clock stands still for so long, and no longer."""
    both = linked(Deadline(seconds=SOON, max_pause=SOON))

    async def ask(call: Call) -> Result:
        await both.chain("elicitation/create", "inbound")(asked(parent=call.id), hang)
        return OK

    with anyio.fail_after(10):
        result = await both.chain("tools/call", "outbound")(tool_call(), ask)
    assert result.outcome is Outcome.TIMEOUT


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_question_in_one_thread_leaves_the_clocks_of_other_threads_alone(backend: str) -> None:
    """Two sessions to servers of one name; a timer belongs to its own event loop."""
    both = linked(Deadline(seconds=10 * SOON))
    under_way, outcomes = threading.Event(), list[Outcome | None]()

    async def slow(call: Call) -> Result:
        under_way.set()
        return await hang(call)

    async def call_it() -> None:
        outcome = None
        with anyio.move_on_after(10):
            outcome = (await both.chain("tools/call", "outbound")(tool_call(), slow)).outcome
        outcomes.append(outcome)

    async def ask() -> None:
        await both.chain("elicitation/create", "inbound")(asked(), Wire())

    thread = threading.Thread(target=anyio.run, args=(call_it,), kwargs={"backend": backend})
    thread.start()
    under_way.wait(10)
    anyio.run(ask, backend=backend)
    thread.join(30)
    assert outcomes == [Outcome.TIMEOUT]


async def test_a_request_of_unknown_cause_stops_the_clocks_of_its_run_and_server_only() -> None:
    """Any of those calls may be the one it is about."""
    deadline, run = Deadline(seconds=60), Run()
    both = linked(deadline)
    paused: list[Any] = []

    async def look(call: Call) -> Result:
        paused.append(deadline.status()["paused"])
        return OK

    async def meanwhile(call: Call) -> Result:
        inbound = both.chain("elicitation/create", "inbound")
        for request in (asked(run), asked(run, server="mail"), asked(Run()), asked(run, parent="call-1")):
            await inbound(request, look)
        return OK

    await both.chain("tools/call", "outbound")(tool_call(run=run), meanwhile)
    assert paused == [1, 0, 0, 1]
    assert deadline.status() == {"under_way": 0, "paused": 0}


async def test_in_mode_audit_a_persons_time_does_not_count() -> None:
    """As little as when it is enforced."""
    clock, sink = FakeClock(), RecordingSink()
    both = linked(Deadline(seconds=1, mode="audit"), clock=clock, sinks=[sink])

    async def think(call: Call) -> Result:
        clock.advance(5)
        return OK

    async def ask(call: Call) -> Result:
        return await both.chain("elicitation/create", "inbound")(asked(parent=call.id), think)

    await both.chain("tools/call", "outbound")(tool_call(), ask)
    assert "deadline_exceeded" not in [event.code for event in sink.events]


async def test_where_time_depends_on_who_calls_and_nobody_said_a_call_is_denied() -> None:
    """Fail closed."""
    chain = linked(Deadline(roles=["slow"])).chain("tools/call", "outbound")
    call = Call(id="1", method="tools/call", params={"name": "read"}, server="files")
    denial = (await chain(call, Wire())).denial
    assert denial is not None
    assert denial.code == "no_principal"


async def test_in_mode_audit_nothing_ends_and_what_would_is_told() -> None:
    """By the guard's clock."""
    clock, sink = FakeClock(), RecordingSink()
    chain = linked(Deadline(seconds=1, mode="audit"), clock=clock, sinks=[sink]).chain(
        "tools/call", "outbound"
    )

    async def slow(call: Call) -> Result:
        clock.advance(5)
        return OK

    assert await chain(tool_call(), slow) is OK
    assert ("deadline_exceeded", "audit") in [(event.code, event.mode) for event in sink.events]


async def test_a_scope_leaves_the_rest_alone() -> None:
    """Only the tools that are named."""
    chain = linked(Deadline(seconds=1e-9, tools=["slow_*"])).chain("tools/call", "outbound")
    assert await chain(tool_call(), Wire()) is OK


async def test_nothing_is_kept_of_calls_and_runs_that_are_over() -> None:
    """Bounded by what is under way."""
    deadline, run = Deadline(run_seconds=100), Run()
    chain = linked(deadline).chain("tools/call", "outbound")
    await chain(tool_call(run=run), Wire())
    assert deadline.status() == {"under_way": 0, "paused": 0}
    assert len(deadline._runs) == 1
    del run
    gc.collect()
    assert deadline._runs == {}


@pytest.mark.parametrize(
    "options",
    [{"seconds": 0}, {"run_seconds": -1}, {"seconds": None}, {"seconds": float("inf")}, {"max_pause": -1}],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        Deadline(**options)


async def test_a_real_run_that_is_over_time_is_told_so() -> None:
    """As an error result the model can read."""
    clock = FakeClock()
    server = FakeServer()
    server.tool("read").returns("data")
    guard = Guard([Deadline(run_seconds=10)], clock=clock)
    async with opened(guard, server, "session") as peer, guard.run():
        assert text(await peer.call("read")) == "data"
        clock.advance(10)
        assert code(await peer.call("read")) == "run_deadline"
