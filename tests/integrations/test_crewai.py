"""crewai, as docs/integrations/crewai.md shows it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"  # before the import: tests tell nobody anything
pytest.importorskip("crewai.mcp")

from crewai import Agent, BaseLLM, Crew, Task
from crewai.mcp import MCPServerHTTP, MCPServerStdio, MCPToolResolver
from crewai.mcp.transports.http import HTTPTransport
from hosts import *
from hosts import ANA, Face, Host, Server, parameters
from mcp.client.streamable_http import streamablehttp_client

from mcpguard import Guard, Principal, SeamError
from mcpguard.integrations.crewai import guarded_tools
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """Agents' tools, run as the executor runs them: on a thread, with the caller's context."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.original_tool_name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        return str(await asyncio.to_thread(self._tools[tool].run, **arguments))


def resolved(server: Server) -> list[Any]:
    """The framework's own tools."""
    if server.url is not None:
        config: Any = MCPServerHTTP(url=server.url)
    else:
        config = MCPServerStdio(command=server.command, args=server.args)
    agent = Agent.model_construct()
    return MCPToolResolver(agent=agent, logger=agent._logger).resolve([config])


class Opened(HTTPTransport):
    """The framework's own, opened by the task that closes it.

    On Python 3.11 `asyncio.wait_for` opens it in another task, and the framework cannot close it.
    """

    async def connect(self) -> Self:
        self._transport_context = streamablehttp_client(self.url)
        read, write, _ = await self._transport_context.__aenter__()
        self._set_streams(read=read, write=write)
        return self


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """The tools."""
    if sys.version_info < (3, 12):
        monkeypatch.setattr("crewai.mcp.tool_resolver.HTTPTransport", Opened)

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            yield Tools(await asyncio.to_thread(resolved, server))
        else:
            yield Tools(await guarded_tools(guard, parameters(server), name="wire"))

    return opened


async def test_tools_have_the_name_of_the_server_and_their_arguments(guard: Guard, server: Server) -> None:
    """As the framework's own: a model sees what a tool takes."""
    async with guard.run(principal=ANA):
        tools = {tool.name: tool for tool in await guarded_tools(guard, parameters(server), name="wire")}
    assert sorted(tools) == ["wire_count", "wire_echo", "wire_wipe"]
    assert list(tools["wire_echo"].args_schema.model_fields) == ["text"]


async def test_the_client_that_a_call_opens_is_guarded(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Whatever is done with it, also what the tools do not do."""
    async with guard.run(principal=ANA):
        tool, *_ = await guarded_tools(guard, parameters(server), name="wire")
        async with tool._client_factory() as client:
            assert "access_denied" in (await client.call_tool("delete", {"text": "all"}))
            await client.list_prompts()
    assert server.called() == []
    assert "prompts/list" in [event.method for event in sink.of("dispatched")]


class Scripted(BaseLLM):
    """A model that calls one tool and then stops."""

    tool: str

    def supports_function_calling(self) -> bool:
        return False

    def call(self, messages: Any, *args: Any, **options: Any) -> str:
        if any("Observation:" in message["content"] for message in messages if message["role"] != "system"):
            return "Thought: I know the answer.\nFinal Answer: Done."
        return f"Thought: Go on.\nAction: {self.tool}\nAction Input: {json.dumps({'text': 'on'})}"


async def test_a_crew_hands_nobody_what_another_was_told(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """With `cache=True` it answers a call that was made before with that one's result, and asks nobody."""
    async with guard.run(principal=ANA):
        tools = await guarded_tools(guard, parameters(server), name="wire")
    model = Scripted(model="scripted", tool="wire_count")
    clerk = Agent(role="clerk", goal="help", backstory="", tools=tools, llm=model)
    task = Task(description="Count.", expected_output="A number.", agent=clerk)
    crew = Crew(agents=[clerk], tasks=[task], cache=True)
    for principal in (ANA, ANA, Principal(user="bo", tenant="acme")):
        async with guard.run(principal=principal):
            await crew.kickoff_async()
    calls = [(event.user, event.outcome) for event in sink.of("completed") if event.method == "tools/call"]
    assert calls == [("ana", "ok"), ("ana", "ok"), ("bo", "denied")]
    assert server.called() == ["count", "count"]


@pytest.mark.parametrize("moved", ["_set_streams", "_clear_streams"])
async def test_a_release_that_moved_the_seam_makes_no_tools(
    guard: Guard, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is private: when it is gone, nothing may come of it that looks guarded."""
    monkeypatch.setattr(f"crewai.mcp.transports.BaseTransport.{moved}", None)
    with pytest.raises(SeamError, match=f"has no BaseTransport.{moved}, which crewai 1.15 has"):
        await guarded_tools(guard, "http://127.0.0.1:1/mcp", name="wire")
