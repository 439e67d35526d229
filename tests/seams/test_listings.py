"""The listing that an SDK makes for itself, told from the agent's own at a guarded transport."""

import pytest
from harness import ALL, Checking, Filtering, MCPError, denying, opened, watching
from line import CALLS, Line, Wire, result, talking

from mcpguard import Call, Guard, Result
from mcpguard.core.interceptor import Handles
from mcpguard.core.result import DENIED_CODE
from mcpguard.testing import FakeServer, RecordingSink
from mcpguard.testing.messages import structured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]


def counting_server() -> FakeServer:
    """A server with a tool whose answers the SDK validates."""
    server = FakeServer()
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    server.tool("count", output_schema=schema).returns(structured({"n": 1}))
    server.tool("fail").is_error("broken")
    return server


async def test_the_sdks_own_listing_is_no_call_and_cannot_fail_one() -> None:
    """Trap 5: a session lists by itself to validate an answer; denying that raised after the tool ran."""
    sink = RecordingSink()
    server = counting_server()
    guard = Guard([denying(methods=["tools/list"])], sinks=[sink], on_deny="raise")
    async with opened(guard, server, "transport") as peer:
        result = await peer.call("count")
        assert result["structuredContent"] == {"n": 1}
        assert [event for event in sink.events if event.method == "tools/list"] == []
        with pytest.raises(MCPError, match="not_here"):
            await peer.tools()
    assert len(server.seen("tools/list")) == 1


async def test_a_listing_in_another_run_is_not_the_sdks_own() -> None:
    """The session lists in the context of the call it validates; whoever else lists has to be allowed to."""
    sink = RecordingSink()
    guard = Guard([watching()], sinks=[sink])
    async with talking(guard) as (client, line):
        async with guard.run():
            await client.calls("count")
            await line.answers(content=[])
            await client.hears()
        async with guard.run(id="other") as other:
            guard.stop(other)
            await client.says({"id": 2, "method": "tools/list"})
            assert (await client.hears())["error"]["code"] == DENIED_CODE
    assert ("completed", "run_stopped") in [(event.kind, event.code) for event in sink.events]


@pytest.mark.parametrize("listens", [False, True])
async def test_a_run_that_ends_meanwhile_cannot_fail_a_call_that_has_completed(listens: bool) -> None:
    """A session lists by itself to validate the answer; once: what is listed after that is the agent's own."""
    guard = Guard(sinks=[RecordingSink()] if listens else [])
    async with talking(guard) as (client, line), guard.run() as run:
        await client.calls("count")
        guard.stop(run)
        await line.answers(content=[])
        assert (await client.hears())["result"] == {"content": []}
        await client.says({"id": 2, "method": "tools/list"})
        assert (await line.hears())["method"] == "tools/list"
        await line.says(result(2, tools=[]))
        assert (await client.hears())["result"] == {"tools": []}
        await client.says({"id": 3, "method": "tools/list"})
        assert (await client.hears())["error"]["code"] == DENIED_CODE


async def test_filters_see_the_sdks_own_listing_and_a_failing_one_leaves_it_empty() -> None:
    """What is hidden stays hidden; the tool has run, so its answer reaches the caller unvalidated."""

    def look(call: Call, result: Result) -> Result:
        raise RuntimeError("broken filter")

    guard = Guard([Filtering(look, {("tools/list", "outbound")})])
    async with opened(guard, counting_server(), "transport") as peer:
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}


@pytest.mark.parametrize("handled", [{("tools/list", "outbound")}, ALL])
async def test_a_listing_of_the_agents_own_is_a_call(handled: Handles) -> None:
    """After a call that failed, and after one of a tool that has been listed, nobody lists but the agent."""
    seen = watching(handled)
    async with opened(Guard([seen]), counting_server(), "transport") as peer:
        assert (await peer.call("fail"))["isError"] is True
        await peer.tools()
        assert seen.methods().count("tools/list") == 1
        await peer.call("count")
        await peer.tools()
        assert seen.methods().count("tools/list") == 2


async def test_a_call_that_meets_no_chain_is_followed_all_the_same() -> None:
    """Where only listings are guarded, the session's own is still told from the agent's."""
    check = denying(methods=["tools/list"]).check
    guard = Guard([Checking(check, {("tools/list", "outbound")})])
    async with opened(guard, counting_server(), "transport") as peer:
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}
        with pytest.raises(MCPError, match="not_here"):
            await peer.tools()


async def test_the_sdks_own_listing_cannot_fail_a_call_where_only_calls_are_guarded() -> None:
    """The server refuses it; the tool has run. The agent's own listing fails as ever."""
    server = counting_server()
    server.on("tools/list").fails(-1, "no list")
    async with opened(Guard([watching(CALLS)]), server, "transport") as peer:
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}
        with pytest.raises(MCPError, match="no list"):
            await peer.tools()


async def test_a_listing_that_passes_is_remembered_too() -> None:
    """What the session has seen in a list it does not list again."""
    server = counting_server()
    async with opened(Guard([watching(CALLS)]), server, "transport") as peer:
        await peer.tools()
        server.on("tools/list").fails(-1, "no list")
        assert (await peer.call("count"))["structuredContent"] == {"n": 1}
        with pytest.raises(MCPError, match="no list"):
            await peer.tools()


async def test_calls_that_nobody_answers_are_not_remembered_for_ever() -> None:
    """A server that never answers fills no memory with calls that pass."""
    async with talking(Guard([watching({("tools/list", "outbound")})]), Line(room=10)) as (client, line):
        for number in range(1100):
            await client.calls("read", number)
            await line.hears()
        await line.says(result(0), result(1099))
        assert [await client.hears() for _ in range(2)] == [result(0), result(1099)]


async def test_odd_listings_are_passed_on_and_remembered_as_far_as_they_make_sense() -> None:
    """Names are bounded; pages add to what was listed, a whole list replaces it."""
    seen = watching({("tools/list", "outbound"), ("tools/call", "outbound")})
    pages: list[Wire] = [
        {"tools": [{"name": f"tool-{n}"} for n in range(10_001)]},
        {"tools": "odd"},
        {"tools": ["odd", {"name": 1}, {"name": "a"}], "nextCursor": "more"},
        {"tools": [{"name": "b"}]},
    ]
    async with talking(Guard([seen])) as (client, line):
        for page in pages:
            cursor = {"params": {"cursor": "more"}} if page is pages[-1] else {}
            await client.says({"id": 1, "method": "tools/list", **cursor})
            await line.answers(**page)
            assert await client.hears() == result(1, **page)
        for tool, counted in (("a", 1), ("b", 1), ("c", 0)):
            before = len(seen.seen)
            await client.calls(tool)
            await line.answers(content=[])
            await client.hears()
            await client.says({"id": 1, "method": "tools/list"})
            await line.hears()
            assert len(seen.seen) - before == 1 + counted, tool
            await client.cancels(1)
            await line.hears()
