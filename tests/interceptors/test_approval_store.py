"""Approval by way of a store: only whoever holds a listed key answers, for what they read, and once."""

import json
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from chains import OK, Wire, linked, tool_call

from mcpguard import Approval, ApprovalRule, Call, Guard, GuardBuildError, Principal
from mcpguard.approvers.signing import SignedAnswer, load_key, make_key, seen, sign
from mcpguard.approvers.stored import Question, answer_question, open_questions
from mcpguard.core.errors import StoreError
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.stores.memory import MemoryStore
from mcpguard.testing import FakeClock

pytestmark = pytest.mark.anyio

PASSPHRASE = " ".join(["only", "for", "tests"]).encode()
PRIVATE, PUBLIC = make_key(PASSPHRASE)
KEY = load_key(PRIVATE, PASSPHRASE)
STRANGER = load_key(make_key(PASSPHRASE)[0], PASSPHRASE)


class Desk:
    """An agent whose calls wait in a store, and the person who looks into it."""

    def __init__(self, store: Any = None, clock: FakeClock | None = None, **options: Any) -> None:
        self.clock = clock or FakeClock()
        self.store = MemoryStore(clock=self.clock) if store is None else store
        self.wire = Wire(OK)
        self.codes: list[str | None] = []
        options = {"poll": 0.001, "expires": 60, **options}
        approval = Approval(
            rules=[ApprovalRule()], approver="store", keys=[PUBLIC], store=self.store, **options
        )
        self.chain = linked(approval, clock=self.clock).chain("tools/call", "outbound")

    async def call(self, call: Call | None = None) -> None:
        """Make a call; note the code it was refused with."""
        result = await self.chain(call or tool_call(path="a"), self.wire)
        self.codes.append(None if result.denial is None else result.denial.code)

    async def question(self) -> Question:
        """The one question that waits."""
        while True:
            found = await open_questions(self.store, now=self.clock.time())
            if found:
                return found[0]
            await anyio.lowlevel.checkpoint()

    def signed(self, question: Question, key: Any = KEY, **changes: Any) -> SignedAnswer:
        """A yes to it."""
        answer = SignedAnswer(
            digest=question.digest,
            nonce=question.nonce,
            shown=seen(question.lines),
            expires=question.expires,
            verdict="approve",
        )
        return sign(replace(answer, **changes), key)

    async def leave(self, question: Question, answer: Any) -> bool:
        """Put something in the place of an answer, as whoever can write to the store does."""
        record = await self.store.read(f"approvals/{question.digest}")
        value = question.encoded(answer)
        done: bool = await self.store.swap(
            f"approvals/{question.digest}", version=record.version, value=value, keep=60
        )
        return done


async def test_a_signed_yes_lets_the_call_go_and_a_signed_no_does_not() -> None:
    """The person reads what the agent asked."""
    desk = Desk()
    for verdict in ("approve", "deny"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.call)
            question = await desk.question()
            assert question.lines[0] == '"files": tools/call "read"'
            assert await answer_question(
                desk.store, desk.signed(question, verdict=verdict), now=desk.clock.time()
            )
    assert desk.codes == [None, "approval_denied"]
    assert len(desk.wire.calls) == 1
    assert await open_questions(desk.store, now=desk.clock.time()) == []


async def test_a_call_that_does_not_wait_is_pending_and_goes_on_anywhere_once_it_is_approved() -> None:
    """At once, under one question; another call, and the same one a second time, are asked about anew."""
    desk = Desk(wait=0)
    other = Desk(desk.store, desk.clock, wait=0.01)
    await desk.call()
    await other.call()
    question = await desk.question()
    assert len(await open_questions(desk.store, now=desk.clock.time())) == 1
    await answer_question(desk.store, desk.signed(question), now=desk.clock.time())
    await other.call(tool_call(path="b"))
    await other.call()
    await desk.call()
    assert desk.codes == ["approval_pending"] * 2
    assert other.codes == ["approval_pending", "approval_pending", None]
    assert other.wire.params == [{"name": "read", "arguments": {"path": "a"}}]
    assert desk.wire.params == []


@pytest.mark.parametrize("options", [{"wait": -1}, {"wait": 1, "approver": "terminal", "keys": ()}])
def test_waiting_is_seconds_and_the_stores(options: dict[str, Any]) -> None:
    """A terminal cannot be left."""
    with pytest.raises(ValueError, match="wait"):
        Approval(**{"rules": [ApprovalRule()], "approver": "store", "keys": [PUBLIC], **options})


async def test_arguments_may_be_edited_where_the_answer_is_signed() -> None:
    """They are part of what is signed."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        await answer_question(
            desk.store, desk.signed(question, arguments={"path": "b"}), now=desk.clock.time()
        )
    assert desk.wire.params == [{"name": "read", "arguments": {"path": "b"}}]


@pytest.mark.parametrize(
    "forge",
    [
        lambda desk, q: desk.signed(q, STRANGER).as_json(),
        lambda desk, q: {**desk.signed(q).as_json(), "signature": ""},
        lambda desk, q: {**desk.signed(q).as_json(), "arguments": {"path": "/etc"}},
        lambda desk, q: {**desk.signed(q, verdict="deny").as_json(), "verdict": "approve"},
        lambda desk, q: {**desk.signed(q).as_json(), "remember": "principal"},
        lambda desk, q: desk.signed(q, digest="0" * 64).as_json(),
        lambda desk, q: desk.signed(q, nonce="0" * 32).as_json(),
        lambda desk, q: desk.signed(q, shown=seen(["something harmless"])).as_json(),
        lambda desk, q: desk.signed(q, expires=q.expires + 1).as_json(),
        lambda desk, q: {"verdict": "approve"},
        lambda desk, q: {**desk.signed(q).as_json(), "more": 1},
        lambda desk, q: True,
        lambda desk, q: "yes",
    ],
)
async def test_an_answer_that_no_listed_key_signed_for_this_question_refuses(forge: Any) -> None:
    """An agent that can write to the store cannot approve itself."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        assert await desk.leave(question, forge(desk, question))
    assert desk.codes == ["approval_denied"]
    assert desk.wire.calls == []


async def test_lines_that_were_changed_in_the_store_are_not_what_is_approved() -> None:
    """A person who is shown another call signs another call."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        shown = replace(await desk.question(), lines=("nothing to worry about",))
        assert await desk.leave(shown, None)
        assert await answer_question(desk.store, desk.signed(shown), now=desk.clock.time())
    assert desk.codes == ["approval_denied"]


async def test_an_answer_holds_once_even_if_it_is_put_back() -> None:
    """The same call is asked about anew."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        answer = desk.signed(question)
        assert await answer_question(desk.store, answer, now=desk.clock.time())
    assert await desk.leave(question, answer.as_json())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        second = await desk.question()
        assert second.nonce != question.nonce
        assert not await answer_question(desk.store, answer, now=desk.clock.time())
        await answer_question(desk.store, desk.signed(second, verdict="deny"), now=desk.clock.time())
    assert desk.codes == [None, "approval_denied"]


async def test_of_two_who_answer_the_first_counts() -> None:
    """The second is told."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        now = desk.clock.time()
        assert await answer_question(desk.store, desk.signed(question, verdict="deny"), now=now)
        assert not await answer_question(desk.store, desk.signed(question), now=now)
    assert desk.codes == ["approval_denied"]


async def test_of_two_same_calls_one_goes_for_one_yes() -> None:
    """The other waits for its own."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        tasks.start_soon(desk.call)
        first = await desk.question()
        await answer_question(desk.store, desk.signed(first), now=desk.clock.time())
        second = await desk.question()
        while second.nonce == first.nonce:
            await anyio.lowlevel.checkpoint()
            second = await desk.question()
        assert len(desk.wire.calls) == 1
        await answer_question(desk.store, desk.signed(second, verdict="deny"), now=desk.clock.time())
    assert sorted(desk.codes, key=str) == [None, "approval_denied"]
    assert len(desk.wire.calls) == 1


async def test_an_agent_that_was_restarted_finds_the_answer_to_its_question() -> None:
    """For the same call, within its time."""
    clock = FakeClock()
    before = Desk(clock=clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(before.call)
        question = await before.question()
        tasks.cancel_scope.cancel()
    assert await answer_question(before.store, before.signed(question), now=clock.time())
    after = Desk(store=before.store, clock=clock)
    await after.call()
    assert after.codes == [None]


@pytest.mark.parametrize(
    "other",
    [
        tool_call(path="b"),
        tool_call(path="a", more=1),
        tool_call("write", path="a"),
        tool_call(path="a").made_by(Principal(tenant="other", user="ada", agent="tester")),
        tool_call(path="a").made_by(Principal(tenant="acme", user="bob", agent="tester")),
        tool_call(path="a").made_by(None),
        tool_call(path="a").with_tool(ToolFacts("read", {"name": "read", "description": "changed"})),
    ],
)
async def test_an_answer_that_waits_in_the_store_is_for_one_call_of_one_principal(other: Call) -> None:
    """Another's, or one with other arguments or of a changed tool, does not find it, and is asked about."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        tasks.cancel_scope.cancel()
    assert await answer_question(desk.store, desk.signed(question), now=desk.clock.time())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call, other)
        assert (await desk.question()).digest != question.digest
        assert desk.wire.calls == []
        tasks.cancel_scope.cancel()
    await desk.call()
    assert desk.codes == [None]


async def test_a_late_answer_is_none() -> None:
    """Neither taken from the person, nor found by the agent."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        tasks.cancel_scope.cancel()
    answer = desk.signed(question)
    desk.clock.advance(61)
    assert not await answer_question(desk.store, answer, now=desk.clock.time())
    await desk.leave(question, answer.as_json())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        second = await desk.question()
        assert second.nonce != question.nonce
        tasks.cancel_scope.cancel()
    assert desk.wire.calls == []


async def test_a_question_that_claims_to_last_longer_is_not_taken_over() -> None:
    """A signed answer would otherwise hold for as long as whoever wrote it likes."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        tasks.cancel_scope.cancel()
    endless = replace(question, nonce="1" * 32, expires=question.expires + 1e6)
    assert await desk.leave(endless, desk.signed(endless).as_json())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        assert (await desk.question()).nonce not in (question.nonce, endless.nonce)
        tasks.cancel_scope.cancel()
    assert desk.wire.calls == []


class Failing(MemoryStore):
    """A store that disappears after so many reads."""

    def __init__(self, reads: int) -> None:
        super().__init__()
        self._left = reads

    async def read(self, key: str, *, group: str = "") -> Any:
        """The value, as long as it is there."""
        self._left -= 1
        if self._left < 0:
            raise StoreError("gone")
        return await super().read(key, group=group)


@pytest.mark.parametrize("reads", [0, 1, 3, 10])
async def test_a_store_that_disappears_while_somebody_waits_refuses_the_call(reads: int) -> None:
    """At once, or later."""
    desk = Desk(store=Failing(reads))
    await desk.call()
    assert desk.codes == ["approval_failed"]
    assert desk.wire.calls == []


async def test_what_is_no_question_in_the_store_refuses_the_call() -> None:
    """Junk under its key does not become an answer."""
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.call)
        question = await desk.question()
        tasks.cancel_scope.cancel()
    key = f"approvals/{question.digest}"
    record = await desk.store.read(key)
    assert await desk.store.swap(key, version=record.version, value=b"[" * 100_000, keep=60)
    await desk.call()
    assert desk.codes == ["approval_failed"]


def test_a_guard_without_a_store_cannot_ask_by_way_of_one() -> None:
    """Nobody would ever see the question."""
    with pytest.raises(GuardBuildError, match="name one"):
        Guard([Approval(approver="store", keys=[PUBLIC])])
    assert Guard([Approval(approver="store", keys=[PUBLIC])], store=MemoryStore())


@pytest.mark.parametrize(
    "made",
    [
        lambda: Approval(approver="store"),
        lambda: Approval(approver="store", keys=["short"]),
        lambda: Approval(approver="store", keys=PUBLIC),
        lambda: Approval(keys=[PUBLIC]),
        lambda: load_key(PRIVATE, b"another"),
        lambda: load_key(b"junk", PASSPHRASE),
    ],
)
def test_keys_that_are_none_are_refused_at_once(made: Any) -> None:
    """Not when the first answer comes."""
    with pytest.raises((TypeError, ValueError)):
        made()


def test_what_is_stored_of_an_answer_is_json() -> None:
    """And comes back the same."""
    question = Question(digest="d", nonce="n", expires=1.5, lines=("a",))
    answer = Desk().signed(question)
    assert SignedAnswer.from_json(json.loads(json.dumps(answer.as_json()))) == answer
