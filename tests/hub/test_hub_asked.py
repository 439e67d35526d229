"""What servers ask and tell clients of a hub, and what clients send along: the rarer kinds."""

from importlib import import_module
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError, text, wire
from hub_peers import ERAS, asking, client, elicited
from mcp.server.lowlevel.server import NotificationOptions
from mcp.types import CreateMessageResult, ElicitResult, TextContent

from mcpguard import Guard, Principal
from mcpguard.core.wire import JSONObject
from mcpguard.testing import FakeServer, InputRequest

pytestmark = pytest.mark.anyio

MESSAGE: Final[JSONObject] = {"role": "user", "content": {"type": "text", "text": "sum up"}}
TOOL: Final[JSONObject] = {"name": "look", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize("era", ERAS)
async def test_a_model_that_is_given_tools_may_use_them(era: str) -> None:
    """What it wants to call goes back to the server as it is."""
    types: Any = import_module("mcp.types")
    git = FakeServer()
    wanted = InputRequest("sampling/createMessage", {"messages": [MESSAGE], "maxTokens": 9, "tools": [TOOL]})
    git.tool("ask").asks(wanted).returns("ok")
    use = {"type": "tool_use", "id": "1", "name": "look", "input": {"at": "it"}}

    async def sampled(context: Any, params: Any) -> Any:
        del context
        assert [tool.name for tool in params.tools] == ["look"]
        return types.CreateMessageResultWithTools.model_validate(
            {"role": "assistant", "content": [use], "model": "m", "stopReason": "toolUse"}
        )

    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), era, sampling_callback=sampled) as peer,
    ):
        with anyio.fail_after(20):
            assert text(await peer.call("git__ask")) == "ok"
    assert git.replies[0]["content"] == [use]


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_client_cannot_answer_is_refused_though_it_answers_other_things(era: str) -> None:
    """It has a person, and no model."""
    git = FakeServer()
    wanted = InputRequest("sampling/createMessage", {"messages": [MESSAGE], "maxTokens": 9})
    git.tool("ask").asks(wanted).returns("ok")
    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), era, elicitation_callback=elicited) as peer,
    ):
        with anyio.fail_after(20):
            await peer.call("git__ask")
    assert "error" in git.replies[0]


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_an_answer_of_another_kind_than_was_asked_is_an_error_for_the_server() -> None:
    """What a model says is no answer of a person."""
    git = asking("legacy")
    said = CreateMessageResult(role="assistant", content=TextContent(type="text", text="x"), model="m")
    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), elicitation_callback=elicited) as peer,
    ):
        session = peer.caller.session
        asked = await session.call_tool("git__ask", {}, allow_input_required=True)
        with anyio.fail_after(20):
            await session.call_tool(
                "git__ask",
                {},
                input_responses={"hub-1": said},
                request_state=asked.request_state,
                allow_input_required=True,
            )
    assert "no answer to elicitation/create" in str(git.replies)


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_a_parked_call_that_died_with_its_server_is_forgotten() -> None:
    """Who continues it finds nothing, once another call waits."""
    git, web = asking("legacy"), asking("legacy")
    async with (
        Guard([]).hub({"git": git, "web": web}, retry_after=60) as hub,
        client(hub.server(), elicitation_callback=elicited) as peer,
    ):
        session = peer.caller.session
        with anyio.fail_after(20):
            lost = await session.call_tool("git__ask", {}, allow_input_required=True)
            git.drop_connections()
            while hub.status()["git"] != "down":
                await anyio.lowlevel.checkpoint()
            await session.call_tool("web__ask", {}, allow_input_required=True)
            with pytest.raises(MCPError, match="nothing waits"):
                await session.call_tool(
                    "git__ask",
                    {},
                    input_responses={"hub-1": ElicitResult(action="decline")},
                    request_state=lost.request_state,
                    allow_input_required=True,
                )


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_a_question_is_refused_where_too_many_calls_wait_of_one_or_of_all() -> None:
    """Its server is told so, and no other is answered; whatever some tenants hold, there is room for another."""
    rooms = {"a": 64, "b": 64, "c": 43, "d": 28, "e": 19}
    servers, guard = {tenant: asking("legacy") for tenant in rooms}, Guard([])
    async with guard.hub(servers) as hub, client(hub.server(), elicitation_callback=elicited) as peer:

        async def ask(tenant: str, number: int) -> Any:
            given = {"n": number}
            return await peer.caller.session.call_tool(f"{tenant}__ask", given, allow_input_required=True)

        with anyio.fail_after(60):
            for tenant, room in rooms.items():
                async with guard.run(principal=Principal(tenant=tenant)):
                    for number in range(room):
                        assert (await ask(tenant, number)).request_state is not None
                    assert "too many calls wait" in text(wire(await ask(tenant, room)))
        assert [len(server.replies) for server in servers.values()] == [1, 1, 1, 1, 1]


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_a_state_that_was_not_given_out_finds_nothing_and_ends_nothing() -> None:
    """Made up, of another hub, of monstrous length or used before: the call that waits goes on waiting."""
    git, other = asking("legacy"), asking("legacy")
    answers = {"hub-1": ElicitResult(action="accept", content={"name": "x"})}
    async with (
        Guard([]).hub({"git": git}) as hub,
        Guard([]).hub({"git": other}) as elsewhere,
        client(hub.server(), elicitation_callback=elicited) as peer,
        client(elsewhere.server(), elicitation_callback=elicited) as stranger,
    ):

        async def go_on(state: str) -> Any:
            return await peer.caller.session.call_tool(
                "git__ask", {}, input_responses=answers, request_state=state, allow_input_required=True
            )

        asked = await peer.caller.session.call_tool("git__ask", {}, allow_input_required=True)
        foreign = await stranger.caller.session.call_tool("git__ask", {}, allow_input_required=True)
        for state in ("mcpguard-hub-", asked.request_state.upper(), foreign.request_state, "x" * 1_000_000):
            with pytest.raises(MCPError, match="nothing waits"):
                await go_on(state)
        assert git.replies == other.replies == []
        assert text(wire(await go_on(asked.request_state))) == "asked"
        with pytest.raises(MCPError, match="nothing waits"):
            await go_on(asked.request_state)
    assert len(git.replies) == 1


@pytest.mark.skipif(V1, reason="SDK 1.x has no log level of one request")
async def test_a_modern_client_hears_the_log_messages_that_its_request_asks_for() -> None:
    """And none below."""
    git = FakeServer()
    git.tool("log").logs("low", level="info").logs("high", level="error").returns("done")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), "modern") as peer:
        meta = {"io.modelcontextprotocol/logLevel": "error"}
        assert text(await peer.call("git__log", meta=meta)) == "done"
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert peer.said == ["high"]


@pytest.mark.filterwarnings("ignore:The logging capability")
async def test_the_last_log_level_that_a_client_sets_holds() -> None:
    """For the server, too."""
    git = FakeServer()
    git.tool("log").logs("low", level="info").returns("done")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), "legacy") as peer:
        await peer.tools()
        for level in ("debug", "error"):
            await peer.caller.set_logging_level(level)
        assert text(await peer.call("git__log")) == "done"
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert peer.said == []
    assert [params["level"] for params in git.seen("logging/setLevel")] == ["debug", "error"]


@pytest.mark.skipif(not V1, reason="SDK 1.x only")
async def test_what_a_client_says_about_its_request_goes_on_to_the_server() -> None:
    """Its `_meta`, without what is about the one connection."""
    types: Any = import_module("mcp.types")
    git, meta = FakeServer(), {"com.example/trace": "7"}
    git.tool("log").returns("done")
    git.prompt("ask").returns("ask git")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server()) as peer:
        for method, name, kind, answer in (
            ("tools/call", "git__log", types.CallToolRequest, types.CallToolResult),
            ("prompts/get", "git__ask", types.GetPromptRequest, types.GetPromptResult),
        ):
            params = {"name": name, "_meta": {**meta, "progressToken": "mine"}}
            request = kind.model_validate({"method": method, "params": params})
            await peer.caller.send_request(types.ClientRequest(request), answer)
            told = git.seen(method)[0]["_meta"]
            assert told["com.example/trace"] == "7"
            assert told.get("progressToken") != "mine"


async def test_arguments_of_a_template_are_completed_by_its_server() -> None:
    """Known by its URI, which has no prefix."""
    types: Any = import_module("mcp.types")
    kind = types.ResourceTemplateReference
    web = FakeServer()
    web.resource_template("web://page/{n}")
    web.completion("web://page/{n}", {"n": ["7", "8"]})
    async with Guard([]).hub({"web": web}) as hub, client(hub.server()) as peer:
        ref = kind(type="ref/resource", uri="web://page/{n}")
        told = wire(await peer.caller.complete(ref, {"name": "n", "value": ""}))
    assert told["completion"]["values"] == ["7", "8"]


async def test_whoever_runs_the_server_may_say_that_its_lists_do_not_change() -> None:
    """Left unsaid, they may."""
    server = Guard([]).hub({"git": FakeServer()}).server()
    quiet = server.create_initialization_options(NotificationOptions())
    told = server.create_initialization_options()
    for options, changes in ((quiet, False), (told, True)):
        tools = wire(options.capabilities)["tools"]
        assert tools["listChanged"] is changes


@pytest.mark.skipif(not V1, reason="SDK 1.x only")
async def test_a_server_whose_resources_are_taken_away_does_not_offer_to_be_watched() -> None:
    """Whoever runs it may take handlers from it."""
    types: Any = import_module("mcp.types")
    server = Guard([]).hub({"git": FakeServer()}).server()
    assert server.create_initialization_options().capabilities.resources.subscribe
    del server.request_handlers[types.ListResourcesRequest]
    assert server.create_initialization_options().capabilities.resources is None
