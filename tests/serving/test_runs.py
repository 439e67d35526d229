"""The run of a client that has no session: all that its principal does, until nothing was under way for a while."""

from typing import Any

import anyio
import pytest
from harness import V1, text, wire
from issuer import token
from mcp.types import ElicitResult
from served import Serve, Served, modern, until

from mcpguard.testing import FakeServer, Gate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WITHOUT_SESSIONS = [("legacy", "true"), *([] if V1 else [("modern", "false")])]
ROUNDS = pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")


def git_server(gate: Gate) -> FakeServer:
    """A server that answers one tool at once, and the other once the gate is open."""
    git = FakeServer()
    git.tool("slow").waits_for(gate).returns("in the end")
    git.tool("log").returns("a commit")
    return git


def closed(served: Served) -> list[str]:
    """Whose runs have been closed."""
    return [event.user for event in served.events("run_closed")]


async def until_closed(served: Served, user: str) -> None:
    """Until the run of somebody who does nothing has been closed."""

    async def is_closed() -> bool:
        return user in closed(served)

    await until(is_closed)


async def told(client: Any, tool: str) -> str:
    """What the model reads."""
    return text(wire(await client.call_tool(f"git__{tool}", {})))


@pytest.mark.parametrize(("era", "stateless"), WITHOUT_SESSIONS)
async def test_a_run_goes_on_while_a_call_is_under_way(serve: Serve, era: str, stateless: str) -> None:
    """However long it takes, what it has used up stays used up; somebody who came later is forgotten before."""
    gate = Gate()
    budget = "budget: {id: cap, per: run, calls: 1}"
    http = f"{{idle: 1.0, stateless: {stateless}}}"
    async with serve(budget, {"git": git_server(gate)}, http=http) as served:
        answers = list[str]()
        async with served.client(token("ana"), era) as ana, served.client(token("bob"), era) as bob:

            async def slow() -> None:
                answers.append(await told(ana, "slow"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(slow)
                await gate.reached()
                assert await told(bob, "log") == "a commit"
                await until_closed(served, "bob")
                assert "budget_exhausted" in await told(ana, "log")
                assert "ana" not in closed(served)
                gate.open()
            assert answers == ["in the end"]
            await until_closed(served, "ana")
            assert await told(ana, "log") == "a commit"


@ROUNDS
async def test_a_run_goes_on_while_a_call_waits_for_its_client(serve: Serve) -> None:
    """A yes that takes longer than a client may do nothing is no less a yes."""
    server = FakeServer()
    server.tool("pay").returns("paid")
    server.tool("look").returns("42")
    asking = "approval: {approver: client, rules: [{tools: [pay]}]}"
    async with serve(asking, {"git": server}, http="{idle: 1.0}") as served:
        ana, call = token("ana"), {"name": "git__pay", "arguments": {}}
        message, headers = modern("tools/call", call, {"elicitation": {"form": {}}})
        asked = (await served.post(message, ana, **headers)).json()["result"]
        ((key, _),) = asked["inputRequests"].items()
        look, unasked = modern("tools/call", {"name": "git__look", "arguments": {}})
        assert "42" in (await served.post(look, token("bob"), **unasked)).text
        await until_closed(served, "bob")
        assert closed(served) == ["bob"]
        yes = ElicitResult(action="accept", content={"decision": "approve"})
        message["params"] |= {
            "requestState": asked["requestState"],
            "inputResponses": {key: yes.model_dump(exclude_none=True)},
        }
        assert "paid" in (await served.post(message, ana, **headers)).text
        await until_closed(served, "ana")
