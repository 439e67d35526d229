"""What a guarded transport does with single messages, in either direction and in whatever order they come.

What every seam promises is in `test_contract`; this is about streams: order, ids, ends, and answers that come
twice, late or never.
"""

import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from harness import (
    ALL,
    V1,
    Around,
    Checking,
    Filtering,
    MCPError,
    code,
    denying,
    opened,
    watching,
)
from mcp import ClientSession
from mcp.server.lowlevel import Server

from mcpguard import ALLOW, Call, Deny, Fate, Guard, Outcome, Result, Rewrite, SeamError
from mcpguard.core.interceptor import CallNext, Handles
from mcpguard.core.result import DENIED_CODE
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, Gate, RecordingSink
from mcpguard.testing.messages import structured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]

Wire = dict[str, Any]

modern_client = pytest.mark.skipif(V1, reason="SDK 1.x has no 2026-07-28 client")

_message = import_module("mcp.shared.message")
_whose = contextvars.ContextVar("whose", default="nobody's")

CALLS: Handles = {("tools/call", "outbound")}
QUESTIONS: Handles = {("elicitation/create", "inbound"), ("sampling/createMessage", "inbound")}


def item_of(message: Wire, metadata: Any = None) -> Any:
    """A message as the SDK's streams carry it."""
    whole = {"jsonrpc": "2.0", **message}
    if V1:
        parsed = import_module("mcp.types").JSONRPCMessage.model_validate(whole)
    else:
        parsed = import_module("mcp.types.jsonrpc").jsonrpc_message_adapter.validate_python(whole)
    return _message.SessionMessage(parsed, metadata)


def message_of(item: Any) -> Wire:
    """A stream's item as it is on the wire."""
    dumped: Wire = item.message.model_dump(by_alias=True, mode="json", exclude_unset=not V1, exclude_none=V1)
    del dumped["jsonrpc"]
    return dumped


class Line:
    """A transport whose server is the test: a context manager that yields two streams, and maybe more."""

    def __init__(self, *more: Any, room: float = 0) -> None:
        self.more = more
        self.room = room
        self.left_with: BaseException | None = None
        self.times_left = 0

    async def __aenter__(self) -> Any:
        if V1:
            create: Any = anyio.create_memory_object_stream
        else:
            create = import_module("mcp.shared._context_streams").create_context_streams
        self.to_client, self.read = create(self.room)
        self.write, self.from_client = create(self.room)
        return self.read, self.write, *self.more

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.left_with = error
        self.times_left += 1
        for stream in (self.to_client, self.read, self.write, self.from_client):
            stream.close()
        return isinstance(error, KeyError)

    async def says(self, *messages: Wire) -> None:
        """The server sends messages."""
        for message in messages:
            await self.to_client.send(item_of(message))

    async def hears(self) -> Wire:
        """What the server is sent next."""
        with anyio.fail_after(10):
            return message_of(await self.from_client.receive())

    async def answers(self, **result: Any) -> Wire:
        """Answer the next request; which one that was."""
        asked = await self.hears()
        await self.says({"id": asked["id"], "result": result})
        return asked


class Client:
    """A client that is the test, on guarded streams."""

    def __init__(self, read: Any, write: Any) -> None:
        self.read = read
        self.write = write

    async def says(self, *messages: Wire, metadata: Any = None) -> None:
        """Send messages."""
        for message in messages:
            await self.write.send(item_of(message, metadata))

    async def calls(self, tool: str, id: int = 1, metadata: Any = None, **params: Any) -> None:
        """Ask for a tool to be called."""
        await self.says(
            {"id": id, "method": "tools/call", "params": {"name": tool, **params}}, metadata=metadata
        )

    async def cancels(self, id: int) -> Wire:
        """Cancel a request that is under way; the notification."""
        cancel = {"method": "notifications/cancelled", "params": {"requestId": id, "reason": "bored"}}
        await self.says(cancel)
        if V1:
            assert await self.hears() == {"id": id, "error": {"code": 0, "message": "Request cancelled"}}
        return cancel

    async def hears(self) -> Wire:
        """What the client reads next."""
        with anyio.fail_after(10):
            return message_of(await self.read.receive())


@asynccontextmanager
async def talking(guard: Guard, line: Line | None = None) -> AsyncIterator[tuple[Client, Line]]:
    """A client and a server, both in the test's hands, with a guarded transport between them."""
    line = Line(room=100) if line is None else line
    async with guard.transport(line, name="files") as (read, write, *_):
        yield Client(read, write), line


def passing(handles: Handles = CALLS) -> list[Any]:
    """The two ways through a chain: in steps, and in a task because of a layer."""
    return [watching(handles), Around(lambda call, call_next: call_next(call), handles)]


@pytest.fixture(params=[0, 1], ids=["steps", "task"])
def way(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """An interceptor that changes nothing, for each way through a chain."""
    number: int = request.param
    return lambda handles=CALLS: passing(handles)[number]


def result(id: int, **value: Any) -> Wire:
    """An answer."""
    return {"id": id, "result": value}


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
        for id in range(1, 1027):
            await client.calls("read", id)
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
            for id in range(10_001):
                await client.calls("read", id)
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

    async with talking(Guard([seen, *passing()])) as (client, line):
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
    async with talking(guard) as (client, line):
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
        try:
            await client.calls("read")
        except anyio.ClosedResourceError:
            pass
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


# Requests of the server


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
            for id in range(10_001):
                await line.says({"id": id, "method": "elicitation/create"})
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


# Faults of the guard's own


class Stopping:
    """A clock that fails after some readings: a fault in the guard's own machinery, not in an interceptor."""

    def __init__(self, readings: int) -> None:
        self.readings = readings

    def now(self) -> float:
        self.readings -= 1
        if self.readings < 0:
            raise OSError("no more time")
        return 0.0

    def time(self) -> float:
        return 0.0


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


# The SDK's own listing


def counting_server() -> FakeServer:
    """A server with a tool whose answers the SDK validates."""
    server = FakeServer()
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    server.tool("count", output_schema=schema).returns(structured({"n": 1}))
    server.tool("fail").is_error("broken")
    return server


async def test_the_sdks_own_listing_is_no_call_and_cannot_fail_one() -> None:
    """Trap 5: the session lists by itself after a call, to validate; denying that raised after the tool ran."""
    sink = RecordingSink()
    server = counting_server()
    guard = Guard([denying(methods=["tools/list"])], sinks=[sink], on_deny="raise")
    async with opened(guard, server, "transport") as peer:
        result = await peer.call("count")
        assert result["structuredContent"] == {"n": 1}
        assert [event for event in sink.events if event.method == "tools/list"] == []
        with pytest.raises(MCPError, match="not_here"):
            await peer.tools()
    assert len(server.seen("tools/list")) == 1


async def test_filters_see_the_sdks_own_listing_and_a_failing_one_leaves_it_empty() -> None:
    """What is hidden stays hidden; the tool has run, so its answer reaches the caller unvalidated."""

    def look(call: Call, result: Result) -> Result:
        raise RuntimeError("broken filter")

    guard = Guard([Filtering(look, {("tools/list", "outbound")})])
    async with opened(guard, counting_server(), "transport") as peer:
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}


@pytest.mark.parametrize("handled", [{("tools/list", "outbound")}, ALL])
async def test_a_listing_of_the_agents_own_is_a_call(handled: Handles) -> None:
    """After a call that failed, and after one of a tool that has been listed, nobody lists but the agent."""
    seen = watching(handled)
    async with opened(Guard([seen]), counting_server(), "transport") as peer:
        assert (await peer.call("fail"))["isError"] is True
        await peer.tools()
        assert seen.methods().count("tools/list") == 1
        await peer.call("count")
        await peer.tools()
        assert seen.methods().count("tools/list") == 2


async def test_a_call_that_meets_no_chain_is_followed_all_the_same() -> None:
    """Where only listings are guarded, the session's own is still told from the agent's."""
    check = denying(methods=["tools/list"]).check
    guard = Guard([Checking(check, {("tools/list", "outbound")})])
    async with opened(guard, counting_server(), "transport") as peer:
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}
        with pytest.raises(MCPError, match="not_here"):
            await peer.tools()


async def test_calls_that_nobody_answers_are_not_remembered_for_ever() -> None:
    """A server that never answers fills no memory with calls that pass."""
    async with talking(Guard(), Line(room=10)) as (client, line):
        for id in range(1100):
            await client.calls("read", id)
            await line.hears()
        await line.says(result(0), result(1099))
        assert [await client.hears() for _ in range(2)] == [result(0), result(1099)]


async def test_odd_listings_are_passed_on_and_remembered_as_far_as_they_make_sense() -> None:
    """Names are bounded; pages add to what was listed, a whole list replaces it."""
    seen = watching({("tools/list", "outbound"), ("tools/call", "outbound")})
    pages: list[Wire] = [
        {"tools": [{"name": f"tool-{n}"} for n in range(10_001)]},
        {"tools": "odd"},
        {"tools": ["odd", {"name": 1}, {"name": "a"}], "nextCursor": "more"},
        {"tools": [{"name": "b"}]},
    ]
    async with talking(Guard([seen])) as (client, line):
        for page in pages:
            cursor = {"params": {"cursor": "more"}} if page is pages[-1] else {}
            await client.says({"id": 1, "method": "tools/list", **cursor})
            await line.answers(**page)
            assert await client.hears() == result(1, **page)
        for tool, counted in (("a", 1), ("b", 1), ("c", 0)):
            before = len(seen.seen)
            await client.calls(tool)
            await line.answers(content=[])
            await client.hears()
            await client.says({"id": 1, "method": "tools/list"})
            await line.hears()
            assert len(seen.seen) - before == 1 + counted, tool
            await client.cancels(1)
            await line.hears()


# Headers, and what else travels beside a message

MARKED: Wire = {
    "name": "lookup",
    "inputSchema": {
        "type": "object",
        "properties": {"ssn": {"type": "string", "x-mcp-header": "Ssn"}, "city": {"type": "string"}},
    },
}


def rewriting(**changed: Any) -> Checking:
    """A check that puts other members into the parameters of every request it handles."""

    def check(call: Call) -> Verdict:
        kept = {name: value for name, value in call.params.items() if changed.get(name, "kept") is not None}
        return Rewrite({**kept, **{name: value for name, value in changed.items() if value is not None}})

    return Checking(check, {("*", "outbound")})


async def test_resumption_hints_stay_with_a_rewritten_request(way: Callable[..., Any]) -> None:
    """The transport calls them back; they are not the rewrite's business."""
    hints = _message.ClientMessageMetadata(resumption_token="t")
    async with talking(Guard([way(), rewriting(arguments={"path": "inside"})])) as (client, line):
        await client.calls("read", arguments={"path": "outside"}, metadata=hints)
        sent = await line.from_client.receive()
    assert message_of(sent)["params"] == {"name": "read", "arguments": {"path": "inside"}}
    assert sent.metadata is hints


def stamped(**headers: str) -> Any:
    """Metadata as a session of 2026-07-28 makes it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _message.ClientMessageMetadata(headers={"mcp-protocol-version": "2026-07-28", **named})


async def sent_headers(line: Line) -> dict[str, str]:
    """The headers of the next request, but for the protocol's version."""
    sent = await line.from_client.receive()
    headers: dict[str, str] = dict(sent.metadata.headers)
    assert headers.pop("mcp-protocol-version") == "2026-07-28"
    return headers


@modern_client
async def test_headers_of_arguments_are_derived_again(way: Callable[..., Any]) -> None:
    """Trap 1: what a rewrite removed must not stand in the headers; the definition says what belongs there."""
    guard = Guard([way(), rewriting(arguments={"ssn": "***", "city": "Bonn"})])
    metadata = stamped(mcp_method="tools/call", mcp_name="lookup", Mcp_Param_Ssn="078-05-1120")
    async with talking(guard) as (client, line):
        for id in (1, 2):
            await client.calls("lookup", id, arguments={"ssn": "078-05-1120"}, metadata=metadata)
            if id == 1:
                assert (await line.answers(tools=[MARKED]))["method"] == "tools/list"
            assert await sent_headers(line) == {
                "mcp-method": "tools/call",
                "mcp-name": "lookup",
                "Mcp-Param-Ssn": "***",
            }
    assert metadata.headers["Mcp-Param-Ssn"] == "078-05-1120", "the client's own is left alone"


@modern_client
@pytest.mark.parametrize("answer", ["error", "unknown tool", "no arguments"])
async def test_headers_of_arguments_go_where_it_cannot_be_told_what_belongs_there(
    way: Callable[..., Any], answer: str
) -> None:
    """The server then answers with a header mismatch: never a leak."""
    changed: Wire = {"arguments": None if answer == "no arguments" else {"ssn": "***"}}
    metadata = stamped(Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(**changed)])) as (client, line):
        await client.calls("lookup", arguments={"ssn": "078-05-1120"}, metadata=metadata)
        if answer == "error":
            listing = await line.hears()
            await line.says({"id": listing["id"], "error": {"code": -1, "message": "no list"}})
        else:
            await line.answers(tools=[] if answer == "unknown tool" else [MARKED])
        assert await sent_headers(line) == {}


@modern_client
@pytest.mark.parametrize(
    ("method", "params", "changed", "before", "after"),
    [
        ("tools/call", {"name": "fetch"}, {"name": "read"}, "fetch", "read"),
        ("tools/call", {"title": "read", "name": "read"}, {"name": "other"}, "read", "other"),
        ("prompts/get", {"name": "a"}, {"name": "bé"}, "a", "=?base64?YsOp?="),
        ("resources/read", {"uri": "file:///a"}, {"uri": "file:///b"}, "file:///a", "file:///b"),
        ("vendor/thing", {"x": 1, "thing": "a"}, {"thing": "b"}, "a", "b"),
        ("vendor/thing", {"thing": "a"}, {"thing": None}, "a", None),
        ("vendor/thing", {"thing": "a"}, {"thing": "b"}, "secret", None),
        ("tools/call", {"name": "fetch"}, {"name": "read"}, None, None),
    ],
)
async def test_the_name_in_the_headers_is_the_rewritten_one(
    method: str, params: Wire, changed: Wire, before: str | None, after: str | None
) -> None:
    """Trap 1: a renamed tool that left the header alone was a mismatch; what is in no parameter goes."""
    metadata = stamped(mcp_method=method, **({} if before is None else {"mcp_name": before}))
    async with talking(Guard([rewriting(**changed)])) as (client, line):
        await client.says({"id": 1, "method": method, "params": params}, metadata=metadata)
        assert await sent_headers(line) == {"mcp-method": method} | (
            {} if after is None else {"mcp-name": after}
        )


@modern_client
async def test_a_call_cancelled_while_its_definition_is_fetched_is_never_sent(
    way: Callable[..., Any],
) -> None:
    """The caller is gone; the listing that was for it is of no use either."""
    metadata = stamped(Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(arguments={})])) as (client, line):
        await client.calls("lookup", metadata=metadata)
        listing = await line.hears()
        await client.cancels(1)
        await line.says({"id": listing["id"], "result": {"tools": [MARKED]}}, result(2))
        assert await client.hears() == result(2)
        await client.says({"method": "notifications/initialized"})
        heard = [await line.hears()]
        while heard[-1]["method"] != "notifications/initialized":
            heard.append(await line.hears())
    assert "tools/call" not in [one["method"] for one in heard]


@modern_client
async def test_a_call_whose_definition_comes_when_the_transport_is_closed_ends(
    way: Callable[..., Any],
) -> None:
    """There is nobody left in `send` to be told, so the answer is an error."""
    metadata = stamped(Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(arguments={})])) as (client, line):
        await client.calls("lookup", metadata=metadata)
        listing = await line.hears()
        line.from_client.close()
        await line.says({"id": listing["id"], "result": {"tools": [MARKED]}})
        assert (await client.hears())["error"]["code"] == -32000


@modern_client
async def test_a_listing_of_the_guards_own_is_stamped_like_the_clients_requests() -> None:
    """A modern server refuses a request without the envelope; nothing else of the call goes with it."""
    needing = watching(CALLS)
    needing.needs_tool = True
    envelope = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    metadata = stamped(mcp_method="tools/call", mcp_name="lookup", Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup", _meta={**envelope, "progressToken": 1}, metadata=metadata)
        listing = await line.from_client.receive()
        assert message_of(listing)["params"] == {"_meta": envelope}
        assert listing.metadata.headers == {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/list",
        }
        await line.says({"id": message_of(listing)["id"], "result": {"tools": [], "nextCursor": "more"}})
        assert (await line.hears())["params"] == {"_meta": envelope, "cursor": "more"}


@modern_client
async def test_a_listing_of_the_guards_own_in_the_older_protocol_has_its_version_only() -> None:
    """Sessions of 2025-11-25 and before send one header and no envelope."""
    needing = watching(CALLS)
    needing.needs_tool = True
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup", metadata=stamped())
        listing = await line.from_client.receive()
    assert "params" not in message_of(listing)
    assert listing.metadata.headers == {"mcp-protocol-version": "2026-07-28"}


async def test_a_listing_of_the_guards_own_that_fails_denies_the_call_that_needs_it() -> None:
    """Fail closed; the next call lists again."""
    needing = watching(CALLS)
    needing.needs_tool = True
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup")
        listing = await line.hears()
        assert set(listing) == {"id", "method"}
        await line.says({"id": listing["id"], "error": {"code": -1, "message": "no list"}})
        refused = (await client.hears())["result"]
        assert code(refused) == "tool_facts_unavailable"
        await client.calls("lookup", 2)
        await line.answers(tools=[MARKED])
        await line.answers(content=[])
        assert await client.hears() == result(2, content=[])
