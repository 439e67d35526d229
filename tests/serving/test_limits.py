"""Over HTTP nobody takes more than their share: bodies, sessions, connections, time; and pages of the web nothing."""

import asyncio
import gc
import json
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import uvicorn
from harness import V1, text, wire
from issuer import token
from served import INITIALIZE, MODERN, Serve, Served, modern, until

from mcpguard import Guard
from mcpguard.core.http_limits import HTTPLimits
from mcpguard.serving.bounded import BoundedProtocol
from mcpguard.serving.listening import Address, listening
from mcpguard.testing import FakeServer, Gate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:80"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "localhost.evil.example:80"}, 421),
        ({"host": "localhost."}, 421),
        ({"host": "evil.example", "x_forwarded_host": "localhost"}, 421),
        ({"host": "localhost:80.evil.example"}, 400),
        ({"host": "localhost:80@evil.example"}, 400),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "https://app.example.org.evil.example"}, 403),
        ({"content_type": "text/plain"}, 400),
        ({"host": "mcp.example.org"}, 200),
        ({"host": "localhost:1"}, 200),
        ({"origin": "https://app.example.org"}, 200),
    ],
)
async def test_a_page_of_the_web_reaches_nothing_by_another_name(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    """DNS rebinding and forms of other sites, with a good token."""
    http = "{hosts: [mcp.example.org], origins: ['https://app.example.org']}"
    async with serve(http=http) as served:
        assert (await served.post(token=token(), **headers)).status_code == status


HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
INITIALIZING = json.dumps(INITIALIZE).encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(INITIALIZING), INITIALIZING)


def raw(*lines: bytes, body: bytes = INITIALIZING, length: bool = True, head: bytes = b"") -> bytes:
    """A request as it is, with a good token but for what is given otherwise."""
    said = b"Content-Length: %d\r\n" % len(body) if length else b""
    accept = b"Accept: application/json, text/event-stream\r\n"
    bearer = b"Authorization: Bearer %s\r\n" % token().encode()
    return (head or HEAD) + accept + bearer + b"".join(lines) + said + b"\r\n" + body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (raw(), 200),
        (raw(CHUNKED, body=IN_CHUNKS, length=False), 200),
        (raw(CHUNKED, body=IN_CHUNKS), 400),
        (raw(CHUNKED, CHUNKED, body=IN_CHUNKS, length=False), 400),
        (raw(b"Content-Length: 1\r\n"), 400),
        (raw(b"Origin: \r\n", b"Origin: https://evil.example\r\n"), 400),
        (raw(b"Host: evil.example\r\n"), 400),
        (raw(b"Content-Type: application/json\r\n"), 400),
        (raw(b"Mcp-Session-Id: a\r\n", b"Mcp-Session-Id: b\r\n"), 400),
        (raw(b"Mcp-Protocol-Version: 2025-06-18\r\n" * 2), 400),
    ],
    ids=[
        "plain",
        "chunks",
        "both",
        "chunked twice",
        "lengths",
        "origins",
        "hosts",
        "types",
        "ids",
        "versions",
    ],
)
async def test_a_request_that_a_proxy_could_read_otherwise_is_not_answered(
    serve: Serve, sent: bytes, status: int
) -> None:
    """And whatever is smuggled behind it is no request: the connection is closed."""
    async with serve() as served:
        port = int(served.origin.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(sent + (b"" if status == 200 else WHOLE))
            answer = b""
            with anyio.fail_after(20), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while status != 200 or b'"result"' not in answer:
                    answer += await stream.receive()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1") == 1
        assert (b"mcp-session-id" in answer) is (status == 200)


@pytest.mark.parametrize(
    "path", ["/mcp/", "//mcp", "/mcp%2f", "/healthz/../mcp", "/MCP", "/mcp;x", "/mcp%00", "/mcp%3Fx"]
)
async def test_there_is_one_way_to_write_where_it_is(serve: Serve, path: str) -> None:
    """A rule of a proxy for one path is not got round by another."""
    async with serve() as served:
        port = int(served.origin.rpartition(":")[2])
        for line in (path, f"http://localhost{path}", "http://evil.example/mcp"):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(raw(head=HEAD.replace(b"/mcp", line.encode(), 1)))
                assert (await stream.receive()).startswith(b"HTTP/1.1 404 ")


async def pieces(count: int) -> Any:
    """A body that does not say how long it is."""
    for _ in range(count):
        yield b" " * 1024


async def test_a_body_that_is_too_large_is_refused_said_or_unsaid(serve: Serve) -> None:
    """413, by its length and by what has come of it."""
    async with serve(http="{body: 10000}") as served:
        assert (await served.post(b" " * 20_000, token())).status_code == 413
        headers = {"content-type": "application/json", "authorization": f"Bearer {token()}"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(served.url, content=pieces(20), headers=headers)
            assert answer.status_code == 413
        assert (await served.post(token=token())).status_code == 200


async def test_sessions_are_counted_and_forgotten_when_idle(serve: Serve) -> None:
    """A further one is refused, those that are there go on; an idle one makes room."""
    async with serve(http="{sessions: 2, idle: 5.0}") as served:
        opened = [await served.post(token=token(who)) for who in ("ana", "bob", "eve")]
        assert [one.status_code for one in opened] == [200, 200, 503]
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        session = {"mcp_session_id": opened[0].headers["mcp-session-id"]}
        assert (await served.post(ping, token(), **session)).status_code == 200
        assert len(served.events("run_opened")) == 0

        async def is_forgotten() -> bool:
            await anyio.sleep(5.5)
            return (await served.post(ping, token(), **session)).status_code == 404

        await until(is_forgotten)
        assert (await served.post(token=token())).status_code == 200


async def test_a_principal_takes_no_place_from_the_others(serve: Serve) -> None:
    """Its share of sessions and of requests under way, streams too; what it has goes on."""
    async with serve(http="{sessions: 4, connections: 16, share: 0.5}") as served:

        async def opened(who: str) -> httpx.Response:
            return await served.post(token=token(who))

        answers = [await opened("ana") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert (answers[2].json(), answers[2].headers["retry-after"]) == (
            {"error": "too_many_sessions"},
            "30",
        )
        assert [(await opened("bob")).status_code for _ in range(3)] == [200, 200, 429]
        session = {"mcp_session_id": answers[0].headers["mcp-session-id"]}
        assert "a commit" in (await served.post(CALL, token("ana"), **session)).text
        headers = {
            "mcp-session-id": answers[1].headers["mcp-session-id"],
            "authorization": f"Bearer {token()}",
        }
        async with httpx.AsyncClient() as http:
            assert (await http.delete(served.url, headers=headers)).status_code == 200
        assert (await opened("ana")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp_protocol_version": MODERN},
        {"mcp_protocol_version": MODERN, "mcp_method": "tools/call", "mcp_name": "git__log"},
        {"mcp_method": "tools/call"},
        {"mcp_method": "subscriptions/listen"},
        {"mcp_protocol_version": "2025-06-18"},
        {"mcp_protocol_version": "unknown"},
    ],
)
async def test_no_header_opens_a_session_beyond_a_share(serve: Serve, headers: dict[str, str]) -> None:
    """A session counts when it is opened, whatever a client says of itself."""
    async with serve(http="{sessions: 8, share: 0.25}") as served:
        answers = [await served.post(token=token("ana"), **headers) for _ in range(3)]
        opened = ["mcp-session-id" in answer.headers for answer in answers]
        plain = [await served.post(token=token("ana")) for _ in range(3)]
        opened += ["mcp-session-id" in answer.headers for answer in plain]
        assert opened.count(True) == 2
        assert plain[2].status_code == 429


@pytest.mark.skipif(V1, reason="SDK 1.x serves no clients of MCP 2026-07-28")
async def test_a_client_without_a_session_takes_none(serve: Serve) -> None:
    """More calls at a time than a share of sessions, listening meanwhile, and none left to be opened."""
    gate, git = Gate(), FakeServer()
    git.tool("slow").waits_for(gate).returns("in the end")
    git.tool("log").returns("a commit")
    async with serve(servers={"git": git}, http="{sessions: 8, share: 0.25}") as served:
        answers = list[str]()

        async def call(tool: str) -> None:
            message, headers = modern("tools/call", {"name": f"git__{tool}", "arguments": {}})
            answers.append((await served.post(message, token("ana"), **headers)).text)

        async with anyio.create_task_group() as tasks, served.client(token("ana"), "modern") as client:
            async with client.listen(tools_list_changed=True), client.listen(tools_list_changed=True):
                for _ in range(5):
                    tasks.start_soon(call, "slow")
                with anyio.fail_after(30):
                    await gate.reached(5)
                opened = [(await served.post(token=token("ana"))).status_code for _ in range(3)]
                assert opened == [200, 200, 429]
                await call("log")
                gate.open()
        assert "a commit" in answers[0]
        assert ["in the end" in answer for answer in answers] == [False, *[True] * 5]


@pytest.mark.parametrize("kind", ["session", "stateless", *([] if V1 else ["modern"])])
async def test_who_is_one_too_many_is_told_when_to_come_again(serve: Serve, kind: str) -> None:
    """Sessions are counted, and where there are none those whose run is kept; who is known goes on."""
    stateless = str(kind == "stateless").lower()
    async with serve(http=f"{{sessions: 2, share: 1.0, stateless: {stateless}}}") as served:
        message, headers = INITIALIZE if kind == "session" else CALL, dict[str, str]()
        if kind == "modern":
            message, headers = modern("tools/call", {"name": "git__log", "arguments": {}})
        for who in ("ana", "bob"):
            answer = await served.post(message, token(who), **headers)
            assert answer.status_code == 200
        refused = await served.post(message, token("eve"), **headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert refused.json() == {"error": "too_many_clients"}
        if kind != "session":
            assert "a commit" in (await served.post(message, token("ana"), **headers)).text


async def test_a_principal_has_so_many_requests_under_way(serve: Serve) -> None:
    """However they are held: here bodies that do not come. Others are served, and so is it once they end."""
    async with serve(http="{connections: 8, share: 0.25, reading: 6.0}") as served:
        port = int(served.origin.rpartition(":")[2])
        async with AsyncExitStack() as stack:
            for _ in range(2):
                stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
                await stream.send(raw()[:-5])

            async def is_refused() -> bool:
                return (await served.post(token=token("ana"))).status_code == 429

            await until(is_refused)
            assert (await served.post(token=token("bob"))).status_code == 200

        async def is_served() -> bool:
            return (await served.post(token=token("ana"))).status_code == 200

        await until(is_served)


async def test_a_run_ends_when_its_session_does(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """What is kept for it is bounded by who is there."""
    caplog.set_level("CRITICAL", "mcp.server.streamable_http")  # a kept traceback would hold the session
    async with serve(http="{idle: 3.0}") as served:
        async with served.client(token()) as client:
            await client.call_tool("git__log", {})

        async def is_closed() -> bool:
            gc.collect()
            return len(served.events("run_closed")) == 1

        # asyncio keeps a timer that was cancelled, and with it its context, until the time it was set to
        await until(is_closed, seconds=120)
        assert len(served.events("run_opened")) == 1


async def ended(served: Served, send: bytes) -> bool:
    """Whether the server ends a connection on which this was sent, and nothing more comes."""
    port = int(served.origin.rpartition(":")[2])
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        if send:
            await stream.send(send)
        try:
            with anyio.fail_after(20):
                while True:
                    await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
        except TimeoutError:
            return False


LITTLE = 40_000
"""Bytes of an answer that asyncio would buffer without a word, and that the sockets do not take."""

CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "git__log", "arguments": {}}}


@pytest.mark.parametrize(
    "send",
    [
        b"",
        b"POST /mcp HT",
        HEAD,
        HEAD + b"Content-Length: 100\r\n\r\n{",
        WHOLE + HEAD,
        WHOLE + HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["nothing", "line", "head", "body", "second head", "second body", "chunks"],
)
async def test_a_connection_that_never_finishes_its_request_is_ended(serve: Serve, send: bytes) -> None:
    """Be it its first or one that came together with others; and meanwhile others are served."""
    async with serve(http="{reading: 2.0}", tokens=False) as served, anyio.create_task_group() as tasks:

        async def check() -> None:
            assert await ended(served, send)

        for _ in range(20):
            tasks.start_soon(check)
        async with served.client() as client:
            assert text(wire(await client.call_tool("git__log", {}))) == "a commit"


async def test_a_request_in_pieces_is_ended_however_slowly_they_come(serve: Serve) -> None:
    """The time counts from the first byte: a byte now and then does not prolong it."""
    async with serve(http="{reading: 2.0}") as served:
        port = int(served.origin.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:

            async def trickle() -> None:
                await stream.send(HEAD)
                while True:
                    await stream.send(b"X-More: 1\r\n")
                    with anyio.move_on_after(0.05):
                        await stream.receive()

            with anyio.fail_after(20), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await trickle()


async def test_a_client_that_does_not_read_its_answer_is_let_go(serve: Serve) -> None:
    """And its place is somebody else's."""
    git = FakeServer()
    git.tool("log").returns("x" * 20_000_000)
    http = "{writing: 3.0, connections: 1}"
    async with serve("access: {default: allow}", {"git": git}, http=http, tokens=False) as served:
        port = int(served.origin.rpartition(":")[2])
        opened = await served.post()
        call = json.dumps(CALL).encode()
        head = HEAD + b"Accept: application/json, text/event-stream\r\nMcp-Session-Id: "
        head += opened.headers["mcp-session-id"].encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(call)

        async def is_called() -> bool:
            return len(git.seen("tools/call")) == 1

        async def is_served() -> bool:
            with suppress(httpx.TransportError):
                return (await served.get("/healthz")).status_code == 200
            return False

        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(head + call)
            await until(is_called)
            assert not await is_served()
            await until(is_served)


async def test_a_client_that_leaves_a_little_of_its_answer_is_let_go_as_well() -> None:
    """What has been written off would otherwise hold its connection for ever, however little it is."""
    protocols = list[BoundedProtocol]()

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * LITTLE})

    config = uvicorn.Config(answer, log_config=None, lifespan="off")
    state = uvicorn.server.ServerState()

    def connected() -> BoundedProtocol:
        made = BoundedProtocol(config, state, app_state={}, limits=HTTPLimits(writing=0.5))
        protocols.append(made)
        return made

    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
        listener.bind(("127.0.0.1", 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        server = await asyncio.get_running_loop().create_server(connected, sock=listener)
        client.connect(listener.getsockname())
        client.sendall(WHOLE)

        async def is_left() -> bool:
            return bool(protocols) and 0 < protocols[0].transport.get_write_buffer_size() < LITTLE

        async def is_let_go() -> bool:
            return not state.connections

        await until(is_left)
        await until(is_let_go)
        server.close()
        await server.wait_closed()


async def test_connections_are_counted(serve: Serve) -> None:
    """A further one is closed at once; those that are there go on."""
    async with serve(http="{connections: 3}", tokens=False) as served:
        port = int(served.origin.rpartition(":")[2])
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            with pytest.raises(httpx.TransportError):
                await served.get("/healthz")

        async def is_served() -> bool:
            with suppress(httpx.TransportError):
                return (await served.get("/healthz")).status_code == 200
            return False

        await until(is_served)


def test_what_is_taken_from_uvicorn_is_there() -> None:
    """Names that are used of its protocol: a release that moves one fails here, and not in the field."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    methods = ("connection_made", "handle_events", "pause_writing", "resume_writing", "connection_lost")
    assert all(callable(getattr(H11Protocol, name)) for name in methods)
    config = uvicorn.Config(lambda: None, log_config=None)
    from uvicorn.server import ServerState

    made = H11Protocol(config=config, server_state=ServerState(), app_state={}, _loop=object())  # type: ignore[arg-type]
    assert {"connections", "conn", "loop", "timeout_keep_alive_task", "transport"} <= set(vars(made))


@pytest.mark.parametrize(
    "options",
    [
        {"sessions": 0},
        {"connections": 0},
        {"body": -1},
        {"idle": 0.0},
        {"reading": float("inf")},
        {"share": 0.0},
        {"share": 1.5},
    ],
)
def test_a_limit_that_is_none_is_refused(options: dict[str, Any]) -> None:
    """There is no way to say that there is none."""
    with pytest.raises(ValueError, match=r"above 0|1 at least|a part"):
        HTTPLimits(**options)


async def test_it_says_whether_it_is_alive_and_ready_and_nothing_else(serve: Serve) -> None:
    """Without a token, by any name: an orchestrator has none."""
    async with serve() as served:
        assert (await served.get("/healthz")).json() == {"status": "alive"}

        async def is_ready() -> bool:
            return (await served.get("/readyz")).status_code == 200

        await until(is_ready)
        assert (await served.get("/readyz")).json() == {"status": "ready"}
        assert (await served.get("/")).status_code == 404
        assert (await served.get("/metrics")).status_code == 404


async def test_told_to_end_it_answers_what_is_under_way_and_takes_nothing_new(
    serve: Serve, tmp_path: Path
) -> None:
    """No call is lost; who comes then is sent to another replica."""
    gate, git = Gate(), FakeServer()
    git.tool("slow").waits_for(gate).returns("in the end")
    (tmp_path / "p.yaml").write_text("version: 1\ninterceptors: {access: {default: allow}}")
    guard = Guard.from_policy(tmp_path / "p.yaml")
    answers = list[str]()
    left = anyio.Event()

    async def call(served: Served, ready: anyio.Event) -> None:
        async with served.client() as client:
            await client.list_tools()
            ready.set()
            answers.append(text(wire(await client.call_tool("git__slow", {}))))

    async def look(served: Served) -> None:
        await left.wait()

        await until(served.is_draining)
        refused = await served.post()
        answers.append(f"{refused.status_code} {refused.headers['retry-after']}")
        gate.open()

    async with guard, guard.hub({"git": git}) as hub, anyio.create_task_group() as tasks:
        async with listening(guard, hub, Address("127.0.0.1", 0)) as bound:
            served, ready = Served(f"http://127.0.0.1:{bound.port}"), anyio.Event()
            tasks.start_soon(call, served, ready)
            tasks.start_soon(look, served)
            await gate.reached()
            left.set()
    assert answers == ["503 1", "in the end"]
    with pytest.raises(httpx.TransportError):
        await served.get("/healthz")


async def test_a_policy_that_changes_under_load_fails_no_call(serve: Serve) -> None:
    """Calls of six clients, and after every fifth another policy."""
    async with serve("budget: {id: cap, per: run, calls: 1000}") as served:
        guard, policy = served.guard, served.policy
        assert guard is not None
        assert policy is not None
        before = policy.read_text()
        answers = list[str]()

        async def work(number: int) -> None:
            async with served.client(token(f"user-{number}")) as client:
                for _ in range(20):
                    answers.append(text(wire(await client.call_tool("git__log", {}))))
                    if len(answers) % 5 == 0:
                        policy.write_text(before.replace("1000", str(1000 + len(answers))))
                        assert guard.reload()

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(work, number)
        assert answers == ["a commit"] * 120
        completed = [event for event in served.events("completed") if event.method == "tools/call"]
        assert len({event.policy for event in completed}) > 10
        assert all(event.policy for event in completed)
