"""Servers and clients of a hub that are not what they should be, and guards that refuse what passes it."""

from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError, text, watching, wire
from hub_peers import ERAS, SIDES, asking, client, elicited, uri
from mcp.types import CreateMessageResult, ElicitResult, TextContent

from mcpguard import Access, AccessRule, Guard, HubError, InboundRequests, View
from mcpguard.testing import FakeServer, InputRequest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_what_a_server_asks_passes_its_guard_before_it_reaches_a_client(ours: str, theirs: str) -> None:
    """Refused there, nobody is asked, and nothing was advertised; without the guard the person is asked."""
    for guard, count in ((Guard([InboundRequests()]), 0), (Guard([]), 1)):
        git, asked = asking(theirs), list[Any]()

        async def answer(context: Any, params: Any, asked: list[Any] = asked) -> Any:
            asked.append(params)
            return await elicited(context, params)

        async with (
            guard.hub({"git": git}) as hub,
            client(hub.server(), ours, elicitation_callback=answer) as peer,
        ):
            with anyio.fail_after(20):
                assert text(await peer.call("git__ask")) == "asked"
        assert len(asked) == count
        assert [reply["action"] for reply in git.replies] == ["accept" if count else "decline"]
        if theirs == "legacy":
            assert ("elicitation" in git.seen("initialize")[0]["capabilities"]) is bool(count)


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_a_server_may_use_the_model_of_whoever_calls(ours: str, theirs: str) -> None:
    """Sampling, with what the model said going back."""
    git = FakeServer(era=theirs)  # type: ignore[arg-type]
    message = {"role": "user", "content": {"type": "text", "text": "sum up"}}
    git.tool("ask").asks(
        InputRequest("sampling/createMessage", {"messages": [message], "maxTokens": 9})
    ).returns("ok")

    async def sampled(context: Any, params: Any) -> Any:
        del context
        assert params.messages[0].content.text == "sum up"
        return CreateMessageResult(
            role="assistant", content=TextContent(type="text", text="short"), model="m"
        )

    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), ours, sampling_callback=sampled) as peer,
    ):
        with anyio.fail_after(20):
            assert text(await peer.call("git__ask")) == "ok"
    assert git.replies[0]["content"] == {"type": "text", "text": "short"}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("ends", ["left", "died"])
async def test_a_call_ends_that_waits_for_its_client_when_the_hub_is_left_or_the_server_dies(
    era: str, ends: str
) -> None:
    """The client answers too late, and is told so."""
    git, begun, gate = asking("legacy"), anyio.Event(), anyio.Event()
    answers = list[dict[str, Any]]()

    async def slow(context: Any, params: Any) -> Any:
        del context, params
        begun.set()
        await gate.wait()
        return ElicitResult(action="accept", content={})

    async def calling() -> None:
        answers.append(await peer.call("git__ask"))

    hub = Guard([watching()]).hub({"git": git}, retry_after=60)
    async with (
        client(hub.server(), era, elicitation_callback=slow) as peer,
        anyio.create_task_group() as tasks,
    ):
        with anyio.fail_after(20):
            async with hub:
                tasks.start_soon(calling)
                await begun.wait()
                if ends == "died":
                    git.drop_connections()
                    while hub.status() != {"git": "down"}:
                        await anyio.lowlevel.checkpoint()
            gate.set()
            while not answers:
                await anyio.lowlevel.checkpoint()
            if (
                V1
            ):  # whose server says something about an answer that comes too late, to a client that is there
                await peer.caller.send_ping()
    assert answers[0]["isError"]
    assert ("the hub was left" if ends == "left" else "connection ended") in text(answers[0])
    assert len(git.calls("ask")) == 1


@pytest.mark.filterwarnings("ignore:resources/")
async def test_a_server_cannot_tell_of_changes_of_anothers_resources() -> None:
    """Only the server that is watched for a resource is heard about it."""
    git, web = FakeServer(), FakeServer()
    git.resource("git://a", "a")
    web.resource("web://b", "b")
    async with Guard([]).hub({"git": git, "web": web}) as hub, client(hub.server(), "legacy") as peer:
        await peer.caller.subscribe_resource(uri("git://a"))
        await web.notify("notifications/resources/updated", {"uri": "git://a"})
        await hub.read("web://b")
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert peer.heard == []
        await git.notify("notifications/resources/updated", {"uri": "git://a"})
        with anyio.fail_after(20):
            await peer.changed.wait()
    assert peer.heard == ["notifications/resources/updated"]


@pytest.mark.filterwarnings("ignore:resources/")
async def test_who_may_not_read_a_resource_may_not_watch_it() -> None:
    """The guard of its server is asked, on behalf of whoever subscribes."""
    git = FakeServer()
    git.resource("git://a", "a")
    guard = Guard(
        [Access(default="deny", allow=[AccessRule(methods=["resources/list", "resources/templates/list"])])]
    )
    async with guard.hub({"git": git}) as hub, client(hub.server(), "legacy") as peer:
        with pytest.raises(MCPError):
            await peer.caller.subscribe_resource(uri("git://a"))
    assert git.seen("resources/subscribe") == []


async def test_a_storm_of_changes_keeps_no_call_from_its_answer() -> None:
    """Clients are told of it meanwhile."""
    git = FakeServer()
    git.tool("log").returns("done")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), "legacy") as peer:
        await peer.tools()
        for _ in range(500):
            await git.notify("notifications/tools/list_changed")
        assert text(await peer.call("git__log")) == "done"
        with anyio.fail_after(20):
            await peer.changed.wait()
    assert set(peer.heard) == {"notifications/tools/list_changed"}


@pytest.mark.parametrize(
    "name",
    [
        "git__push",
        "git__PUSH",
        "git__push\u200b",
        "git__ｐush",
        "git__./push",
        "git____push",
        "push",
        "git__git__push",
    ],
)
async def test_a_hidden_tool_is_reached_under_no_name(name: str) -> None:
    """Through the server as well as through the hub."""
    git = FakeServer()
    git.tool("log")
    git.tool("push").returns("pushed")
    guard = Guard([View(expose_tools=["log"])])
    async with guard.hub({"git": git}) as hub, client(hub.server()) as peer:
        assert await peer.tools() == ["git__log"]
        assert (await peer.call(name))["isError"]
    assert git.calls("push") == []


@pytest.mark.parametrize("era", ERAS)
async def test_denials_that_are_raised_are_answers_of_the_server(era: str) -> None:
    """There is nobody behind a server object to raise to."""
    git = FakeServer()
    git.tool("push")
    guard = Guard([Access(default="deny")], on_deny="raise")
    async with guard.hub({"git": git}) as hub, client(hub.server(), era) as peer:
        answer = await peer.call("git__push")
        assert answer["isError"]
        assert "access_denied" in text(answer)


@pytest.mark.parametrize("era", ERAS)
async def test_a_hub_may_be_a_server_of_another(era: str) -> None:
    """Names are prefixed twice; each call reaches its server once."""
    git = FakeServer()
    git.tool("log").returns("done")
    git.resource("git://a", "text of a")
    inner, outer = Guard([]), Guard([])
    async with inner.hub({"git": git}) as one, outer.hub({"inner": one.server()}) as hub:
        async with client(hub.server(), era) as peer:
            assert await peer.tools() == ["inner__git__log"]
            assert text(await peer.call("inner__git__log")) == "done"
            assert "text of a" in str(wire(await peer.caller.read_resource(uri("git://a"))))
    assert len(git.calls("log")) == 1


@pytest.mark.skipif(not V1, reason="SDK 1.x only")
async def test_frameworks_that_call_the_handlers_themselves_are_served() -> None:
    """As the Claude Agent SDK does: no session, no context."""
    types: Any = import_module("mcp.types")
    git = asking("legacy")
    git.tool("log").reports(1).logs("said").returns("done")
    async with Guard([]).hub({"git": git}) as hub:
        handlers = hub.server().request_handlers
        listed = await handlers[types.ListToolsRequest](types.ListToolsRequest(method="tools/list"))
        assert [tool.name for tool in listed.root.tools] == ["git__ask", "git__log"]

        async def call(name: str) -> dict[str, Any]:
            params = types.CallToolRequestParams(name=name, arguments={})
            answer = await handlers[types.CallToolRequest](
                types.CallToolRequest(method="tools/call", params=params)
            )
            return wire(answer.root)

        assert text(await call("git__log")) == "done"
        assert (await call("git__ask"))["isError"]
        assert (await call("web__log"))["isError"]


async def test_a_hub_that_is_not_open_serves_nobody() -> None:
    """Its server says so; nothing is started."""
    git = FakeServer()
    git.tool("log")
    hub = Guard([]).hub({"git": git})
    async with client(hub.server()) as peer:
        answer = await peer.call("git__log")
        assert "inside its `async with`" in text(answer)
    with pytest.raises(HubError):
        await hub.call("git__log")
    assert git.received == []
