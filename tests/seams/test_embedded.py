"""What a modern server asks inside its answer: odd shapes, and answers that the guard gives itself."""

from importlib.metadata import version
from typing import Any

import pytest

if version("mcp").startswith("1."):
    pytest.skip("SDK 1.x has no input rounds", allow_module_level=True)

from dispatchers import Own
from harness import Checking, denying, watching
from mcp import ClientSession

from mcpguard import ALLOW, Call, Guard, Rewrite
from mcpguard.core.verdict import Verdict

pytestmark = pytest.mark.anyio

ELICIT = {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {}}}
ROOTS = {"method": "roots/list"}
DONE = {"content": [{"type": "text", "text": "done"}]}


def asking(requests: Any, **more: Any) -> dict[str, Any]:
    """An answer that asks for input."""
    return {"resultType": "input_required", "inputRequests": requests, **more}


class Rounds:
    """A guarded session on a dispatcher of the test's, driven message by message, as a client would."""

    def __init__(self, guard: Guard, *answers: Any) -> None:
        self.own = Own(tools_call=[*answers])
        self._session = guard.session(ClientSession(dispatcher=self.own), name="files")

    async def call(self, **more: Any) -> dict[str, Any]:
        """Send one message of the call."""
        params = {"name": "read", "arguments": {}, **more}
        return await self._session._dispatcher.send_raw_request("tools/call", params, {})

    @property
    def received(self) -> dict[str, Any]:
        """What the server got last."""
        return dict(self.own.sent[-1][1])


@pytest.mark.parametrize("requests", [{"a": "garbage", "b": {"method": 7}}, ["list"], None, "text"])
async def test_what_is_no_request_is_handed_on_as_it_came(requests: Any) -> None:
    """Garbage is the client's to refuse, as it does bare."""
    answer = asking(requests)
    rounds = Rounds(Guard([watching()]), answer)
    assert await rounds.call() == answer


async def test_answers_of_the_guard_join_those_of_the_client_under_the_servers_state() -> None:
    """One question is refused, the other is the host's: the server gets both answers in one round."""
    guard = Guard([denying(methods=["elicitation/create"])])
    answer = asking({"who": ELICIT, "where": ROOTS}, requestState="s1")
    rounds = Rounds(guard, answer, DONE)
    shown = await rounds.call()
    assert shown == asking({"where": ROOTS}, requestState="s1")
    roots = {"roots": []}
    assert await rounds.call(requestState="s1", inputResponses={"where": roots}) == DONE
    assert rounds.received["inputResponses"] == {"where": roots, "who": {"action": "decline"}}
    assert rounds.received["requestState"] == "s1"


async def test_a_round_that_the_guard_answers_alone_is_continued_under_a_state_of_its_own() -> None:
    """The server sent no state and nothing is left to ask: the client still needs a reason to go on."""
    guard = Guard([denying(methods=["elicitation/create"])])
    rounds = Rounds(guard, asking({"who": ELICIT}), DONE)
    shown = await rounds.call()
    assert set(shown) == {"resultType", "requestState"}
    assert await rounds.call(requestState=shown["requestState"]) == DONE
    assert rounds.received == {
        "name": "read",
        "arguments": {},
        "inputResponses": {"who": {"action": "decline"}},
    }


async def test_a_question_that_is_left_without_a_state_is_continued_without_one() -> None:
    """A server that keeps no state gets none back."""
    guard = Guard([denying(methods=["elicitation/create"])])
    rounds = Rounds(guard, asking({"who": ELICIT, "where": ROOTS}), DONE)
    assert await rounds.call() == asking({"where": ROOTS})
    assert await rounds.call(inputResponses={"where": {"roots": []}}) == DONE
    assert "requestState" not in rounds.received


async def test_a_state_that_is_no_text_continues_nothing() -> None:
    """A state this guard never saw is a fresh call's, whatever its type."""
    watcher = watching(frozenset({("tools/call", "outbound")}))
    rounds = Rounds(Guard([watcher]), asking({"where": ROOTS}, requestState="s1"), DONE)
    await rounds.call()
    await rounds.call(requestState=7)
    assert [call.round for call in watcher.seen] == [0, 0]


async def test_a_continuation_meets_rules_that_need_the_tools_definition() -> None:
    """Every round is checked with the same facts."""

    def check(call: Call) -> Verdict:
        assert call.tool is not None
        return Rewrite({**call.params, "arguments": {"seen": call.tool.name}}) if call.round else ALLOW

    needing = Checking(check, frozenset({("tools/call", "outbound")}))
    needing.needs_tool = True
    rounds = Rounds(Guard([needing]), asking({"where": ROOTS}, requestState="s1"), DONE)
    rounds.own.answers("tools/list", {"tools": [{"name": "read", "inputSchema": {"type": "object"}}]})
    await rounds.call()
    assert await rounds.call(requestState="s1", inputResponses={"where": {"roots": []}}) == DONE
    assert rounds.received["arguments"] == {"seen": "read"}


async def test_a_call_repeated_after_a_header_mismatch_is_a_fresh_call() -> None:
    """A server may claim a mismatch of any call: only where the client itself resends is it one call."""
    mismatch: Any = pytest.importorskip("mcp").MCPError(-32020, "header mismatch")
    watcher = watching(frozenset({("tools/call", "outbound")}))
    rounds = Rounds(Guard([watcher]), mismatch)
    for _ in range(3):
        with pytest.raises(type(mismatch)):
            await rounds.call()
    assert [call.round for call in watcher.seen] == [0, 0, 0]
