"""Test an agent and its policy without servers: what it may do, and what it does when things go wrong.

Run it with `pytest testing_with_fakes.py`. The attributes of a result are named differently in `mcp` 1.x and
2.x; what is on the wire is the same in both, so that is what is read here.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from mcp import ClientSession
from mcp.types import CallToolResult, TextContent

from mcpguard import Access, AccessRule, Budget, Guard
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio


def guard_of(record: RecordingSink) -> Guard:
    """The policy under test."""
    return Guard(
        [Access(default="deny", allow=[AccessRule(tools=["search", "publish"])]), Budget(calls=2)],
        sinks=[record],
    )


def text(result: CallToolResult) -> str:
    """What a tool answered, as one text."""
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


async def publish_what_is_found(session: ClientSession) -> str:
    """The agent under test: it looks for something and publishes it, or says why it cannot."""
    found = await session.call_tool("search", {"query": "milk"})
    if found.model_dump(by_alias=True)["isError"]:
        return f"I found nothing: {text(found)}"
    published = await session.call_tool("publish", {"text": text(found)})
    return text(published)


@asynccontextmanager
async def connected(server: FakeServer, guard: Guard) -> AsyncGenerator[ClientSession]:
    """A guarded session with a fake server, inside a run."""
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="wiki")
        async with session, guard.run(id="task-1"):
            await session.initialize()
            yield session


@pytest.fixture
def server() -> FakeServer:
    """A server whose tools answer at once."""
    server = FakeServer("wiki")
    server.tool("search").returns("Milk is white.")
    server.tool("publish").returns("Published.")
    server.tool("delete_all").returns("Deleted.")
    return server


async def test_the_agent_does_its_work_within_the_policy(server: FakeServer) -> None:
    """The policy must not be in the way of an honest agent."""
    record = RecordingSink()
    async with connected(server, guard_of(record)) as session:
        assert await publish_what_is_found(session) == "Published."

    assert server.calls("publish") == [{"text": "Milk is white."}]
    assert record.codes == []


async def test_what_no_rule_allows_never_reaches_the_server(server: FakeServer) -> None:
    """Whatever the model makes up, the tool is neither listed nor carried out."""
    record = RecordingSink()
    async with connected(server, guard_of(record)) as session:
        listed = await session.list_tools()
        await session.call_tool("delete_all", {})

    assert [tool.name for tool in listed.tools] == ["search", "publish"]
    assert server.calls("delete_all") == []
    assert record.codes == ["access_denied"]


async def test_a_run_ends_with_its_budget(server: FakeServer) -> None:
    """The third call is refused, and the model is told so."""
    record = RecordingSink()
    async with connected(server, guard_of(record)) as session:
        await publish_what_is_found(session)
        refused = await session.call_tool("search", {"query": "more"})

    assert "budget" in text(refused)
    assert record.last("completed").code == "budget_exhausted"


async def test_the_agent_publishes_no_error_message(server: FakeServer) -> None:
    """A server that is down, for as long as the script says."""
    server.on_call("search").is_error("Search is down.").returns("Milk is white.")
    async with connected(server, guard_of(RecordingSink())) as session:
        assert await publish_what_is_found(session) == "I found nothing: Search is down."

    assert server.calls("publish") == []
