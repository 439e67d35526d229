"""Requests of a guarded transport's client: order, ids, cancellation, and answers twice, late or never."""

import logging
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from harness import V1, Around, Checking, Filtering, MCPError, denying, opened, watching
from line import CALLS, QUESTIONS, Client, Line, Stopping, Wire, passing, result, talking

from mcpguard import ALLOW, Call, Deny, Fate, Guard, Outcome, Result
from mcpguard.core.interceptor import CallNext, Handles
from mcpguard.core.result import DENIED_CODE
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, Gate, RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]


# Requests of the client


async def test_what_follows_an_answer_stays_behind_it(way: Callable[..., Any]) -> None:
    """Order on the wire is kept through a chain that waits for nothing, in both directions."""
    guard = Guard([way(), way(QUESTIONS)])
    async with talking(guard) as (client, line):
        await client.calls("read")
        await client.says({"method": "notifications/roots/list_changed"})
        assert [(await line.hears())["method"] for _ in range(2)] == [
            "tools/call",
            "notifications/roots/list_changed",
        ]
        await line.says(
            {"method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}},
            result(1, content=[]),
            {"method": "notifications/tools/list_changed"},
            {"id": 7, "method": "elicitation/create", "params": {}},
            {"method": "notifications/message", "params": {}},
        )
        heard = [await client.hears() for _ in range(5)]
    assert [one.get("method", "answer") for one in heard] == [
        "notifications/progress",
        "answer",
        "notifications/tools/list_changed",
        "elicitation/create",
        "notifications/message",
    ]


async def test_an_answer_is_taken_once(way: Callable[..., Any]) -> None:
    """A second answer would reach the client past the filters."""

    def clean(call: Call, result: Result) -> Result:
        return result.replace(value={"content": ["clean"]})

    async with talking(Guard([way(), Filtering(clean, CALLS)])) as (client, line):
        await client.calls("read")
        await line.hears()
        await line.says(result(1, content=["secret"]), result(1, content=["secret"]), result(2))
        assert await client.hears() == result(1, content=["clean"])
        assert await client.hears() == result(2)


async def test_an_answer_that_comes_before_the_question_is_dropped() -> None:
    """Ids can be guessed; a request that a layer holds has not been asked yet."""
    gate = Gate()

    async def hold(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    async with talking(Guard([Around(hold)])) as (client, line):
        await client.calls("read")
        await line.says(result(1, content=["guessed"]), result(2))
        assert await client.hears() == result(2)
        gate.open()
        await line.answers(content=["asked"])
        assert await client.hears() == result(1, content=["asked"])


@pytest.mark.parametrize("answered", ["1", 1])
async def test_an_answer_may_have_the_id_as_text(way: Callable[..., Any], answered: Any) -> None:
    """Both SDKs take "7" for 7."""
    async with talking(Guard([way()])) as (client, line):
        await client.calls("read")
        await line.says({"id": answered, "result": {}})
        assert await client.hears() == {"id": answered, "result": {}}


async def test_answers_that_nobody_waits_for_pass_as_they_are() -> None:
    """What a bare session does with them it does with these."""
    error = {"code": -1, "message": "no"}
    odd = [result(5), {"id": "five", "result": {}}, {"id": 6, "error": error}]
    if not V1:
        odd.append({"id": None, "error": error})
    async with talking(Guard(passing())) as (client, line):
        await line.says(*odd)
        assert [await client.hears() for _ in odd] == odd


async def test_answers_are_remembered_for_a_bounded_time() -> None:
    """1,024 of them; a duplicate of an older one is a stranger's, which no session waits for."""
    async with talking(Guard([watching(CALLS)]), Line(room=10)) as (client, line):
        for number in range(1, 1027):
            await client.calls("read", number)
            await line.answers()
            await client.hears()
        await line.says(result(1026), result(3), result(1))
        assert await client.hears() == result(1)


async def test_an_id_is_used_again(way: Callable[..., Any]) -> None:
    """Clients may choose ids; only what is in flight is theirs to avoid."""
    guard = Guard([way()])
    async with talking(guard) as (client, line):
        for number in range(2):
            await client.calls("read")
            await line.answers(content=[number])
            assert await client.hears() == result(1, content=[number])
        await client.says({"id": 1, "method": "prompts/list"})
        await line.answers(prompts=[])
        assert await client.hears() == result(1, prompts=[])


async def test_a_request_displaces_another_of_its_id(way: Callable[..., Any]) -> None:
    """A client that uses an id twice at once waits for the second, as on a bare stream."""
    async with talking(Guard([way()])) as (client, line):
        for tool in ("first", "second"):
            await client.calls(tool)
            assert (await line.hears())["params"]["name"] == tool
        await line.says(result(1, content=["second"]))
        assert await client.hears() == result(1, content=["second"])


async def test_ten_thousand_requests_may_be_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """1.x tells nobody when its timeout has run out; the oldest is given up, loudly."""
    with caplog.at_level(logging.WARNING, "mcpguard"):
        async with talking(Guard([watching(CALLS)]), Line(room=20_000)) as (client, line):
            for number in range(10_001):
                await client.calls("read", number)
            heard = await client.hears()
            await line.says(result(0), result(1))
            assert await client.hears() == result(1)
    assert heard == {"id": 0, "error": {"code": -32000, "message": "Connection closed"}}
    assert "10000 requests under way" in caplog.text


async def test_a_cancelled_request_that_was_not_sent_is_never_sent(way: Callable[..., Any]) -> None:
    """Trap: the caller is gone; what a layer held must not be executed afterwards."""
    gate = Gate()

    async def hold(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    sink = RecordingSink()
    async with talking(Guard([way(), Around(hold)], sinks=[sink])) as (client, line):
        await client.calls("read")
        await gate.reached()
        await client.cancels(1)
        gate.open()
        await client.says({"method": "notifications/initialized"})
        assert (await line.hears())["method"] == "notifications/initialized"
    assert "cancelled" in [event.kind for event in sink.events]
    assert "dispatched" not in [event.kind for event in sink.events]


async def test_a_request_cancelled_before_its_task_has_begun_meets_nothing() -> None:
    """Not even a check: nobody asks any more."""
    seen = watching(CALLS)

    async def both(client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.calls, "read")
            tasks.start_soon(client.says, {"method": "notifications/cancelled", "params": {"requestId": 1}})

    async with talking(Guard([seen, *passing()])) as (client, _):
        for _ in range(20):
            await both(client)
        await wait_all_tasks_blocked()
        cancelled = [call for call in seen.seen if call.method == "tools/call"]
    assert len(cancelled) <= 20


async def test_a_cancelled_request_that_was_sent_is_cancelled_at_the_server(way: Callable[..., Any]) -> None:
    """The notification goes on; an answer that comes all the same is dropped."""
    sink = RecordingSink()
    async with talking(Guard([way()], sinks=[sink])) as (client, line):
        await client.calls("read")
        await line.hears()
        cancel = await client.cancels(1)
        assert await line.hears() == cancel
        await line.says(result(1, content=["late"]), result(2))
        assert await client.hears() == result(2)
        await client.says(cancel)
        assert await line.hears() == cancel, "of a request that is over, it passes as it is"
    assert "cancelled" in [event.kind for event in sink.events]


async def test_a_notification_that_is_dropped_still_ends_the_request(way: Callable[..., Any]) -> None:
    """A check may keep it from the server; the caller is gone all the same."""

    def check(call: Call) -> Verdict:
        return Deny("not_here", reason="test") if call.method == "notifications/cancelled" else ALLOW

    handled: Handles = {("notifications/cancelled", "outbound")}
    async with talking(Guard([way(), Checking(check, handled)])) as (client, line):
        await client.calls("read")
        await line.hears()
        await client.cancels(1)
        await line.says(result(1), result(2))
        assert await client.hears() == result(2)


@pytest.mark.parametrize("params", [{}, {"requestId": 9}, {"requestId": True}, None])
async def test_a_cancellation_of_nothing_passes_as_it_is(params: Wire | None) -> None:
    """Unknown, missing and impossible ids are the server's to judge."""
    cancel: Wire = {"method": "notifications/cancelled"} | ({} if params is None else {"params": params})
    async with talking(Guard(passing())) as (client, line):
        await client.says(cancel)
        assert await line.hears() == cancel
        await line.says(cancel)
        assert await client.hears() == cancel


async def test_a_second_attempt_has_an_id_of_its_own() -> None:
    """Ids are unique in a session; the first answer, if it comes after all, is not the second's."""
    told: list[Result] = []

    async def twice(call: Call, call_next: CallNext) -> Result:
        told.append(await call_next(call))
        return await call_next(call)

    layer = Around(twice)
    layer.repeats = True
    async with talking(Guard([layer])) as (client, line):
        await client.says({"id": 1, "method": "tools/call", "params": {"name": "read"}})
        first = await line.answers(content=["first"])
        second = await line.hears()
        assert first["id"] == 1
        assert second["id"] != 1
        assert second["params"] == first["params"]
        await line.says({"id": second["id"], "result": {"content": ["second"]}})
        assert await client.hears() == result(1, content=["second"])
        await client.says({"id": 2, "method": "tools/call", "params": {"name": "read"}})
        await line.answers(content=["first"])
        second = await line.hears()
        await client.cancels(2)
        assert (await line.hears())["params"]["requestId"] == second["id"]
    assert [one.value for one in told] == [{"content": ["first"]}] * 2


async def test_a_request_without_parameters_is_sent_again_without() -> None:
    """JSON-RPC forbids `params: null`."""

    async def twice(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        return await call_next(call)

    layer = Around(twice, {("prompts/list", "outbound")})
    layer.repeats = True
    async with talking(Guard([layer])) as (client, line):
        await client.says({"id": 1, "method": "prompts/list"})
        await line.answers()
        again = await line.hears()
    assert set(again) == {"id", "method"}


@pytest.mark.parametrize("method", ["tools/call", "initialize"])
async def test_a_layer_that_gives_up_tells_the_server(method: str) -> None:
    """As the SDK does on its own timeout; `initialize` must not be cancelled (MCP 2025-11-25)."""
    scope = anyio.CancelScope()

    async def give_up(call: Call, call_next: CallNext) -> Result:
        with scope:
            return await call_next(call)
        return Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)

    async with talking(Guard([Around(give_up, {(method, "outbound")})])) as (client, line):
        await client.says({"id": 1, "method": method})
        await line.hears()
        scope.cancel()
        heard = await client.hears()
        assert heard["error"]["code"] == (408 if V1 else -32001)
        await client.says({"method": "notifications/initialized"})
        told = await line.hears()
        assert told["method"] == (
            "notifications/cancelled" if method == "tools/call" else "notifications/initialized"
        )
        await line.says(result(1, content=["late"]), result(2))
        assert await client.hears() == result(2)


async def test_a_layer_may_end_a_call_without_an_answer() -> None:
    """A lost connection is what the SDK calls it."""

    async def end(call: Call, call_next: CallNext) -> Result:
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT)

    async with talking(Guard([Around(end)])) as (client, _):
        await client.calls("read")
        assert await client.hears() == {"id": 1, "error": {"code": -32000, "message": "Connection closed"}}


async def test_a_call_that_is_to_become_a_task_is_refused_with_an_error(way: Callable[..., Any]) -> None:
    """The answer to such a call is a task, which has no form for a refusal (MCP 2025-11-25, tasks)."""
    guard = Guard([way(), denying("remove")])
    async with talking(guard) as (client, _):
        await client.calls("remove", task={"ttl": 60_000})
        assert (await client.hears())["error"]["code"] == DENIED_CODE
        await client.calls("remove", 2)
        assert (await client.hears())["result"]["isError"] is True


@pytest.mark.skipif(V1, reason="transports of 1.x send no such error")
async def test_an_error_that_stands_for_a_lost_connection_is_one(way: Callable[..., Any]) -> None:
    """Transports of 2.x answer with -32000 where the answer can no longer come."""
    sink = RecordingSink()
    async with talking(Guard([way()], sinks=[sink])) as (client, line):
        await client.calls("read")
        await line.hears()
        lost = {"id": 1, "error": {"code": -32000, "message": "SSE stream ended without a response"}}
        await line.says(lost)
        assert await client.hears() == lost
    (completed,) = (event for event in sink.events if event.kind == "completed")
    assert (completed.outcome, completed.fate) == (Outcome.TRANSPORT_ERROR, Fate.SENT)


# Ends


async def test_a_server_that_leaves_ends_what_waits_and_then_the_stream(way: Callable[..., Any]) -> None:
    """Interceptors see a transport error, the client what it is told by a bare session, and the end."""
    sink = RecordingSink()
    async with talking(Guard([way()], sinks=[sink])) as (client, line):
        await client.calls("read")
        await line.hears()
        await line.to_client.aclose()
        assert (await client.hears())["error"]["code"] == -32000
        with pytest.raises(anyio.EndOfStream):
            await client.read.receive()
        for _ in range(2):
            with pytest.raises(anyio.EndOfStream):
                await client.read.receive()
    (completed,) = (event for event in sink.events if event.kind == "completed")
    assert (completed.outcome, completed.fate) == (Outcome.TRANSPORT_ERROR, Fate.SENT)


async def test_a_request_after_the_server_has_left_is_not_sent(way: Callable[..., Any]) -> None:
    """Nobody could answer it."""
    sink = RecordingSink()
    async with talking(Guard([way()], sinks=[sink])) as (client, line):
        await line.to_client.aclose()
        with pytest.raises(anyio.EndOfStream):
            await client.read.receive()
        with suppress(anyio.ClosedResourceError):
            await client.calls("read")
        await wait_all_tasks_blocked()
    (completed,) = (event for event in sink.events if event.kind == "completed")
    assert (completed.outcome, completed.fate) == (Outcome.TRANSPORT_ERROR, Fate.NOT_SENT)


@pytest.mark.parametrize(
    ("broken", "fate"), [(anyio.BrokenResourceError, Fate.NOT_SENT), (OSError, Fate.SENT)]
)
async def test_a_transport_that_does_not_take_a_request_is_a_transport_error(
    way: Callable[..., Any], broken: type[Exception], fate: Fate
) -> None:
    """Without a layer the sender is told in person, as by a bare stream; with one it has gone on."""

    class Refusing:
        async def send(self, item: Any) -> None:
            raise broken

        async def aclose(self) -> None: ...

    class Broken(Line):
        async def __aenter__(self) -> Any:
            read, _ = await super().__aenter__()
            return read, Refusing()

    sink = RecordingSink()
    async with talking(Guard([way()], sinks=[sink]), Broken()) as (client, _):
        try:
            await client.calls("read")
        except broken:
            assert isinstance(way(), Checking)
        else:
            assert (await client.hears())["error"]["code"] == -32000
    (completed,) = (event for event in sink.events if event.kind == "completed")
    assert (completed.outcome, completed.fate) == (Outcome.TRANSPORT_ERROR, fate)


async def test_a_sender_cancelled_while_the_transport_is_busy_leaves_nothing_behind() -> None:
    """What is not taken is not sent later, and its answer is nobody's."""
    sink = RecordingSink()
    async with talking(Guard([watching(CALLS)], sinks=[sink]), Line(room=0)) as (client, line):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.calls, "read")
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.says, result(1))
            tasks.start_soon(client.says, {"method": "notifications/initialized"})
            assert (await line.hears())["method"] == "notifications/initialized"
            tasks.start_soon(line.says, result(2))
            assert await client.hears() == result(2)
    assert [event.kind for event in sink.events if event.method == "tools/call"][-1] == "cancelled"


async def test_a_client_that_no_longer_reads_can_ask_nothing_that_meets_a_chain(
    way: Callable[..., Any],
) -> None:
    """The answer could reach nobody; what is under way ends."""
    sink = RecordingSink()
    async with talking(Guard([way(), way(QUESTIONS)], sinks=[sink])) as (client, line):
        await client.calls("read")
        await line.hears()
        await line.says({"id": 1, "method": "elicitation/create", "params": {}})
        await client.hears()
        await client.read.aclose()
        await wait_all_tasks_blocked()
        assert [event.kind for event in sink.events].count("cancelled") == 2
        with pytest.raises(anyio.ClosedResourceError):
            await client.calls("read")
        await client.says({"method": "notifications/initialized"})
        assert (await line.hears())["method"] == "notifications/initialized"


@pytest.mark.skipif(not V1, reason="2.x cancels with the caller")
@pytest.mark.parametrize("held", [True, False])
async def test_on_1x_a_caller_that_was_cancelled_by_hand_is_told(way: Callable[..., Any], held: bool) -> None:
    """The SDK's own suite: the caller still waits, and servers of 1.x answer what is cancelled."""
    gate = Gate()

    async def hold(call: Call, call_next: CallNext) -> Result:
        if held:
            await gate.wait()
        return await call_next(call)

    types = import_module("mcp.types")
    server = FakeServer()
    server.tool("read").hangs()
    async with opened(Guard([way(), Around(hold)]), server, "transport") as peer:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(MCPError, match="Request cancelled"):
                    await peer.call("read")

            tasks.start_soon(call)
            await (gate.reached() if held else server.until_seen("tools/call"))
            cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=1))
            await peer.session.send_notification(types.ClientNotification(cancelled))


# Faults of the guard's own


@pytest.mark.parametrize("readings", [0, 1])
async def test_a_fault_of_the_guard_ends_the_request_and_not_the_session(
    way: Callable[..., Any], readings: int
) -> None:
    """Fail closed: nothing passes that was not judged, and the session goes on."""
    clock = Stopping(readings)
    guard = Guard([way()], sinks=[RecordingSink()], clock=clock)
    async with talking(guard) as (client, line):
        try:
            await client.calls("read")
        except OSError:
            assert (readings, isinstance(way(), Checking)) == (0, True)
        else:
            if readings:
                await line.answers(content=["unjudged"])
            assert await client.hears() == {"id": 1, "error": {"code": -32603, "message": "The guard failed"}}
        clock.readings = 100
        await client.calls("read", 2)
        await line.answers()
        assert await client.hears() == result(2)
