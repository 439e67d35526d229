"""CircuitBreaker: a failing server is left alone, a probe goes out, and nothing neutral opens it."""

import threading
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest
from chains import FAILED, LOST, OK, TOOLS, UNSENT, Around, Checking, Wire, linked, tool_call
from harness import MCPError, code, opened

from mcpguard import (
    Call,
    CallNext,
    CircuitBreaker,
    Deadline,
    Deny,
    Fate,
    Guard,
    Outcome,
    Principal,
    Result,
    Retry,
    Run,
)
from mcpguard.core.chain import Chain
from mcpguard.core.timer import Timer
from mcpguard.testing import FakeClock, FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

SLOW = Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)
TOOL_FAILED = Result.of({"content": [], "isError": True})

SOON = 0.01
"""Seconds of real time: a call that never ends must end."""


async def hang(call: Call) -> Result:
    """A server that never answers."""
    await anyio.sleep_forever()
    return OK


class Tried:
    """A breaker in a chain, its clock and its record."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.sink = FakeClock(), RecordingSink()
        self.breaker = CircuitBreaker(**options)
        self._chain: Chain = linked(self.breaker, sinks=[self.sink], clock=self.clock).chain(
            "tools/call", "outbound"
        )

    async def call(self, answer: Result = OK, tool: str = "read", **about: Any) -> str | None:
        """Make one call that is answered like this; the code it was refused with."""
        call = tool_call(tool)
        if about:
            call = Call(
                **{"id": "1", "method": "tools/call", "params": call.params, "server": "files", **about}
            )
        result = await self._chain(call, Wire(answer))
        return None if result.denial is None else result.denial.code

    async def calls(self, *answers: Result, **about: Any) -> list[str | None]:
        """Make several."""
        return [await self.call(answer, **about) for answer in answers]

    def states(self) -> list[str | None]:
        """The changes of state in the record."""
        return [event.state for event in self.sink.events if event.kind == "state_changed"]


@pytest.mark.parametrize("answer", [FAILED, LOST, UNSENT, SLOW])
async def test_a_server_that_keeps_failing_is_left_alone_and_tried_again(answer: Result) -> None:
    """Open after five, one probe after the time, closed when it succeeds."""
    one = Tried()
    assert await one.calls(*[answer] * 5) == [None] * 5
    assert await one.calls(OK, OK) == ["circuit_open"] * 2
    one.clock.advance(6.25)
    assert await one.calls(OK, OK) == [None, None]
    assert one.states() == ["open", "half_open", "closed"]


async def test_a_refusal_says_when_to_come_back_and_what_is_down() -> None:
    """For the model a time; for the operator the server."""
    one = Tried()
    await one.calls(*[LOST] * 5)
    await one.call()
    refused = [event for event in one.sink.events if event.kind == "completed"][-1]
    assert refused.retry_after is not None
    assert 5 <= refused.retry_after <= 6.25
    assert refused.reason == "the breaker of files is open"


@pytest.mark.parametrize(
    "answer",
    [
        TOOL_FAILED,
        Result.of({"resultType": "input_required"}),
        Result(outcome=Outcome.TIMEOUT, fate=Fate.NOT_SENT),
    ],
)
async def test_what_says_nothing_against_the_server_opens_nothing(answer: Result) -> None:
    """A tool's own error comes from a server that is up."""
    one = Tried()
    assert await one.calls(*[answer] * 50) == [None] * 50
    assert one.states() == []


async def test_refusals_by_others_and_cancelled_calls_open_nothing() -> None:
    """Three caller cancellations open other breakers."""
    breaker = CircuitBreaker()
    inner = Checking(lambda call: Deny("no", reason="r"), TOOLS)
    chain = linked(breaker, inner).chain("tools/call", "outbound")
    for _ in range(20):
        assert (await chain(tool_call(), Wire(OK))).denial is not None

    alone = linked(CircuitBreaker()).chain("tools/call", "outbound")
    for _ in range(20):
        with anyio.move_on_after(0):
            await alone(tool_call(), hang)
    assert (await alone(tool_call(), Wire(OK))).denial is None
    assert breaker.status()["breakers"] == [
        {"server": "files", "state": "closed", "tenant": "acme", "calls": 0, "failures": 0, "slow": 0}
    ]


async def test_fifty_calls_at_once_send_one_probe() -> None:
    """Others admit all fifty."""
    one, sent = Tried(), []
    await one.calls(*[LOST] * 5)
    one.clock.advance(6.25)
    gate = anyio.Event()

    async def wire(call: Any) -> Result:
        sent.append(call)
        await gate.wait()
        return OK

    results: list[Result] = []

    async def call() -> None:
        results.append(await one._chain(tool_call(), wire))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert len(sent) == 1
    assert sum(result.denial is None for result in results) == 1


async def test_a_cancelled_probe_lets_the_next_one_try_at_once() -> None:
    """A permit that is never given back is the classic stuck breaker."""
    one = Tried()
    await one.calls(*[LOST] * 5)
    one.clock.advance(6.25)
    with anyio.move_on_after(0):
        await one._chain(tool_call(), hang)
    assert await one.call() is None


@pytest.mark.parametrize("mode", ["enforce", "audit"])
async def test_a_server_that_hangs_opens_it_when_a_deadline_ends_the_calls(mode: Any) -> None:
    """The deadline gives the call up from outside: a cancellation like any other, but for its timer."""
    sink = RecordingSink()
    breaker = CircuitBreaker(mode=mode)
    chain = linked(Deadline(seconds=SOON), breaker, sinks=[sink]).chain("tools/call", "outbound")
    for _ in range(5):
        assert (await chain(tool_call(), hang)).outcome is Outcome.TIMEOUT
    assert "open" in [event.state for event in sink.events]
    denial = (await chain(tool_call(), Wire())).denial
    assert (denial is None) == (mode == "audit")


async def test_a_probe_that_a_deadline_ends_has_failed() -> None:
    """The time doubles; the permit is not lost."""
    clock, breaker = FakeClock(), CircuitBreaker()
    chain = linked(Deadline(seconds=SOON), breaker, clock=clock).chain("tools/call", "outbound")
    for _ in range(5):
        await chain(tool_call(), Wire(LOST))
    clock.advance(6.25)
    assert (await chain(tool_call(), hang)).outcome is Outcome.TIMEOUT
    clock.advance(6.25)
    assert (await chain(tool_call(), Wire())).denial is not None
    clock.advance(6.25)
    assert await chain(tool_call(), Wire()) is OK


async def test_the_attempt_that_hung_counts_and_not_the_wait_before_it() -> None:
    """A retry stands in between, and a layer of another's that times the call."""
    scope = anyio.CancelScope()

    async def times(call: Call, call_next: CallNext) -> Result:
        timer = Timer(call.timer)
        try:
            with scope:
                return await call_next(call.with_timer(timer))
        finally:
            timer.over(is_up=scope.cancelled_caught)
        return SLOW

    answers = iter([LOST])

    async def wire(call: Call) -> Result:
        for answer in answers:
            return answer
        scope.cancel()
        return await hang(call)

    breaker = CircuitBreaker(min_calls=3, window=3)
    retry = Retry(safe=["*"], wait_for=0)
    chain = linked(Around(times, times=True), retry, breaker).chain("tools/call", "outbound")
    assert (await chain(tool_call(), wire)).outcome is Outcome.TIMEOUT
    assert _counted(breaker) == (2, 2)


async def test_a_cancellation_by_anybody_else_opens_nothing_where_calls_are_timed() -> None:
    """Its caller's, that of a task whose run was stopped, and one that comes before the time is up."""
    breaker = CircuitBreaker()
    patient = linked(Deadline(seconds=600), breaker).chain("tools/call", "outbound")
    timed = linked(Deadline(seconds=SOON), breaker).chain("tools/call", "outbound")
    run = Run()

    async def slow_to_leave(call: Call) -> Result:
        try:
            return await hang(call)
        finally:
            began = anyio.current_time()
            with anyio.CancelScope(shield=True):
                while anyio.current_time() < began + 2 * SOON:
                    await anyio.lowlevel.checkpoint()

    for _ in range(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(patient, tool_call(run=run), hang)
            await anyio.wait_all_tasks_blocked()
            run.stop()
            tasks.cancel_scope.cancel()
        run = Run()
    with anyio.move_on_after(0) as scope:
        await timed(tool_call(), slow_to_leave)
    assert scope.cancelled_caught
    assert _counted(breaker) == (0, 0)


async def test_the_outermost_of_two_deadlines_counts_like_any_other() -> None:
    """The inner one has not ended the call, and says so of itself alone."""
    breaker = CircuitBreaker()
    chain = linked(Deadline(id="a", seconds=SOON), Deadline(id="b"), breaker).chain("tools/call", "outbound")
    assert (await chain(tool_call(), hang)).outcome is Outcome.TIMEOUT
    assert _counted(breaker) == (1, 1)


async def test_what_was_never_sent_in_time_says_nothing_of_the_server() -> None:
    """A credential that does not come is not the server's fault."""

    async def wait(call: Call, call_next: CallNext) -> Result:
        await anyio.sleep_forever()
        return await call_next(call)

    breaker = CircuitBreaker()
    chain = linked(Deadline(seconds=SOON), breaker, Around(wait)).chain("tools/call", "outbound")
    assert (await chain(tool_call(), hang)).outcome is Outcome.TIMEOUT
    assert _counted(breaker) == (0, 0)


def _counted(breaker: CircuitBreaker) -> tuple[Any, Any]:
    """Calls that count in its only breaker, and failures among them."""
    (one,) = breaker.status()["breakers"]  # type: ignore[misc, union-attr]
    return one["calls"], one["failures"]  # type: ignore[index, call-overload]


async def test_each_tenant_and_server_has_a_breaker_of_its_own() -> None:
    """One tenant's trouble is not another's; per tool where that is asked for."""
    one = Tried()
    acme, other = Principal(tenant="acme"), Principal(tenant="other")
    await one.calls(*[LOST] * 5, principal=acme)
    assert await one.call(principal=acme) == "circuit_open"
    assert await one.call(principal=other) is None
    assert await one.call(principal=acme, server="mail") is None
    per_tool = Tried(per="tool")
    await per_tool.calls(*[LOST] * 5, tool="read")
    assert await per_tool.call(tool="read") == "circuit_open"
    assert await per_tool.call(tool="write") is None


async def test_a_tools_own_errors_count_where_the_policy_says_so() -> None:
    """For one tool, never for its server."""
    one = Tried(per="tool", tool_errors=True)
    await one.calls(*[TOOL_FAILED] * 5)
    assert await one.call() == "circuit_open"


async def test_slow_answers_open_it_by_the_guards_clock() -> None:
    """A share of slow calls is as good as failures."""
    one = Tried(slow_after=2.0)

    async def wire(call: Any) -> Result:
        one.clock.advance(3)
        return OK

    for _ in range(5):
        await one._chain(tool_call(), wire)
    assert await one.call() == "circuit_open"


async def test_a_server_is_isolated_and_let_in_again_by_hand() -> None:
    """Whatever it answers."""
    one = Tried()
    one.breaker.isolate("files", tenant="acme")
    assert await one.call() == "circuit_open"
    one.clock.advance(1e6)
    assert await one.call() == "circuit_open"
    one.breaker.close("files", tenant="acme")
    assert await one.call() is None
    assert one.states() == ["isolated", "closed"]


def test_a_call_that_is_thrown_away_while_its_thread_holds_the_lock_does_not_stall_it() -> None:
    """Garbage is collected wherever a thread happens to be; here, while a key is looked up."""

    class Server(str):
        """A name whose look-up is when the garbage goes."""

        __slots__ = ()

        def __hash__(self) -> int:
            while abandoned:
                abandoned.pop().close()
            return super().__hash__()

    async def main() -> None:
        left = chain(tool_call(), hang)
        left.send(None)
        abandoned.append(left)
        done.append(await chain(Call(**{**vars(tool_call()), "server": Server("mail")}), Wire()))

    abandoned: list[Coroutine[Any, Any, Result]] = []
    done: list[Result] = []
    chain = linked(CircuitBreaker()).chain("tools/call", "outbound")
    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [OK]


async def test_in_mode_audit_it_refuses_nothing_and_says_what_it_would() -> None:
    """The record has the refusals that were not."""
    one = Tried(mode="audit")
    await one.calls(*[LOST] * 5)
    assert await one.calls(OK, OK) == [None, None]
    assert "circuit_open" in [event.code for event in one.sink.events if event.mode == "audit"]


async def test_breakers_are_bounded_and_open_ones_are_kept() -> None:
    """Names come from outside."""
    one = Tried(per="tool")
    await one.calls(*[LOST] * 5, tool="bad")
    for number in range(5000):
        await one.call(tool=f"tool-{number}")
    assert await one.call(tool="bad") == "circuit_open"
    assert len(one.breaker._breakers) <= 4096


async def test_who_makes_up_names_does_not_push_out_a_breaker_in_use() -> None:
    """The one not used for longest goes first, not the one made first."""
    one = Tried(per="tool")
    await one.calls(*[LOST] * 4, tool="busy")
    for number in range(6000):
        await one.call(tool=f"tool-{number}")
        if not number % 1000:
            await one.call(Result(outcome=Outcome.TIMEOUT, fate=Fate.NOT_SENT), tool="busy")
    assert await one.calls(LOST, OK, tool="busy") == [None, "circuit_open"]


@pytest.mark.parametrize(
    ("options", "others"),
    [
        ({"roles": ["auditor"]}, {"principal": Principal(tenant="acme", agent="tester")}),
        ({"tenants": ["acme"]}, {"principal": Principal(tenant="other", agent="tester")}),
        ({"agents": ["test*"]}, {"principal": Principal(tenant="acme", agent="writer")}),
    ],
)
async def test_a_scope_leaves_the_rest_alone_and_asks_who_calls(
    options: dict[str, Any], others: dict[str, Any]
) -> None:
    """Where it depends on who calls and nobody said, a call is denied: a rule that does not apply is none."""
    one = Tried(**options)
    assert await one.calls(*[LOST] * 6) == [*[None] * 5, "circuit_open"]
    assert await one.calls(*[LOST] * 6, **others) == [None] * 6
    assert await one.call(principal=Principal()) is None
    assert await one.call(principal=None) == "no_principal"


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0},
        {"min_calls": 0},
        {"min_calls": 30},
        {"failure_ratio": 0},
        {"failure_ratio": 1.5},
        {"slow_ratio": 0},
        {"open_for": 0},
        {"slow_after": -1},
        {"tool_errors": True},
        {"per": "galaxy"},
    ],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a server is down."""
    with pytest.raises(ValueError, match=r".+"):
        CircuitBreaker(**options)


async def test_a_real_session_gets_a_refusal_the_model_can_read() -> None:
    """Five internal errors, then a refusal in the server's place."""
    server = FakeServer()
    server.tool("read")
    server.on_call("read").fails(-32603).times(5).returns("fine")
    guard = Guard([CircuitBreaker()])
    async with opened(guard, server, "session") as peer:
        for _ in range(5):
            with pytest.raises(MCPError):
                await peer.call("read")
        assert code(await peer.call("read")) == "circuit_open"
    assert len(server.calls("read")) == 5
