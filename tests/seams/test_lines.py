"""What a span says of the line a call went on: real servers, and a real OTLP receiver that reads it back."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from collected import Receiver, plain
from harness import V1
from hub_peers import client
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from mcpguard import ConnectionLimits, Guard, Tracing
from mcpguard.seams.lines import line_of, line_to
from mcpguard.testing import FakeServer

SCRIPT = str(Path(__file__).parents[1] / "support" / "real_server.py")
ABOUT_THE_LINE = ("jsonrpc.", "mcp.session.", "network.", "server.")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    """The HTTP library notes what it sends in tasks of asyncio's; the seams are tested on both elsewhere."""
    return "asyncio"


@contextmanager
def serving(kind: str) -> Iterator[int]:
    """A server process on a free port, which is given."""
    with subprocess.Popen([sys.executable, SCRIPT, kind], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def tracing(receiver: Receiver) -> Iterator[Tracing]:
    """Tracing whose spans go to a receiver."""
    tracers = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        yield Tracing(tracer_provider=tracers)
    finally:
        tracers.shutdown()


@asynccontextmanager
async def session_on(guard: Guard, transport: Any) -> AsyncIterator[Any]:
    """An initialised session behind the transport seam."""
    async with guard.transport(transport, name="real") as streams, ClientSession(*streams[:2]) as session:
        await session.initialize()
        yield session


def about_the_line(receiver: Receiver) -> list[dict[str, Any]]:
    """What each span of a tool call says of its line."""
    told = [plain(span.attributes) for _, span in receiver.spans if span.name == "execute_tool echo"]
    return [
        {
            name: one[name]
            for name in sorted(one)
            if name.startswith(ABOUT_THE_LINE) or name == "network.transport"
        }
        for one in told
    ]


def noting(sent: list[tuple[str | None, str]]) -> Any:
    """An HTTP client that notes the session and the request's id of each tool call."""
    http: Any = import_module("httpx" if V1 else "httpx2")

    async def note(request: Any) -> None:
        body = json.loads(await request.aread() or b"{}")
        if body.get("method") == "tools/call":
            sent.append((request.headers.get("mcp-session-id"), str(body["id"])))

    return http.AsyncClient(event_hooks={"request": [note]}, timeout=30)


@pytest.mark.parametrize("limits", [ConnectionLimits(), None], ids=["limited", "unlimited"])
async def test_a_call_over_http_names_host_session_and_request(limits: ConnectionLimits | None) -> None:
    """Semantic conventions, MCP client: `tcp` and `http`; the session is read where the guard reads HTTP."""
    sent: list[tuple[str | None, str]] = []
    with serving("http") as port, Receiver().listening() as receiver, tracing(receiver) as watcher:
        guard = Guard([watcher], connection=limits)
        module: Any = import_module("mcp.client.streamable_http")
        transport = module.streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=noting(sent))
        async with session_on(guard, transport) as session:
            await session.call_tool("echo", {"text": "first"})
            await session.call_tool("echo", {"text": "second"})
    line = {
        "network.protocol.name": "http",
        "network.transport": "tcp",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert len({session_id for session_id, _ in sent}) == 1
    assert about_the_line(receiver) == [
        {
            "jsonrpc.request.id": request_id,
            **({} if limits is None else {"mcp.session.id": session_id}),
            **line,
        }
        for session_id, request_id in sent
    ]


async def test_a_call_over_sse_names_the_host() -> None:
    """HTTP with SSE has a session in its URL only, which is not shown."""
    with serving("sse") as port, Receiver().listening() as receiver, tracing(receiver) as watcher:
        guard = Guard([watcher], connection=ConnectionLimits())
        async with session_on(guard, sse_client(f"http://127.0.0.1:{port}/sse")) as session:
            await session.call_tool("echo", {"text": "hello"})
    (told,) = about_the_line(receiver)
    assert (told["network.transport"], told["server.address"], told["server.port"]) == (
        "tcp",
        "127.0.0.1",
        port,
    )
    assert "mcp.session.id" not in told


@pytest.mark.parametrize("limits", [ConnectionLimits(), None], ids=["limited", "unlimited"])
async def test_a_call_on_stdio_goes_over_a_pipe(limits: ConnectionLimits | None) -> None:
    """No address, no port, no session: there are none."""
    with Receiver().listening() as receiver, tracing(receiver) as watcher:
        server = StdioServerParameters(command=sys.executable, args=[SCRIPT, "stdio"])
        async with session_on(Guard([watcher], connection=limits), stdio_client(server)) as session:
            await session.call_tool("echo", {"text": "hello"})
    (told,) = about_the_line(receiver)
    assert told.pop("jsonrpc.request.id").isdecimal()
    assert told == {"network.transport": "pipe"}


@pytest.mark.skipif(V1, reason="SDK 1.x has no Client")
async def test_a_client_on_a_url_or_a_command_names_its_line() -> None:
    """`guard.client` takes what `mcp.Client` takes."""
    with serving("http") as port, Receiver().listening() as receiver, tracing(receiver) as watcher:
        guard = Guard([watcher], connection=ConnectionLimits())
        command = StdioServerParameters(command=sys.executable, args=[SCRIPT, "stdio"])
        for server in (f"http://127.0.0.1:{port}/mcp", stdio_client(command)):
            async with guard.client(server, name="real") as client:
                await client.call_tool("echo", {"text": "hello"})
    web, pipe = about_the_line(receiver)
    assert (web["network.transport"], web["server.port"]) == ("tcp", port)
    assert pipe["network.transport"] == "pipe"


async def test_a_hub_names_the_lines_of_its_members() -> None:
    """A hub opens by itself what it is given."""
    with serving("http") as port, Receiver().listening() as receiver, tracing(receiver) as watcher:
        guard = Guard([watcher], connection=ConnectionLimits())
        async with guard.hub({"web": f"http://127.0.0.1:{port}/mcp"}) as hub, client(hub.server()) as peer:
            await peer.call("web__echo", {"text": "hello"})
    assert [one["server.port"] for one in about_the_line(receiver)] == [port]


async def test_streams_of_unknown_origin_have_a_request_and_no_line() -> None:
    """Whoever hands over streams has not said what is behind them."""
    server = FakeServer()
    server.tool("echo").returns("fine")
    with Receiver().listening() as receiver, tracing(receiver) as watcher:
        guard = Guard([watcher])
        async with (
            server.connect() as streams,
            guard.session(ClientSession(*streams[:2]), name="fake") as session,
        ):
            await session.initialize()
            await session.call_tool("echo", {})
    (told,) = about_the_line(receiver)
    assert list(told) == ["jsonrpc.request.id"]


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("https://tools.example/mcp", "tools.example", 443),
        ("http://user:word@tools.example:8080/mcp?token=one#two", "tools.example", 8080),
        ("http://[::1]:9/mcp", "::1", 9),
        ("http://tools.example:99999/mcp", None, None),
        ("http://[::1/mcp", None, None),
        ("tools.example", None, None),
        (None, None, None),
    ],
)
def test_nothing_of_a_url_but_host_and_port_is_known(url: Any, address: str | None, port: int | None) -> None:
    """A URL can hold a password or a token; one that cannot be read says nothing."""
    line = line_to(url)
    assert (line.transport, line.address, line.port, line.session) == ("tcp", address, port, None)


def test_what_the_sdk_did_not_make_says_nothing() -> None:
    """Somebody else's context manager may have parameters of the same names that mean other things."""

    @asynccontextmanager
    async def elsewhere(url: str) -> AsyncIterator[None]:
        yield

    for server in (elsewhere("http://tools.example"), object(), FakeServer(), None):
        assert line_of(server).transport is None
