"""What every seam promises, on both majors of the SDK: one suite, run through each of them."""

import gc
import weakref
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import mcp.types as types
import pytest
from harness import (
    LEGACY_SEAMS,
    V1,
    Around,
    Checking,
    Filtering,
    MCPError,
    accept,
    code,
    complete,
    denying,
    opened,
    roots,
    text,
    watching,
    wire,
)
from mcp import ClientSession
from pydantic import BaseModel

from mcpguard import ALLOW, Call, Denied, Deny, Fate, Guard, Outcome, Principal, Result, Rewrite
from mcpguard.core.interceptor import CallNext
from mcpguard.core.result import DENIED_CODE, WireError
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, Gate, RecordingSink
from mcpguard.testing.messages import Elicit, ListRoots, Sample, structured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:ping is removed"),
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]


@pytest.fixture(params=LEGACY_SEAMS)
def seam(request: pytest.FixtureRequest) -> str:
    """Every seam this major has."""
    name: str = request.param
    return name


@pytest.fixture
def server() -> FakeServer:
    """A server with a tool to read, one to remove, a prompt and a resource."""
    made = FakeServer()
    made.tool("read")
    made.tool("remove")
    made.prompt("brief").returns("Be brief.")
    made.resource("file:///notes").returns("remember")
    return made


async def test_a_denied_tool_call_is_an_error_result_and_never_reaches_the_server(
    seam: str, server: FakeServer
) -> None:
    """Design, the contract: the agent goes on."""
    async with opened(Guard([denying("remove")]), server, seam) as peer:
        refused = await peer.call("remove", {"path": "/"})
        assert refused["isError"] is True
        assert code(refused) == "not_here"
        assert text(refused) == "Not here. [not_here]"
        assert text(await peer.call("read", {"path": "a"})) == '{"path": "a"}'
    assert server.calls("remove") == []


async def test_without_a_guard_the_same_call_reaches_the_server(seam: str, server: FakeServer) -> None:
    """The promise above is the guard's doing."""
    async with opened(Guard(), server, seam) as peer:
        await peer.call("remove", {"path": "/"})
    assert server.calls("remove") == [{"path": "/"}]


async def test_other_denied_methods_raise_the_sdks_own_error(seam: str, server: FakeServer) -> None:
    """Design, the contract: for other methods a denial is an `MCPError`, and the session goes on."""
    async with opened(Guard([denying("brief", "file:///notes")]), server, seam) as peer:
        for refused in (peer.prompt("brief"), peer.read("file:///notes")):
            with pytest.raises(MCPError) as caught:
                await refused
            assert caught.value.error.code == DENIED_CODE
            assert caught.value.error.data == {"mcpguard/denial": {"code": "not_here"}}
        assert sorted(await peer.tools()) == ["read", "remove"]
    assert server.seen("prompts/get") == server.seen("resources/read") == []


async def test_a_rewrite_is_what_the_server_gets(seam: str, server: FakeServer) -> None:
    """A check's `Rewrite` replaces the parameters."""

    def check(call: Call) -> Verdict:
        if call.target != "read":
            return ALLOW
        return Rewrite({**call.params, "arguments": {"path": "inside"}})

    async with opened(Guard([Checking(check)]), server, seam) as peer:
        assert text(await peer.call("read", {"path": "outside"})) == '{"path": "inside"}'
    assert server.calls("read") == [{"path": "inside"}]


async def test_a_filter_changes_what_the_caller_gets(seam: str, server: FakeServer) -> None:
    """A filter's result is the result."""

    def look(call: Call, result: Result) -> Result:
        if call.method != "tools/call" or result.value is None:
            return result
        return result.replace(value={**result.value, "content": [{"type": "text", "text": "clean"}]})

    async with opened(Guard([Filtering(look)]), server, seam) as peer:
        assert text(await peer.call("read", {"path": "secret"})) == "clean"


async def test_a_filter_can_take_names_from_a_list(seam: str, server: FakeServer) -> None:
    """What is taken from a page is not listed."""

    def look(call: Call, result: Result) -> Result:
        if call.method != "tools/list" or result.value is None:
            return result
        tools: Any = result.value["tools"]
        return result.replace(value={**result.value, "tools": [t for t in tools if t["name"] != "remove"]})

    async with opened(Guard([Filtering(look)]), server, seam) as peer:
        assert await peer.tools() == ["read"]


async def test_a_layer_sees_outcome_and_fate(seam: str, server: FakeServer) -> None:
    """Design, the contract: breakers, retries and budgets read these."""
    server.on_call("read").returns("fine").is_error("broken").fails(-32603, "inside")
    layer = Around(lambda call, call_next: call_next(call))
    async with opened(Guard([layer]), server, seam) as peer:
        await peer.call("read")
        await peer.call("read")
        with pytest.raises(MCPError) as caught:
            await peer.call("read")
    assert (caught.value.error.code, caught.value.error.message) == (-32603, "inside")
    assert [(one.outcome, one.fate) for one in layer.results] == [
        (Outcome.OK, Fate.ANSWERED),
        (Outcome.TOOL_ERROR, Fate.ANSWERED),
        (Outcome.PROTOCOL_ERROR, Fate.ANSWERED),
    ]


async def test_a_changed_error_is_what_the_caller_gets(seam: str, server: FakeServer) -> None:
    """A redacted error must not come with the original attached."""
    server.on_call("read").fails(-32603, "token=abc")

    def look(call: Call, result: Result) -> Result:
        if result.error is None:
            return result
        return result.replace(error=WireError(result.error.code, "token=***"))

    async with opened(Guard([Filtering(look)]), server, seam) as peer:
        with pytest.raises(MCPError) as caught:
            await peer.call("read")
    assert caught.value.error.message == "token=***"
    assert "abc" not in repr(caught.value.__cause__) + repr(caught.value.__context__)


async def test_a_lost_connection_is_a_transport_error_and_raises_as_bare(
    seam: str, server: FakeServer
) -> None:
    """A server that drops the connection ends the call with the SDK's own error."""
    server.on_call("read").drops_connection()
    sink = RecordingSink()
    async with opened(Guard(sinks=[sink]), server, seam) as peer:
        with pytest.raises(MCPError), anyio.fail_after(10):
            await peer.call("read")
    last = [event for event in sink.events if event.kind == "completed" and event.target == "read"][-1]
    assert (last.outcome, last.fate) == (Outcome.TRANSPORT_ERROR, Fate.SENT)


async def test_the_sdks_timeout_still_works(seam: str, server: FakeServer) -> None:
    """Trap 6: a chain awaited in a stream's `send` disabled it."""
    server.on_call("read").hangs()
    layer = Around(lambda call, call_next: call_next(call))
    sink = RecordingSink()
    async with opened(Guard([layer], sinks=[sink]), server, seam) as peer:
        with pytest.raises(MCPError), anyio.fail_after(10):
            await peer.call("read", read_timeout_seconds=_seconds(0.05))
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'


async def test_a_layer_that_hangs_ends_with_the_callers_timeout(seam: str, server: FakeServer) -> None:
    """An interceptor that never goes on ends in an error, and the session goes on."""

    async def hang(call: Call, call_next: CallNext) -> Result:
        if call.target == "read":
            await anyio.sleep_forever()
        return await call_next(call)

    async with opened(Guard([Around(hang)]), server, seam) as peer:
        with anyio.fail_after(10):
            try:
                refused = await peer.call("read", read_timeout_seconds=_seconds(0.05))
            except MCPError:
                pass  # the SDK's own timeout came first, as it does at a transport
            else:
                assert code(refused) == "interceptor_timeout"
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'
    assert server.calls("read") == []


async def test_cancelling_the_caller_cancels_the_call(seam: str, server: FakeServer) -> None:
    """Cancellation is never swallowed, and is recorded."""
    gate = Gate()
    server.on_call("read").waits_for(gate).returns("late")
    sink = RecordingSink()
    async with opened(Guard([watching()], sinks=[sink]), server, seam) as peer:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.call, "read")
            await gate.reached()
            tasks.cancel_scope.cancel()
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'
    kinds = [event.kind for event in sink.events if event.target == "read"]
    assert kinds in (["received", "dispatched", "cancelled"], ["received", "dispatched"])


async def test_a_layer_that_gives_up_on_a_call_tells_the_server(seam: str, server: FakeServer) -> None:
    """SDK 1.x tells a server nothing when a call is given up."""
    gate = Gate()
    server.on_call("read").waits_for(gate).returns("late")

    async def impatient(call: Call, call_next: CallNext) -> Result:
        if call.target != "read":
            return await call_next(call)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call_next, call)
            await gate.reached()
            tasks.cancel_scope.cancel()
        return Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)

    async with opened(Guard([Around(impatient)]), server, seam) as peer:
        with pytest.raises(MCPError), anyio.fail_after(10):
            await peer.call("read")
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'
    (cancelled,) = server.seen("notifications/cancelled")
    asked = [message for message in server.received if message.get("method") == "tools/call"]
    assert cancelled["requestId"] == asked[0]["id"]


async def test_a_layer_that_times_calls_has_the_sdks_timeout_in_its_hands(
    seam: str, server: FakeServer
) -> None:
    """One scope of ours in place of the SDK's timeout: it is lifted, and the layer knows what it was."""
    gate = Gate()
    server.on_call("read").waits_for(gate).returns("late")
    told: list[float | None] = []

    async def patient(call: Call, call_next: CallNext) -> Result:
        told.append(call.timeout)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outlast)
            return await call_next(call)

    async def outlast() -> None:
        await gate.reached()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        gate.open()

    layer = Around(patient)
    layer.times = True
    async with opened(Guard([layer]), server, seam) as peer:
        if seam == "transport":  # the session's own timeout is above this seam
            with pytest.raises(MCPError):
                await peer.call("read", read_timeout_seconds=_seconds(0))
            assert told in ([], [None])
        else:
            late = await peer.call("read", read_timeout_seconds=_seconds(0))
            assert text(late) == "late"
            assert told == [0]


async def test_on_deny_raise_raises_where_a_call_can_raise(seam: str, server: FakeServer) -> None:
    """A transport has no caller to raise in: there the refusal is a JSON-RPC error."""
    async with opened(Guard([denying("remove")], on_deny="raise"), server, seam) as peer:
        with pytest.raises(MCPError if seam == "transport" else Denied) as caught:
            await peer.call("remove")
    assert "not_here" in str(caught.value)


async def test_what_a_server_asks_passes_the_chain_inbound(seam: str, server: FakeServer) -> None:
    """Sampling, elicitation and roots, with the call they interrupt."""
    server.on_call("read").asks(Elicit("who?")).asks(Sample("2+2?")).asks(ListRoots()).returns("done")
    seen = watching()
    callbacks = {"elicitation_callback": accept, "sampling_callback": complete, "list_roots_callback": roots}
    async with opened(Guard([seen]), server, seam, **callbacks) as peer:
        assert text(await peer.call("read")) == "done"
    asked = [call for call in seen.seen if call.direction == "inbound" and not call.is_notification]
    assert [call.method for call in asked] == ["elicitation/create", "sampling/createMessage", "roots/list"]
    called = next(call for call in seen.seen if call.method == "tools/call")
    assert {call.parent for call in asked} == {called.id}
    assert server.replies[0]["content"] == {"said": "who?"}


async def test_what_is_denied_of_a_servers_questions_takes_the_form_that_lets_the_call_survive(
    seam: str, server: FakeServer
) -> None:
    """Design: a denied elicitation is declined, roots are empty, sampling is an error."""
    server.on_call("read").asks(Elicit("password?")).asks(ListRoots()).returns("done")
    server.on_call("remove").asks(Sample("2+2?")).returns("done")
    asked: list[str] = []

    async def never(*_args: Any) -> Any:
        asked.append("asked")

    callbacks = {"elicitation_callback": never, "sampling_callback": never, "list_roots_callback": never}
    guard = Guard(
        [denying(methods=["elicitation/create", "sampling/createMessage", "roots/list"], direction="inbound")]
    )
    async with opened(guard, server, seam, **callbacks) as peer:
        assert text(await peer.call("read")) == "done"
        assert (await peer.call("remove"))["isError"] is True, (
            "the server says so, as for any refused sampling"
        )
    assert asked == []
    assert server.replies[0]["action"] == "decline"
    assert server.replies[1] == {"roots": []}
    assert server.replies[2]["error"]["code"] == DENIED_CODE


async def test_an_answer_to_the_server_passes_the_filters(seam: str, server: FakeServer) -> None:
    """What leaves the agent inside an answer can be cleaned like anything else."""
    server.on_call("read").asks(Elicit("who?")).returns("done")

    def look(call: Call, result: Result) -> Result:
        if call.method != "elicitation/create" or result.value is None:
            return result
        return result.replace(value={"action": "accept", "content": {"said": "cleaned"}})

    async with opened(Guard([Filtering(look)]), server, seam, elicitation_callback=accept) as peer:
        await peer.call("read")
    assert server.replies[0]["content"] == {"said": "cleaned"}


async def test_a_question_can_be_rewritten_before_the_host_sees_it(seam: str, server: FakeServer) -> None:
    """What a server asks is text from outside."""
    server.on_call("read").asks(Elicit("ignore all")).returns("done")

    def check(call: Call) -> Verdict:
        if call.method != "elicitation/create":
            return ALLOW
        return Rewrite({**call.params, "message": "a server asks"})

    async with opened(Guard([Checking(check)]), server, seam, elicitation_callback=accept) as peer:
        await peer.call("read")
    assert server.replies[0]["content"] == {"said": "a server asks"}


async def test_a_hosts_error_reaches_the_server(seam: str, server: FakeServer) -> None:
    """A callback that declines with an error is passed on as bare."""

    async def decline(*_args: Any) -> Any:
        return types.ErrorData(code=-1, message="no model here")

    server.on_call("read").asks(Sample("2+2?")).returns("done")
    async with opened(Guard([watching()]), server, seam, sampling_callback=decline) as peer:
        assert (await peer.call("read"))["isError"] is True
    assert server.replies[0]["error"]["message"] == "no model here"


async def test_notifications_from_the_server_are_seen_changed_and_dropped(
    seam: str, server: FakeServer
) -> None:
    """Notifications meet checks; a dropped one reaches nobody."""
    server.on_call("read").logs("keep").logs("secret").logs("drop").returns("done")

    def check(call: Call) -> Verdict:
        if call.method == "notifications/message" and call.params["data"] == "drop":
            return Deny("dropped", reason="test")
        if call.method == "notifications/message" and call.params["data"] == "secret":
            return Rewrite({**call.params, "data": "***"})
        return ALLOW

    logged: list[Any] = []
    handled: list[Any] = []

    async def on_log(params: Any) -> None:
        logged.append(params.data)

    async def on_message(message: Any) -> None:
        sent = wire(message)
        if sent.get("method") == "notifications/message":
            handled.append(sent["params"]["data"])

    async with opened(
        Guard([Checking(check)]), server, seam, logging_callback=on_log, message_handler=on_message
    ) as peer:
        await peer.call("read")
        await _until(lambda: len(handled) == 2)
        await server.notify("notifications/tools/list_changed")
    assert sorted(logged) == sorted(handled) == ["***", "keep"]


async def test_nothing_is_kept_of_a_notification_that_was_rewritten(seam: str, server: FakeServer) -> None:
    """A server may send as many as it likes."""

    class Params(dict[str, Any]):
        """A mapping whose end can be seen."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    kept: weakref.WeakSet[Params] = weakref.WeakSet()

    def check(call: Call) -> Verdict:
        if call.method != "notifications/message":
            return ALLOW
        params = Params({"level": "info", "data": "***"})
        kept.add(params)
        return Rewrite(params, reason="test")

    handled: list[Any] = []

    async def on_log(params: Any) -> None:
        handled.append(params.data)

    async with opened(Guard([Checking(check)]), server, seam, logging_callback=on_log) as peer:
        for number in range(1, 4):
            await server.notify("notifications/message", {"level": "info", "data": "secret"})
            await _until(lambda: len(handled) == number)  # noqa: B023
        await peer.call("read")
        gc.collect()
        assert len(kept) == 0
    assert handled == ["***"] * 3


async def test_progress_is_seen_and_can_be_dropped(seam: str, server: FakeServer) -> None:
    """Progress reaches the callback only if the checks let it."""
    server.on_call("read").reports(0.25, 0.5, 0.75, total=1.0).returns("done")

    def check(call: Call) -> Verdict:
        if call.method == "notifications/progress" and call.params["progress"] == 0.5:
            return Deny("dropped", reason="test")
        return ALLOW

    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    sink = RecordingSink()
    async with opened(Guard([Checking(check)], sinks=[sink]), server, seam) as peer:
        await peer.call("read", progress_callback=on_progress)
        await _until(lambda: len(told) == 2)
    assert sorted(told) == [0.25, 0.75]
    recorded = [event.verdict for event in sink.events if event.method == "notifications/progress"]
    assert sorted(recorded, key=str) == [None, None, "deny", "drop"]


async def test_notifications_to_the_server_are_seen_and_can_be_dropped(seam: str, server: FakeServer) -> None:
    """Outbound notifications pass the chain too."""
    guard = Guard([denying(methods=["notifications/roots/list_changed"])])
    async with opened(guard, server, seam) as peer:
        await peer.session.send_roots_list_changed()
        await peer.call("read")
    assert server.seen("notifications/roots/list_changed") == []


async def test_a_call_in_a_closed_run_is_refused_and_a_ping_is_not(seam: str, server: FakeServer) -> None:
    """Long-lived tasks inherit contexts; pings are free (agno pings before each call)."""
    guard = Guard()
    run_task: list[Any] = []
    async with opened(guard, server, seam) as peer:
        async with guard.run() as run:
            run_task.append(run)
            await peer.call("read")
            run.close()
            assert code(await peer.call("read")) == "run_closed"
            await peer.session.send_ping()
    assert len(server.calls("read")) == 1


async def test_a_stopped_run_and_a_stopped_tenant_make_no_more_calls(seam: str, server: FakeServer) -> None:
    """The kill switch."""
    guard = Guard()
    async with opened(guard, server, seam, shared=True) as peer:
        async with guard.run() as run:
            guard.stop(run)
            assert code(await peer.call("read")) == "run_stopped"
        async with guard.run(principal=Principal(tenant="a")):
            guard.stop("a")
            assert code(await peer.call("read")) == "tenant_stopped"
        async with guard.run(principal=Principal(tenant="b")):
            assert code(await peer.call("read")) is None


async def test_a_session_belongs_to_one_principal_unless_it_is_shared(seam: str, server: FakeServer) -> None:
    """Design, runs and principals."""
    guard = Guard()
    for shared, expected in ((False, "session_not_shared"), (True, None)):
        async with opened(guard, server, seam, shared=shared) as peer:
            async with guard.run(principal=Principal(tenant="a")):
                assert code(await peer.call("read")) is None
            async with guard.run(principal=Principal(tenant="b")):
                assert code(await peer.call("read")) == expected


async def test_an_explicit_run_wins_over_the_context(seam: str, server: FakeServer) -> None:
    """Hosts run sessions on other threads, in other contexts."""
    guard = Guard([seen := watching()])
    async with guard.run(principal=Principal(user="bound")) as bound:
        async with opened(guard, server, seam, run=bound) as peer, guard.run() as inner:
            await peer.call("read")
    assert [call.run for call in seen.seen if call.target == "read"] == [bound]
    assert inner.parent is bound


async def test_each_call_belongs_to_the_run_of_its_context(seam: str, server: FakeServer) -> None:
    """Two tasks with a run each, through one session."""
    guard = Guard([seen := watching()])

    async def work(peer: Any, tool: str) -> None:
        async with guard.run(id=tool):
            for _ in range(5):
                await peer.call(tool)

    async with opened(guard, server, seam) as peer, anyio.create_task_group() as tasks:
        tasks.start_soon(work, peer, "read")
        tasks.start_soon(work, peer, "remove")
    calls = [call for call in seen.seen if call.method == "tools/call"]
    assert len(calls) == 10
    assert all(call.run is not None and call.run.id == call.target for call in calls)


async def test_fifty_concurrent_calls_get_their_own_answers(seam: str, server: FakeServer) -> None:
    """Correlation survives the chain."""
    answers: dict[int, str] = {}

    async def work(peer: Any, number: int) -> None:
        answers[number] = text(await peer.call("read", {"n": number}))

    layer = Around(lambda call, call_next: call_next(call))
    async with opened(Guard([layer, watching()]), server, seam) as peer, anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(work, peer, number)
    assert answers == {number: f'{{"n": {number}}}' for number in range(50)}


async def test_the_sdks_own_listing_costs_nothing_and_cannot_fail_a_completed_call(
    seam: str, server: FakeServer
) -> None:
    """Trap 5: denying the listing that validates a result raised after the tool had run."""
    server.tool("count", output_schema={"type": "object", "properties": {"n": {"type": "integer"}}}).returns(
        structured({"n": 1})
    )
    sink = RecordingSink()
    guard = Guard([denying(methods=["tools/list"])], sinks=[sink])
    async with opened(guard, server, seam) as peer:
        result = await peer.call("count")
    assert result["structuredContent"] == {"n": 1}
    assert [event.method for event in sink.events if event.method == "tools/list"] == []


async def test_a_run_that_is_closed_meanwhile_cannot_fail_a_completed_call(
    seam: str, server: FakeServer
) -> None:
    """The listing that validates its result comes after; the tool has run, and would be run again."""
    if seam == "transport":
        pytest.skip(
            "what is listed after the end of a run may be the agent's, as far as a transport can tell"
        )
    guard = Guard()
    async with opened(guard, server, seam) as peer, guard.run() as run:

        def count(_arguments: Any) -> Any:
            run.close()
            return structured({"n": 1})

        schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}}
        server.tool("count", output_schema=schema).answers(count)
        result = await peer.call("count")
    assert result["structuredContent"] == {"n": 1}


async def test_a_server_that_answers_twice_or_sends_garbage_loses_nothing(
    seam: str, server: FakeServer
) -> None:
    """Bad input: the session and the record stay whole."""
    server.on_call("read").answers_twice("once").sends_garbage().returns("after garbage").notifies(
        "notifications/unheard_of", {"x": 1}
    ).returns("after the unknown")
    faults: list[Any] = []

    async def on_message(message: Any) -> None:
        if isinstance(message, Exception):
            faults.append(message)

    sink = RecordingSink()
    async with opened(Guard([watching()], sinks=[sink]), server, seam, message_handler=on_message) as peer:
        answers = [text(await peer.call("read")) for _ in range(3)]
    assert answers == ["once", "after garbage", "after the unknown"]
    completed = [event for event in sink.events if event.kind == "completed" and event.target == "read"]
    assert [event.outcome for event in completed] == [Outcome.OK] * 3
    assert faults, "transport faults are still delivered"


async def test_an_unknown_request_of_the_server_is_answered_as_bare(seam: str, server: FakeServer) -> None:
    """Methods that do not exist yet pass the chain, or are refused by the SDK as ever."""
    async with opened(Guard([watching()]), server, seam) as peer:
        reply = await server.request("sampling/unheardOf", {"x": 1})
        assert "error" in reply
        await peer.call("read")


async def test_an_unknown_method_of_the_client_passes_the_chain(seam: str, server: FakeServer) -> None:
    """One core serves methods that do not exist yet."""
    server.on("vendor/thing").returns({"answer": 42})
    seen = watching()
    async with opened(Guard([seen]), server, seam) as peer:
        await _vendor_request(peer.session)
    assert "vendor/thing" in seen.methods()


@pytest.mark.parametrize("behaviour", ["raises", "nothing", "twice"])
async def test_a_broken_interceptor_denies_and_keeps_the_session(
    seam: str, server: FakeServer, behaviour: str
) -> None:
    """Fail closed."""

    async def layer(call: Call, call_next: CallNext) -> Any:
        if call.target != "read":
            return await call_next(call)
        if behaviour == "raises":
            raise RuntimeError("secret-value")
        if behaviour == "twice":
            await call_next(call)
            return await call_next(call)
        return None

    sink = RecordingSink()
    async with opened(Guard([Around(layer)], sinks=[sink]), server, seam) as peer:
        assert code(await peer.call("read")) == "interceptor_failed"
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'
    assert len(server.calls("read")) == (1 if behaviour == "twice" else 0)
    assert "secret-value" not in repr(sink.events)


async def test_ten_thousand_tools_are_listed(seam: str) -> None:
    """A long list is slow, not wrong."""
    server = FakeServer()
    server.set_tools([{"name": f"tool_{n}", "inputSchema": {"type": "object"}} for n in range(10_000)])
    async with opened(Guard([watching()]), server, seam) as peer:
        assert len(await peer.tools()) == 10_000


async def test_a_server_that_pages_for_ever_gives_no_tool_facts(seam: str, server: FakeServer) -> None:
    """Where a rule needs a tool's definition and cannot have it, the call is denied."""
    server.pages_forever()
    needing = watching({("tools/call", "outbound")})
    needing.needs_tool = True
    async with opened(Guard([needing]), server, seam) as peer:
        assert code(await peer.call("unlisted")) == "tool_facts_unavailable"


async def test_an_auditing_rule_goes_without_tool_facts(seam: str, server: FakeServer) -> None:
    """What only watches must not refuse a call."""
    listed = {"tools": [{"name": "read", "inputSchema": {"type": "object"}}]}
    server.on("tools/list").fails(-32603, "no list").returns(listed)
    needing = watching({("tools/call", "outbound")})
    needing.needs_tool = True
    needing.mode = "audit"
    async with opened(Guard([needing]), server, seam) as peer:
        assert text(await peer.call("read", {"path": "a"})) == '{"path": "a"}'
    assert [call.tool for call in needing.seen] == [None]


async def test_tool_facts_are_listed_once_for_many_calls(seam: str, server: FakeServer) -> None:
    """One walk in flight, however many calls wait; nothing again while the list stands."""
    needing = watching({("tools/call", "outbound")})
    needing.needs_tool = True
    async with opened(Guard([needing]), server, seam) as peer:
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(peer.call, "read")
    methods = [message.get("method") for message in server.received]
    assert methods[: methods.index("tools/call")].count("tools/list") == 1
    assert {call.tool.name for call in needing.seen if call.tool is not None} == {"read"}
    assert all(call.tool is not None for call in needing.seen)


async def test_a_guard_that_handles_nothing_leaves_every_answer_as_it_is(
    seam: str, server: FakeServer
) -> None:
    """Transparent when empty: what a bare session answers, a guarded one answers."""
    async with server.connect() as (read, write):
        async with ClientSession(read, write) as bare:
            await bare.initialize()
            expected = wire(await bare.call_tool("read", {"path": "a"})), wire(await bare.list_tools())
    for guard in (Guard(), Guard([watching()], sinks=[RecordingSink()])):
        async with opened(guard, server, seam) as peer:
            got = (
                wire(await peer.session.call_tool("read", {"path": "a"})),
                wire(await peer.session.list_tools()),
            )
        assert got == expected


async def test_coverage_and_status_show_the_connection(seam: str, server: FakeServer) -> None:
    """What a guardrail covers can be seen (LiteLLM's configured-but-not-running)."""
    guard = Guard([watching()])
    async with opened(guard, server, seam, name="git"):
        coverage = guard.coverage()
        assert coverage.handling("tools/call") == ("checking",)
        assert [(one.server) for one in coverage.connections] == ["git"]
        spots = " ".join(coverage.connections[0].blind_spots)
        assert ("entered" in spots) == (seam == "entered" and not V1)


def _seconds(value: float) -> Any:
    return timedelta(seconds=value) if V1 else value


async def _vendor_request(session: Any) -> None:
    class Answer(BaseModel):
        answer: int

    if V1:

        class Vendor:
            def model_dump(self, **_options: Any) -> dict[str, Any]:
                return {"method": "vendor/thing", "params": {"x": 1}}

        request: Any = Vendor()
    else:

        class VendorRequest(types.Request[dict[str, Any], str]):
            method: str = "vendor/thing"
            params: dict[str, Any]

        request = VendorRequest(params={"x": 1})
    answer = await session.send_request(request, Answer)
    assert answer.answer == 42


async def _until(holds: Any) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def test_a_request_sent_as_a_notification_does_not_pass_the_rules_for_requests(
    seam: str, server: FakeServer
) -> None:
    """A server that looks at the method only would carry it out."""
    sent: Any = types.Notification[Any, str](method="tools/call", params={"name": "remove", "arguments": {}})
    async with opened(Guard([denying("remove")]), server, seam) as peer:
        await peer.session.send_notification(sent)
        await peer.call("read")
    assert server.calls("remove") == []


async def test_notifications_of_an_ended_run_or_of_a_stranger_are_dropped(
    seam: str, server: FakeServer
) -> None:
    """What may not call may not tell either; giving up one's own call is always allowed."""
    told: Any = types.Notification[Any, str](method="notifications/roots/list_changed", params={})
    gives_up: Any = types.Notification[Any, str](
        method="notifications/cancelled", params={"requestId": 99, "reason": "test"}
    )
    guard = Guard([watching()])
    async with opened(guard, server, seam) as peer:
        async with guard.run(principal=Principal(user="ana")) as run:
            await peer.call("read")
            guard.stop(run)
            await peer.session.send_notification(told)
        async with guard.run(principal=Principal(user="bob")):
            await peer.session.send_notification(told)
            await peer.session.send_notification(gives_up)
        async with guard.run(principal=Principal(user="ana")):
            await peer.call("read")
    assert server.seen("notifications/roots/list_changed") == []
    assert server.seen("notifications/cancelled") == []


async def test_a_request_that_may_be_about_two_principals_calls_is_refused(
    seam: str, server: FakeServer
) -> None:
    """Whatever it asks, and whatever the calls in flight are."""
    gate, other = Gate(), Gate()
    server.on_call("read").waits_for(gate).returns("a")
    server.on("prompts/list").waits_for(other)
    guard = Guard([watching()])
    async with opened(guard, server, seam, shared=True) as peer:

        async def calling() -> None:
            async with guard.run(principal=Principal(user="ana")):
                await peer.call("read")

        async def listing() -> None:
            async with guard.run(principal=Principal(user="bob")):
                await peer.session.list_prompts()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calling)
            await gate.reached()
            tasks.start_soon(listing)
            await other.reached()
            answers = [await server.request(method) for method in ("roots/list", "acme/ask")]
            gate.open()
            other.open()
    assert answers[0] == {"roots": []}
    unseen = seam == "entered" and not V1  # one of its blind spots; the SDK answers
    assert answers[1]["error"]["code"] == (-32601 if unseen else DENIED_CODE)
