"""claude-agent-sdk, as docs/integrations/claude_agent_sdk.md shows it, with a scripted command at its other end.

The command is what a model runs in; between it and the servers stands the SDK, all of it here.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest

pytest.importorskip("claude_agent_sdk")

from claude_agent_sdk import (
    AgentDefinition,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    SdkMcpTool,
    Transport,
    create_sdk_mcp_server,
)
from hosts import *
from hosts import ANA, Face, Host, Server, bare_session, parameters

from mcpguard import Guard, SeamError
from mcpguard.integrations.claude_agent_sdk import guarded_options

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Command(Transport):
    """The other end of the SDK: it answers the handshake, and sends servers what it is told to."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](100)
        self._numbers: Iterator[int] = count(1)
        self._answers: dict[str, Any] = {}
        self._arrived: dict[str, anyio.Event] = {}

    async def connect(self) -> None:
        pass

    async def write(self, data: str) -> None:
        message = json.loads(data)
        if message["type"] == "control_request":
            response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            await self._send.send({"type": "control_response", "response": response})
        elif message["type"] == "control_response":
            answered = message["response"]
            self._answers[answered["request_id"]] = answered
            self._arrived[answered["request_id"]].set()

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        async for message in self._receive:
            yield message

    async def close(self) -> None:
        self._send.close()

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None:
        pass

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request to the server `wire`."""
        number = next(self._numbers)
        key = f"ask-{number}"
        self._arrived[key] = anyio.Event()
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        request = {"subtype": "mcp_message", "server_name": "wire", "message": message}
        await self._send.send({"type": "control_request", "request_id": key, "request": request})
        await self._arrived[key].wait()
        return self._answers[key]["response"]["mcp_response"]

    async def shake_hands(self) -> None:
        """What comes first on every connection."""
        info = {"name": "command", "version": "1"}
        await self.ask(
            "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        )
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        request = {"subtype": "mcp_message", "server_name": "wire", "message": message}
        self._arrived["initialized"] = anyio.Event()
        await self._send.send({"type": "control_request", "request_id": "initialized", "request": request})
        await self._arrived["initialized"].wait()


class Tools:
    """What the command tells its model of a server."""

    def __init__(self, command: Command) -> None:
        self.command = command

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in (await self.command.ask("tools/list", {}))["result"]["tools"]]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        answer = await self.command.ask("tools/call", {"name": tool, "arguments": arguments})
        return str(answer.get("result") or answer["error"])


@asynccontextmanager
async def connected(options: ClaudeAgentOptions) -> AsyncIterator[Tools]:
    """A client of the SDK's on the scripted command."""
    command = Command()
    async with ClaudeSDKClient(options, transport=command):
        await command.shake_hands()
        yield Tools(command)


def forwarding(session: Any, name: str) -> SdkMcpTool[Any]:
    """A tool of the SDK's own that calls the server's tool of that name."""

    async def call(arguments: dict[str, Any]) -> dict[str, Any]:
        result = await session.call_tool(name, arguments)
        return {"content": [block.model_dump(mode="json", exclude_none=True) for block in result.content]}

    return SdkMcpTool(name=name, description=name, input_schema={"text": str}, handler=call)


@asynccontextmanager
async def bare_options(server: Server) -> AsyncIterator[ClaudeAgentOptions]:
    """The SDK's own server in this process, in front of a session that nothing guards."""
    async with bare_session(server) as session:
        tools = [forwarding(session, tool.name) for tool in (await session.list_tools()).tools]
        yield ClaudeAgentOptions(mcp_servers={"wire": create_sdk_mcp_server("wire", tools=tools)})


@pytest.fixture
def host() -> Host:
    """The client."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = bare_options(server) if guard is None else guarded_options(guard, {"wire": parameters(server)})
        async with made as options, connected(options) as tools:
            yield tools

    return opened


async def test_what_is_hidden_is_refused_by_name_and_so_is_what_no_tool_is(
    guard: Guard, server: Server
) -> None:
    """The command sends what its model makes up."""
    async with (
        guard.run(principal=ANA),
        guarded_options(guard, {"wire": parameters(server)}) as options,
        connected(options) as tools,
    ):
        for name in ("delete", "Delete", "wire__delete"):
            assert "echo" not in await tools.call(name, {"text": "all"})
    assert server.called() == []


async def test_calls_belong_to_a_run_that_is_given(guard: Guard, server: Server) -> None:
    """Clients live longer than tasks."""
    async with (
        guard.run(principal=ANA) as run,
        guarded_options(guard, {"wire": parameters(server)}, run=run) as options,
    ):
        async with connected(options) as tools:
            assert "echo: on" in await tools.call("echo", {"text": "on"})


async def test_configuration_files_bring_no_servers(guard: Guard) -> None:
    """The command is told to use these servers and no others."""
    async with guarded_options(guard, {"wire": "http://127.0.0.1:1/mcp"}, model="sonnet") as options:
        assert options.strict_mcp_config
        assert list(options.mcp_servers) == ["wire"]
        assert options.model == "sonnet"


@pytest.mark.parametrize(
    "option",
    [
        {"mcp_servers": {}},
        {"strict_mcp_config": False},
        {"extra_args": {"mcp-config": "servers.json"}},
        {"extra_args": {"mcp-config=servers.json": None}},
        {"extra_args": {"model": "sonnet", "debug": "--mcp-config=servers.json"}},
        {"extra_args": {"agents": '{"clerk": {"mcpServers": [{"wire": {"command": "wire"}}]}}'}},
        {"extra_args": {"chrome": None}},
        {"extra_args": {"ide": None}},
        {
            "agents": {
                "clerk": AgentDefinition(
                    description="", prompt="", mcpServers=[{"wire": {"command": "wire", "args": []}}]
                )
            }
        },
    ],
    ids=[
        "mcp_servers",
        "strict_mcp_config",
        "configuration",
        "configuration in one word",
        "configuration as a value",
        "agents by an argument",
        "a browser",
        "an editor",
        "agents",
    ],
)
async def test_what_would_open_servers_that_nothing_guards_is_refused(
    guard: Guard, option: dict[str, Any]
) -> None:
    """Loudly, before anything is opened."""
    with pytest.raises(SeamError, match=r"opened by Claude itself|makes Claude open servers"):
        async with guarded_options(guard, {"wire": "http://127.0.0.1:1/mcp"}, **option):
            raise AssertionError


async def test_what_brings_no_servers_is_handed_on(guard: Guard) -> None:
    """A value may be a word that is an argument elsewhere."""
    extra = {"debug": "mcp-config", "add-dir=agents": None, "name": "--agents-of-ana"}
    async with guarded_options(guard, {"wire": "http://127.0.0.1:1/mcp"}, extra_args=extra) as options:
        assert options.extra_args == extra
