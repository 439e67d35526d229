"""Two processes that serve one policy, on one Redis server: what has to be one is one."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import V1, MCPError, text, wire
from hosts import SCRIPT
from issuer import principals, token
from mcp.types import ElicitResult
from replicas import listening
from served import Served
from servers import running

from mcpguard.approvers.signing import SignedAnswer, load_key, make_key, seen, sign
from mcpguard.approvers.stored import answer_question, open_questions
from mcpguard.stores.opening import open_store

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PASSPHRASE = " ".join(["only", "for", "tests"]).encode()
PRIVATE, PUBLIC = make_key(PASSPHRASE)
CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}


STORED = f"{{approver: store, keys: ['{PUBLIC}'], wait: 0, rules: [{{tools: [delete]}}]}}"
ASKED = "{approver: client, rules: [{tools: [delete]}]}"


@pytest.fixture(params=[STORED])
def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Served, Served, str]]:
    """The two, and where their store is."""
    with ExitStack() as stack:
        redis = stack.enter_context(running(tmp_path))
        reached = {"command": sys.executable, "args": [SCRIPT, str(tmp_path / "wire.jsonl"), "stdio"]}
        policy = tmp_path / "policy.yaml"
        policy.write_text(
            f"version: 1\nstore: {redis.url}\nservers: {{wire: {json.dumps(reached)}}}\ninterceptors:\n"
            "  access: {default: allow}\n"
            "  budget: {id: cap, per: tenant, calls: 3, tools: [echo]}\n"
            f"  approval: {request.param}\n"
            f"{principals()}"
        )
        first, second = (stack.enter_context(listening(str(policy)))[0] for _ in range(2))
        yield first, second, redis.url


async def test_two_replicas_are_one_where_it_counts(replicas: tuple[Served, Served, str]) -> None:
    """A tenant's budget and a person's answer; a session is its process's own."""
    first, second, url = replicas
    opened = await first.post(token=token())
    session = {"mcp_session_id": opened.headers["mcp-session-id"]}
    called = {**CALL, "params": {"name": "wire__echo", "arguments": {"text": "a"}}}
    assert "echo: a" in (await first.post(called, token(), **session)).text
    assert (await second.post(called, token(), **session)).status_code == 404

    said = list[str]()
    async with first.client(token("ana")) as here, second.client(token("bob")) as there:
        for client in (there, here, there):
            said.append(text(wire(await client.call_tool("wire__echo", {"text": "b"}))))
    assert said[:2] == ["echo: b"] * 2
    assert "budget_exhausted" in said[2]

    async with first.client(token("ana")) as here, second.client(token("ana")) as there:
        asked = text(wire(await here.call_tool("wire__delete", {"text": "c"})))
        assert "approval_pending" in asked
        store = open_store(url)
        (question,) = await open_questions(store, now=0.0)
        answer = SignedAnswer(
            digest=question.digest,
            nonce=question.nonce,
            shown=seen(question.lines),
            expires=question.expires,
            verdict="approve",
        )
        assert await answer_question(store, sign(answer, load_key(PRIVATE, PASSPHRASE)), now=0.0)
        await store.aclose()
        assert "approval_pending" in text(wire(await there.call_tool("wire__delete", {"text": "d"})))
        assert "delete" in text(wire(await there.call_tool("wire__delete", {"text": "c"})))


@pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
@pytest.mark.parametrize("replicas", [ASKED], indirect=True)
async def test_an_answer_for_a_call_that_is_parked_in_another_process_is_refused(
    replicas: tuple[Served, Served, str],
) -> None:
    """It says why, makes no call, and uses nothing up: where the call is parked the answer still holds."""
    first, second, _ = replicas
    yes = ElicitResult(action="accept", content={"decision": "approve"})

    async def person(context: object, params: object) -> ElicitResult:
        del context, params
        return yes

    async with (
        first.client(token("ana"), "modern", elicitation_callback=person) as here,
        second.client(token("ana"), "modern", elicitation_callback=person) as there,
    ):
        given = ("wire__delete", {"text": "c"})
        asked = await here.session.call_tool(*given, allow_input_required=True)
        answer = {
            "input_responses": dict.fromkeys(asked.input_requests, yes),
            "request_state": asked.request_state,
            "allow_input_required": True,
        }
        with pytest.raises(MCPError, match="another process"):
            await there.session.call_tool(*given, **answer)
        assert text(wire(await here.session.call_tool(*given, **answer))) == "delete: c"
        with pytest.raises(MCPError, match="nothing waits"):
            await here.session.call_tool(*given, **answer)
