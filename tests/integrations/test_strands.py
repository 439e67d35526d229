"""strands-agents, as docs/integrations/strands.md shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("strands.tools.mcp")

from hosts import *
from hosts import ANA, Face, Host, Server, parameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from strands import Agent
from strands.models import Model
from strands.tools.mcp import MCPClient

from mcpguard import Guard
from mcpguard.integrations.strands import guarded_client

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def transport(server: Server) -> Any:
    """Makes a transport, as the framework takes it."""
    made = parameters(server)
    return (lambda: streamable_http_client(made)) if isinstance(made, str) else (lambda: stdio_client(made))


class Tools:
    """A client's tools, called as an agent calls them, while its own thread runs the session."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.tool_name for tool in self._client.list_tools_sync()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        result = await self._client.call_tool_async("1", tool, arguments)
        return str(result["content"])


@pytest.fixture
def host() -> Host:
    """The client."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = transport(server)
        with MCPClient(made) if guard is None else guarded_client(guard, made, name="wire") as client:
            yield Tools(client)

    return opened


async def test_an_agent_goes_on_after_a_refusal(guard: Guard, server: Server) -> None:
    """A whole agent loop on the framework's threads, with a scripted model."""
    client = guarded_client(guard, transport(server), name="wire")
    async with guard.run(principal=ANA):
        agent = Agent(model=Scripted("wipe", "echo"), tools=[client], callback_handler=None)
        await asyncio.to_thread(agent, "Wipe it all.")
    said = [
        str(block["toolResult"]["content"])
        for message in agent.messages
        for block in message["content"]
        if "toolResult" in block
    ]
    agent.cleanup()
    assert "argument_refused" in said[0]
    assert "echo: all" in said[1]
    assert server.called() == ["echo"]


async def test_progress_reaches_who_asked_for_it(guard: Guard, server: Server) -> None:
    """On the thread that runs the session."""
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    client = guarded_client(guard, transport(server), name="wire", progress_callback=progress)
    async with guard.run(principal=ANA):
        with client:
            await client.call_tool_async("1", "count", {})
    assert set(told) <= {1, 2, 3}
    assert told


class Scripted(Model):
    """A model that calls tools in a given order and then stops."""

    def __init__(self, *tools: str) -> None:
        self._tools = list(tools)

    def update_config(self, **model_config: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {}

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield {"messageStart": {"role": "assistant"}}
        name = self._tools.pop(0) if self._tools else None
        start = {} if name is None else {"toolUse": {"toolUseId": name, "name": name}}
        yield {"contentBlockStart": {"start": start}}
        delta = {"text": "Done."} if name is None else {"toolUse": {"input": '{"text": "all"}'}}
        yield {"contentBlockDelta": {"delta": delta}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if name is None else "tool_use"}}
