"""Tool calls that are handed over with a function: the chain around them, without a session."""

from typing import Any

import anyio
import pytest

from mcpguard import (
    Access,
    AccessRule,
    ArgumentRules,
    Budget,
    Denied,
    Guard,
    Interceptor,
    Principal,
    ResultLimit,
)
from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.verdict import ALLOW, Rewrite, Verdict
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio

ANA = Principal(user="ana")
BEN = Principal(user="ben")


class Server:
    """What carries the calls out."""

    def __init__(self, text: str = "done", *, fails: Exception | None = None) -> None:
        self.got: list[tuple[str, dict[str, object]]] = []
        self.answer: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
        self._fails = fails

    async def __call__(self, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
        self.got.append((tool, arguments))
        if self._fails is not None:
            raise self._fails
        return self.answer


def only(*tools: str) -> Access:
    """Nothing but these."""
    return Access(default="deny", allow=[AccessRule(servers=["files"], tools=list(tools))])


async def test_without_rules_the_answer_is_the_functions_own() -> None:
    """The same object: a framework's own result can be told by it."""
    server = Server()
    answer = await Guard().handed_calls(name="files").call("read", {"path": "a"}, server)
    assert answer is server.answer
    assert server.got == [("read", {"path": "a"})]


async def test_an_allowed_call_is_carried_out_and_recorded() -> None:
    """With whose it is, what it was for, and the answer as it came."""
    server, sink = Server(), RecordingSink()
    guard = Guard([only("read")], sinks=[sink])
    async with guard.run(id="task", principal=ANA):
        answer = await guard.handed_calls(name="files").call("read", {}, server)
    assert answer is server.answer
    (done,) = sink.of("completed")
    assert (done.server, done.target, done.run_id, done.user) == ("files", "read", "task", "ana")


async def test_a_refused_call_is_answered_without_being_carried_out() -> None:
    """As an ordinary tool result, with a code."""
    server = Server()
    answer = await Guard([only("read")]).handed_calls(name="files").call("delete", {}, server)
    assert answer["isError"] is True
    assert "access_denied" in str(answer["content"])
    assert server.got == []


async def test_where_denials_are_raised_this_one_is() -> None:
    """`on_deny="raise"` holds on this way too."""
    guard = Guard([only("read")], on_deny="raise")
    with pytest.raises(Denied) as refused:
        await guard.handed_calls(name="files").call("delete", {}, Server())
    assert refused.value.code == "access_denied"


async def test_what_the_function_raises_reaches_whoever_called() -> None:
    """The very same exception, and it was sent."""
    failure, sink = ValueError("lost"), RecordingSink()
    guard = Guard([only("read")], sinks=[sink])
    with pytest.raises(ValueError, match="lost") as raised:
        await guard.handed_calls(name="files").call("read", {}, Server(fails=failure))
    assert raised.value is failure
    assert [event.outcome for event in sink.of("completed")] == ["transport_error"]


async def test_a_changed_call_is_what_is_carried_out() -> None:
    """Checks see what goes on."""

    class Fixed(Interceptor):
        """Always one path."""

        handles = {("tools/call", "outbound")}

        def check(self, call: Call, /) -> Verdict:
            if call.params["arguments"] == {"path": "b"}:
                return ALLOW
            return Rewrite({**call.params, "arguments": {"path": "b"}})

    server = Server()
    await Guard([Fixed()]).handed_calls(name="files").call("read", {"path": "a"}, server)
    assert server.got == [("read", {"path": "b"})]


async def test_a_changed_answer_is_what_comes_back() -> None:
    """Rules about results hold."""
    server = Server("a" * 5000)
    answer = await Guard([ResultLimit(bytes=2000)]).handed_calls(name="files").call("read", {}, server)
    assert answer is not server.answer
    assert len(str(answer["content"])) < 3000


async def test_a_layer_that_ends_a_call_without_an_answer_is_a_lost_connection() -> None:
    """There is nothing else to tell."""

    class Ending(Interceptor):
        """Lets nothing through."""

        handles = {("tools/call", "outbound")}

        async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
            return Result(outcome=Outcome.TIMEOUT, fate=Fate.NOT_SENT)

    with pytest.raises(ConnectionError, match="ended with timeout"):
        await Guard([Ending()]).handed_calls(name="files").call("read", {}, Server())


async def test_limits_hold_for_each_run() -> None:
    """Also for calls that are made at the same time."""
    server, guard = Server(), Guard([Budget(per="run", calls=3)])
    answers: list[Any] = []

    async def one(handed: Any) -> None:
        answers.append(await handed.call("read", {}, server))

    async with guard.run(principal=ANA) as run, anyio.create_task_group() as tasks:
        handed = guard.handed_calls(name="files", run=run)
        for _ in range(8):
            tasks.start_soon(one, handed)
    assert len(server.got) == 3
    assert sum("isError" in answer for answer in answers) == 5


async def test_a_rule_that_needs_a_tools_definition_refuses() -> None:
    """No list comes this way: nothing is guessed."""
    server = Server()
    answer = await Guard([ArgumentRules(schema=True)]).handed_calls(name="files").call("read", {}, server)
    assert answer["isError"] is True
    assert server.got == []


async def test_a_call_of_somebody_else_is_refused_unless_it_is_shared() -> None:
    """As on any connection."""
    guard = Guard([Budget(per="run", calls=9)])
    for shared, expected in ((False, 1), (True, 2)):
        server, handed = Server(), guard.handed_calls(name="files", shared=shared)
        for principal in (ANA, BEN):
            async with guard.run(principal=principal):
                await handed.call("read", {}, server)
        assert len(server.got) == expected


async def test_a_call_under_a_run_that_has_ended_is_refused() -> None:
    """Frameworks keep their hooks."""
    server, guard = Server(), Guard([only("read")])
    async with guard.run(principal=ANA) as run:
        handed = guard.handed_calls(name="files", run=run)
    assert "run_closed" in str(await handed.call("read", {}, server))
    assert server.got == []


async def test_it_says_what_it_cannot_see() -> None:
    """In the same place as the seams that see more."""
    guard = Guard([only("read")])
    handed = guard.handed_calls(name="files")
    (connection,) = guard.coverage().connections
    assert (connection.server, connection.seam) == ("files", "handed_calls")
    assert "no lists" in connection.blind_spots[0]
    del handed
