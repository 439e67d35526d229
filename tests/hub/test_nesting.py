"""A guard around a client of a hub, and guards behind it: one logical call, counted once by each rule."""

from importlib import import_module
from typing import Any

import anyio
import pytest
from harness import V1, code, wire

from mcpguard import Access, Budget, Concurrency, Guard, LoopDetector, RateLimit
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(V1, reason="SDK 1.x does not carry the context from client to server"),
]

MODES = [{}, {"mode": "legacy"}]


async def call(client: Any, name: str = "git__log", **arguments: Any) -> dict[str, Any]:
    """Call a tool through a client."""
    return wire(await client.call_tool(name, arguments))


def server(*tools: str) -> FakeServer:
    """A server with some tools."""
    one = FakeServer()
    for tool in tools:
        one.tool(tool).returns("done")
    return one


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_through_an_outer_and_an_inner_guard_is_one_unit(mode: Any) -> None:
    """The same guard on both sides of the hub; the budget allows two, and two are made."""
    git, sink = server("log"), RecordingSink()
    guard = Guard([Budget(calls=2, per="run")], sinks=[sink])
    async with guard.hub({"git": git}) as hub, guard.client(hub.server(), name="hub", **mode) as client:
        async with guard.run():
            assert [code(await call(client, n=n)) for n in range(3)] == [None, None, "budget_exhausted"]
    assert len(git.calls("log")) == 2
    received = [
        event.call_id for event in sink.events if (event.kind, event.method) == ("received", "tools/call")
    ]
    assert len(received) == 5
    assert len(set(received)) == 3


async def test_each_rule_counts_once_also_where_two_guards_share_it() -> None:
    """Rate, slots and loops as well; with one slot the inner guard would wait for the outer."""
    git = server("log")
    rules = [
        LoopDetector(warn_after=2, block_after=4),
        Concurrency(slots=1, queue=0),
        RateLimit(calls=3, seconds=3600, per="run"),
    ]
    outer, inner = Guard([rules[0], rules[1], rules[2]]), Guard([rules[0], rules[1], rules[2]])
    async with inner.hub({"git": git}) as hub, outer.client(hub.server(), name="hub") as client:
        async with outer.run():
            assert [code(await call(client, n=n)) for n in range(4)] == [None, None, None, "rate_limited"]
    assert len(git.calls("log")) == 3


async def test_a_rule_that_is_about_the_server_behind_the_hub_counts_there() -> None:
    """The guard further out has not counted what is not its business."""
    git, web = server("log"), server("log")
    guard = Guard([Budget(calls=1, per="run", servers=["git"])])
    async with guard.hub({"git": git, "web": web}) as hub, guard.client(hub.server(), name="hub") as client:
        async with guard.run():
            assert [code(await call(client, n=n)) for n in range(2)] == [None, "budget_exhausted"]
            assert [code(await call(client, "web__log", n=n)) for n in range(2)] == [None, None]


async def test_different_rules_of_the_two_guards_each_count() -> None:
    """One unit of each."""
    git = server("log")
    outer, inner = Guard([Budget(calls=3, per="run")]), Guard([Budget(calls=2, per="run")])
    async with inner.hub({"git": git}) as hub, outer.client(hub.server(), name="hub") as client, outer.run():
        assert [code(await call(client, n=n)) for n in range(3)] == [None, None, "budget_exhausted"]
    assert len(git.calls("log")) == 2


async def test_what_a_tool_calls_by_itself_is_a_call_of_its_own() -> None:
    """A tool in this process that calls the hub it is behind, any number of times, the very same call too."""
    mcpserver: Any = import_module("mcp.server.mcpserver")
    mcp: Any = import_module("mcp")
    tools, git = mcpserver.MCPServer("tools"), server("log")
    guard = Guard([Budget(calls=4, per="run")])
    hub = guard.hub({"git": git, "tools": tools})
    answers = list[Any]()

    @tools.tool()
    async def many(n: int) -> str:
        for _ in range(4):
            answers.append(code(wire(await hub.call("git__log", {"n": n}))))
            async with mcp.Client(hub.server(), cache=None) as plain:
                answers.append(code(await call(plain, n=n)))
        return "done"

    async with hub, guard.client(hub.server(), name="hub") as client, guard.run():
        await call(client, "tools__many", n=1)
    assert answers == [None] * 3 + ["budget_exhausted"] * 5
    assert len(git.calls("log")) == 3


async def test_calls_at_once_are_told_apart() -> None:
    """Each is nested in its own, though they are all alike."""
    git = server("log")
    guard = Guard([Budget(calls=10, per="run"), Access(default="allow")][::-1])
    answers = list[Any]()

    async def one() -> None:
        answers.append(code(await call(client, n=1)))

    async with guard.hub({"git": git}) as hub, guard.client(hub.server(), name="hub") as client, guard.run():
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
    assert sorted(answers, key=str) == [None] * 10 + ["budget_exhausted"] * 10
    assert len(git.calls("log")) == 10


async def test_a_guarded_session_on_a_hub_is_nested_as_well() -> None:
    """The session seam."""
    git = server("log")
    guard = Guard([Budget(calls=2, per="run")])
    memory: Any = import_module("mcp.client._memory")
    mcp: Any = import_module("mcp")
    async with guard.hub({"git": git}) as hub, memory.InMemoryTransport(hub.server()) as streams:
        session = guard.session(mcp.ClientSession(*streams), name="hub")
        async with session:
            await session.initialize()
            async with guard.run():
                assert [code(await call(session, n=n)) for n in range(3)] == [None, None, "budget_exhausted"]
    assert len(git.calls("log")) == 2
