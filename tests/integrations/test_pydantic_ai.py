"""pydantic-ai, as docs/integrations/pydantic_ai.md shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai.mcp")

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.exceptions import ToolError
from hosts import *
from hosts import ANA, POLICY, Face, Host, Server
from pydantic_ai import Agent, RunContext
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

from mcpguard import Budget, Guard, Principal, ResultLimit, current_run
from mcpguard.integrations.pydantic_ai import guarded_runs, guarded_toolset, process_tool_call
from mcpguard.testing import RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def transport(server: Server) -> Any:
    """FastMCP's own."""
    if server.url is not None:
        return StreamableHttpTransport(server.url)
    return StdioTransport(server.command, server.args)


def context() -> Any:
    """What a toolset is told of a run."""
    return RunContext(deps=None, model=TestModel(), usage=RunUsage())


class Tools:
    """A toolset, asked as an agent asks it."""

    def __init__(self, toolset: Any) -> None:
        self._toolset = toolset
        self._context = context()

    async def tools(self) -> list[str]:
        return list(await self._toolset.get_tools(self._context))

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        tools = await self._toolset.get_tools(self._context)
        try:
            return str(await self._toolset.call_tool(tool, arguments, self._context, tools[tool]))
        except ModelRetry as retry:
            return retry.message


@pytest.fixture
def host() -> Host:
    """The toolset."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = transport(server)
        async with (
            MCPToolset(made) if guard is None else guarded_toolset(guard, made, name="wire") as toolset
        ):
            yield Tools(toolset)

    return opened


async def test_an_agent_goes_on_after_a_refusal(guard: Guard, server: Server) -> None:
    """A whole agent run, with a scripted model; a refusal is a retry prompt."""
    script = iter(["wipe", "echo", None])

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        name = next(script)
        return ModelResponse([TextPart("Done.") if name is None else ToolCallPart(name, {"text": "all"})])

    agent = Agent(FunctionModel(model), toolsets=[guarded_toolset(guard, transport(server), name="wire")])
    async with guard.run(principal=ANA):
        done = await agent.run("Wipe it all.")
    said = told(done)
    assert "argument_refused" in said[0]
    assert "echo: all" in said[1]
    assert server.called() == ["echo"]


async def test_what_else_a_toolset_can_do_is_guarded(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Calls past the agent, prompts, resources, and the client's own session."""
    async with guard.run(principal=ANA), guarded_toolset(guard, transport(server), name="wire") as toolset:
        with pytest.raises(ModelRetry, match="access_denied"):
            await toolset.direct_call_tool("delete", {"text": "all"})
        refused = await toolset.client.session.call_tool("delete", {"text": "all"})
        assert "access_denied" in refused.content[0].text
        await toolset.list_resources()
        await toolset.read_resource("memo://a")
    sent = [event.method for event in sink.of("dispatched")]
    assert {"resources/list", "resources/read"} <= set(sent)
    assert server.called() == []


async def test_progress_reaches_who_asked_for_it(guard: Guard, server: Server) -> None:
    """By the toolset's own handler."""
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    toolset = guarded_toolset(guard, transport(server), name="wire", progress_handler=progress)
    async with guard.run(principal=ANA), toolset:
        await Tools(toolset).call("count", {})
    assert set(told) <= {1, 2, 3}
    assert told


class Hooked(Tools):
    """The framework's own toolset, with the guard as its hook."""

    def __init__(self, guard: Guard, server: Server) -> None:
        hook = process_tool_call(guard, name="wire")
        super().__init__(MCPToolset(transport(server), process_tool_call=hook))


async def test_the_hook_guards_the_calls_it_is_handed(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """Whoever makes the toolset: a refusal is a retry prompt, as any other."""
    async with guard.run(id="task", principal=ANA):
        hooked = Hooked(guard, server)
        assert "argument_refused" in await hooked.call("wipe", {"text": "all"})
        assert "access_denied" in await hooked.call("delete", {"text": "all"})
        assert await hooked.call("echo", {"text": "on"}) == "echo: on"
        assert "delete" in await hooked.tools()  # a hook sees no lists
    assert server.called() == ["echo"]
    done = [event for event in sink.of("completed") if event.method == "tools/call"]
    assert [(event.run_id, event.user, event.outcome) for event in done] == [
        ("task", "ana", "denied"),
        ("task", "ana", "denied"),
        ("task", "ana", "ok"),
    ]


async def test_a_call_that_is_in_no_run_is_refused_by_the_hook_too(guard: Guard, server: Server) -> None:
    """The policy has a budget for each run."""
    assert "echo: on" not in await Hooked(guard, server).call("echo", {"text": "on"})
    assert server.called() == []


async def test_what_comes_back_is_guarded_by_the_hook_too(server: Server) -> None:
    """Rules about results change what the model is told."""
    guard = Guard([ResultLimit(bytes=2000)])
    async with guard.run(principal=ANA):
        said = await Hooked(guard, server).call("echo", {"text": "a" * 5000})
    assert "echo: aaa" in said
    assert "a" * 2000 not in said


def told(run: Any) -> list[str]:
    """What a model reads of its calls."""
    parts = [part for message in run.all_messages() for part in message.parts]
    return [str(part.content) for part in parts if part.part_kind in ("retry-prompt", "tool-return")]


@pytest.mark.parametrize("behavior", ["retry", "failed", "error"])
async def test_what_a_failed_tool_says_is_guarded_by_the_hook_too(server: Server, behavior: Any) -> None:
    """However the toolset tells of it."""
    guard = Guard([ResultLimit(bytes=2000)])
    hook = process_tool_call(guard, name="wire")
    toolset = MCPToolset(transport(server), process_tool_call=hook, tool_error_behavior=behavior)

    async def call() -> None:
        tools = await toolset.get_tools(context())
        await toolset.call_tool("echo", {"text": "fail" + "a" * 5000}, context(), tools["echo"])

    async with guard.run(principal=ANA):
        with pytest.raises(
            {"retry": ModelRetry, "failed": ToolFailed, "error": ToolError}[behavior]
        ) as error:
            await call()
    assert "echo: fail" in str(error.value)
    assert "a" * 2000 not in str(error.value)


async def test_a_refusal_by_the_hook_is_told_as_the_toolset_tells_of_errors(
    guard: Guard, server: Server
) -> None:
    """Here it uses up no retry, of which there is one."""
    hook = process_tool_call(guard, name="wire", tool_error_behavior="failed")
    toolset = MCPToolset(transport(server), process_tool_call=hook, tool_error_behavior="failed")

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        done = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse([TextPart("Done.") if done == 3 else ToolCallPart("wipe", {"text": "all"})])

    async with guard.run(principal=ANA):
        done = await Agent(FunctionModel(model), toolsets=[toolset]).run("Wipe it all.")
    assert len(told(done)) == 3
    assert all("argument_refused" in said for said in told(done))
    assert server.called() == []


def test_errors_are_told_in_a_way_that_the_framework_knows(guard: Guard) -> None:
    """A misspelled one would be found out by the first refusal."""
    behavior: Any = "fail"
    with pytest.raises(ValueError, match="retry, failed, error"):
        process_tool_call(guard, name="wire", tool_error_behavior=behavior)


def clerk(guard: Guard, server: Server, *calls: str, **options: Any) -> Agent[Any, str]:
    """An agent whose runs are the guard's, and that makes these calls in each."""

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        done = sum(isinstance(message, ModelResponse) for message in messages)
        said = TextPart("Done.") if done == len(calls) else ToolCallPart(calls[done], {"text": "on"})
        return ModelResponse([said])

    toolset = guarded_toolset(guard, transport(server), name="wire", shared=True)
    runs = guarded_runs(guard, **options)
    return Agent(FunctionModel(model), deps_type=object, toolsets=[toolset], capabilities=[runs])


def called(sink: RecordingSink) -> list[tuple[str | None, str | None, str | None, str | None]]:
    """Of each call of a tool: its run, the one around, on whose behalf, and what came of it."""
    done = [event for event in sink.of("completed") if event.method == "tools/call"]
    return [(event.run_id, event.parent_run_id, event.user, event.outcome) for event in done]


async def test_an_agents_run_is_one_of_the_guards_under_the_same_id(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """It is part of the run around, on behalf of the same, and closed when the agent's ends."""
    async with guard.run(id="task", principal=ANA):
        await clerk(guard, server, "echo", "wipe").run("Go on.", run_id="job")
        assert [event.run_id for event in sink.of("run_closed")] == ["job"]
    assert called(sink) == [("job", "task", "ana", "ok"), ("job", "task", "ana", "denied")]


async def test_each_run_of_an_agent_is_on_behalf_of_whom_its_dependencies_say(server: Server) -> None:
    """A program has one agent for all, and at the same time: limits are each run's own, and so is its principal."""
    sink = RecordingSink()
    guard = Guard([Budget(per="run", calls=1)], sinks=[sink])
    agent = clerk(guard, server, "echo", "echo", principal=lambda context: Principal(user=context.deps))
    await asyncio.gather(*(agent.run("Go on.", run_id=f"of {user}", deps=user) for user in ("ana", "bo")))
    assert sorted(called(sink), key=lambda call: str(call[0])) == [
        ("of ana", None, "ana", "ok"),
        ("of ana", None, "ana", "denied"),
        ("of bo", None, "bo", "ok"),
        ("of bo", None, "bo", "denied"),
    ]


async def test_a_run_that_fails_is_closed_and_is_nobodys_any_more(guard: Guard, sink: RecordingSink) -> None:
    """What comes after belongs to the run around again."""

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise OSError("no model")

    agent = Agent(FunctionModel(model), capabilities=[guarded_runs(guard)])
    async with guard.run(id="task", principal=ANA) as run:
        with pytest.raises(OSError, match="no model"):
            await agent.run("Go on.", run_id="job")
        assert current_run() is run
        assert [event.run_id for event in sink.of("run_closed")] == ["job"]


async def test_a_run_that_is_streamed_is_the_guards_too(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """However an agent is driven: here a node at a time."""
    async with guard.run(id="task", principal=ANA) as run:
        async with clerk(guard, server, "echo").iter("Go on.", run_id="job") as steps:
            async for _ in steps:
                pass
        assert current_run() is run
    assert called(sink) == [("job", "task", "ana", "ok")]


def users(guard: Guard, server: Server, *calls: str) -> Agent[Any, str]:
    """An agent for all users: whose run it is, its dependencies say."""
    return clerk(guard, server, *calls, principal=lambda context: context.deps)


GUEST = Principal(user="bo", tenant="acme")


async def test_two_runs_that_one_task_drives_are_each_its_own(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """One who may call nothing is driven while another's is open, and then that one."""
    agent = users(guard, server, "echo")
    async with agent.iter("Go on.", deps=GUEST, run_id="guests") as guests:
        async with agent.iter("Go on.", deps=ANA, run_id="anas") as anas:
            async for _ in guests:
                pass
            async for _ in anas:
                pass
    assert called(sink) == [("anas", "guests", "ana", "ok")]
    assert "Unknown tool" in told(guests.result)[0]


async def test_a_run_stays_its_own_that_another_runs_task_drives(
    guard: Guard, server: Server, sink: RecordingSink
) -> None:
    """What is bound where it is driven is somebody else's."""
    async with users(guard, server, "echo").iter("Go on.", deps=ANA, run_id="anas") as steps:

        async def drive() -> None:
            async with guard.run(id="guests", principal=GUEST):
                async for _ in steps:
                    pass

        await asyncio.create_task(drive())
    assert called(sink) == [("anas", None, "ana", "ok")]


@pytest.mark.parametrize("order", [(ANA, GUEST), (GUEST, ANA)])
@pytest.mark.parametrize("declared", [True, False])
async def test_what_one_is_offered_is_not_kept_for_another(
    server: Server, order: tuple[Principal, Principal], declared: bool, tmp_path: Path
) -> None:
    """The framework would keep the list that came first, for whoever uses a toolset that is shared."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("wire: {}", "wire: {shared: true}") if declared else POLICY)
    guard = Guard.from_policy(file)
    options = {} if declared else {"shared": True}
    toolset = guarded_toolset(guard, transport(server), name="wire", **options)
    offered: dict[str | None, list[str]] = {}
    async with toolset:
        for who in order:
            async with guard.run(principal=who):
                offered[who.user] = await Tools(toolset).tools()
    assert offered == {"ana": ["echo", "count", "wipe"], "bo": []}
