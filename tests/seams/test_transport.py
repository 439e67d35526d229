"""The transport seam: what it takes, what its streams do, and how it is left.

What every seam promises is in `test_contract`; what becomes of single messages in `test_outgoing` and
`test_incoming`.
"""

import contextvars
from importlib.util import find_spec
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from harness import Around, Filtering, watching
from line import (
    CALLS,
    Client,
    Line,
    item_of,
    message_of,
    modern_client,
    passing,
    result,
    talking,
)
from mcp import ClientSession
from mcp.server.lowlevel import Server

from mcpguard import Call, Guard, Result, SeamError
from mcpguard.core.interceptor import CallNext
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]

_whose = contextvars.ContextVar("whose", default="nobody's")


# What may be guarded


async def test_what_a_transport_yields_beside_its_streams_is_yielded_as_it_is() -> None:
    """Streamable HTTP of SDK 1.x yields a function that tells the session's id."""

    def session_id() -> str:
        return "s"

    async with Guard().transport(Line(session_id), name="files") as streams:
        assert len(streams) == 3
        assert streams[2] is session_id


async def test_a_transport_can_be_entered_again_after_it_was_left() -> None:
    """As often as the transport itself; each time is a connection of its own."""
    line = Line(room=1)
    guarded = Guard(passing()).transport(line, name="files")
    for _ in range(2):
        async with guarded as (read, write):
            await Client(read, write).calls("read")
            await line.answers(content=[])
            assert await Client(read, write).hears() == result(1, content=[])
    assert line.times_left == 2


async def test_a_transport_is_not_entered_twice_at_once() -> None:
    """Two sessions on one pair of streams would take each other's answers."""
    guarded = Guard().transport(Line(), name="files")
    async with guarded:
        with pytest.raises(RuntimeError, match="in use"):
            await guarded.__aenter__()
    with pytest.raises(RuntimeError, match="never entered"):
        await guarded.__aexit__(None, None, None)


class _FastMCPTransport:
    def connect_session(self) -> None: ...


async def test_what_has_no_streams_is_refused_with_the_seam_that_takes_it() -> None:
    """An in-process server has no streams: design, seams."""
    guard = Guard()
    line = Line()
    async with line as (read, write):
        for given, named in (
            (Server("in process"), r"guard\.client\(\)"),
            ("https://example.com/mcp", r"guard\.client\(\)"),
            (ClientSession(read, write), r"guard\.session\(\)"),
            (_FastMCPTransport(), r"guard\.fastmcp_transport\(\)"),
        ):
            with pytest.raises(SeamError, match=named):
                guard.transport(given, name="files")


@pytest.mark.parametrize("yielded", [None, "ab", (1, 2), (1,)])
async def test_what_yields_no_streams_is_refused_and_left_again(yielded: Any) -> None:
    """`mcp.Client` is such a context manager; nothing stays open behind the error."""
    left: list[type[BaseException] | None] = []

    class Odd:
        async def __aenter__(self) -> Any:
            return yielded

        async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
            left.append(kind)

    with pytest.raises(SeamError, match="a read and a write stream"):
        async with Guard().transport(Odd(), name="files"):
            raise AssertionError("entered")
    assert left == [SeamError]


@pytest.mark.skipif(find_spec("fastmcp") is not None, reason="FastMCP is installed")
def test_without_fastmcp_the_seam_for_it_names_the_extra() -> None:
    """`fastmcp` is an extra."""
    with pytest.raises(SeamError, match=r"mcpguard-inline\[fastmcp\]"):
        Guard().fastmcp_transport("https://example.com/mcp", name="files")


# Leaving


async def test_the_hosts_own_error_comes_out_as_it_was() -> None:
    """A task group wraps what is raised inside it; a transport of somebody else's need not have one."""
    line = Line()
    with pytest.raises(LookupError, match="the host's"):
        async with Guard().transport(line, name="files"):
            raise LookupError("the host's")
    assert isinstance(line.left_with, LookupError)


async def test_a_transport_may_swallow_an_error_as_ever() -> None:
    """What `__aexit__` answers is passed on."""
    async with Guard().transport(Line(), name="files"):
        raise KeyError("swallowed by the line")


async def test_leaving_cancels_what_is_under_way() -> None:
    """No task outlives the transport, whatever it waits for."""
    sink = RecordingSink()
    guard = Guard(passing({("*", "outbound")}), sinks=[sink])
    async with talking(guard) as (client, line):
        await client.calls("read")
        assert (await line.hears())["method"] == "tools/call"
    assert [event.kind for event in sink.events] == ["received", "dispatched", "cancelled"]


async def test_cancelling_the_host_leaves_the_transport_and_cancels_what_is_under_way() -> None:
    """As a bare transport is; nothing is left running."""
    line = Line(room=100)
    entered = anyio.Event()

    async def host() -> None:
        async with talking(Guard(passing()), line) as (client, _):
            await client.calls("read")
            entered.set()
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host)
            await entered.wait()
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert line.times_left == 1
    assert isinstance(line.left_with, anyio.get_cancelled_exc_class())


# The streams


async def test_a_stream_is_closed_with_its_last_clone() -> None:
    """1.x hands out clones of memory streams."""
    async with talking(Guard()) as (client, line):
        reader, writer = client.read.clone(), client.write.clone()
        await client.read.aclose()
        await client.read.aclose()
        client.write.close()
        await Client(reader, writer).says({"method": "ping", "id": 1})
        await line.answers()
        assert await Client(reader, writer).hears() == result(1)
        async with writer:
            pass
        reader.close()
        for closed in (client.read, client.write, reader, writer):
            with pytest.raises(anyio.ClosedResourceError):
                closed.clone()
        for use in (reader.receive, lambda: writer.send(item_of({"method": "ping", "id": 2}))):
            with pytest.raises(anyio.ClosedResourceError):
                await use()
        with pytest.raises(anyio.BrokenResourceError):
            await line.says(result(9))
        with pytest.raises(anyio.EndOfStream):
            await line.from_client.receive()


async def test_a_reader_that_waits_is_told_when_the_stream_is_closed() -> None:
    """A host may close in one task what it reads in another."""
    async with talking(Guard()) as (client, _), anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await client.read.receive()

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        await client.read.aclose()


async def test_iterating_ends_where_the_server_ends() -> None:
    """EOF is delivered after everything that came before it."""
    async with talking(Guard(passing())) as (client, line):
        await line.says({"method": "notifications/message", "params": {}}, result(1))
        await line.to_client.aclose()
        async with client.read as read:
            heard = [message_of(item) async for item in read]
    assert heard == [{"method": "notifications/message", "params": {}}, result(1)]


async def test_faults_of_the_transport_are_delivered_in_their_place() -> None:
    """Trap 11: the stream brings exceptions too, and anything else is not ours to judge."""
    fault = ValueError("not JSON")
    async with talking(Guard(passing())) as (client, line):
        await line.says(result(1))
        await line.to_client.send(fault)
        await line.to_client.send(None)
        await client.write.send(None)
        assert await client.hears() == result(1)
        assert await client.read.receive() is fault
        assert await client.read.receive() is None
        assert await line.from_client.receive() is None


async def test_a_transport_that_fails_to_read_fails_for_the_client_too() -> None:
    """The client gets the very exception, as from a bare stream."""

    class Failing:
        async def receive(self) -> Any:
            raise OSError("unplugged")

        async def aclose(self) -> None: ...

    class Unplugged(Line):
        async def __aenter__(self) -> Any:
            _, write = await super().__aenter__()
            return Failing(), write

    async with talking(Guard(), Unplugged()) as (client, _):
        for _ in range(2):
            with pytest.raises(OSError, match="unplugged"):
                await client.read.receive()
        await client.read.aclose()


async def test_a_server_that_floods_is_held_back_by_a_client_that_does_not_read() -> None:
    """As from a bare stream: nothing piles up in between."""
    async with talking(Guard(passing()), Line(room=0)) as (client, line):
        sent: list[int] = []

        async def flood() -> None:
            for number in range(100):
                await line.says(result(number))
                sent.append(number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            await wait_all_tasks_blocked()
            assert len(sent) <= 3
            assert [(await client.hears())["id"] for _ in range(100)] == list(range(100))


@modern_client
async def test_whose_a_message_is_stays_known() -> None:
    """`last_context` lets the SDK handle a message in its sender's context."""
    async with talking(Guard([watching({("sampling/createMessage", "inbound")})])) as (client, line):
        for method in ("ping", "sampling/createMessage"):
            _whose.set(method)
            await line.says({"id": 1, "method": method})
            await client.hears()
            assert client.read.last_context[_whose] == method


async def test_a_layer_runs_in_a_copy_of_the_senders_context() -> None:
    """Runs, trace context and the SDK's request clock travel in it."""
    seen: list[str] = []

    async def layer(call: Call, call_next: CallNext) -> Result:
        seen.append(_whose.get())
        _whose.set("changed")
        return await call_next(call)

    def look(call: Call, result: Result) -> Result:
        seen.append(_whose.get())
        return result

    for guard in (Guard([Around(layer)]), Guard([Filtering(look, CALLS)])):
        async with talking(guard) as (client, line):
            _whose.set("mine")
            await client.calls("read")
            await line.answers()
            await client.hears()
        assert _whose.get() == "mine"
    assert seen == ["mine", "mine"]
