"""A guarded transport over HTTP, between servers and sessions of the SDK, in each era."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import anyio
import pytest
from harness import V1, Checking, text, watching, wire
from line import CALLS
from mcp import ClientSession

from mcpguard import Call, ConnectionLimits, Fate, Guard, Outcome, Rewrite
from mcpguard.core.verdict import Verdict
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    # The SDK's own HTTP clients leave generators to the garbage collector on trio.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SERVER = """
import socket
from importlib.metadata import version
from typing import Annotated

import anyio
import uvicorn
from pydantic import BaseModel, Field

if version("mcp").startswith("1."):
    from mcp.server.fastmcp import Context, FastMCP as App
else:
    from mcp.server.mcpserver import Context, MCPServer as App

app = App("web")
ended = []

class Name(BaseModel):
    name: str

@app.tool()
async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("name?", Name)
    return f"{answer.action} {getattr(getattr(answer, 'data', None), 'name', None)}"

@app.tool()
def lookup(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], ssn: str) -> str:
    return f"{region} {ssn}"

@app.tool()
async def hang(ctx: Context) -> str:
    try:
        await ctx.report_progress(1, 2)
        await anyio.sleep_forever()
    finally:
        ended.append("hang")

@app.tool()
def endings() -> int:
    return len(ended)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app.streamable_http_app(), log_level="error")).run(sockets=[listening])
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a server process can be reached."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.terminate()


def over_http(guard: Guard, url: str) -> Any:
    """A guarded transport to a URL."""
    made = import_module("mcp.client.streamable_http").streamable_http_client(url)
    return guard.transport(made, name="web")


@pytest.fixture(params=[False] if V1 else [False, True], ids=lambda modern: "modern" if modern else "legacy")
def on_web(request: pytest.FixtureRequest, url: str) -> Callable[..., Any]:
    """Connects to the server over HTTP, in each era the SDK speaks."""

    @asynccontextmanager
    async def connected(guard: Guard, **callbacks: Any) -> AsyncIterator[ClientSession]:
        if request.param:
            async with import_module("mcp").Client(over_http(guard, url), cache=None, **callbacks) as client:
                yield client.session
        else:
            async with over_http(guard, url) as streams:
                async with ClientSession(*streams[:2], **callbacks) as session:
                    await session.initialize()
                    yield session

    return connected


async def test_a_question_over_http_belongs_to_the_call_it_interrupts(
    url: str, way: Callable[..., Any]
) -> None:
    """It comes on the stream of that call's own request; the answer goes back by a request of its own."""
    seen = watching()
    guard = Guard([seen, way({("elicitation/create", "inbound")})])
    async with over_http(guard, url) as streams, guard.run(id="mine"):
        async with ClientSession(*streams[:2], elicitation_callback=_ada) as session:
            await session.initialize()
            assert text(wire(await session.call_tool("greet", {}))) == "accept Ada"
    called = next(call for call in seen.seen if call.method == "tools/call")
    asked = next(call for call in seen.seen if call.method == "elicitation/create")
    assert (asked.parent, asked.run) == (called.id, called.run)
    assert called.run is not None
    assert called.run.id == "mine"


async def _ada(context: Any, params: Any) -> Any:
    return import_module("mcp.types").ElicitResult(action="accept", content={"name": "Ada"})


async def test_a_real_server_accepts_the_headers_of_a_rewritten_call(
    on_web: Callable[..., Any], way: Callable[..., Any]
) -> None:
    """On 2026-07-28 it compares them with the body, and refuses what differs."""

    def check(call: Call) -> Verdict:
        return Rewrite({**call.params, "name": "lookup", "arguments": {"region": "eu", "ssn": "***"}})

    async with on_web(Guard([way(), Checking(check, CALLS)])) as session:
        await session.list_tools()
        for tool in ("lookup", "alias"):
            called = await session.call_tool(tool, {"region": "us", "ssn": "078-05-1120"})
            assert text(wire(called)) == "eu ***"


async def test_a_call_given_up_over_http_ends_at_the_server(
    on_web: Callable[..., Any], way: Callable[..., Any]
) -> None:
    """By a notification, or on 2026-07-28 by closing the request; the session goes on."""
    async with on_web(Guard([way()])) as session:
        before = int(text(wire(await session.call_tool("endings", {}))))
        async with anyio.create_task_group() as tasks:
            started = anyio.Event()

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                started.set()

            async def call() -> None:
                await session.call_tool("hang", {}, progress_callback=on_progress)

            tasks.start_soon(call)
            await started.wait()
            tasks.cancel_scope.cancel()
        if V1:
            types = import_module("mcp.types")
            given_up = types.CancelledNotificationParams(requestId=session._request_id - 1)
            cancelled = types.CancelledNotification(params=given_up)
            await session.send_notification(types.ClientNotification(cancelled))
        with anyio.fail_after(10):
            while int(text(wire(await session.call_tool("endings", {})))) == before:
                pass


async def test_a_server_that_is_not_there_is_recorded_as_one_that_got_nothing() -> None:
    """Within limits; without, the SDK's transport cancels whoever waits, and tells the reason afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
        sink = RecordingSink()
        guard = Guard(sinks=[sink], connection=ConnectionLimits())
        with pytest.raises(ExceptionGroup):  # the SDK's own groups pass it on
            async with over_http(guard, url) as streams, ClientSession(*streams[:2]) as session:
                await session.initialize()
    ended = [event for event in sink.events if event.kind in ("completed", "cancelled")]
    assert [(one.outcome, one.fate) for one in ended] == [(Outcome.TRANSPORT_ERROR, Fate.NOT_SENT)]
