"""What hosts do with sessions: groups, other threads, tasks that live long."""

import threading
from typing import Any

import anyio
import anyio.to_thread
import mcp.types as types
import pytest
from harness import LEGACY_SEAMS, Peer, code, denying, opened, text, watching, wire
from mcp import ClientSession
from mcp.client.session_group import ClientSessionGroup

from mcpguard import Budget, Guard, Principal, SeamError
from mcpguard.testing import FakeServer, Gate, RecordingSink

pytestmark = [pytest.mark.anyio]


@pytest.fixture
def server() -> FakeServer:
    """A server with a tool to read and one to remove."""
    made = FakeServer()
    made.tool("read")
    made.tool("remove")
    return made


async def test_a_session_group_is_guarded_session_by_session(server: FakeServer) -> None:
    """`ClientSessionGroup` takes sessions that exist: guard them first, each under its own name."""
    guard = Guard([denying("remove"), seen := watching()])
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="files")
        async with session:
            about = await session.initialize()
            info: Any = getattr(about, "serverInfo", None) or about.server_info  # type: ignore[attr-defined]
            group = ClientSessionGroup(component_name_hook=lambda name, server: f"files.{name}")
            await group.connect_with_session(info, session)
            assert text(wire(await group.call_tool("files.read", {"a": 1}))) == '{"a": 1}'
            assert code(wire(await group.call_tool("files.remove", {}))) == "not_here"
    assert {call.server for call in seen.seen} == {"files"}


async def test_one_guard_holds_its_limits_over_several_threads_and_loops() -> None:
    """Hosts run sessions on background threads, each with an event loop of its own."""
    sink = RecordingSink()
    guard = Guard([Budget(calls=30)], sinks=[sink])
    allowed: list[str] = []
    refused: list[str] = []

    async def work(run: Any) -> None:
        server = FakeServer()
        server.tool("read")
        async with opened(guard, server, "session", run=run) as peer:
            for _ in range(20):
                result = await peer.call("read")
                (refused if code(result) else allowed).append("call")

    async with guard.run(principal=Principal(user="ana")) as run:
        threads = [threading.Thread(target=anyio.run, args=(work, run)) for _ in range(4)]
        for thread in threads:
            thread.start()
        await anyio.to_thread.run_sync(lambda: [thread.join() for thread in threads])
    assert (len(allowed), len(refused)) == (30, 50)
    numbers = [event.seq for event in sink.events]
    assert len(numbers) == len(set(numbers)), "no event is lost or numbered twice"


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_task_that_outlives_its_run_makes_no_more_calls(seam: str, server: FakeServer) -> None:
    """Trap 9: contexts are inherited by long-lived tasks."""
    guard = Guard([watching()])
    go_on = anyio.Event()
    answers: list[str | None] = []

    async def linger(peer: Peer) -> None:
        await go_on.wait()
        answers.append(code(await peer.call("read")))

    async with opened(guard, server, seam) as peer, anyio.create_task_group() as tasks:
        async with guard.run():
            tasks.start_soon(linger, peer)
        go_on.set()
    assert answers == ["run_closed"]


async def test_a_second_guard_on_a_session_is_an_error(server: FakeServer) -> None:
    """Two guards would count twice and hide each other's events."""
    async with server.connect() as (read, write):
        session = Guard().session(ClientSession(read, write), name="files")
        with pytest.raises(SeamError, match="guarded already"):
            Guard().session(session, name="files")
        async with session:
            await session.initialize()


@pytest.mark.parametrize("thing", [object(), "http://localhost", FakeServer().connect()])
def test_what_is_not_a_session_is_refused_with_the_way_that_works(thing: Any) -> None:
    """The first mistake of a newcomer."""
    with pytest.raises(SeamError, match=r"takes an mcp\.ClientSession"):
        Guard().session(thing, name="files")


@pytest.mark.parametrize("name", ["", None])
async def test_a_connection_needs_a_name(server: FakeServer, name: Any) -> None:
    """What policy, stores and audit call the server is never what the server says of itself."""
    async with server.connect() as (read, write):
        with pytest.raises(ValueError, match="name="):
            Guard().session(ClientSession(read, write), name=name)


async def test_the_servers_own_name_is_not_its_identity() -> None:
    """A server may claim to be another in the handshake."""
    server = FakeServer("trusted-git")
    server.tool("read")
    seen = watching()
    async with opened(Guard([seen]), server, "session", name="unknown") as peer:
        await peer.call("read")
    assert {call.server for call in seen.seen} == {"unknown"}


async def test_a_servers_question_with_calls_of_several_principals_in_flight_is_denied() -> None:
    """Design: an inbound request that is ambiguous between principals is denied."""
    server = FakeServer()
    gate = Gate()
    server.tool("read").waits_for(gate).returns("late")
    guard = Guard([watching()])
    asked: list[str] = []

    async def answer(*_args: Any) -> Any:
        asked.append("asked")
        return types.ElicitResult(action="accept", content={})

    async def work(peer: Peer, tenant: str) -> None:
        async with guard.run(principal=Principal(tenant=tenant)):
            await peer.call("read")

    async with opened(guard, server, "session", shared=True, elicitation_callback=answer) as peer:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, peer, "a")
            tasks.start_soon(work, peer, "b")
            await gate.reached(2)
            reply = await server.request(
                "elicitation/create",
                {"message": "whose?", "requestedSchema": {"type": "object", "properties": {}}},
            )
            gate.open()
    assert reply["action"] == "decline"
    assert asked == []
