"""`hub.server()`: clients of the SDK on a hub; what they are shown, told and asked."""

from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError, code, text, wire
from hub_peers import ERAS, SIDES, asking, client, elicited, uri
from mcp.types import ElicitResult, ErrorData, ListRootsResult

from mcpguard import Access, AccessRule, Guard, Principal, Run, View
from mcpguard.testing import FakeServer, InputRequest, RecordingSink

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("era", ERAS)
async def test_any_client_sits_on_a_hub(era: str) -> None:
    """Tools, prompts, resources, templates and completion, each from its server."""
    git, web = FakeServer(), FakeServer()
    git.tool("log", description="d", annotations={"readOnlyHint": True}).returns("a commit")
    web.tool("search").returns("a page")
    git.prompt("ask", arguments=["what"]).returns("ask git")
    git.completion("ask", {"what": ["this", "that"]})
    web.resource("web://page", "text of the page")
    web.resource_template("web://page/{n}").returns("page n")
    async with Guard([]).hub({"git": git, "web": web}) as hub, client(hub.server(), era) as peer:
        assert await peer.tools() == ["git__log", "web__search"]
        assert (await peer.items("tools"))[0]["annotations"] == {"readOnlyHint": True}
        assert text(await peer.call("web__search", {"q": 1})) == "a page"
        assert [one["name"] for one in await peer.items("prompts")] == ["git__ask"]
        assert "ask git" in str(wire(await peer.caller.get_prompt("git__ask", {"what": "this"})))
        assert [one["uri"] for one in await peer.items("resources")] == ["web://page"]
        assert len(await peer.items("resource_templates")) == 1
        assert "text of the page" in str(wire(await peer.caller.read_resource(uri("web://page"))))
        assert "page n" in str(wire(await peer.caller.read_resource(uri("web://page/7"))))
        types: Any = import_module("mcp.types")
        ref = types.PromptReference(type="ref/prompt", name="git__ask")
        told = wire(await peer.caller.complete(ref, {"name": "what", "value": "th"}))
        assert told["completion"]["values"] == ["this", "that"]
    assert web.calls("search") == [{"q": 1}]


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_leads_nowhere_is_a_denial_the_model_can_read(era: str) -> None:
    """It is recorded, and does not tell hidden from missing; other requests get the protocol's error."""
    git, web = FakeServer(), FakeServer()
    git.tool("log")
    git.tool("reset")
    sink = RecordingSink()
    guard = Guard([Access(default="allow", deny=[AccessRule(tools=["reset"])])], sinks=[sink])
    async with guard.hub({"git": git, "mail": web}) as hub, client(hub.server(), era) as peer:
        for name in ("web__log", "log"):
            answer = await peer.call(name, {"n": 1})
            assert answer["isError"]
            assert code(answer) == "access_denied"
            assert text(answer) == text(await peer.call("git__reset"))
        ended = [one for one in sink.events if one.kind == "completed" and one.target in ("web__log", "log")]
        assert [(one.code, one.server, one.method) for one in ended] == [
            ("access_denied", None, "tools/call")
        ] * 2
        with pytest.raises(MCPError, match="no prompt of this name"):
            await peer.caller.get_prompt("web__ask")
        with pytest.raises(MCPError, match="no resource of this name"):
            await peer.caller.read_resource(uri("web://page"))


@pytest.mark.parametrize("era", ERAS)
async def test_denials_and_errors_come_through_as_they_are(era: str) -> None:
    """Code, data and text of the server's own errors, too."""
    git = FakeServer()
    git.tool("log")
    git.tool("reset")
    git.on_call("log").fails(-32011, "quota", {"left": 0})
    guard = Guard([Access(default="allow", deny=[AccessRule(servers=["git"], tools=["reset"])])])
    async with guard.hub({"git": git}) as hub, client(hub.server(), era) as peer:
        assert await peer.tools() == ["git__log"]
        assert code(await peer.call("git__reset")) == "access_denied"
        with pytest.raises(MCPError, match="quota") as raised:
            await peer.call("git__log")
        assert (raised.value.error.code, raised.value.error.data) == (-32011, {"left": 0})
    assert git.calls("reset") == []


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_progress_and_log_messages_reach_whoever_makes_the_call(ours: str, theirs: str) -> None:
    """In the order in which the server sends them."""
    git, seen = FakeServer(era=theirs), list[float]()  # type: ignore[arg-type]
    git.tool("log").reports(1, 2, 3, total=3).logs("half way", level="warning").returns("done")

    async def progress(value: float, total: float | None, message: str | None) -> None:
        del message
        assert total == 3
        seen.append(value)

    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), ours) as peer:
        assert text(await peer.call("git__log", progress_callback=progress)) == "done"
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert seen == [1, 2, 3]
    assert peer.said == (["half way"] if (ours, theirs) == ("legacy", "legacy") else [])


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_what_a_server_asks_is_answered_by_whoever_makes_the_call(ours: str, theirs: str) -> None:
    """Whichever era either side is of."""
    git = asking(theirs)
    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), ours, elicitation_callback=elicited) as peer,
    ):
        with anyio.fail_after(20):
            assert text(await peer.call("git__ask")) == "asked"
    assert [reply["content"] for reply in git.replies] == [{"name": "who?"}]
    assert len(git.calls("ask")) == 1


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_a_client_that_answers_nothing_refuses_what_servers_ask(ours: str, theirs: str) -> None:
    """The call ends; the next one works."""
    git = asking(theirs)
    git.tool("log").returns("done")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), ours) as peer:
        with anyio.fail_after(20):
            if theirs == "modern":
                with pytest.raises(MCPError, match=r"[Ee]licitation"):
                    await peer.call("git__ask")
            else:
                assert (await peer.call("git__ask"))["isError"]
            assert text(await peer.call("git__log")) == "done"


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_a_parked_call_goes_on_with_the_message_that_continues_it_and_with_no_other() -> None:
    """The same request of the same principal under its state, once; anything else finds nothing."""
    git = asking("legacy")
    guard = Guard([Access(default="allow")], anonymous="allow")
    ana, bob = (Principal(tenant="acme", user=user) for user in ("ana", "bob"))
    answers = {"hub-1": ElicitResult(action="accept", content={"name": "x"})}
    async with guard.hub({"git": git}) as hub, client(hub.server(), elicitation_callback=elicited) as peer:

        async def go_on(arguments: Any, state: str, who: Principal) -> Any:
            async with guard.run(principal=who):
                return wire(
                    await peer.caller.session.call_tool(
                        "git__ask",
                        arguments,
                        input_responses=answers,
                        request_state=state,
                        allow_input_required=True,
                    )
                )

        async with guard.run(principal=ana):
            asked = await peer.caller.session.call_tool("git__ask", {"n": 1}, allow_input_required=True)
        state = asked.request_state
        for arguments, given, who in (
            ({"n": 2}, state, ana),
            ({"n": 1}, state, bob),
            ({"n": 1}, state + "0", ana),
            ({"n": 1}, None, ana),
        ):
            with pytest.raises(MCPError, match="nothing waits"):
                await go_on(arguments, given, who)
        assert git.replies == []
        assert text(await go_on({"n": 1}, state, ana)) == "asked"
        with pytest.raises(MCPError, match="nothing waits"):
            await go_on({"n": 1}, state, ana)
    assert len(git.calls("ask")) == len(git.replies) == 1


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
async def test_a_parked_call_that_nobody_continues_ends() -> None:
    """Its server is told; what comes too late finds nothing."""
    git = asking("legacy")
    async with Guard([]).hub({"git": git}) as hub:
        async with client(hub.server(wait_for=0.05), elicitation_callback=elicited) as peer:
            asked = await peer.caller.session.call_tool("git__ask", {}, allow_input_required=True)
            with anyio.fail_after(20):
                await git.until_seen("notifications/cancelled")
            with pytest.raises(MCPError):
                await peer.caller.session.call_tool(
                    "git__ask",
                    {},
                    input_responses={"hub-1": ElicitResult(action="decline")},
                    request_state=asked.request_state,
                    allow_input_required=True,
                )


@pytest.mark.parametrize("ours", ERAS)
async def test_calls_of_one_run_may_be_asked_in_parallel(ours: str) -> None:
    """Whichever of them a question is put in, it reaches whom it is for."""
    git, guard = asking("legacy"), Guard([], anonymous="allow")
    answers = list[str]()

    async def call(number: int) -> None:
        answers.append(text(await peer.call("git__ask", {"n": number})))

    async with guard.hub({"git": git}) as hub, guard.run():
        async with client(hub.server(), ours, elicitation_callback=elicited) as peer:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for number in range(5):
                        tasks.start_soon(call, number)
    assert answers == ["asked"] * 5
    assert len(git.calls("ask")) == len(git.replies) == 5


@pytest.mark.parametrize("era", ERAS)
async def test_calls_on_the_hub_itself_are_answered_by_its_callbacks(era: str) -> None:
    """And where it has none, nothing is advertised."""
    git, web = asking(era), asking("legacy")
    async with Guard([]).hub({"git": git}, callbacks={"elicitation_callback": elicited}) as hub:
        assert text(wire(await hub.call("git__ask"))) == "asked"
    async with Guard([]).hub({"web": web}) as hub:
        assert (wire(await hub.call("web__ask")))["isError"]
    assert web.seen("initialize")[0]["capabilities"] == {}


async def test_what_is_asked_while_calls_of_two_clients_are_under_way_is_refused() -> None:
    """It cannot be told which of them it is for."""
    git, gate = asking("legacy"), anyio.Event()
    git.tool("wait").waits_for(gate).returns("done")
    asked = list[Any]()

    async def never(context: Any, params: Any) -> Any:
        asked.append((context, params))
        return ErrorData(code=1, message="no")

    callbacks = {"elicitation_callback": never}
    async with Guard([]).hub({"git": git}) as hub:
        server = hub.server()
        async with (
            client(server, "legacy", **callbacks) as one,
            client(server, "legacy", **callbacks) as other,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.call, "git__wait")
                await git.until_seen("tools/call")
                assert (await other.call("git__ask"))["isError"]
                gate.set()
    assert asked == []
    assert "several clients" in str(git.replies)


async def test_roots_of_the_client_reach_the_server() -> None:
    """A request without parameters."""
    git = FakeServer()
    git.tool("ask").asks(InputRequest("roots/list")).returns("asked")

    async def roots(context: Any) -> Any:
        del context
        return ListRootsResult(roots=[{"uri": "file:///srv"}])  # type: ignore[list-item]

    async with Guard([]).hub({"git": git}) as hub:
        async with client(hub.server(), "legacy", list_roots_callback=roots) as peer:
            assert text(await peer.call("git__ask")) == "asked"
    assert git.replies == [{"roots": [{"uri": "file:///srv"}]}]


async def test_tools_of_a_dead_server_vanish_and_come_back_and_clients_are_told() -> None:
    """Each time with a notification."""
    git, web = FakeServer(), FakeServer()
    git.tool("log").returns("done")
    web.tool("search")
    async with Guard([]).hub({"git": git, "web": web}, retry_after=0.05) as hub:
        async with client(hub.server(), "legacy") as peer:
            assert await peer.tools() == ["git__log", "web__search"]
            git.drop_connections()
            with anyio.fail_after(20):
                await peer.changed.wait()
                peer.changed = anyio.Event()
                gone = await peer.tools()
                while peer.heard.count("notifications/tools/list_changed") < 2:
                    await peer.changed.wait()
                    peer.changed = anyio.Event()
            assert gone in (["web__search"], ["git__log", "web__search"])
            assert await peer.tools() == ["git__log", "web__search"]
            assert text(await peer.call("git__log")) == "done"


@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_a_list_that_changes_is_passed_on(ours: str, theirs: str) -> None:
    """In each era's way."""
    git = FakeServer(era=theirs)  # type: ignore[arg-type]
    git.tool("log")
    async with Guard([]).hub({"git": git}) as hub, client(hub.server(), ours) as peer:
        assert await peer.tools() == ["git__log"]
        if theirs == "modern":
            await git.until_seen("subscriptions/listen")
        with anyio.fail_after(20):
            if ours == "modern":
                async with peer.caller.listen(tools_list_changed=True) as stream:
                    git.tool("new")
                    assert await git.notify("notifications/tools/list_changed") == 1
                    async for event in stream:
                        assert type(event).__name__ == "ToolsListChanged"
                        break
            else:
                git.tool("new")
                assert await git.notify("notifications/tools/list_changed") == 1
                while "notifications/tools/list_changed" not in peer.heard:
                    await peer.changed.wait()
        assert await peer.tools() == ["git__log", "git__new"]


@pytest.mark.filterwarnings("ignore:resources/")
@pytest.mark.parametrize(("ours", "theirs"), SIDES)
async def test_changes_of_a_resource_reach_those_who_watch_it(ours: str, theirs: str) -> None:
    """And nobody else; the server is told when nobody watches any more."""
    web, other = FakeServer(era=theirs), FakeServer()  # type: ignore[arg-type]
    web.resource("web://page", "text")
    other.resource("other://page", "text")
    async with Guard([]).hub({"web": web, "other": other}) as hub:
        server = hub.server()
        async with client(server, ours) as peer, client(server, "legacy") as stranger:
            with anyio.fail_after(20):
                if ours == "modern":
                    async with peer.caller.listen(resource_subscriptions=["web://page"]) as stream:
                        await web.notify("notifications/resources/updated", {"uri": "web://page"})
                        async for event in stream:
                            assert event.uri == "web://page"
                            break
                else:
                    await peer.caller.subscribe_resource(uri("web://page"))
                    await web.notify("notifications/resources/updated", {"uri": "web://page"})
                    while "notifications/resources/updated" not in peer.heard:
                        await peer.changed.wait()
                    await peer.caller.unsubscribe_resource(uri("web://page"))
                if theirs == "legacy":
                    await web.until_seen("resources/unsubscribe")
            assert stranger.heard == []
    assert other.seen("resources/subscribe") == []


@pytest.mark.filterwarnings("ignore:The logging capability")
async def test_the_log_level_that_a_client_sets_reaches_the_servers() -> None:
    """Also those that are started later; a client is not told less than it wants because of another."""
    git, web = FakeServer(), FakeServer()
    git.tool("log").logs("low", level="info").logs("high", level="error").returns("done")
    async with Guard([]).hub({"git": git, "web": web}) as hub:
        server = hub.server()
        async with client(server, "legacy") as loud, client(server, "legacy") as quiet:
            await loud.tools()
            await loud.caller.set_logging_level("info")
            await quiet.caller.set_logging_level("error")
            for peer in (loud, quiet):
                await peer.call("git__log")
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        assert loud.said == ["low", "high"]
        assert quiet.said == ["high"]
    assert [params["level"] for params in git.seen("logging/setLevel")] == ["info", "info"]


async def test_each_principal_has_a_server_of_their_own_view() -> None:
    """Bound to a run, on both majors."""
    git = FakeServer()
    git.tool("log").returns("done")
    git.tool("push").returns("done")
    guard = Guard([View(hide_tools=["push"], roles=["junior"])])
    junior, senior = (
        Run(principal=Principal(tenant="acme", roles=frozenset({one}))) for one in ("junior", "senior")
    )
    async with guard.hub({"git": git}) as hub:
        async with client(hub.server(run=junior)) as one, client(hub.server(run=senior)) as other:
            for _ in range(2):
                assert await one.tools() == ["git__log"]
                assert await other.tools() == ["git__log", "git__push"]
            assert code(await one.call("git__push")) == "not_available"
            assert code(await other.call("git__push")) is None
    assert len(git.calls("push")) == 1


@pytest.mark.skipif(V1, reason="SDK 1.x does not carry the context from client to server")
async def test_each_principal_sees_their_own_view_through_one_server() -> None:
    """The context of the call reaches the guards behind the hub."""
    git = FakeServer()
    git.tool("log").returns("done")
    git.tool("push").returns("done")
    guard = Guard([View(hide_tools=["push"], roles=["junior"])])
    junior, senior = (Principal(tenant="acme", roles=frozenset({one})) for one in ("junior", "senior"))
    async with guard.hub({"git": git}) as hub, client(hub.server()) as peer:
        for _ in range(2):
            async with guard.run(principal=junior):
                assert await peer.tools() == ["git__log"]
                assert code(await peer.call("git__push")) == "not_available"
            async with guard.run(principal=senior):
                assert await peer.tools() == ["git__log", "git__push"]
    assert git.calls("push") == []


async def test_leaving_the_hub_ends_calls_of_its_clients() -> None:
    """They are told; the client's session goes on."""
    git, answers = FakeServer(), list[dict[str, Any]]()
    git.tool("log").hangs()

    async def calling() -> None:
        answers.append(await peer.call("git__log"))

    hub = Guard([]).hub({"git": git})
    async with client(hub.server()) as peer, anyio.create_task_group() as tasks:
        with anyio.fail_after(20):
            async with hub:
                tasks.start_soon(calling)
                await git.until_seen("tools/call")
            while not answers:
                await anyio.lowlevel.checkpoint()
    assert answers[0]["isError"]
    assert "the hub was left" in text(answers[0])
    assert git.clients == 0


async def test_a_client_that_gives_up_cancels_the_call_at_its_server() -> None:
    """The hub's clients can leave, too."""
    git = FakeServer()
    git.tool("log").hangs()
    async with (
        Guard([]).hub({"git": git}) as hub,
        client(hub.server(), elicitation_callback=elicited) as peer,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.call, "git__log")
            await git.until_seen("tools/call")
            tasks.cancel_scope.cancel()
        if not V1:
            with anyio.fail_after(20):
                await git.until_seen("notifications/cancelled")
        assert hub.status() == {"git": "up"}
