"""langchain-mcp-adapters, as docs/integrations/langchain_mcp_adapters.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

pytest.importorskip("langchain_mcp_adapters")

from hosts import *
from hosts import ANA, Face, Host, Server
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from mcpguard import Guard, ResultLimit, SeamError
from mcpguard.integrations.langchain_mcp_adapters import guarded_client, tool_call_interceptor
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """LangChain's tools, called as its `ToolNode` does."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        call = {"type": "tool_call", "id": "1", "name": tool, "args": arguments}
        return str((await self._tools[tool].ainvoke(call)).content)


def connections(server: Server) -> dict[str, Any]:
    """The framework's own configuration."""
    if server.url is not None:
        return {"wire": {"transport": "http", "url": server.url}}
    return {"wire": {"transport": "stdio", "command": server.command, "args": server.args}}


def client_of(guard: Guard | None, server: Server) -> Any:
    """The client, with or without a guard."""
    return (
        MultiServerMCPClient(connections(server))
        if guard is None
        else guarded_client(guard, connections(server))
    )


@pytest.fixture(params=["session per call", "one session"])
def host(request: pytest.FixtureRequest) -> Host:
    """Both ways to get at tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        client = client_of(guard, server)
        if request.param == "session per call":
            yield Tools(await client.get_tools())
        else:
            async with client.session("wire") as session:
                yield Tools(await load_mcp_tools(session))

    return opened


async def test_every_method_of_the_client_is_guarded(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Prompts, resources and the handshake too: the client opens a session for each."""
    async with guard.run(principal=ANA):
        client = client_of(guard, server)
        await client.get_prompt("wire", "greet")
        await client.get_resources("wire")
        assert (await client.get_server_info())["wire"].serverInfo.name == "wire"
        assert len(await client.get_tools(server_name="wire")) == 3
    got = [one["method"] for one in server.got() if "id" in one]
    assert sorted(got) == sorted(
        event.method for event in sink.of("dispatched") if not str(event.method).startswith("notifications/")
    )
    assert {"prompts/get", "resources/list", "resources/read", "tools/list", "initialize"} <= set(got)


async def test_a_tool_that_is_hidden_is_refused_by_name(guard: Guard, server: Server) -> None:
    """A list is not enforcement."""
    async with guard.run(principal=ANA), client_of(guard, server).session("wire") as session:
        result = await session.call_tool("delete", {"text": "all"})
    assert result.isError
    assert server.called() == []


def agent(tools: list[Any], *calls: str) -> Any:
    """LangGraph's prebuilt tool node in a loop with a model that makes these calls."""
    script = iter([*calls, None])

    def model(state: Any) -> dict[str, Any]:
        name = next(script)
        calls = (
            [] if name is None else [{"name": name, "args": {"text": "all"}, "id": name, "type": "tool_call"}]
        )
        return {"messages": [AIMessage("", tool_calls=calls)]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")
    return graph.compile()


async def test_an_agent_goes_on_after_a_refusal(guard: Guard, server: Server) -> None:
    """A whole loop of the framework's, with a scripted model."""
    async with guard.run(principal=ANA):
        clerk = agent(await client_of(guard, server).get_tools(), "wipe", "echo")
        done = await clerk.ainvoke({"messages": [HumanMessage("Wipe it all.")]})
    said = [str(one.content) for one in done["messages"] if one.type == "tool"]
    assert "argument_refused" in said[0]
    assert "echo: all" in said[1]


async def test_the_record_names_the_run_that_callbacks_are_told(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Both are given one id: LangGraph runs nodes in tasks of their own, and calls stay with the run."""

    class Told(AsyncCallbackHandler):
        async def on_chain_start(self, *args: Any, run_id: UUID, parent_run_id: Any = None, **_: Any) -> None:
            if parent_run_id is None:
                told.append(run_id)

    told: list[UUID] = []
    run_id = uuid4()
    async with guard.run(id=str(run_id), principal=ANA):
        clerk = agent(await client_of(guard, server).get_tools(), "echo", "wipe")
        config = {"run_id": run_id, "callbacks": [Told()]}
        await clerk.ainvoke({"messages": [HumanMessage("Wipe it all.")]}, config)
    assert told == [run_id]
    calls = [event.run_id for event in sink.of("completed") if event.method == "tools/call"]
    assert calls == [str(run_id)] * 2


def connected(guard: Guard, server: Server, *inner: Any) -> Any:
    """The framework's own client, with the guard as an interceptor and others inside it."""
    return MultiServerMCPClient(connections(server), tool_interceptors=[tool_call_interceptor(guard), *inner])


async def test_the_interceptor_guards_the_calls_it_is_handed(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Whoever makes the client: refused calls are answers, and reach no server."""
    async with guard.run(id="task", principal=ANA):
        tools = Tools(await connected(guard, server).get_tools())
        assert "argument_refused" in await tools.call("wipe", {"text": "all"})
        assert "access_denied" in await tools.call("delete", {"text": "all"})
        assert "echo: on" in await tools.call("echo", {"text": "on"})
    assert server.called() == ["echo"]
    done = [event for event in sink.of("completed") if event.method == "tools/call"]
    assert [(event.run_id, event.user, event.target) for event in done] == [
        ("task", "ana", "wipe"),
        ("task", "ana", "delete"),
        ("task", "ana", "echo"),
    ]


async def test_the_interceptor_sees_no_lists_and_says_so(guard: Guard, server: Server) -> None:
    """A limit of the framework's: `guarded_client` has none."""
    async with guard.run(principal=ANA):
        tools = Tools(await connected(guard, server).get_tools())
        assert "delete" in await tools.tools()
        await tools.call("echo", {"text": "on"})
        seen = guard.coverage().connections
    assert [connection.seam for connection in seen] == ["handed_calls"]
    assert "no lists" in seen[0].blind_spots[0]


async def test_what_comes_back_is_guarded_on_this_way_too(server: Server) -> None:
    """Rules about results change what the framework makes its message of."""
    guard = Guard([ResultLimit(bytes=2000)])
    async with guard.run(principal=ANA):
        tools = Tools(await connected(guard, server).get_tools())
        said = await tools.call("echo", {"text": "a" * 5000})
    assert "echo: aaa" in said
    assert "a" * 2000 not in said


async def test_a_call_that_is_in_no_run_is_refused_on_this_way_too(guard: Guard, server: Server) -> None:
    """The policy has a budget for each run."""
    tools = Tools(await connected(guard, server).get_tools())
    assert "echo: on" not in await tools.call("echo", {"text": "on"})
    assert server.called() == []


async def test_an_interceptor_inside_the_guards_cannot_answer_in_the_servers_place(
    guard: Guard, server: Server
) -> None:
    """Nobody could tell what such a message holds: it is an error that says where the guard belongs."""

    async def answering(request: Any, handler: Any) -> Any:
        return ToolMessage("unseen", tool_call_id="1")

    async with guard.run(principal=ANA):
        tools = Tools(await connected(guard, server, answering).get_tools())
        with pytest.raises(SeamError, match="list the guard's last"):
            await tools.call("echo", {"text": "on"})


async def test_progress_reaches_who_asked_for_it(guard: Guard, server: Server) -> None:
    """By the framework's own callbacks."""
    from langchain_mcp_adapters.callbacks import Callbacks

    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None, context: Any) -> None:
        told.append(value)

    client = guarded_client(guard, connections(server), callbacks=Callbacks(on_progress=progress))
    async with guard.run(principal=ANA):
        await Tools(await client.get_tools()).call("count", {})
    assert set(told) <= {1, 2, 3}
    assert told
