"""openai-agents, as docs/integrations/openai_agents.md shows it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents.mcp")

from agents import Agent, RunConfig, Runner, gen_trace_id, set_trace_processors, set_tracing_disabled
from agents.items import ModelResponse
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp, MCPUtil
from agents.models.interface import Model
from agents.run_context import RunContextWrapper
from agents.tool_context import ToolContext
from agents.tracing import TracingProcessor
from agents.usage import Usage
from hosts import *
from hosts import ANA, Face, Host, Server
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from mcpguard import Guard, Principal, SeamError
from mcpguard.integrations.openai_agents import guarded_server
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]
set_tracing_disabled(True)


def bare(server: Server, **options: Any) -> Any:
    """The framework's own server."""
    if server.url is not None:
        return MCPServerStreamableHttp({"url": server.url}, name="a label", **options)
    return MCPServerStdio({"command": server.command, "args": server.args}, name="a label", **options)


class Tools:
    """The function tools that an agent's model is given."""

    def __init__(self, served: Any) -> None:
        self._served = served
        self._agent = Agent(name="clerk", mcp_servers=[served])

    async def _all(self) -> dict[str, Any]:
        context = RunContextWrapper(context=None)
        return {
            tool.name: tool
            for tool in await MCPUtil.get_all_function_tools([self._served], False, context, self._agent)
        }

    async def tools(self) -> list[str]:
        return list(await self._all())

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        text = json.dumps(arguments)
        context = ToolContext(context=None, tool_name=tool, tool_call_id="1", tool_arguments=text)
        return str(await (await self._all())[tool].on_invoke_tool(context, text))


@pytest.fixture
def host() -> Host:
    """The server, and the tools the framework makes of it."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        served = bare(server, cache_tools_list=True)
        async with served if guard is None else guarded_server(guard, served, name="wire"):
            yield Tools(served)

    return opened


class Scripted(Model):
    """A model that calls tools in a given order and then stops."""

    def __init__(self, *tools: str) -> None:
        self._tools = list(tools)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        if self._tools:
            name = self._tools.pop(0)
            output: Any = ResponseFunctionToolCall(
                type="function_call", call_id=name, name=name, arguments=json.dumps({"text": "all"})
            )
        else:
            said = ResponseOutputText(type="output_text", text="Done.", annotations=[])
            output = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[said]
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def test_an_agent_goes_on_after_a_refusal(guard: Guard, server: Server) -> None:
    """A whole loop of the framework's runner, with a scripted model."""
    async with guard.run(principal=ANA), guarded_server(guard, bare(server), name="wire") as served:
        agent = Agent(name="clerk", mcp_servers=[served], model=Scripted("wipe", "echo"))
        done = await Runner.run(agent, "Wipe it all.")
    said = [str(item.output) for item in done.new_items if item.type == "tool_call_output_item"]
    assert "argument_refused" in said[0]
    assert "echo: all" in said[1]
    assert server.called() == ["echo"]


class Traced(TracingProcessor):
    """The ids of the framework's traces."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def on_trace_start(self, trace: Any) -> None:
        self.ids.append(trace.trace_id)

    def on_trace_end(self, trace: Any) -> None:
        pass

    def on_span_start(self, span: Any) -> None:
        pass

    def on_span_end(self, span: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self) -> None:
        pass


@pytest.fixture
def traced() -> Iterator[Traced]:
    """What the framework traces, told to nobody else."""
    traced = Traced()
    set_trace_processors([traced])
    set_tracing_disabled(False)
    yield traced
    set_tracing_disabled(True)
    set_trace_processors([])


async def test_the_record_names_the_run_that_traces_name(
    guard: Guard, server: Server, sink: RecordingSink, traced: Traced
) -> None:
    """Both are given one id."""
    run_id = gen_trace_id()
    async with (
        guard.run(id=run_id, principal=ANA),
        guarded_server(guard, bare(server), name="wire") as served,
    ):
        agent = Agent(name="clerk", mcp_servers=[served], model=Scripted("wipe", "echo"))
        await Runner.run(agent, "Wipe it all.", run_config=RunConfig(trace_id=run_id))
    assert traced.ids == [run_id]
    calls = [event.run_id for event in sink.of("completed") if event.method == "tools/call"]
    assert calls == [run_id] * 2


async def test_a_tool_that_is_hidden_is_refused_by_name(guard: Guard, server: Server) -> None:
    """The framework's own `tool_filter` hides it and lets the call through."""
    async with guard.run(principal=ANA), guarded_server(guard, bare(server), name="wire") as served:
        result = await served.call_tool("delete", {"text": "all"})
        assert "access_denied" in result.content[0].text
    assert server.called() == []


async def test_prompts_and_resources_are_guarded(guard: Guard, server: Server, sink: RecordingSink) -> None:
    """All that the server object can do passes the same streams."""
    async with guard.run(principal=ANA), guarded_server(guard, bare(server), name="wire") as served:
        await served.list_prompts()
        await served.get_prompt("greet")
        await served.list_resources()
        await served.read_resource("memo://a")
    sent = [event.method for event in sink.of("dispatched")]
    assert {"prompts/list", "prompts/get", "resources/list", "resources/read"} <= set(sent)


async def test_a_session_that_the_framework_opens_to_repeat_a_call_is_guarded(
    guard: Guard, server: Server
) -> None:
    """On HTTP it repeats calls in a session of its own, past `server.session`."""
    if server.url is None:
        pytest.skip("stdio has one session")
    async with guard.run(principal=ANA), guarded_server(guard, bare(server), name="wire") as served:
        async with served._isolated_client_session() as session:
            result = await session.call_tool("delete", {"text": "all"})
    assert "access_denied" in result.content[0].text
    assert server.called() == []


async def test_only_a_server_that_has_not_connected_is_guarded_once(guard: Guard, server: Server) -> None:
    """Anything else would leave a session that nothing guards."""
    with pytest.raises(SeamError, match="takes an MCPServer of openai-agents, not object"):
        guarded_server(guard, object(), name="wire")
    served = guarded_server(guard, bare(server), name="wire")
    with pytest.raises(SeamError, match="guarded already"):
        guarded_server(guard, served, name="wire")
    async with bare(server) as connected:
        with pytest.raises(SeamError, match="connected already"):
            guarded_server(guard, connected, name="wire")


async def test_a_server_that_is_shared_offers_everybody_what_is_theirs(guard: Guard, server: Server) -> None:
    """One that is not belongs to whom it was first used for."""
    bo = Principal(user="bo", tenant="acme")
    for shared in (True, False):
        async with guarded_server(guard, bare(server), name="wire", shared=shared) as served:
            async with guard.run(principal=ANA):
                assert [tool.name for tool in await served.list_tools()] == ["echo", "count", "wipe"]
            async with guard.run(principal=bo):
                if shared:
                    assert await served.list_tools() == []
                else:
                    with pytest.raises(Exception, match="session_not_shared"):
                        await served.list_tools()


async def test_a_list_that_is_kept_is_for_one_principal(guard: Guard, server: Server, tmp_path: Path) -> None:
    """The framework asks nobody whose it is: a server that is shared would offer one's tools to the next."""
    path = tmp_path / "shared.yaml"
    path.write_text("version: 1\nservers:\n  wire: {shared: true}\n")
    declared = Guard.from_policy(path)
    with pytest.raises(
        SeamError, match="cache_tools_list= offers one principal's tools to all who share wire"
    ):
        guarded_server(guard, bare(server, cache_tools_list=True), name="wire", shared=True)
    with pytest.raises(
        SeamError, match="cache_tools_list= offers one principal's tools to all who share wire"
    ):
        guarded_server(declared, bare(server, cache_tools_list=True), name="wire")
    own = guarded_server(declared, bare(server, cache_tools_list=True), name="wire", shared=False)
    async with declared.run(principal=ANA), own:
        await own.list_tools()
        assert [tool.name for tool in own.cached_tools] == ["echo", "count", "wipe", "delete"]
