"""Clients that leave in the middle of a call: what they held is free, and nobody waits for them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

PATIENT = "{drain: 600, connections: 8, share: 0.25}"
"""Two requests at a time for each principal; and leaving waits for long where a call counts as under way."""

CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "git__slow", "arguments": {}}}


def slow(gate: Gate) -> FakeServer:
    """A server that answers once the gate is open."""
    git = FakeServer()
    git.tool("slow").waits_for(gate).returns("in the end")
    git.tool("log").returns("a commit")
    return git


@asynccontextmanager
async def calling(served: Served, session: str) -> AsyncIterator[Any]:
    """A connection on which a call was sent."""
    body = json.dumps(CALL)
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        "\r\nAccept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2025-06-18\r\n"
        f"Mcp-Session-Id: {session}\r\nAuthorization: Bearer {token('ana')}\r\n\r\n"
    )
    port = int(served.origin.rpartition(":")[2])
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send((head + body).encode())
        yield stream


async def opened(served: Served) -> str:
    """A session of Ana's."""
    return (await served.post(token=token("ana"))).headers["mcp-session-id"]


async def is_as_before(served: Served) -> None:
    """Whoever has left holds no place of Ana's, who is served again."""
    async with served.client(token("ana")) as client:
        assert text(wire(await client.call_tool("git__log", {}))) == "a commit"


async def end_of(stream: Any) -> None:
    """Read until the server has closed the connection, or has ended its answer."""
    try:
        while not (await stream.receive()).endswith((b"0\r\n\r\n", b"}")):
            pass
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


async def test_a_session_that_is_closed_in_the_middle_of_a_call_ends_it(serve: Serve) -> None:
    """Its client is let go, others are served, and who ends the process does not wait for it."""
    gate = Gate()
    with anyio.fail_after(120):
        async with serve(servers={"git": slow(gate)}, http=PATIENT) as served:
            session = await opened(served)
            async with calling(served, session) as stream:
                await gate.reached()
                headers = {"mcp-session-id": session, "authorization": f"Bearer {token('ana')}"}
                async with httpx.AsyncClient(timeout=30) as http:
                    assert (await http.delete(served.url, headers=headers)).status_code == 200
                await end_of(stream)
            assert (await served.post(CALL, token("ana"), mcp_session_id=session)).status_code == 404
            await is_as_before(served)


async def test_a_client_that_is_gone_in_the_middle_of_a_call_is_not_waited_for(serve: Serve) -> None:
    """Its connection is closed; its session goes on for whoever comes back with it."""
    gate = Gate()
    with anyio.fail_after(120):
        async with serve(servers={"git": slow(gate)}, http=PATIENT) as served:
            session = await opened(served)
            for number in range(5):
                async with calling(served, session):
                    await gate.reached(number + 1)
            called = {**CALL, "params": {"name": "git__log", "arguments": {}}}
            again = await served.post(called, token("ana"), mcp_session_id=session)
            assert "a commit" in again.text
            await is_as_before(served)


async def test_a_client_that_has_closed_its_half_of_a_connection_is_let_go(serve: Serve) -> None:
    """Half-open connections hold no place, whether or not a call is under way on them."""
    gate = Gate()
    with anyio.fail_after(120):
        async with serve(servers={"git": slow(gate)}, http=PATIENT) as served:
            session = await opened(served)
            for number in range(5):
                async with calling(served, session) as stream:
                    await gate.reached(number + 1)
                    await stream.send_eof()
                    await end_of(stream)
            await is_as_before(served)
