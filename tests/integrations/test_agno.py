"""agno, as docs/integrations/agno.md shows it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("agno.tools.mcp")

from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.tools.function import FunctionCall
from agno.tools.mcp import MCPTools
from hosts import *
from hosts import ANA, Face, Host, Server, bare_session, parameters

from mcpguard import Guard, SeamError
from mcpguard.integrations.agno import guarded_tools
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """A toolkit's functions, called as an agent calls them."""

    def __init__(self, toolkit: Any) -> None:
        self._toolkit = toolkit

    async def tools(self) -> list[str]:
        return list(self._toolkit.functions)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        function = self._toolkit.functions[tool]
        done = await FunctionCall(function=function, arguments=arguments, call_id="1").aexecute()
        return f"{done.result} {done.error}"


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            async with bare_session(server) as session, MCPTools(session=session) as toolkit:
                yield Tools(toolkit)
        else:
            async with guarded_tools(guard, parameters(server), name="wire") as toolkit:
                yield Tools(toolkit)

    return opened


class Scripted(Model):
    """A model that calls tools in a given order and then stops."""

    def __init__(self, *tools: str) -> None:
        super().__init__(id="scripted")
        self._tools = list(tools)

    async def ainvoke(self, *args: Any, **options: Any) -> ModelResponse:
        if not self._tools:
            return ModelResponse(role="assistant", content="Done.")
        name = self._tools.pop(0)
        function = {"name": name, "arguments": json.dumps({"text": "on"})}
        call = {"id": name, "type": "function", "function": function}
        return ModelResponse(role="assistant", tool_calls=[call])

    def invoke(self, *args: Any, **options: Any) -> ModelResponse:
        raise NotImplementedError

    invoke_stream = ainvoke_stream = invoke
    _parse_provider_response = _parse_provider_response_delta = invoke


async def test_the_record_names_the_run_that_the_framework_names(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Both are given one id."""
    async with (
        guard.run(id="job", principal=ANA),
        guarded_tools(guard, parameters(server), name="wire") as tools,
    ):
        agent = Agent(model=Scripted("echo", "wipe"), tools=[tools], telemetry=False)
        done = await agent.arun("Go on.", run_id="job")
    calls = [(event.run_id, event.outcome) for event in sink.of("completed") if event.method == "tools/call"]
    assert calls == [(done.run_id, "ok"), (done.run_id, "denied")]
    assert done.run_id == "job"


@pytest.mark.parametrize("option", ["refresh_connection", "header_provider", "url", "session"])
async def test_what_would_open_a_session_that_nothing_guards_is_refused(
    guard: Guard, server: Server, option: str
) -> None:
    """Loudly, before anything is connected."""
    options: dict[str, Any] = {option: True}
    with pytest.raises(SeamError, match=f"{option}= makes agno open sessions"):
        async with guarded_tools(guard, parameters(server), name="wire", **options):
            raise AssertionError
    assert server.got() == []
