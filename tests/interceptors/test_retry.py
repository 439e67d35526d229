"""Retry: what may be repeated is, within bounds; what may not is left as it is."""

import threading
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest
from chains import ADA, FAILED, LOST, OK, UNSENT, Wire, linked, tool_call
from harness import MCPError, opened, text

from mcpguard import Budget, Call, Fate, Guard, Outcome, Principal, Result, Retry, Run, ToolFacts, WireError
from mcpguard.core.chain import Chain
from mcpguard.testing import FakeClock, FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

SLOW = Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)
THROTTLED = Result(
    outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(429, "no", {"retryAfter": 3})
)
UNAVAILABLE = Result(
    outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32000, "no", {"status": 503})
)
INVALID = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32602, "no"))
TOOL_FAILED = Result.of({"content": [], "isError": True})


class Tried:
    """A retry in a chain; the waits it asked for."""

    def __init__(self, **options: Any) -> None:
        self.waits: list[float] = []
        self.sink = RecordingSink()
        self.retry = Retry(sleep=self.sleep, **options)
        self._chain: Chain = linked(self.retry, sinks=[self.sink], clock=FakeClock()).chain(
            "tools/call", "outbound"
        )

    async def sleep(self, seconds: float) -> None:
        """Note how long, and go on."""
        self.waits.append(seconds)

    async def call(self, *answers: Result, call: Call | None = None) -> tuple[Result, int]:
        """Make a call that is answered like this in turn; the result, and how often it was sent."""
        wire = Wire(*answers)
        result = await self._chain(call or tool_call(), wire)
        return result, len(wire.calls)


@pytest.mark.parametrize("answer", [UNSENT, THROTTLED])
async def test_what_was_not_carried_out_is_sent_again(answer: Result) -> None:
    """Whatever the tool does."""
    assert await Tried().call(answer, OK) == (OK, 2)


@pytest.mark.parametrize("answer", [LOST, SLOW, FAILED, UNAVAILABLE])
async def test_what_may_have_been_carried_out_is_not_unless_that_does_no_harm(answer: Result) -> None:
    """Named safe, or given a key by which the server tells a repeat."""
    assert await Tried().call(answer, OK) == (answer, 1)
    assert await Tried(safe=["re*"]).call(answer, OK) == (OK, 2)
    with_key = tool_call("pay", key="k1")
    assert await Tried(idempotency_argument="key").call(answer, OK, call=with_key) == (OK, 2)
    assert await Tried(idempotency_argument="key").call(answer, OK) == (answer, 1)


@pytest.mark.parametrize(
    ("trusted", "annotations", "sent"),
    [
        (["files"], {"readOnlyHint": True}, 2),
        (["fi*"], {"idempotentHint": True}, 2),
        (["files"], {"readOnlyHint": "yes"}, 1),
        (["files"], {}, 1),
        (["other"], {"readOnlyHint": True}, 1),
    ],
)
async def test_hints_count_only_of_servers_that_are_trusted(
    trusted: list[str], annotations: dict[str, Any], sent: int
) -> None:
    """The specification calls annotations untrusted."""
    call = tool_call().with_tool(ToolFacts("read", {"name": "read", "annotations": annotations}))
    assert (await Tried(trusted=trusted).call(LOST, OK, call=call))[1] == sent


@pytest.mark.parametrize("answer", [OK, TOOL_FAILED, INVALID])
async def test_an_answer_is_an_answer(answer: Result) -> None:
    """A tool's own error and invalid parameters would come again."""
    one = Tried(safe=["*"])
    assert await one.call(answer) == (answer, 1)
    assert one.waits == []


async def test_it_ends_after_so_many_attempts_with_the_last_answer() -> None:
    """Three by default, and every repeat is in the record."""
    one = Tried(safe=["*"])
    assert await one.call(LOST) == (LOST, 3)
    assert [event.code for event in one.sink.events if event.kind == "warning"] == ["retrying"] * 2


async def test_waits_are_jittered_within_bounds_and_grow() -> None:
    """Full jitter: anything from nothing to the bound, which doubles."""
    longest = [0.0, 0.0, 0.0, 0.0]
    for _ in range(200):
        one = Tried(safe=["*"], attempts=5, wait_for=1.0, wait_at_most=4.0)
        await one.call(LOST)
        longest = [max(pair) for pair in zip(longest, one.waits, strict=True)]
    assert longest[0] <= 1.0 < longest[1] <= 2.0 < longest[2] <= 4.0
    assert longest[3] <= 4.0


async def test_what_the_server_asks_for_wins_unless_it_asks_too_much() -> None:
    """`Retry-After`."""
    one = Tried()
    await one.call(THROTTLED, OK)
    assert one.waits == [3.0]
    impatient = Tried(wait_at_most=2.0)
    assert await impatient.call(THROTTLED, OK) == (THROTTLED, 1)


async def test_a_server_in_trouble_is_not_buried_in_repeats() -> None:
    """A retry budget: ten failures' worth, and successes fill it again."""
    one = Tried(safe=["*"])
    sent = [(await one.call(LOST))[1] for _ in range(10)]
    assert sent == [3] * 5 + [1] * 5
    for _ in range(10):
        await one.call(OK)
    assert (await one.call(LOST))[1] == 2


async def test_who_makes_up_names_does_not_fill_a_retry_budget_again() -> None:
    """The one not used for longest is forgotten first, not the one made first."""
    one = Tried(safe=["*"], attempts=2)
    for _ in range(11):
        await one.call(LOST)
    for number in range(6000):
        call = Call(**{**vars(tool_call()), "server": f"server-{number}"})
        await one.call(OK, call=call)
        if not number % 1000:
            await one.call(LOST)
    assert await one.call(LOST) == (LOST, 1)


@pytest.mark.parametrize(
    ("options", "others"),
    [
        ({"roles": ["auditor"]}, Principal(tenant="acme", agent="tester")),
        ({"tenants": ["acme"]}, Principal(tenant="other", agent="tester")),
        ({"agents": ["test*"]}, Principal(tenant="acme", agent="writer")),
    ],
)
async def test_a_scope_leaves_the_rest_alone_and_asks_who_calls(
    options: dict[str, Any], others: Principal
) -> None:
    """Where it depends on who calls and nobody said, a call is denied before it is made."""
    one = Tried(safe=["*"], **options)
    assert await one.call(LOST, OK) == (OK, 2)
    for who in (others, Principal()):
        assert await one.call(LOST, OK, call=tool_call().made_by(who)) == (LOST, 1)
    result, sent = await one.call(LOST, OK, call=tool_call().made_by(None))
    assert result.denial is not None
    assert (result.denial.code, sent) == ("no_principal", 0)


async def test_reading_may_always_be_repeated() -> None:
    """By the specification it changes nothing."""
    one = Tried()
    reads = linked(one.retry, clock=FakeClock()).chain("resources/read", "outbound")
    wire = Wire(LOST, OK)
    call = Call(id="1", method="resources/read", params={"uri": "file:///a"}, server="files", principal=ADA)
    assert await reads(call, wire) == OK
    assert len(wire.calls) == 2


async def test_a_call_of_a_run_that_has_ended_is_not_repeated() -> None:
    """The kill switch holds between attempts."""
    run = Run()
    chain = linked(Retry(safe=["*"], sleep=Tried().sleep)).chain("tools/call", "outbound")
    sent: list[Call] = []

    async def wire(call: Call) -> Result:
        sent.append(call)
        run.stop()
        return LOST

    assert await chain(tool_call(run=run), wire) == LOST
    assert len(sent) == 1


async def test_what_is_not_repeated_takes_nothing_from_the_retry_budget() -> None:
    """A server that asks for an hour, and a run that has ended, leave later calls theirs."""
    one = Tried(safe=["*"])
    too_long = Result(
        outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(429, "no", {"retryAfter": 3600})
    )
    over = Run()
    over.stop()
    for _ in range(30):
        assert await one.call(too_long) == (too_long, 1)
        assert await one.retry(tool_call(run=over), Wire(LOST)) == LOST
    assert await one.call(LOST, OK) == (OK, 2)


async def test_every_attempt_spends_budget() -> None:
    """The budget stands further in; when it is used up, that is the answer."""
    retry = Retry(safe=["*"], attempts=5, sleep=Tried().sleep)
    chain = linked(retry, Budget(calls=2), clock=FakeClock()).chain("tools/call", "outbound")
    wire = Wire(LOST)
    result = await chain(tool_call(run=Run()), wire)
    assert len(wire.calls) == 2
    assert result.denial is not None
    assert result.denial.code == "budget_exhausted"


async def test_a_wait_can_be_cancelled() -> None:
    """And nothing is sent after it."""
    chain = linked(Retry(safe=["*"], wait_for=1000, wait_at_most=1000)).chain("tools/call", "outbound")
    wire = Wire(LOST)
    with anyio.move_on_after(0.01) as scope:
        await chain(tool_call(), wire)
    assert scope.cancelled_caught
    assert len(wire.calls) == 1


def test_a_call_that_a_finalizer_makes_while_its_thread_holds_the_lock_does_not_stall_it() -> None:
    """Garbage is collected wherever a thread happens to be; here, while a key is looked up."""

    class Server(str):
        """A name whose look-up is when the garbage goes."""

        __slots__ = ()

        def __hash__(self) -> int:
            while late:
                with pytest.raises(StopIteration):
                    late.pop().send(None)
            return super().__hash__()

    async def main() -> None:
        late.append(chain(tool_call(), Wire()))
        done.append(await chain(Call(**{**vars(tool_call()), "server": Server("mail")}), Wire()))

    late: list[Coroutine[Any, Any, Result]] = []
    done: list[Result] = []
    chain = linked(Retry()).chain("tools/call", "outbound")
    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [OK]


async def test_a_strategy_of_tenacitys_may_decide_how_long() -> None:
    """Theirs are well tried."""
    from tenacity import wait_fixed

    one = Tried(safe=["*"], wait=wait_fixed(7))
    await one.call(LOST)
    assert one.waits == [7.0, 7.0]


async def test_in_mode_audit_nothing_is_repeated() -> None:
    """An audited call goes out once."""
    one = Tried(safe=["*"], mode="audit")
    assert (await one.call(LOST, OK))[1] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"wait_for": -1},
        {"wait_for": 30},
        {"wait_at_most": float("inf")},
        {"idempotency_argument": ""},
    ],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when something fails."""
    with pytest.raises(ValueError, match=r".+"):
        Retry(**options)


async def test_a_flaky_server_is_asked_again_through_a_real_session() -> None:
    """Twice an internal error, then the answer."""
    server = FakeServer()
    server.tool("read")
    server.on_call("read").fails(-32603).times(2).returns("fine")
    async with opened(Guard([Retry(safe=["read"], sleep=Tried().sleep)]), server, "session") as peer:
        assert text(await peer.call("read")) == "fine"
    server.on_call("read").fails(-32603)
    async with opened(Guard([Retry(sleep=Tried().sleep)]), server, "session") as peer:
        with pytest.raises(MCPError):
            await peer.call("read")
