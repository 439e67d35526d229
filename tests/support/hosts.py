"""What every framework's integration must hold to, whatever the framework calls it.

A test module of `tests/integrations` has a fixture `host`, and imports the tests from here. `Host` is what a
framework is reduced to: the tools its model is offered, and what its model reads when it calls one.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import Guard, Principal
from mcpguard.core.wire import LIFECYCLE
from mcpguard.testing import RecordingSink

__all__ = [
    "Face",
    "Host",
    "Server",
    "bare_session",
    "parameters",
    "test_a_denied_call_is_an_answer_that_the_model_can_read",
    "test_a_run_on_a_background_thread_is_guarded",
    "test_an_allowed_call_is_carried_out",
    "test_calls_at_the_same_time_are_all_guarded",
    "test_the_example_is_an_agent_that_goes_on_after_a_refusal",
    "test_the_model_is_offered_what_the_policy_allows",
    "test_what_reaches_the_server_is_in_the_record",
    "test_without_a_guard_the_same_call_reaches_the_server",
]

SCRIPT = str(Path(__file__).with_name("wire_server.py"))

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"

POLICY = """
version: 1
servers:
  wire: {}
interceptors:
  access:
    default: deny
    allow:
      - {servers: [wire], tools: [echo, count, wipe], roles: [clerk]}
      - {servers: [wire], methods: ["*/list", "resources/*", "prompts/*"]}
  argument_rules:
    rules:
      - {tools: [wipe], arguments: {text: {values: [nothing]}}}
  budget: {per: run, calls: 40}
"""
"""The one policy for all frameworks. A call outside a run is denied, so a run that gets lost is noticed."""

ANA = Principal(user="ana", tenant="acme", roles=frozenset({"clerk"}))


@dataclass
class Server:
    """One server process, or how to start it.

    Args:
        log: The file that it writes what it gets to.
        url: Where it listens; None: it is started by whoever talks to it, on stdio.
    """

    log: Path
    url: str | None = None
    command: str = sys.executable
    args: list[str] = field(default_factory=list)

    def got(self) -> list[dict[str, Any]]:
        """Every message that has reached it, in order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def called(self) -> list[str]:
        """The tools that were called, in order."""
        return [one["params"]["name"] for one in self.got() if one.get("method") == "tools/call"]


def parameters(server: Server) -> Any:
    """What integrations take that open the session: a URL, or how to start a process."""
    if server.url is not None:
        return server.url
    return StdioServerParameters(command=server.command, args=server.args)


@asynccontextmanager
async def bare_session(server: Server) -> AsyncIterator[Any]:
    """A session of the SDK's, with nothing around it."""
    made = parameters(server)
    if isinstance(made, str):
        module = import_module("mcp.client.streamable_http")
        transport = (getattr(module, "streamable_http_client", None) or module.streamablehttp_client)(made)
    else:
        transport = stdio_client(made)
    async with transport as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        yield session


class Face(Protocol):
    """What a framework's model sees of a server."""

    async def tools(self) -> list[str]:
        """The names of the tools that it is offered."""
        ...

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """What it reads when it calls a tool, errors included."""
        ...


Host = Callable[[Guard | None, Server], AbstractAsyncContextManager[Face]]
"""Opens a server the way an integration's page shows; without a guard, the way the framework's does."""


@pytest.fixture
def anyio_backend() -> str:
    """The frameworks run on asyncio."""
    return "asyncio"


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server, on each of the two wires."""
    log = tmp_path / "wire.jsonl"
    if request.param == "stdio":
        yield Server(log, args=[SCRIPT, str(log), "stdio"])
        return
    command = [sys.executable, SCRIPT, str(log), "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        yield Server(log, url=f"http://127.0.0.1:{port}/mcp")
        process.terminate()


@pytest.fixture
def sink() -> RecordingSink:
    """The record."""
    return RecordingSink()


@pytest.fixture
def guard(tmp_path: Path, sink: RecordingSink) -> Guard:
    """A guard with the policy."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return Guard.from_policy(path, sinks=[sink])


@asynccontextmanager
async def working(host: Host, guard: Guard, server: Server) -> AsyncIterator[Face]:
    """A run of the guard's, with the server open in it."""
    async with guard.run(id="task", principal=ANA), host(guard, server) as face:
        yield face


async def test_the_model_is_offered_what_the_policy_allows(host: Host, guard: Guard, server: Server) -> None:
    """Denied tools are in no list."""
    async with working(host, guard, server) as face:
        assert sorted(await face.tools()) == ["count", "echo", "wipe"]


async def test_an_allowed_call_is_carried_out(
    host: Host, guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """And recorded, on behalf of whoever it is for."""
    async with working(host, guard, server) as face:
        assert "echo: hello" in await face.call("echo", {"text": "hello"})
    done = next(event for event in sink.of("completed") if event.method == "tools/call")
    assert (done.run_id, done.user, done.tenant, done.server) == ("task", "ana", "acme", "wire")


async def test_a_denied_call_is_an_answer_that_the_model_can_read(
    host: Host, guard: Guard, server: Server
) -> None:
    """It says so in a sentence with a code, the server hears nothing, and the agent goes on."""
    async with working(host, guard, server) as face:
        said = await face.call("wipe", {"text": "all"})
        assert "not acceptable" in said
        assert "argument_refused" in said
        assert "echo: on" in await face.call("echo", {"text": "on"})
    assert server.called() == ["echo"]


async def test_calls_at_the_same_time_are_all_guarded(host: Host, guard: Guard, server: Server) -> None:
    """Models call several tools at once."""
    async with working(host, guard, server) as face:
        names = ["echo", "wipe"] * 8
        calls = [face.call(name, {"text": f"<{number}>"}) for number, name in enumerate(names)]
        said = await asyncio.gather(*calls)
    for number, name in enumerate(names):
        assert (f"echo: <{number}>" if name == "echo" else "argument_refused") in said[number]
    assert server.called() == ["echo"] * 8


async def test_what_reaches_the_server_is_in_the_record(
    host: Host, guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """No way around: each request that the server got was sent by the guard.

    But for lists: the SDK fetches one for itself to validate a result. Filters look at it; it is nobody's call.
    """
    async with working(host, guard, server) as face:
        await face.tools()
        await face.call("count", {})
        await face.call("echo", {"text": "hello"})
        await face.call("wipe", {"text": "all"})
    got = sorted(one["method"] for one in server.got() if "id" in one and one["method"] not in LIFECYCLE)
    sent = sorted(event.method for event in sink.of("dispatched") if event.method not in LIFECYCLE)
    assert [method for method in got if method != "tools/list"] == [
        one for one in sent if one != "tools/list"
    ]
    assert got.count("tools/list") >= sent.count("tools/list") >= 1
    assert got.count("tools/call") == 2


async def test_without_a_guard_the_same_call_reaches_the_server(host: Host, server: Server) -> None:
    """What the others show is the guard's doing, not the framework's."""
    async with host(None, server) as face:
        assert sorted(await face.tools()) == ["count", "delete", "echo", "wipe"]
        assert "delete: all" in await face.call("delete", {"text": "all"})
        assert "wipe: all" in await face.call("wipe", {"text": "all"})
    assert server.called() == ["delete", "wipe"]


async def test_a_run_on_a_background_thread_is_guarded(
    host: Host, guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Servers, workers and notebooks run agents on threads of their own."""
    said: list[str] = []

    async def work() -> None:
        async with working(host, guard, server) as face:
            said.append(await face.call("echo", {"text": "hello"}))
            said.append(await face.call("wipe", {"text": "all"}))

    await in_thread(work)
    assert "echo: hello" in said[0]
    assert "argument_refused" in said[1]
    assert {event.run_id for event in sink.events if event.method == "tools/call"} == {"task"}


def test_the_example_is_an_agent_that_goes_on_after_a_refusal(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A whole loop of the framework's, with a script in place of its model and a real server, as a person runs it."""
    name = request.module.__name__.rpartition("test_")[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}_agent.py")],
        cwd=tmp_path,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.partition(":")[0].endswith("_ticket")]
    assert [line.partition(":")[0] for line in told] == ["open_ticket", "close_ticket", "get_ticket"]
    assert "argument_refused" in told[1]
    assert "open: Printer" in told[2]


async def in_thread(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` in an event loop of its own, on another thread that inherits nothing."""
    failed: list[BaseException] = []

    def main() -> None:
        try:
            asyncio.run(work())  # type: ignore[arg-type]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    await asyncio.to_thread(thread.join)
    if failed:
        raise failed[0]
