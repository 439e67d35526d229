"""Requests of a guarded transport's server, and the client's answers to them."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from harness import Around, Checking, Filtering, denying, watching
from line import QUESTIONS, Client, Line, Stopping, Wire, passing, result, talking

from mcpguard import Call, Deny, Guard, Result
from mcpguard.core.interceptor import CallNext, Handles
from mcpguard.core.result import DENIED_CODE
from mcpguard.core.verdict import Verdict
from mcpguard.testing import Gate, RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]


async def asked_of(client: Client) -> Wire:
    """The question that reaches the client; its id is the guard's."""
    asked = await client.hears()
    assert asked["id"] != 7
    return asked


async def test_a_question_is_answered_under_its_own_id(way: Callable[..., Any]) -> None:
    """The client sees another id, the server does not."""
    async with talking(Guard([way(QUESTIONS)])) as (client, line):
        for question in (
            {"id": 7, "method": "elicitation/create", "params": {"message": "who?"}},
            {"id": 7, "method": "elicitation/create"},
        ):
            await line.says(question)
            asked = await asked_of(client)
            assert asked == {**question, "id": asked["id"]}
            await client.says({"id": asked["id"], "result": {"action": "accept"}})
            assert await line.hears() == result(7, action="accept")
        await line.says({"id": 8, "method": "elicitation/create"})
        asked = await asked_of(client)
        error = {"code": -1, "message": "nobody here"}
        await client.says({"id": asked["id"], "error": error})
        assert await line.hears() == {"id": 8, "error": error}


async def test_an_answer_cannot_be_drawn_past_the_filters(way: Callable[..., Any]) -> None:
    """A server that asks twice under one id would be given the one answer for the other."""

    def clean(call: Call, result: Result) -> Result:
        return result.replace(value={"content": "clean"})

    guard = Guard([way(QUESTIONS), Filtering(clean, QUESTIONS)])
    async with talking(guard) as (client, line):
        await line.says({"id": 7, "method": "ping"}, {"id": 7, "method": "sampling/createMessage"})
        ping, asked = await client.hears(), await client.hears()
        assert ping == {"id": 7, "method": "ping"}
        await client.says(result(7), {"id": asked["id"], "result": {"content": "secret"}})
        assert [await line.hears() for _ in range(2)] == [result(7), result(7, content="clean")]
        await client.says({"id": asked["id"], "result": {"content": "secret"}}, result(7))
        assert await line.hears() == result(7), "a second answer goes nowhere"


async def test_a_refused_question_never_reaches_the_client(way: Callable[..., Any]) -> None:
    """In the form that the question allows; one that is to become a task allows none but an error."""
    guard = Guard([way(QUESTIONS), denying(methods=["elicitation/create"])])
    async with talking(guard) as (client, line):
        await line.says({"id": 7, "method": "elicitation/create", "params": {}})
        assert await line.hears() == result(7, action="decline")
        await line.says({"id": 8, "method": "elicitation/create", "params": {"task": {}}})
        assert (await line.hears())["error"]["code"] == DENIED_CODE
        await line.says(result(1))
        assert await client.hears() == result(1)


async def test_a_cancelled_question_is_cancelled_at_the_client(way: Callable[..., Any]) -> None:
    """The client knows it by another id; what it answers all the same is dropped."""
    sink = RecordingSink()
    async with talking(Guard([way(QUESTIONS)], sinks=[sink])) as (client, line):
        await line.says({"id": 7, "method": "elicitation/create"})
        asked = await asked_of(client)
        await line.says({"method": "notifications/cancelled", "params": {"requestId": 7, "reason": "late"}})
        assert await client.hears() == {
            "method": "notifications/cancelled",
            "params": {"requestId": asked["id"], "reason": "late"},
        }
        await client.says({"id": asked["id"], "result": {"action": "accept"}}, result(1))
        assert await line.hears() == result(1)
    assert "cancelled" in [event.kind for event in sink.events]


async def test_a_cancelled_question_that_a_layer_held_never_reaches_the_client() -> None:
    """Neither the question nor its end."""
    gate = Gate()

    async def hold(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    async with talking(Guard([Around(hold, QUESTIONS)])) as (client, line):
        await line.says({"id": 7, "method": "elicitation/create"})
        await gate.reached()
        await line.says({"method": "notifications/cancelled", "params": {"requestId": 7}}, result(1))
        await wait_all_tasks_blocked()
        gate.open()
        assert await client.hears() == result(1)


async def test_a_question_cancelled_before_the_client_has_read_it_is_taken_back() -> None:
    """It waits for its turn while the client does not read."""
    async with talking(Guard([passing(QUESTIONS)[1]])) as (client, line):
        await line.says(result(1), {"id": 7, "method": "elicitation/create"})
        await wait_all_tasks_blocked()
        await line.says({"method": "notifications/cancelled", "params": {"requestId": 7}})
        await wait_all_tasks_blocked()
        assert await client.hears() == result(1)
        assert (await client.hears())["method"] == "notifications/cancelled"


async def test_a_dropped_cancellation_cancels_nothing(way: Callable[..., Any]) -> None:
    """A check may decide that a server cannot take its question back."""
    handled: Handles = {("notifications/cancelled", "inbound")}

    def check(call: Call) -> Verdict:
        return Deny("not_here", reason="test")

    async with talking(Guard([way(QUESTIONS), Checking(check, handled)])) as (client, line):
        await line.says({"id": 7, "method": "elicitation/create"})
        asked = await asked_of(client)
        await line.says({"method": "notifications/cancelled", "params": {"requestId": 7}}, result(1))
        assert await client.hears() == result(1)
        await client.says({"id": asked["id"], "result": {"action": "accept"}})
        assert await line.hears() == result(7, action="accept")


async def test_ten_thousand_questions_may_be_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """A server that only asks does not fill the memory."""
    with caplog.at_level(logging.WARNING, "mcpguard"):
        async with talking(Guard([watching(QUESTIONS)]), Line(room=20_000)) as (client, line):
            for number in range(10_001):
                await line.says({"id": number, "method": "elicitation/create"})
                await client.hears()
    assert "10000 requests under way" in caplog.text


async def test_a_question_displaces_another_of_its_id_before_its_task_has_begun() -> None:
    """Bare, both are asked; the server can tell their answers apart no better."""
    gate = Gate()

    async def hold(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    async with talking(Guard([Around(hold, QUESTIONS)])) as (client, line):
        for name in ("first", "second"):
            await line.says({"id": 7, "method": "elicitation/create", "params": {"message": name}})
        await gate.reached(2)
        gate.open()
        assert (await client.hears())["params"] == {"message": "second"}


async def test_a_server_that_takes_no_answers_does_not_end_the_session(way: Callable[..., Any]) -> None:
    """A refusal that cannot be told is dropped; an answer of the client's fails as bare."""

    class Deaf:
        async def send(self, item: Any) -> None:
            raise anyio.BrokenResourceError

        async def aclose(self) -> None: ...

    class Deafened(Line):
        async def __aenter__(self) -> Any:
            read, _ = await super().__aenter__()
            return read, Deaf()

    guard = Guard([way(QUESTIONS), denying(methods=["sampling/createMessage"])])
    async with talking(guard, Deafened(room=10)) as (client, line):
        await line.says({"id": 6, "method": "sampling/createMessage"})
        await line.says({"id": 7, "method": "elicitation/create"})
        asked = await asked_of(client)
        try:
            await client.says({"id": asked["id"], "result": {}})
        except anyio.BrokenResourceError:
            assert isinstance(way(), Checking)
        await wait_all_tasks_blocked()
        await line.says(result(1))
        assert await client.hears() == result(1)


@pytest.mark.parametrize("readings", [0, 1])
async def test_a_fault_of_the_guard_ends_a_question_and_not_the_session(
    way: Callable[..., Any], readings: int
) -> None:
    """The server is told, and the client's answer does not leave unjudged."""
    clock = Stopping(readings)
    guard = Guard([way(QUESTIONS)], sinks=[RecordingSink()], clock=clock)
    async with talking(guard) as (client, line):
        await line.says({"id": 7, "method": "elicitation/create"})
        if readings:
            asked = await asked_of(client)
            await client.says({"id": asked["id"], "result": {"content": "unjudged"}})
        assert await line.hears() == {"id": 7, "error": {"code": -32603, "message": "The guard failed"}}
        await line.says(result(1))
        assert await client.hears() == result(1)


async def test_refusals_that_a_server_does_not_read_are_bounded() -> None:
    """A server that asks and never reads would fill the memory with refusals."""
    guard = Guard([denying(methods=["sampling/createMessage"])])
    asked: list[int] = []

    async def ask(line: Line) -> None:
        for number in range(1_000):
            await line.says({"id": number, "method": "sampling/createMessage", "params": {}})
            asked.append(number)

    async with talking(guard, Line(room=0)) as (_, line), anyio.create_task_group() as tasks:
        tasks.start_soon(ask, line)
        await wait_all_tasks_blocked()
        assert 100 <= len(asked) < 110
        heard = {(await line.hears())["id"] for _ in range(1_000)}
    assert heard == set(range(1_000))
