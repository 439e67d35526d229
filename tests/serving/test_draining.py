"""Told to end, it takes no more calls, and what belongs to those under way still goes in."""

from functools import partial
from typing import Any

import anyio
import pytest
from harness import V1, text, wire
from issuer import token
from mcp.types import ElicitResult
from served import INITIALIZE, Serve, Served, modern, until

from mcpguard.testing import FakeServer, Gate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROUNDS = pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
ASKING = "approval: {approver: client, rules: [{tools: [pay]}]}"
PATIENT = "{drain: 30, body: 10000}"
YES = {"action": "accept", "content": {"decision": "approve"}}


def bank(gate: Gate) -> FakeServer:
    """A server with a tool that a person is asked about, and one that waits for the gate."""
    made = FakeServer()
    made.tool("pay").returns("paid")
    made.tool("slow").waits_for(gate).returns("in the end")
    return made


def called(tool: str, number: int = 2) -> dict[str, Any]:
    """A call as it is on the wire."""
    params = {"name": f"bank__{tool}", "arguments": {}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def test_who_is_asked_during_a_call_can_answer(serve: Serve) -> None:
    """The call was taken, and its client's answer belongs to it."""
    server = bank(Gate())
    answers = list[str]()
    asked = anyio.Event()
    with anyio.fail_after(60):
        async with (
            anyio.create_task_group() as tasks,
            serve(ASKING, {"bank": server}, http=PATIENT) as served,
        ):

            async def person(_context: Any, _params: Any) -> ElicitResult:
                asked.set()
                await until(served.is_draining)
                return ElicitResult(action="accept", content={"decision": "approve"})

            async def call() -> None:
                async with served.client(token("ana"), elicitation_callback=person) as client:
                    await client.list_tools()
                    answers.append(text(wire(await client.call_tool("bank__pay", {}))))

            tasks.start_soon(call)
            await asked.wait()
    assert answers == ["paid"]
    assert server.calls("pay") == [{}]


async def test_a_session_is_told_and_asked_nothing_more(serve: Serve) -> None:
    """Notifications and answers go in, to a session that is there; requests, sessions and several at a time do not."""
    gate = Gate()
    server = bank(gate)
    told = {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1},
    }
    answer = {"jsonrpc": "2.0", "id": 77, "result": {}}
    error = {"jsonrpc": "2.0", "id": 78, "error": {"code": -1, "message": "no"}}
    large = {**told, "params": {"progressToken": 1, "progress": 1, "message": "x" * 20_000}}
    statuses = list[int]()

    async def look(served: Served, session: dict[str, str]) -> None:
        await until(served.is_draining)
        unknown = {"mcp_session_id": "0" * 32}
        for message, who, headers in (
            (told, "ana", session),
            (answer, "ana", session),
            (error, "ana", session),
            (told, "bob", session),
            (told, "ana", unknown),
            (told, "ana", {}),
            (called("slow", 3), "ana", session),
            (INITIALIZE, "ana", {}),
            ([told], "ana", session),
            (b"{", "ana", session),
            (large, "ana", session),
        ):
            statuses.append((await served.post(message, token(who), **headers)).status_code)
        gate.open()

    with anyio.fail_after(60):
        async with (
            anyio.create_task_group() as tasks,
            serve(servers={"bank": server}, http=PATIENT) as served,
        ):
            session = await opened(served)
            tasks.start_soon(partial(served.post, called("slow"), token("ana"), **session))
            await gate.reached()
            tasks.start_soon(look, served, session)
    assert statuses == [202, 202, 202, 404, 404, 503, 503, 503, 503, 503, 413]
    assert len(server.calls("slow")) == 1


async def test_a_call_that_is_given_up_is_not_waited_for(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """That it is given up goes in, and what waits for it to end can end."""
    gate = Gate()
    given_up = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
    statuses = list[int]()

    async def give_up(served: Served, session: dict[str, str]) -> None:
        await until(served.is_draining)
        statuses.append((await served.post(given_up, token("ana"), **session)).status_code)

    with anyio.fail_after(60):
        async with (
            anyio.create_task_group() as tasks,
            serve(servers={"bank": bank(gate)}, http=PATIENT) as served,
        ):
            session = await opened(served)
            tasks.start_soon(partial(served.post, called("slow"), token("ana"), **session))
            await gate.reached()
            tasks.start_soon(give_up, served, session)
    assert statuses == [202]
    assert "calls were under way" not in caplog.text


@ROUNDS
async def test_a_call_that_waits_for_its_client_is_continued(serve: Serve) -> None:
    """By the state that it waits under, once; a state that is made up continues nothing, and is a new call."""
    gate = Gate()
    server = bank(gate)
    answers = list[tuple[int, bool]]()

    async def go_on(served: Served, state: str, key: str) -> None:
        await until(served.is_draining)
        for given in (state[:-1], state, state):
            message, headers = paying(requestState=given, inputResponses={key: YES})
            answer = await served.post(message, token("ana"), **headers)
            answers.append((answer.status_code, "paid" in answer.text))
        message, headers = paying()
        answers.append(((await served.post(message, token("ana"), **headers)).status_code, False))
        gate.open()

    with anyio.fail_after(60):
        async with (
            anyio.create_task_group() as tasks,
            serve(ASKING, {"bank": server}, http=PATIENT) as served,
        ):
            message, headers = paying()
            asked = (await served.post(message, token("ana"), **headers)).json()["result"]
            ((key, _),) = asked["inputRequests"].items()
            session = await opened(served)
            tasks.start_soon(partial(served.post, called("slow"), token("ana"), **session))
            await gate.reached()
            tasks.start_soon(go_on, served, asked["requestState"], key)
    assert answers == [(503, False), (200, True), (503, False), (503, False)]
    assert server.calls("pay") == [{}]


def paying(**continued: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A payment by a client that can be asked, as it is on the wire, and its headers."""
    call = {"name": "bank__pay", "arguments": {}, **continued}
    return modern("tools/call", call, {"elicitation": {"form": {}}})


async def opened(served: Served) -> dict[str, str]:
    """A session of Ana's, by the header of its requests."""
    return {"mcp_session_id": (await served.post(token=token("ana"))).headers["mcp-session-id"]}
