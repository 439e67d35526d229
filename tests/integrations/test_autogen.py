"""autogen-ext, as docs/integrations/autogen.md shows it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("autogen_ext.tools.mcp")

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.mcp import StdioServerParams, StreamableHttpServerParams, mcp_server_tools
from hosts import *
from hosts import ANA, Face, Host, Server

from mcpguard import Guard, SeamError
from mcpguard.integrations.autogen import guarded_tools
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def params(server: Server) -> Any:
    """The framework's own."""
    if server.url is not None:
        return StreamableHttpServerParams(url=server.url)
    return StdioServerParams(command=server.command, args=server.args)


class Tools:
    """Tools, called as a workbench calls them for its agent: what is raised becomes an error result."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        one = self._tools[tool]
        try:
            return str(one.return_value_as_string(await one.run_json(arguments, CancellationToken())))
        except Exception as error:
            return str(error)


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            yield Tools(await mcp_server_tools(params(server)))
        else:
            async with guarded_tools(guard, params(server), name="wire") as tools:
                yield Tools(tools)

    return opened


INFO = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=False,
    family=ModelFamily.UNKNOWN,
    structured_output=False,
)

PAGED = """
from mcpguard.testing import FakeServer

server = FakeServer("wire", page_size=1)
for name in ("echo", "count", "delete", "wipe"):
    server.tool(name).returns(name)
server.run_stdio()
"""


def clerk(tools: list[Any], *script: str) -> AssistantAgent:
    """An agent whose model calls tools in a given order and then stops."""
    usage = RequestUsage(prompt_tokens=1, completion_tokens=1)
    said: list[Any] = [
        [FunctionCall(id=name, name=name, arguments=json.dumps({"text": "on"}))] for name in script
    ]
    results = [
        CreateResult(finish_reason="function_calls", content=calls, usage=usage, cached=False)
        for calls in said
    ]
    model = ReplayChatCompletionClient([*results, "Done."], model_info=INFO)
    return AssistantAgent("clerk", model_client=model, tools=tools, max_tool_iterations=len(script) + 1)


async def test_a_guarded_tool_is_no_data(guard: Guard, server: Server) -> None:
    """The framework dumps its tools with how the server is reached, and loads them without the session."""
    async with guard.run(principal=ANA), guarded_tools(guard, params(server), name="wire") as tools:
        assert len(tools) == 3
        for tool in tools:
            assert isinstance(tool, type((await mcp_server_tools(params(server)))[0]))
            with pytest.raises(TypeError, match="a guarded tool cannot be dumped"):
                tool.dump_component()
        with pytest.raises(TypeError, match="make it again where that is loaded"):
            clerk(tools).dump_component()


async def test_tools_are_listed_over_all_pages(guard: Guard, tmp_path: Path) -> None:
    """The framework's own function lists the first."""
    script = tmp_path / "paged.py"
    script.write_text(PAGED)
    server = StdioServerParams(command=sys.executable, args=[str(script)])
    assert [tool.name for tool in await mcp_server_tools(server)] == ["echo"]
    async with guard.run(principal=ANA), guarded_tools(guard, server, name="wire") as tools:
        assert [tool.name for tool in tools] == ["echo", "count", "wipe"]


async def test_a_team_calls_for_the_run_that_it_runs_in(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """On the runtime that it makes for itself, also beside another one's."""
    async with guard.run(principal=ANA), guarded_tools(guard, params(server), name="wire") as tools:

        async def work(run_id: str) -> None:
            team = RoundRobinGroupChat(
                [clerk(tools, "echo", "wipe")], termination_condition=MaxMessageTermination(2)
            )
            async with guard.run(id=run_id, principal=ANA):
                await team.run(task="Go on.")

        await asyncio.gather(work("one"), work("other"))
    calls = [(event.run_id, event.outcome) for event in sink.of("completed") if event.method == "tools/call"]
    assert sorted(calls, key=str) == [
        ("one", "denied"),
        ("one", "ok"),
        ("other", "denied"),
        ("other", "ok"),
    ]


async def test_what_is_no_servers_parameters_is_refused(guard: Guard) -> None:
    """Before anything is opened."""
    with pytest.raises(SeamError, match="takes server parameters of autogen-ext, not str"):
        async with guarded_tools(guard, "http://127.0.0.1:1/mcp", name="wire"):
            raise AssertionError
