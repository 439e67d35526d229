"""A person at the client decides: asked during the call, or inside a result, by whoever serves the policy."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError, text, wire
from issuer import token
from mcp.types import ElicitResult
from served import Serve, Served

from mcpguard.testing import FakeServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ERAS = ["legacy"] if V1 else ["legacy", "modern"]
ROUNDS = pytest.mark.skipif(V1, reason="SDK 1.x knows no answers that ask for input")
ASKING = "approval: {approver: client, rules: [{tools: [pay], reason: 'money leaves'}]}"
YES = ElicitResult(action="accept", content={"decision": "approve"})


def bank() -> FakeServer:
    """A server that a person is asked about."""
    made = FakeServer()
    made.tool("pay").returns("paid")
    made.tool("look").returns("42")
    return made


class Person:
    """Answers forms, and remembers what was shown."""

    def __init__(self, answer: ElicitResult) -> None:
        self.answer = answer
        self.shown = list[str]()

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        """Read it, and answer."""
        del context
        self.shown.append(params.message)
        return self.answer


@pytest.mark.parametrize("era", ERAS)
async def test_a_yes_at_the_client_makes_the_call_and_anything_else_does_not(serve: Serve, era: str) -> None:
    """Once for each yes; the person is shown the call, and the record has who was asked for whom."""
    server = bank()
    ana = Person(YES)
    async with serve(ASKING, {"bank": server}) as served, anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = anyio.current_time() + 60
        async with served.client(token("ana"), era, elicitation_callback=ana) as client:
            assert text(wire(await client.call_tool("bank__look", {}))) == "42"
            assert ana.shown == []
            assert text(wire(await client.call_tool("bank__pay", {"amount": 5}))) == "paid"
            for answer in (
                ElicitResult(action="decline"),
                ElicitResult(action="cancel"),
                ElicitResult(action="accept", content={"decision": "deny"}),
                ElicitResult(action="accept", content={"decision": "yes"}),
                ElicitResult(action="accept"),
            ):
                ana.answer = answer
                refused = wire(await client.call_tool("bank__pay", {"amount": 6}))
                assert refused["isError"]
                assert "approval_denied" in text(refused)
        said = [event for event in served.events("decision") if event.interceptor == "approval"]
    assert server.calls("pay") == [{"amount": 5}]
    assert len(ana.shown) == 6
    assert "amount = 5" in ana.shown[0]
    assert "money leaves" in ana.shown[0]
    decided = [(one.verdict, one.approver) for one in said if one.verdict in ("approve", "decline")]
    assert decided == [("approve", "elicitation"), *[("decline", "elicitation")] * 5]
    assert len({(one.tenant, one.user) for one in said}) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_be_asked_is_refused(serve: Serve, era: str) -> None:
    """It has no person; the rest of its calls are made."""
    server = bank()
    async with serve(ASKING, {"bank": server}) as served, served.client(token("ana"), era) as client:
        assert "approval_failed" in text(wire(await client.call_tool("bank__pay", {})))
        assert text(wire(await client.call_tool("bank__look", {}))) == "42"
    assert server.calls("pay") == []


async def test_a_client_without_a_session_is_refused_and_not_left_waiting(serve: Serve) -> None:
    """Nothing can be asked of it: a question would have no way back."""
    server = bank()
    async with serve(ASKING, {"bank": server}, http="{stateless: true}") as served:
        with anyio.fail_after(60):
            async with served.client(token("ana"), elicitation_callback=Person(YES)) as client:
                assert "approval_failed" in text(wire(await client.call_tool("bank__pay", {})))
    assert server.calls("pay") == []


async def parked(client: Any, arguments: dict[str, Any]) -> tuple[str, str]:
    """A call that waits: its state, and the key of the question."""
    asked = await client.session.call_tool("bank__pay", arguments, allow_input_required=True)
    ((key, request),) = asked.input_requests.items()
    assert request.method == "elicitation/create"
    return asked.request_state, key


async def go_on(client: Any, arguments: dict[str, Any], state: str | None, key: str) -> Any:
    """The message that continues it, with a yes."""
    return wire(
        await client.session.call_tool(
            "bank__pay",
            arguments,
            input_responses={key: YES},
            request_state=state,
            allow_input_required=True,
        )
    )


@ROUNDS
async def test_a_yes_holds_for_the_very_call_of_the_very_principal_once(serve: Serve) -> None:
    """Not for other arguments, not for who has another token or other roles, not again, not without being asked."""
    server = bank()
    person = Person(YES)
    async with serve(ASKING, {"bank": server}) as served, anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = anyio.current_time() + 60
        async with (
            served.client(token("ana"), "modern", elicitation_callback=person) as ana,
            served.client(token("ana", "admin"), "modern", elicitation_callback=person) as promoted,
            served.client(token("bob"), "modern", elicitation_callback=person) as bob,
            served.client(token("ana", org="other"), "modern", elicitation_callback=person) as elsewhere,
            served.client(token("ana", acr="password"), "modern", elicitation_callback=person) as weaker,
        ):
            state, key = await parked(ana, {"amount": 5})
            for who, arguments, given in (
                (bob, {"amount": 5}, state),
                (elsewhere, {"amount": 5}, state),
                (promoted, {"amount": 5}, state),
                (weaker, {"amount": 5}, state),
                (ana, {"amount": 6}, state),
                (ana, {"amount": 5}, state[:-1]),
                (ana, {"amount": 5}, None),
            ):
                with pytest.raises(MCPError, match="nothing waits"):
                    await go_on(who, arguments, given, key)
            assert server.calls("pay") == []
            other, other_key = await parked(ana, {"amount": 7})
            assert text(await go_on(ana, {"amount": 7}, other, other_key)) == "paid"
            assert text(await go_on(ana, {"amount": 5}, state, key)) == "paid"
            with pytest.raises(MCPError, match="nothing waits"):
                await go_on(ana, {"amount": 5}, state, key)
    assert [one["amount"] for one in server.calls("pay")] == [7, 5]


@ROUNDS
async def test_a_question_that_is_answered_too_late_is_refused(serve: Serve) -> None:
    """Silence is a refusal, whenever the answer comes; and nothing is left of the call."""
    server = bank()
    asking = ASKING.replace("client,", "client, expires: 3.0,")
    async with serve(asking, {"bank": server}) as served:
        with anyio.fail_after(60):
            async with served.client(token(), "modern", elicitation_callback=Person(YES)) as client:
                state, key = await parked(client, {"amount": 5})
                await until_nobody_waits(served)
                assert "approval_expired" in text(await go_on(client, {"amount": 5}, state, key))
    assert server.calls("pay") == []


@ROUNDS
async def test_a_client_that_asks_again_in_place_of_answering_is_asked_again(serve: Serve) -> None:
    """An answer to another question is none; the call waits on under a new state, and the old one is used up."""
    server = bank()
    async with serve(ASKING, {"bank": server}) as served:
        with anyio.fail_after(60):
            async with served.client(token(), "modern", elicitation_callback=Person(YES)) as client:
                state, key = await parked(client, {"amount": 5})
                again = await go_on(client, {"amount": 5}, state, "hub-9")
                assert again["resultType"] == "input_required"
                with pytest.raises(MCPError, match="nothing waits"):
                    await go_on(client, {"amount": 5}, state, key)
                assert text(await go_on(client, {"amount": 5}, again["requestState"], key)) == "paid"


@ROUNDS
@pytest.mark.parametrize(
    ("max_waiting", "admitted", "code"), [(1000, 64, "approval_failed"), (8, 3, "approval_busy")]
)
async def test_who_lets_calls_wait_takes_no_place_from_others(
    serve: Serve, max_waiting: int, admitted: int, code: str
) -> None:
    """A principal has so many; a further call of theirs is refused, and somebody else's is asked about."""
    server = bank()
    person = Person(YES)
    asking = ASKING.replace("client,", f"client, max_waiting: {max_waiting},")
    async with serve(asking, {"bank": server}) as served:
        with anyio.fail_after(120):
            async with (
                served.client(token("ana"), "modern", elicitation_callback=person) as ana,
                served.client(token("bob"), "modern", elicitation_callback=person) as bob,
            ):
                for number in range(admitted):
                    await parked(ana, {"amount": number})
                more = await ana.session.call_tool(
                    "bank__pay", {"amount": admitted}, allow_input_required=True
                )
                assert code in text(wire(more))
                assert text(wire(await bob.call_tool("bank__pay", {"amount": 1}))) == "paid"
    assert len(server.calls("pay")) == 1


async def until_nobody_waits(served: Served) -> None:
    """Until the approval has given up."""
    assert served.guard is not None
    while served.guard.status()["interceptors"]["approval"]["waiting"]:  # type: ignore[index, call-overload]
        await anyio.lowlevel.checkpoint()
