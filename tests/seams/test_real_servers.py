"""Real servers over real wires: a process on stdio, and HTTP on the loopback, through each seam."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, denying, text, watching, wire
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import Guard

SCRIPT = str(Path(__file__).parents[1] / "support" / "real_server.py")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", params=["http", "sse"])
def web(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A server process on a free port: its kind and URL."""
    kind: str = request.param
    command = [sys.executable, SCRIPT, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield kind, f"http://127.0.0.1:{port}/{'mcp' if kind == 'http' else 'sse'}"
        process.terminate()


def http_transport(kind: str, url: str) -> Any:
    """The SDK's client transport for a URL; what it is called differs between releases."""
    if kind == "sse":
        return import_module("mcp.client.sse").sse_client(url)
    module = import_module("mcp.client.streamable_http")
    return getattr(module, "streamable_http_client", None)(url)


@asynccontextmanager
async def session_on(guard: Guard, transport: Any, seam: str) -> AsyncIterator[Any]:
    """An initialised session on a transport, guarded at one of two seams."""
    if seam == "transport":
        transport = guard.transport(transport, name="real")
    async with transport as streams:
        session = ClientSession(streams[0], streams[1])
        if seam == "session":
            guard.session(session, name="real")
        async with session:
            await session.initialize()
            yield session


async def work(session: Any, seen: Any) -> None:
    """What an agent does, and what it must not."""
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    listed = {tool.name for tool in (await session.list_tools()).tools}
    assert listed == {"echo", "count"}
    assert text(wire(await session.call_tool("count", {"to": 3}, progress_callback=on_progress))) == "3"
    refused = wire(await session.call_tool("echo", {"text": "hello"}))
    assert refused["isError"] is True
    assert refused["_meta"]["mcpguard/denial"] == {"code": "not_here"}
    with anyio.fail_after(10):
        while seen.methods().count("notifications/progress") < 3:
            await anyio.lowlevel.checkpoint()
    assert set(told) <= {1, 2, 3}, "over HTTP an answer may overtake progress, which the SDK then drops"


@pytest.mark.parametrize("seam", ["session", "transport"])
async def test_a_process_on_stdio_is_guarded(seam: str) -> None:
    """The most used wire."""
    guard = Guard([seen := watching(), denying("echo")])
    server = StdioServerParameters(command=sys.executable, args=[SCRIPT, "stdio"])
    async with session_on(guard, stdio_client(server), seam) as session:
        await work(session, seen)


@pytest.mark.parametrize("seam", ["session", "transport"])
async def test_a_server_on_http_is_guarded(web: tuple[str, str], seam: str) -> None:
    """Streamable HTTP, and the SSE it replaced."""
    guard = Guard([seen := watching(), denying("echo")])
    async with session_on(guard, http_transport(*web), seam) as session:
        await work(session, seen)


@pytest.mark.skipif(V1, reason="SDK 1.x has no Client")
async def test_a_client_on_a_url_is_guarded(web: tuple[str, str]) -> None:
    """`guard.client` takes what `mcp.Client` takes."""
    kind, url = web
    guard = Guard([seen := watching(), denying("echo")])
    async with guard.client(url if kind == "http" else http_transport(kind, url), name="real") as client:
        await work(client, seen)
