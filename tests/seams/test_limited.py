"""Limits on transports that are not the SDK's own, and on sessions and clients: what they hold a server to."""

import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Any

import anyio
import pytest
from harness import V1, MCPError, Peer, opened, text, wire
from line import Line, item_of, message_of, modern_client, talking
from mcp import ClientSession, StdioServerParameters
from protected import Site, http, served
from tallies import Names

from mcpguard import Call, ConnectionLimits, Fate, Guard, Interceptor, Outcome, Result
from mcpguard.config import parse_policy
from mcpguard.core.interceptor import CallNext
from mcpguard.seams.limits.stdio import limited_stdio
from mcpguard.seams.limits.watch import Watch
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

SERVER_LEAVES_OPEN = (
    ("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    if version("mcp").startswith("1.24.")
    else ("default::ImportWarning",)
)
"""Filters for a test with the SDK's own HTTP server: that of 1.24 does not close its streams."""


def guard_with(record: RecordingSink | None = None, **limits: Any) -> Guard:
    """A guard with nothing but limits."""
    return Guard(sinks=[] if record is None else [record], connection=ConnectionLimits(**limits))


class Watcher(Interceptor):
    """Remembers what came of each call."""

    handles = {("tools/call", "outbound")}

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Result] = []

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        self.results.append(await call_next(call))
        return self.results[-1]


async def test_a_call_that_is_not_answered_ends_in_time() -> None:
    """With an error that says it was sent."""
    async with talking(guard_with(answer_seconds=0.05)) as (client, line):
        await client.calls("go", 1)
        told = await client.hears()
        assert told["id"] == 1
        assert told["error"]["data"] == {"why": "answer_timeout", "fate": "sent", "limit": "answer_seconds"}
        await client.calls("go", 2)
        await line.hears()
        await line.answers(content=[])
        assert (await client.hears())["id"] == 2


class Unopened:
    """A transport that never opens."""

    async def __aenter__(self) -> Any:
        await anyio.sleep_forever()

    async def __aexit__(self, *_raised: object) -> None:
        """Nothing was opened."""


async def test_a_connection_that_does_not_open_is_given_up() -> None:
    """In the time that an answer may take: an event stream may never name its endpoint."""
    record = RecordingSink()
    with anyio.fail_after(20), pytest.raises(TimeoutError, match="could not be opened in time"):
        async with guard_with(record, answer_seconds=0.05).transport(Unopened(), name="raw"):
            raise AssertionError
    assert [event.state for event in record.events if event.interceptor == "connection"] == ["answer_seconds"]


async def test_a_server_that_does_not_read_ends_what_waits_on_it() -> None:
    """The call that could not be sent was not; the one before it may have been carried out."""
    record = RecordingSink()
    guard = guard_with(record, write_seconds=0.05)
    async with talking(guard, Line(room=1)) as (client, _):
        await client.calls("go", 1)
        await client.calls("go", 2)
        first, second = await client.hears(), await client.hears()
        fates = {told["id"]: told["error"]["data"]["fate"] for told in (first, second)}
        assert fates == {1: "sent", 2: "not_sent"}
        with pytest.raises(anyio.EndOfStream):
            await client.hears()
    assert [event.state for event in record.events if event.interceptor == "connection"] == ["write_seconds"]


async def test_storms_are_counted_for_each_kind() -> None:
    """What is dropped beside the first of its kind is told when the connection ends, if not before."""
    record = RecordingSink()
    guard = guard_with(record, notifications_per_second=0.1)
    storm = {
        "notifications/message": {"level": "info", "data": "canary"},
        "notifications/progress": {"progressToken": 1, "progress": 1.0},
    }
    async with talking(guard) as (client, line):
        for method, params in storm.items():
            for _ in range(6 if "progress" in method else 4):
                await line.says({"method": method, "params": params})
        line.to_client.close()
        with suppress(anyio.EndOfStream):
            while True:
                await client.hears()
    said = [event.reason for event in record.events if event.state == "notifications_per_second"]
    assert said == [
        "too many log messages: one was dropped",
        "too many progress: one was dropped",
        "too many log messages: one was dropped (1 times more since the last such event)",
        "too many progress: one was dropped (3 times more since the last such event)",
    ]
    assert guard.status()["limits_hit"] == {"files": {"notifications_per_second": 8}}


async def test_giving_up_a_call_is_bounded_and_costs_no_connection() -> None:
    """Where the server does not read, the notification is left unsent."""
    async with talking(guard_with(), Line(room=1)) as (client, line):
        await client.calls("go", 1)
        with anyio.fail_after(10):
            await client.says({"method": "notifications/cancelled", "params": {"requestId": 1}})
        assert (await line.hears())["id"] == 1
        await client.calls("go", 2)
        await line.answers(content=[])
        assert (await client.hears())["id"] == 2


async def test_the_end_of_the_stream_ends_what_waits() -> None:
    """At once, with an error for each call and then the end."""
    async with talking(guard_with()) as (client, line):
        await client.calls("a", 1)
        await client.calls("b", 2)
        line.to_client.close()
        ended = [await client.hears(), await client.hears()]
        assert [told["id"] for told in ended] == [1, 2]
        assert {told["error"]["data"]["why"] for told in ended} == {"connection_lost"}
        with pytest.raises(anyio.EndOfStream):
            await client.hears()
        with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)):
            await client.calls("c", 3)


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        ({"content": [], "x": [[[[[]]]]]}, "depth"),
        ({"content": [], "x": [1] * 101}, "values"),
        ({"content": [], "x": [{}] * 30}, "containers"),
        ({"content": [], "x": 10**50}, "integer_digits"),
        ({"content": [{"type": "text", "text": "x"}] * 6}, "content_blocks"),
        ({"content": "x"}, "malformed"),
        ({"content": [{"type": "text", "text": 7}]}, "malformed"),
    ],
)
async def test_an_answer_that_was_parsed_by_somebody_else_is_measured(answer: Any, limit: str) -> None:
    """It is refused, and the next one is not."""
    guard = guard_with(depth=5, values=100, containers=20, integer_digits=40, content_blocks=5)
    async with talking(guard) as (client, line):
        await client.calls("go", 1)
        await line.answers(**answer)
        told = await client.hears()
        assert told["error"]["data"] == {"why": "refused_answer", "fate": "answered", "limit": limit}
        await client.calls("go", 2)
        await line.answers(content=[])
        assert (await client.hears())["result"] == {"content": []}


async def test_a_definition_that_breaks_a_limit_costs_that_one_also_where_somebody_else_parsed_it() -> None:
    """The limit is named, and the rest of the listing is there."""
    record = RecordingSink()

    def tool(name: str, schema: Any) -> Any:
        return {"name": name, "inputSchema": {"type": "object", "properties": {}, **schema}}

    deep, long = tool("deep", {"x": [[[[[[[[[]]]]]]]]]}), tool("long", {"maximum": 10**50})
    edge = tool("edge", {"x": [[[[[[]]]]]]})  # within the limit by itself, over it in the message
    async with talking(guard_with(record, depth=8, integer_digits=40)) as (client, line):
        await client.says({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
        await line.answers(tools=[deep, tool("good", {}), long, edge])
        told = await client.hears()
        assert [one["name"] for one in told["result"]["tools"]] == ["good"]
    hits = {event.state for event in record.events if event.interceptor == "connection"}
    assert hits == {"depth", "integer_digits"}


async def test_what_a_server_says_too_often_is_dropped_and_what_it_asks_refused() -> None:
    """Each kind for itself; the event says how many."""
    record = RecordingSink()
    guard = guard_with(record, notifications_per_second=0.1, requests_per_second=0.1)
    async with talking(guard) as (client, line):
        log = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
        for _ in range(3):
            await line.says(log)
        await line.says({"method": "notifications/tools/list_changed"})
        await line.says({"id": 7, "method": "ping"}, {"id": 8, "method": "ping"})
        await line.says({"id": 9, "method": "sampling/createMessage", "params": {}})
        heard = [(await client.hears())["method"] for _ in range(4)]
        assert heard == [
            "notifications/message",
            "notifications/tools/list_changed",
            "ping",
            "sampling/createMessage",
        ]
        assert (await line.hears())["id"] == 8
    states = [event.state for event in record.events if event.interceptor == "connection"]
    assert states == ["notifications_per_second", "requests_per_second", "notifications_per_second"]
    hit = {"notifications_per_second": 2, "requests_per_second": 1}
    assert guard.status()["limits_hit"] == {"files": hit}


async def test_the_last_of_too_many_changes_is_told_late() -> None:
    """What was listed before it must not be believed for ever."""
    guard = guard_with(notifications_per_second=0.1)
    async with talking(guard) as (client, line):
        for _ in range(3):
            await line.says({"method": "notifications/tools/list_changed"})
        assert (await client.hears())["method"] == "notifications/tools/list_changed"
        assert (await client.hears())["method"] == "notifications/tools/list_changed"


async def test_a_servers_own_error_is_not_taken_for_a_lost_connection() -> None:
    """Whatever its code, and whatever it claims."""
    watcher = Watcher()
    guard = Guard([watcher], connection=ConnectionLimits())
    claimed = {"why": "not_sent", "fate": "not_sent", "mcpguard/mark": "0" * 32}
    async with talking(guard) as (client, line):
        for number, code in enumerate((-32000, -32001, -32603), 1):
            await client.calls("go", number)
            await line.hears()
            error = {"code": code, "message": "Connection closed", "data": claimed}
            await line.says({"id": number, "error": error})
            data = (await client.hears())["error"]["data"]
            assert data == {"why": "not_sent", "fate": "not_sent"}
    assert {(one.outcome, one.fate) for one in watcher.results} == {(Outcome.PROTOCOL_ERROR, Fate.ANSWERED)}


@pytest.mark.parametrize("seam", ["session", "transport"] + ([] if V1 else ["client"]))
async def test_limits_hold_at_every_seam_that_has_streams(seam: str) -> None:
    """And what an interceptor sees is what it was."""
    server = FakeServer()
    server.tool("many").returns({"content": [{"type": "text", "text": "x"}] * 9})
    server.tool("hangs").hangs()
    server.tool("good").returns("fine")
    watcher = Watcher()
    guard = Guard([watcher], connection=ConnectionLimits(content_blocks=5, answer_seconds=2.0))
    async with opened(guard, server, seam) as peer:
        for tool in ("many", "hangs"):
            with pytest.raises(MCPError):
                await peer.call(tool)
        assert text(await peer.call("good")) == "fine"
    assert [(one.outcome, one.fate) for one in watcher.results] == [
        (Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        (Outcome.TIMEOUT, Fate.SENT),
        (Outcome.OK, Fate.ANSWERED),
    ]


@pytest.mark.parametrize("seam", ["session", "transport"])
async def test_large_structured_content_is_validated_off_the_loop_and_keeps_nobody_waiting(seam: str) -> None:
    """Other answers come meanwhile: what takes long is found out in a thread."""
    server = FakeServer()
    one_of = {"anyOf": [{"const": number} for number in range(20)] + [{"type": "string"}]}
    schema = {"type": "object", "properties": {"n": {"type": "array", "items": one_of}}}
    server.tool("heavy", output_schema=schema).returns(
        {"content": [], "structuredContent": {"n": ["x"] * 3_000}}
    )
    server.tool("light").returns("here")
    done: list[str] = []
    async with opened(guard_with(), server, seam) as peer, anyio.create_task_group() as tasks:
        await peer.session.list_tools()

        async def call(name: str) -> None:
            await peer.call(name)
            done.append(name)

        tasks.start_soon(call, "heavy")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(call, "light")
    assert done == ["light", "heavy"]


@modern_client
async def test_large_structured_content_that_is_wrong_is_an_error_of_a_tool_that_ran() -> None:
    """What does not match is an error of a tool that has run; nothing is raised."""
    server = FakeServer()
    schema = {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "number"}}}}
    good: dict[str, Any] = {"content": [], "structuredContent": {"n": [1] * 5_000}}
    bad: dict[str, Any] = {"content": [], "structuredContent": {"n": [1] * 5_000 + ["x"]}}
    server.tool("good", output_schema=schema).returns(good)
    server.tool("bad", output_schema=schema).returns(bad)
    async with guard_with().client(server.transport(), name="raw", mode="legacy") as client:
        assert not (await client.call_tool("good", {})).is_error
        said = wire(await client.call_tool("bad", {}))
        assert said["isError"]
        assert "has run" in text(said)
        assert "structuredContent" not in said


async def test_large_structured_content_that_is_wrong_is_found_out_before_a_transport_hands_it_on() -> None:
    """The SDK would raise, and whoever tries again runs the tool twice. The end of the stream waits for it."""
    record = RecordingSink()
    schema = {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "number"}}}}
    listed = {"tools": [{"name": "bad", "inputSchema": {"type": "object"}, "outputSchema": schema}]}
    bad = {"content": [], "structuredContent": {"n": [1] * 5_000 + ["x"]}}
    line = Line(room=9)
    async with guard_with(record).transport(line, name="raw") as (read, write):
        with anyio.fail_after(30):
            await write.send(item_of({"id": 1, "method": "tools/list"}))
            await line.to_client.send(item_of({"id": 1, "result": listed}))
            assert message_of(await read.receive())["result"] == listed
            await write.send(item_of({"id": 2, "method": "tools/call", "params": {"name": "bad"}}))
            await line.to_client.send(item_of({"id": 2, "result": bad}))
            await line.to_client.aclose()
            said = message_of(await read.receive())["result"]
            with pytest.raises(anyio.EndOfStream):
                await read.receive()
    assert said["isError"]
    assert "has run" in text(said)
    hits = [event.state for event in record.events if event.interceptor == "connection"]
    assert hits == ["structured_content"]


async def test_limits_come_from_the_policy_file(tmp_path: Any) -> None:
    """The section takes the constructor's arguments; an empty one the defaults, none no limits."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nconnection: {answer_seconds: 0.05}\n")
    async with talking(Guard.from_policy(path)) as (client, _):
        await client.calls("go", 1)
        assert (await client.hears())["error"]["data"]["limit"] == "answer_seconds"
    assert parse_policy("version: 1\nconnection: {}").options.connection == ConnectionLimits()
    assert parse_policy("version: 1").options.connection is None
    for wrong in ("{depth: 0}", "{depth: 1000}", "{unheard_of: 1}", "{answer_seconds: x}"):
        with pytest.raises(ValueError, match="connection"):
            parse_policy(f"version: 1\nconnection: {wrong}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"message_bytes": 10},
        {"integer_digits": 301},
        {"answer_seconds": float("inf")},
        {"pages": True},
    ],
)
def test_a_limit_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    """When it is made, not when it is hit."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConnectionLimits(**wrong)
    with pytest.raises(TypeError, match="ConnectionLimits"):
        Guard(connection=wrong)  # type: ignore[arg-type]


async def test_without_interceptors_an_honest_conversation_is_what_it_was() -> None:
    """Limits that are not hit change nothing."""
    server = FakeServer()
    server.tool("greet").returns("hello")
    server.resource("memo://a").returns("remember")
    async with (
        guard_with().transport(server.connect(), name="raw") as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        peer = Peer(session)
        assert await peer.tools() == ["greet"]
        assert text(await peer.call("greet")) == "hello"
        assert (await peer.read("memo://a"))["contents"][0]["text"] == "remember"
        with pytest.raises(MCPError):
            await peer.prompt("nothing")


def watched(told: list[str], **limits: Any) -> Watch:
    """A watch over one connection."""
    return Watch(
        ConnectionLimits(**limits),
        Names(told),
        anyio.current_time,
        is_parsed_here=True,
    )


def process(program: str) -> StdioServerParameters:
    """A server that is this program."""
    return StdioServerParameters(command=sys.executable, args=["-S", "-c", program])


async def test_a_process_that_does_not_read_ends_the_connection() -> None:
    """What fits into the pipe is gone; what does not is waited for, for a time."""
    told: list[str] = []
    watch = watched(told, write_seconds=0.05)
    async with limited_stdio(process("import os; os.read(os.pipe()[0], 1)"), watch=watch) as (read, write):
        text = "x" * 2**20
        line = {"method": "notifications/message", "params": {"data": text, "level": "info"}}
        await write.send(item_of({"method": "notifications/initialized"}))
        await write.send(item_of(line))
        with anyio.fail_after(30):
            while watch.ended is None:  # noqa: ASYNC110 - nobody could set an event
                await anyio.sleep(0.005)
        with pytest.raises(anyio.BrokenResourceError):
            await write.send(item_of(line))
    assert (told, watch.ended) == (["write_seconds"], "write_seconds")
    with pytest.raises(anyio.EndOfStream):
        await read.receive()


async def test_a_large_message_is_read_once_however_often_its_reader_is_woken() -> None:
    """It is parsed in a thread, so that nothing else waits; a reader that leaves comes back for it."""
    program = (
        "import json, os; print(json.dumps({'jsonrpc': '2.0', 'method': 'notifications/message',"
        " 'params': {'level': 'info', 'data': 'x' * 3_000_000}}))\n"
        "print(json.dumps({'jsonrpc': '2.0', 'method': 'ping', 'id': 1}), flush=True); os.read(0, 1)"
    )
    heard: list[Any] = []
    async with limited_stdio(process(program), watch=watched([])) as (read, _):
        with anyio.fail_after(30):
            while len(heard) < 2:
                with anyio.move_on_after(0.0005):
                    heard.append(message_of(await read.receive()))
    assert [one["method"] for one in heard] == ["notifications/message", "ping"]
    assert len(heard[0]["params"]["data"]) == 3_000_000


async def test_a_process_that_has_closed_its_input_ends_the_connection() -> None:
    """It may live on, and hears nothing."""
    watch = watched([])
    program = "import os, sys; os.close(0); print('closed', flush=True); os.read(os.pipe()[0], 1)"
    async with limited_stdio(process(program), watch=watch) as (_, write):
        with anyio.fail_after(30):
            while watch.ended is None:
                with suppress(anyio.BrokenResourceError):
                    await write.send(item_of({"method": "notifications/initialized"}))
                await anyio.sleep(0.005)
    assert watch.ended == "ended"


async def test_a_session_that_is_read_already_keeps_its_streams() -> None:
    """Limits that come too late are none, and break nothing."""
    server = FakeServer()
    server.tool("read").returns("fine")
    async with opened(guard_with(), server, "entered") as peer:
        assert text(await peer.call("read")) == "fine"


@modern_client
@pytest.mark.parametrize("kind", ["url", "process", "in process"])
async def test_a_client_is_limited_whatever_it_connects_to(kind: str) -> None:
    """Each kind of server has a transport of its own, or none."""
    app: Any = import_module("mcp.server.mcpserver") if not V1 else None
    servers = {
        "url": "http://127.0.0.1:9/mcp",
        "process": process("raise SystemExit"),
        "in process": app.MCPServer("local"),
    }
    client = guard_with().client(servers[kind], name="raw")
    if kind == "in process":
        async with client:
            assert (await client.list_tools()).tools == []
    else:
        with pytest.raises((MCPError, ExceptionGroup, OSError)):
            async with client:
                raise AssertionError


@modern_client
async def test_structured_content_that_is_as_promised_passes() -> None:
    """Where it is small it is checked at once."""
    server = FakeServer()
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    server.tool("good", output_schema=schema).returns({"content": [], "structuredContent": {"n": 1}})
    async with opened(guard_with(), server, "session") as peer:
        assert (await peer.call("good"))["structuredContent"] == {"n": 1}


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.filterwarnings(*SERVER_LEAVES_OPEN)
async def test_a_client_of_the_hosts_own_is_limited_and_left_as_it_is(site: Site) -> None:
    """It has the host's authentication: a copy of it sends. No stream of the connection stays open."""
    streamable: Any = import_module("mcp.client.streamable_http")
    headers = {"authorization": f"Bearer {site.issue('ana')}"}
    async with http.AsyncClient(headers=headers, timeout=60) as client:
        transport = streamable.streamable_http_client(site.url, http_client=client)
        async with guard_with().transport(transport, name="raw") as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                assert text(wire(await session.call_tool("note", {"tenant": "a", "number": 1}))) == "a 1"
        assert (await client.post(site.url, content=b"{}")).status_code != 401
    gc.collect()  # what is still open says so, and warnings are errors


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_http_with_a_stream_of_answers_is_limited() -> None:
    """HTTP with SSE (MCP 2024-11-05): the transport makes its clients by a factory."""
    posted: list[bytes] = []

    async def stream() -> AsyncIterator[bytes]:
        yield b"event: endpoint\r\ndata: /messages\r\n\r\n"
        yield b'event: message\ndata: {"jsonrpc": "2.0", "id": 1, "result": {}}\n\n'
        await anyio.sleep_forever()

    def answer(request: Any) -> Any:
        if request.method == "GET":
            return http.Response(200, headers={"content-type": "text/event-stream"}, content=stream())
        posted.append(request.content)
        return http.Response(202)

    def factory(*args: Any, **named: Any) -> Any:
        return http.AsyncClient(transport=http.MockTransport(answer))

    sse: Any = import_module("mcp.client.sse")
    transport = sse.sse_client("http://files.example/sse", httpx_client_factory=factory)
    async with guard_with().transport(transport, name="raw") as (read, write, *_):
        await write.send(item_of({"id": 1, "method": "ping"}))
        with anyio.fail_after(10):
            assert message_of(await read.receive()) == {"id": 1, "result": {}}
    assert len(posted) == 1


@pytest.fixture
def site() -> Iterator[Site]:
    """A protected server."""
    with served() as one:
        yield one
