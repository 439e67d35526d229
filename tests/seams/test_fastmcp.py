"""The FastMCP seam, through `fastmcp.Client` and past it; for FastMCP 3 and 4, whichever is installed."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp.types as types
import pytest
from harness import V1, Around, Checking, Filtering, code, denying, watching, wire

from mcpguard import ALLOW, Access, AccessRule, Call, Deny, Guard, Principal, Result, SeamError, Tracing
from mcpguard.core.verdict import Verdict
from mcpguard.seams.session import CACHE_BLIND_SPOT

fastmcp = pytest.importorskip("fastmcp")

from fastmcp import Client, Context, FastMCP  # noqa: E402
from fastmcp.client.transports import (  # noqa: E402
    ClientTransport,
    FastMCPTransport,
    PythonStdioTransport,
    StreamableHttpTransport,
)

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:.*is deprecated as of")]

LEGACY: dict[str, Any] = {} if V1 else {"mode": "legacy"}
MODES = [LEGACY] if V1 else [LEGACY, {"mode": "auto"}]


@pytest.fixture
def anyio_backend() -> str:
    """FastMCP runs on asyncio only."""
    return "asyncio"


@pytest.fixture(params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The eras that the installed FastMCP speaks."""
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture
def server() -> Any:
    """A FastMCP server that adds, removes, reports and asks."""
    made = FastMCP("calculator")

    @made.tool
    def add(a: int, b: int) -> int:
        return a + b

    @made.tool
    def remove(path: str) -> str:
        removed.append(path)
        return "removed"

    @made.tool
    async def count(to: int, ctx: Context) -> int:
        for number in range(to):
            await ctx.report_progress(number + 1, to)
        return to

    removed: list[str] = []
    made.removed = removed  # type: ignore[attr-defined]
    return made


@pytest.fixture
def asking() -> Any:
    """A FastMCP server that asks its client, by requests of its own."""
    made = FastMCP("asking")

    @made.tool
    async def greet(ctx: Context) -> str:
        answer = await ctx.elicit("name?", response_type=str)
        return f"{answer.action}: {getattr(answer, 'data', None)}"

    @made.tool
    async def think(ctx: Context) -> str:
        asked = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="2+2?"))
        answer: Any = await ctx.session.create_message([asked], max_tokens=10)
        return str(answer.content.text)

    return made


@asynccontextmanager
async def connected(guard: Guard, server: Any, **options: Any) -> AsyncIterator[Any]:
    """A FastMCP client on a guarded transport."""
    async with Client(guard.fastmcp_transport(server, name="calculator"), **options) as client:
        yield client


async def test_a_client_lists_and_calls_as_ever(server: Any, mode: dict[str, Any]) -> None:
    """Transparent, and everything passes the chain."""
    seen = watching()
    async with connected(Guard([seen]), server, **mode) as client:
        assert {tool.name for tool in await client.list_tools()} == {"add", "remove", "count"}
        assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 3
    assert {"tools/list", "tools/call"} <= set(seen.methods())


async def test_a_denied_call_never_reaches_the_server(server: Any, mode: dict[str, Any]) -> None:
    """As everywhere, an error result that the agent can read."""
    async with connected(Guard([denying("remove")]), server, **mode) as client:
        refused = await client.call_tool("remove", {"path": "/"}, raise_on_error=False)
        assert refused.is_error
        assert refused.content[0].text == "Not here. [not_here]"
    assert server.removed == []


async def test_without_a_guard_the_same_call_reaches_the_server(server: Any, mode: dict[str, Any]) -> None:
    """The promise above is the guard's doing."""
    async with connected(Guard(), server, **mode) as client:
        await client.call_tool("remove", {"path": "/"})
    assert server.removed == ["/"]


async def test_a_framework_that_goes_past_the_client_is_guarded(server: Any, mode: dict[str, Any]) -> None:
    """Framework trap 1: `langchain.mcp` calls `client.session.call_tool` itself."""
    async with connected(Guard([denying("remove")]), server, **mode) as client:
        assert code(wire(await client.session.call_tool("remove", {"path": "/"}))) == "not_here"
        assert code(wire(await client.call_tool_mcp("remove", {"path": "/"}))) == "not_here"
    assert server.removed == []


async def test_denied_tools_leave_the_list(server: Any, mode: dict[str, Any]) -> None:
    """Access through FastMCP: what is denied is not advertised."""
    guard = Guard([Access(default="deny", allow=[AccessRule(tools=["add"])])])
    async with connected(guard, server, **mode) as client:
        assert [tool.name for tool in await client.list_tools()] == ["add"]


async def test_progress_passes_the_chain(server: Any, mode: dict[str, Any]) -> None:
    """And what is dropped is not reported."""

    def check(call: Call) -> Verdict:
        is_second = call.method == "notifications/progress" and call.params["progress"] == 2
        return Deny("dropped", reason="test") if is_second else ALLOW

    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with connected(Guard([Checking(check)]), server, **mode) as client:
        assert (await client.call_tool("count", {"to": 3}, progress_handler=on_progress)).data == 3
        await client.list_tools()
    assert told == [1, 3]


async def _name(message: str, response_type: Any, params: Any, context: Any) -> Any:
    return "Ada"


async def _four(messages: Any, params: Any, context: Any) -> str:
    return "Four."


async def test_what_a_server_asks_passes_the_chain_inbound(asking: Any) -> None:
    """Sampling and elicitation, around handlers that FastMCP wraps."""
    seen = watching()
    layer = Around(lambda call, call_next: call_next(call), {("elicitation/create", "inbound")})
    async with connected(
        Guard([seen, layer]), asking, elicitation_handler=_name, sampling_handler=_four, **LEGACY
    ) as client:
        assert (await client.call_tool("greet")).data == "accept: Ada"
        assert (await client.call_tool("think")).data == "Four."
    inbound = [call.method for call in seen.seen if call.direction == "inbound" and not call.is_notification]
    assert inbound == ["elicitation/create", "sampling/createMessage"]
    assert len(layer.results) == 1


async def test_what_a_server_must_not_ask_is_declined(asking: Any) -> None:
    """The handler is never called, and the call survives."""
    asked: list[str] = []

    async def never(*_args: Any) -> Any:
        asked.append("asked")

    guard = Guard([denying(methods=["elicitation/create"], direction="inbound")])
    async with connected(guard, asking, elicitation_handler=never, **LEGACY) as client:
        assert (await client.call_tool("greet")).data.startswith("decline")
    assert asked == []


async def test_an_answer_passes_the_filters(server: Any, mode: dict[str, Any]) -> None:
    """A filter's result is what FastMCP parses."""

    def look(call: Call, result: Result) -> Result:
        if call.target != "add" or result.value is None:
            return result
        return result.replace(value={**result.value, "structuredContent": {"result": 4}})

    async with connected(Guard([Filtering(look)]), server, **mode) as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 4


async def test_a_client_is_entered_again(server: Any, mode: dict[str, Any]) -> None:
    """Each time a session of its own, guarded like the first; nested, the same one."""
    guard = Guard([denying("remove")])
    client = Client(guard.fastmcp_transport(server, name="calculator"), **mode)
    for _ in range(2):
        async with client, client:
            assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 3
            assert code(wire(await client.session.call_tool("remove", {"path": "/"}))) == "not_here"
    assert server.removed == []


async def test_two_clients_share_a_transport(server: Any, mode: dict[str, Any]) -> None:
    """`Client.new()` makes another client on the same transport."""
    guard = Guard([denying("remove")])
    first = Client(guard.fastmcp_transport(server, name="calculator"), **mode)
    async with first, first.new() as second:
        for client in (first, second):
            assert code(wire(await client.session.call_tool("remove", {"path": "/"}))) == "not_here"


async def test_a_call_belongs_to_the_run_of_its_context(server: Any, mode: dict[str, Any]) -> None:
    """Trap 9: FastMCP's session lives in a task of its own, in the context of whoever connected."""
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen])
    async with guard.run(id="connecting"), connected(guard, server, **mode) as client:
        async with guard.run(id="working", principal=Principal(user="ada")) as run:
            await client.call_tool("add", {"a": 1, "b": 2})
            run.close()
            assert code(wire(await client.session.call_tool("add", {"a": 1, "b": 2}))) == "run_closed"
    assert [call.run and call.run.id for call in seen.seen] == ["working"]


async def test_a_session_is_guarded_before_it_is_entered(server: Any) -> None:
    """On FastMCP 4 by the class it builds; on 3 it makes no difference. Only a client's cache is above it."""
    guard = Guard([seen := watching({("initialize", "outbound")})])
    async with connected(guard, server, **LEGACY):
        (connection,) = guard.coverage().connections
    assert (connection.server, connection.seam, connection.blind_spots) == (
        "calculator",
        "fastmcp_transport",
        () if V1 else (CACHE_BLIND_SPOT,),
    )
    assert seen.methods() == ["initialize"]


async def test_a_transport_that_does_not_ask_for_a_session_class_is_guarded_when_entered(server: Any) -> None:
    """Somebody else's transport may know nothing of FastMCP 4's options; on SDK 2.x it has blind spots."""

    class Theirs(ClientTransport):
        @asynccontextmanager
        async def connect_session(self, **session_kwargs: Any) -> AsyncIterator[Any]:
            async with FastMCPTransport(server).connect_session(**session_kwargs) as session:
                yield session

    guard = Guard([denying("remove")])
    async with connected(guard, Theirs()) as client:
        assert code(wire(await client.session.call_tool("remove", {"path": "/"}))) == "not_here"
        (connection,) = guard.coverage().connections
    assert bool(connection.blind_spots) == (not V1)


@pytest.mark.skipif(V1, reason="FastMCP 4's options")
async def test_the_session_class_that_a_host_asks_for_is_kept(server: Any) -> None:
    """A proxy brings a session class of its own; its guarded subclass is what is built."""
    from fastmcp.client.transports.base import TransportOptions
    from mcp import ClientSession

    class Theirs(ClientSession):
        pass

    transport = Guard([denying("remove")]).fastmcp_transport(server, name="calculator")
    classes = set()
    for _ in range(2):
        options = TransportOptions(session_class=Theirs)
        async with transport.connect_session(transport_options=options) as session:
            assert isinstance(session, Theirs)
            classes.add(type(session))
    assert len(classes) == 1, "transports that keep a session compare the options it was built for"


SCRIPT = """
import os
from fastmcp import FastMCP

server = FastMCP("process")

@server.tool
def pid() -> int:
    return os.getpid()

@server.tool
def remove() -> str:
    return "removed"

server.run(show_banner=False)
"""


async def test_a_process_that_is_kept_alive_is_guarded_once(tmp_path: Path) -> None:
    """FastMCP's stdio transports give the same session to each client that connects."""
    script = tmp_path / "server.py"
    script.write_text(SCRIPT)
    guard = Guard([seen := watching({("tools/call", "outbound")}), denying("remove")])
    transport = guard.fastmcp_transport(PythonStdioTransport(script), name="process")
    try:
        pids = set()
        for _ in range(2):
            async with Client(transport) as client:
                pids.add((await client.call_tool("pid")).data)
                assert code(wire(await client.session.call_tool("remove", {}))) == "not_here"
        assert len(pids) == 1
        assert len(seen.seen) == 4, "each call meets the chain once"
    finally:
        await transport.close()


HTTP_SCRIPT = """
import socket
import uvicorn
from fastmcp import FastMCP

server = FastMCP("web")

@server.tool
def add(a: int, b: int) -> int:
    return a + b

@server.tool
def remove() -> str:
    return "removed"

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(server.http_app(), log_level="error")).run(sockets=[listening])
"""


@pytest.fixture
def web() -> Iterator[str]:
    """The URL of a FastMCP server in a process of its own."""
    command = [sys.executable, "-c", HTTP_SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.terminate()


async def test_a_url_is_guarded(web: str, mode: dict[str, Any]) -> None:
    """What FastMCP infers a transport from may be given; its HTTP options go on working."""
    guard = Guard([denying("remove")])
    transport = guard.fastmcp_transport(web, name="web")
    assert isinstance(transport, StreamableHttpTransport)
    async with Client(transport, auth="token", verify=False, **mode) as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 3
        assert code(wire(await client.session.call_tool("remove", {}))) == "not_here"


async def test_a_span_names_the_line_of_a_url(web: str, mode: dict[str, Any]) -> None:
    """What FastMCP's transport knows of where it goes, the guard knows."""
    exporter = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter"
    ).InMemorySpanExporter()
    tracers = pytest.importorskip("opentelemetry.sdk.trace").TracerProvider(shutdown_on_exit=False)
    processor = pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor(exporter)
    tracers.add_span_processor(processor)
    guard = Guard([Tracing(tracer_provider=tracers)])
    async with Client(guard.fastmcp_transport(web, name="web"), **mode) as client:
        await client.call_tool("add", {"a": 1, "b": 2})
    (span,) = (span for span in exporter.get_finished_spans() if span.name == "execute_tool add")
    assert span.attributes["network.transport"] == "tcp"
    assert web.startswith(f"http://{span.attributes['server.address']}:{span.attributes['server.port']}/")
    assert span.attributes["jsonrpc.request.id"].isdecimal()


async def test_several_servers_of_one_configuration_are_one_server(
    tmp_path: Path, mode: dict[str, Any]
) -> None:
    """FastMCP puts them behind one session, under names with the server's before the tool's."""
    script = tmp_path / "server.py"
    script.write_text(SCRIPT)
    process = {"command": sys.executable, "args": [str(script)]}
    guard = Guard([denying("b_remove")])
    config = {"mcpServers": {"a": process, "b": process}}
    async with connected(guard, config, **mode) as client:
        assert {tool.name for tool in await client.list_tools()} == {"a_pid", "a_remove", "b_pid", "b_remove"}
        assert code(wire(await client.session.call_tool("b_remove", {}))) == "not_here"
        assert code(wire(await client.session.call_tool("a_remove", {}))) is None
        assert [one.server for one in guard.coverage().connections] == ["calculator"]


async def test_a_second_guard_on_a_transport_is_an_error(server: Any) -> None:
    """Design, seams: all interceptors go into one guard."""
    guard = Guard()
    transport = guard.fastmcp_transport(FastMCPTransport(server), name="calculator")
    with pytest.raises(SeamError, match="guarded already"):
        Guard().fastmcp_transport(transport, name="calculator")


async def test_what_fastmcp_infers_no_transport_from_is_refused_by_it() -> None:
    """FastMCP's own words say what it takes."""
    with pytest.raises(ValueError, match="transport"):
        Guard().fastmcp_transport(object(), name="calculator")


async def test_a_server_needs_a_name(server: Any) -> None:
    """What a server says of itself is a label, never an identity."""
    with pytest.raises(ValueError, match="name="):
        Guard().fastmcp_transport(server, name="")


TRACED = """
import anyio
from fastmcp import Client, FastMCP
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mcpguard import Guard, Tracing

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


async def main():
    server = FastMCP("files")

    @server.tool
    def read(path: str) -> str:
        return path

    async with Client(Guard([Tracing()]).fastmcp_transport(server, name="files")) as client:
        await client.call_tool("read", {"path": "x"})


anyio.run(main)
spans = [span for span in exporter.get_finished_spans() if "read" in span.name]
print(*sorted(span.instrumentation_scope.name for span in spans if span.kind.name != "SERVER"))
print(*(span.name for span in spans if "mcpguard.call.id" in span.attributes))
"""


def test_fastmcps_own_span_is_added_to_and_none_is_doubled() -> None:
    """FastMCP opens one around each call, which is the one that the conventions ask for."""
    pytest.importorskip("opentelemetry.sdk.trace")
    ran = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    scopes, ours = ran.stdout.splitlines()
    assert scopes in ("fastmcp", "fastmcp mcp-python-sdk")
    assert ours == "tools/call read"
