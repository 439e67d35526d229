"""Two processes that serve one policy, on one Redis server: what has to be one is one."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import text, wire
from hosts import SCRIPT
from issuer import principals, token
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


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[Served, Served, str]]:
    """The two, and where their store is."""
    with ExitStack() as stack:
        redis = stack.enter_context(running(tmp_path))
        reached = {"command": sys.executable, "args": [SCRIPT, str(tmp_path / "wire.jsonl"), "stdio"]}
        policy = tmp_path / "policy.yaml"
        policy.write_text(
            f"version: 1\nstore: {redis.url}\nservers: {{wire: {json.dumps(reached)}}}\ninterceptors:\n"
            "  access: {default: allow}\n"
            "  budget: {id: cap, per: tenant, calls: 3, tools: [echo]}\n"
            f"  approval: {{approver: store, keys: ['{PUBLIC}'], wait: 0, rules: [{{tools: [delete]}}]}}\n"
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
