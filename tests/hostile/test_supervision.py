"""A connection that is lost and comes back: what was in flight fails once, and what follows is answered."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import NOWHERE, http_server, transport_to
from harness import V1, MCPError
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import Call, ConnectionLimits, Fate, Guard, Interceptor, Outcome, Result
from mcpguard.core.interceptor import CallNext
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PATIENCE = 60.0
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a session of SDK 1.x raises once it has been told of the end."""

SERVER = """
import json, os, signal, sys
from pathlib import Path
told, life = Path(sys.argv[1]), sys.argv[2]
births = len(told.read_text().split("born")) if told.exists() else 1
def note(what):
    with told.open("a") as file: file.write(what + "\\n")
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
note("born")
if life == "born dead" and births > 1: os._exit(1)
while life == "silent" and births > 1: sys.stdin.read() or os._exit(0)
if life == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    m = json.loads(line)
    id, method, params = m.get("id"), m.get("method"), m.get("params") or {}
    note(str(method) + (" " + params["uri"] if "uri" in params else ""))
    if life == "asks" and method == "notifications/initialized": say(id="q", method="roots/list")
    if life == "asks" and method is None: note("roots answered")
    if id is None or method is None: continue
    if method == "initialize":
        name = "raw" if life != "changes" or births == 1 else "other"
        say(id=id, result={"protocolVersion": "2025-06-18", "serverInfo": {"name": name, "version": "1"},
            "capabilities": {"tools": {}, "resources": {"subscribe": True}, "logging": {}}})
    elif method == "tools/list":
        say(id=id, result={"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in ("die", "live")]})
    elif method == "tools/call" and params["name"] == "die": os._exit(1)
    elif method == "tools/call": say(id=id, result={"content": [{"type": "text", "text": str(births)}]})
    else: say(id=id, result={})
while life == "stubborn": signal.pause()
"""

MODERN = """
import json, os, sys
from pathlib import Path
told, life = Path(sys.argv[1]), sys.argv[2]
births = len(told.read_text().split("born")) if told.exists() else 1
def note(what):
    with told.open("a") as file: file.write(what + "\\n")
def say(id, **result):
    named = {"name": "raw" if life != "changes" or births == 1 else "other", "version": "1"}
    meta = {"io.modelcontextprotocol/serverInfo": named}
    whole = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": meta, **result}
    print(json.dumps({"jsonrpc": "2.0", "id": id, "result": whole}), flush=True)
note("born")
for line in sys.stdin:
    m = json.loads(line)
    id, method = m.get("id"), m["method"]
    note(method)
    if method == "server/discover":
        say(id, supportedVersions=["2026-07-28"], capabilities={"tools": {"listChanged": True}})
    elif method == "tools/list": say(id, tools=[{"name": n, "inputSchema": {"type": "object"}} for n in ("die", "live")])
    elif method == "tools/call" and m["params"]["name"] == "die": os._exit(1)
    elif method == "tools/call": say(id, content=[{"type": "text", "text": str(births)}])
"""


@asynccontextmanager
async def session_to(told: Path, life: str = "", *, guard: Guard) -> AsyncIterator[ClientSession]:
    """A session with a server that dies when it is asked to."""
    command = StdioServerParameters(command=sys.executable, args=["-S", "-c", SERVER, str(told), life])
    changed: list[Any] = []

    async def on_message(message: Any) -> None:
        changed.append(message)

    async def roots(context: Any) -> Any:
        del context
        return import_module("mcp.types").ListRootsResult(roots=[])

    transport = guard.transport(stdio_client(command, errlog=NOWHERE), name="raw")
    async with (
        transport as (read, write, *_),
        ClientSession(read, write, message_handler=on_message, list_roots_callback=roots) as session,
    ):
        session.__dict__["changed"] = changed
        await session.initialize()
        with anyio.fail_after(PATIENCE):
            yield session


class _Watcher(Interceptor):
    """Remembers what came of a call."""

    handles = {("tools/call", "outbound")}

    def __init__(self, seen: dict[str, Result], name: str) -> None:
        super().__init__()
        self._seen, self._name = seen, name

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        result = self._seen[self._name] = await call_next(call)
        return result


def limited(**limits: Any) -> tuple[Guard, RecordingSink]:
    """A guard with limits, and its record."""
    record = RecordingSink()
    return Guard(sinks=[record], connection=ConnectionLimits(**limits)), record


def states(record: RecordingSink) -> list[str | None]:
    """What the record says of the connection, in order."""
    return [event.state for event in record.events if event.interceptor == "connection"]


def said(result: Any) -> str:
    """The text of a result."""
    text: str = result.content[0].text
    return text


async def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    """The call it died of fails, as sent; the next one is answered by its successor."""
    guard, record = limited()
    async with session_to(tmp_path / "told", guard=guard) as session:
        assert said(await session.call_tool("live", {})) == "1"
        with pytest.raises(Exception, match="whether it was carried out is unknown") as raised:
            await session.call_tool("die", {})
        assert said(await session.call_tool("live", {})) == "2"
    assert getattr(raised.value, "error").data["fate"] == "sent"  # noqa: B009 - its class differs by the SDK
    assert states(record) == ["connection_lost", "connection_restored"]


@pytest.mark.filterwarnings("ignore:.*is removed as of:Warning", "ignore:.*is deprecated as of:Warning")
async def test_nothing_is_called_a_second_time(tmp_path: Path) -> None:
    """A new connection is told of the handshake, the log level and the subscriptions, and of no call."""
    told = tmp_path / "told"
    guard, _ = limited()
    async with session_to(told, guard=guard) as session:
        await session.subscribe_resource("memo://a")  # type: ignore[arg-type]
        await session.subscribe_resource("memo://b")  # type: ignore[arg-type]
        await session.unsubscribe_resource("memo://b")  # type: ignore[arg-type]
        await session.set_logging_level("info")
        with pytest.raises(Exception, match="unknown"):
            await session.call_tool("die", {})
        await session.call_tool("live", {})
    first, second = told.read_text().split("born\n")[1:]
    assert first.count("tools/call") == 1
    assert second.split("\n")[:4] == [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe memo://a",
    ]
    assert second.count("tools/call") == 1


async def test_the_client_is_told_that_lists_may_have_changed(tmp_path: Path) -> None:
    """It lists anew, and pins are checked."""
    guard, _ = limited()
    async with session_to(tmp_path / "told", guard=guard) as session:
        with pytest.raises(Exception, match="unknown"):
            await session.call_tool("die", {})
        await session.call_tool("live", {})
        methods = [getattr(getattr(one, "root", one), "method", None) for one in session.__dict__["changed"]]
        assert "notifications/tools/list_changed" in methods


@pytest.mark.parametrize("life", ["born dead", "changes"])
async def test_a_server_that_does_not_come_back_fails_calls_unsent(life: str, tmp_path: Path) -> None:
    """After the last attempt at once; a server of another name is not the one that was lost."""
    guard, record = limited(reconnects=2)
    async with session_to(tmp_path / "told", life, guard=guard) as session:
        for _ in range(3):
            with pytest.raises((MCPError, *GONE), match=r"unknown|not sent|[Cc]losed|^$"):
                await session.call_tool("die", {})
    assert states(record)[-1] == "reconnects"
    assert (tmp_path / "told").read_text().count("tools/call") == 1
    assert (tmp_path / "told").read_text().count("born") == 3


async def test_calls_that_wait_in_vain_are_told_that_they_were_not_sent(tmp_path: Path) -> None:
    """Also those that waited when the last attempt failed."""
    guard, _ = limited(reconnects=2)
    ends: list[Any] = []
    async with session_to(tmp_path / "told", "born dead", guard=guard) as session:

        async def call(tool: str) -> None:
            try:
                await session.call_tool(tool, {})
            except MCPError as error:
                ends.append(getattr(error, "error", error).data)

        await call("die")
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(call, "live")
    assert [end["fate"] for end in ends] == ["sent", "not_sent", "not_sent", "not_sent"]


async def test_who_leaves_does_not_wait_for_a_connection_that_is_being_made(tmp_path: Path) -> None:
    """A server that is silent when it is started again."""
    guard, record = limited()
    with anyio.fail_after(PATIENCE):
        async with session_to(tmp_path / "told", "silent", guard=guard) as session:
            with pytest.raises(MCPError):
                await session.call_tool("die", {})
            while (tmp_path / "told").read_text().count("born") < 2:
                await anyio.lowlevel.checkpoint()
    assert "close_seconds" not in states(record)


@pytest.mark.filterwarnings("ignore:The logging capability is deprecated")
async def test_what_a_new_connection_asks_at_once_is_answered(tmp_path: Path) -> None:
    """While the log level is set again, too."""
    guard, _ = limited()
    async with session_to(tmp_path / "told", "asks", guard=guard) as session:
        await session.set_logging_level("error")
        with pytest.raises(MCPError):
            await session.call_tool("die", {})
        await session.call_tool("live", {})
        with anyio.fail_after(PATIENCE):
            while (tmp_path / "told").read_text().count("roots answered") < 2:
                await session.call_tool("live", {})


async def test_a_server_that_will_not_end_does_not_hold_up_its_client(tmp_path: Path) -> None:
    """It is given a part of `close_seconds` to end by itself, another after SIGTERM, and is killed."""
    guard, record = limited(close_seconds=0.4)
    async with session_to(tmp_path / "told", "stubborn", guard=guard) as session:
        await session.call_tool("live", {})
    assert "close_seconds" not in states(record)


@pytest.mark.skipif(V1, reason="SDK 1.x does not speak MCP 2026-07-28")
@pytest.mark.parametrize("life", ["", "changes"])
async def test_a_server_without_a_handshake_is_known_again_by_what_it_says_of_itself(
    life: str, tmp_path: Path
) -> None:
    """MCP 2026-07-28, server/discover: one of another name is not the one that was lost."""
    told = tmp_path / "told"
    command = StdioServerParameters(command=sys.executable, args=["-S", "-c", MODERN, str(told), life])
    guard, record = limited(reconnects=2)
    heard: list[str] = []

    async def on_message(message: Any) -> None:
        heard.append(str(getattr(message, "method", None)))

    async with guard.client(command, name="raw", message_handler=on_message) as client:
        with anyio.fail_after(PATIENCE):
            with pytest.raises(MCPError, match="unknown"):
                await client.call_tool("die", {})
            if life:
                with pytest.raises(MCPError, match="not sent"):
                    await client.call_tool("live", {})
            else:
                assert said(await client.call_tool("live", {})) == "2"
                assert "notifications/tools/list_changed" in heard
    assert ("connection_restored" in states(record)) == (not life)
    assert told.read_text().count("tools/call") == (1 if life else 2)


async def test_without_attempts_a_lost_connection_stays_lost(tmp_path: Path) -> None:
    """Calls fail, and say that they were not sent."""
    guard, _ = limited(reconnects=0)
    async with session_to(tmp_path / "told", guard=guard) as session:
        for _ in range(2):
            with pytest.raises((MCPError, *GONE), match=r"unknown|not sent|[Cc]losed|^$"):
                await session.call_tool("die", {})
    assert (tmp_path / "told").read_text().count("born") == 1


async def test_a_session_that_the_server_forgot_is_opened_anew(tmp_path: Path) -> None:
    """The call that found out fails with 404; the next has a session again."""
    guard, record = limited()
    with http_server("404 for the session", tmp_path / "runs") as url:
        from mcp.client.streamable_http import streamable_http_client

        transport: AbstractAsyncContextManager[Any] = guard.transport(streamable_http_client(url), name="raw")
        async with transport as (read, write, *_), ClientSession(read, write) as session:
            await session.initialize()
            with anyio.fail_after(PATIENCE):
                with pytest.raises(Exception, match="forgotten the session"):
                    await session.call_tool("go", {})
                assert said(await session.call_tool("honest", {})) == "done"
    assert states(record) == ["session", "connection_lost", "connection_restored"]


async def test_every_outcome_says_how_far_the_call_got(tmp_path: Path) -> None:
    """Our own time, a lost connection, an HTTP status and an answer that is refused are four things."""
    seen: dict[str, Result] = {}
    cases: list[tuple[str, str, Outcome, Fate]] = [
        ("stdio", "silence", Outcome.TIMEOUT, Fate.SENT),
        ("stdio", "exits", Outcome.TRANSPORT_ERROR, Fate.SENT),
        ("stdio", "null result", Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        ("stdio", "its own -32001", Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        ("stdio", "its own -32000", Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        ("stdio", "forged report", Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        ("http", "429", Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
        ("http", "500", Outcome.TRANSPORT_ERROR, Fate.SENT),
        ("http", "closes at once", Outcome.TRANSPORT_ERROR, Fate.SENT),
    ]
    for kind, behaviour, outcome, fate in cases:
        watcher = _Watcher(seen, behaviour)
        guard = Guard([watcher], connection=ConnectionLimits(answer_seconds=3))
        async with transport_to(kind, behaviour, tmp_path / "runs") as transport:
            async with (
                guard.transport(transport, name="raw") as (read, write, *_),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                with pytest.raises(Exception, match=r"."):
                    await session.call_tool("go", {})
        assert (behaviour, seen[behaviour].outcome, seen[behaviour].fate) == (behaviour, outcome, fate)
