"""An answer comes in one body where it comes at once and alone; else in a stream, as the protocol allows."""

import json
from typing import Any

import anyio
import httpx
import pytest
from harness import text, wire
from issuer import token
from served import Serve, Served

from mcpguard.testing import FakeServer, Gate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def called(tool: str, **meta: Any) -> dict[str, Any]:
    """A call as it is on the wire."""
    params = {"name": f"git__{tool}", "arguments": {}} | ({"_meta": meta} if meta else {})
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


async def session_of(served: Served) -> dict[str, str]:
    """A session of Ana's, by the headers of its requests."""
    opened = await served.post(token=token("ana"))
    return {"mcp_session_id": opened.headers["mcp-session-id"], "mcp_protocol_version": "2025-06-18"}


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """The messages of a stream."""
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_an_answer_that_comes_alone_is_one_body(serve: Serve) -> None:
    """Also an error; and the session's id goes with it."""
    async with serve() as served:
        session = await session_of(served)
        for message in (called("log"), {"jsonrpc": "2.0", "id": 7, "method": "nothing/known"}):
            answer = await served.post(message, token("ana"), **session)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["mcp-session-id"] == session["mcp_session_id"]
            assert answer.json()["id"] == 7
            assert ("result" in answer.json()) is (message["method"] == "tools/call")


async def test_what_comes_before_an_answer_opens_a_stream(serve: Serve) -> None:
    """Progress first, then the answer, on one request."""
    git = FakeServer()
    git.tool("log").reports(1, total=2).returns("done")
    async with serve(servers={"git": git}) as served:
        session = await session_of(served)
        answer = await served.post(called("log", progressToken="mine"), token("ana"), **session)
    assert answer.headers["content-type"].startswith("text/event-stream")
    progress, last = told(answer)
    assert progress["method"] == "notifications/progress"
    assert progress["params"]["progressToken"] == "mine"
    assert last["id"] == 7
    assert "done" in str(last["result"])


async def test_an_answer_that_is_long_in_coming_is_waited_for_in_a_stream(serve: Serve) -> None:
    """A proxy then sees that it is alive."""
    gate = Gate()
    git = FakeServer()
    git.tool("log").waits_for(gate).returns("in the end")
    async with serve(servers={"git": git}) as served:
        session = await session_of(served)
        headers = {name.replace("_", "-"): value for name, value in session.items()}
        headers |= {
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {token('ana')}",
        }
        async with httpx.AsyncClient(timeout=60) as http:
            async with http.stream("POST", served.url, json=called("log"), headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                gate.open()
                await answer.aread()
    assert "in the end" in str(told(answer)[-1]["result"])


async def test_two_requests_of_a_session_are_answered_each_on_its_own(serve: Serve) -> None:
    """The one that waits does not hold up the other, nor take its answer."""
    gate = Gate()
    git = FakeServer()
    git.tool("slow").waits_for(gate).returns("slow")
    git.tool("log").returns("quick")
    async with serve(servers={"git": git}) as served, served.client(token("ana")) as client:
        answers = list[str]()

        async def slow() -> None:
            answers.append(text(wire(await client.call_tool("git__slow", {}))))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            await gate.reached()
            answers.append(text(wire(await client.call_tool("git__log", {}))))
            gate.open()
    assert answers == ["quick", "slow"]


async def test_a_client_that_takes_no_streams_is_refused_as_by_the_protocol(serve: Serve) -> None:
    """MCP 2025-11-25, transports: a client accepts both."""
    async with serve() as served:
        session = await session_of(served)
        for accept in ("application/json", "text/event-stream"):
            answer = await served.post(called("log"), token("ana"), **session, accept=accept)
            assert answer.status_code == 406
