"""Sessions of SDK 2.x on a dispatcher that is the host's own, not the SDK's."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest

if version("mcp").startswith("1."):
    pytest.skip("SDK 1.x has no dispatchers", allow_module_level=True)

import anyio
import mcp_types as types
from dispatchers import Own
from harness import ALL, Around, Checking, MCPError, denying, watching
from mcp import ClientSession

from mcpguard import ALLOW, Ask, Call, CallNext, Deny, Fate, Guard, Outcome, Principal, Result, Rewrite, Run
from mcpguard.core.verdict import Verdict
from mcpguard.testing import RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("entered", [False, True])
async def test_what_is_sent_through_a_dispatcher_of_the_hosts_own_is_checked(entered: bool) -> None:
    """The seam stands on the SDK's protocol for dispatchers, not on the class the SDK ships."""
    own = Own()
    session = ClientSession(dispatcher=own)
    guard = Guard([denying(methods=["prompts/list"])])
    if not entered:
        guard.session(session, name="files")
    async with session:
        if entered:
            guard.session(session, name="files")
        await session.initialize()
        with pytest.raises(MCPError):
            await session.list_prompts()
    assert own.methods() == ["initialize", "notifications/initialized"]


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("method", ["notifications/message", "notifications/tools/list_changed"])
async def test_what_arrives_through_it_is_seen_and_recorded_once(method: str, entered: bool) -> None:
    """An entered session shows its notifications where its callbacks are."""
    own, watcher, sink = Own(), watching(), RecordingSink()
    told: list[str] = []

    async def on_message(message: Any) -> None:
        told.append(message.method)

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        told.append(str(params.data))

    session = ClientSession(dispatcher=own, message_handler=on_message, logging_callback=on_log)
    guard = Guard([watcher], sinks=[sink])
    if not entered:
        guard.session(session, name="files")
    async with session:
        if entered:
            guard.session(session, name="files")
        await session.initialize()
        params = {"level": "info", "data": "hello"} if method == "notifications/message" else {}
        await own.arrives(method, params)
    assert method in told
    assert method in watcher.methods()
    recorded = [event for event in sink.events if event.method == method]
    assert [event.kind for event in recorded] == ["notification"]


async def test_a_denied_log_message_reaches_no_callback_of_an_entered_session() -> None:
    """What is denied is dropped wherever it would have come out."""
    own, told = Own(), []

    async def on_message(message: Any) -> None:
        told.append(message)

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        told.append(params)

    async with ClientSession(dispatcher=own, message_handler=on_message, logging_callback=on_log) as session:
        Guard([denying(methods=["notifications/message"])]).session(session, name="files")
        await session.initialize()
        await own.arrives("notifications/message", {"level": "info", "data": "hello"})
    assert told == []


async def test_faults_of_the_transport_still_reach_the_handler_of_an_entered_session() -> None:
    """Transport faults are delivered as exceptions, and are no messages."""
    told: list[object] = []

    async def on_message(message: Any) -> None:
        told.append(message)

    fault = ValueError("no JSON")
    async with ClientSession(dispatcher=Own(), message_handler=on_message) as session:
        Guard([watching()]).session(session, name="files")
        handler: Any = session._message_handler
        await handler(fault)
    assert told == [fault]


async def test_a_host_reaches_through_to_the_attributes_of_its_dispatcher() -> None:
    """Hosts keep things on their dispatcher, and find and change them through the guarded session."""
    own = Own()
    session = Guard([watching()]).session(ClientSession(dispatcher=own), name="files")
    reached: Any = session._dispatcher
    assert reached.mark == "theirs"
    reached.mark = "changed"
    assert own.mark == "changed"


async def test_an_exception_that_is_not_the_sdks_comes_out_as_it_went_in() -> None:
    """A host's own dispatcher fails in its own way; the record says the connection failed."""
    fault, sink = ValueError("theirs"), RecordingSink()
    own = Own(tools_call=[fault])
    async with ClientSession(dispatcher=own) as session:
        Guard([watching()], sinks=[sink]).session(session, name="files")
        await session.initialize()
        with pytest.raises(ValueError, match="theirs") as raised:
            await session.call_tool("read")
    assert raised.value is fault
    assert (sink.events[-1].outcome, sink.events[-1].fate) == (Outcome.TRANSPORT_ERROR, Fate.SENT)


async def test_rewritten_progress_is_what_the_callback_is_told() -> None:
    """Progress passes the checks where the dispatcher hands it to the caller."""
    told: list[tuple[float, float | None, str | None]] = []

    def check(call: Call) -> Verdict:
        if call.method == "notifications/progress":
            return Rewrite({"progress": 1, "message": "hidden"})
        return ALLOW

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    own = Own()
    async with ClientSession(dispatcher=own) as session:
        Guard([Checking(check)]).session(session, name="files")
        await session.initialize()
        await session.call_tool("read", progress_callback=on_progress)
        report: Any = next(options["on_progress"] for options in own.options if "on_progress" in options)
        await report(0.5, 2.0, "secret")
    assert told == [(1, None, "hidden")]


class WidgetParams(types.RequestParams):
    """Parameters of a vendor's request."""

    widget: str
    size: int = 1


class GetWidget(types.Request[WidgetParams, str]):
    """A vendor's request, one of whose parameters becomes a header."""

    method: str = "vendor/widget"
    params: WidgetParams
    name_param = "widget"


@pytest.mark.parametrize(
    ("change", "header"),
    [({"widget": "new"}, "new"), ({"widget": None}, None), ({"size": 2}, "old")],
)
async def test_a_vendors_name_header_follows_a_rewrite(change: dict[str, Any], header: str | None) -> None:
    """A header must not keep what a rewrite removed."""

    def check(call: Call) -> Verdict:
        if call.method != "vendor/widget":
            return ALLOW
        params = {**call.params, **change}
        return Rewrite({name: value for name, value in params.items() if value is not None})

    own = Own()
    async with ClientSession(dispatcher=own) as session:
        Guard([Checking(check)]).session(session, name="files")
        session.adopt(
            types.DiscoverResult(supported_versions=["2026-07-28"], capabilities=types.ServerCapabilities())
        )
        asked: Any = GetWidget(params=WidgetParams(widget="old"))
        await session.send_request(asked, types.EmptyResult)
    assert (own.options[-1].get("headers") or {}).get("mcp-name") == header


async def test_a_dispatcher_that_is_run_by_hand_may_leave_the_intercept_out() -> None:
    """The SDK's protocol makes it optional."""
    own, watcher, got = Own(), watching(), []
    session = Guard([watcher]).session(ClientSession(dispatcher=own), name="files")

    async def on_request(_context: Any, method: str, _params: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"method": method}

    async def on_notify(_context: Any, method: str, _params: Mapping[str, Any] | None) -> None:
        got.append(method)

    async with anyio.create_task_group() as tasks:
        await tasks.start(session._dispatcher.run, on_request, on_notify)
        await own.arrives("notifications/vendor", {})
        tasks.cancel_scope.cancel()
    assert got == ["notifications/vendor"]
    assert watcher.methods() == ["notifications/vendor"]


@pytest.mark.parametrize("fault", [ValueError("theirs"), MCPError(-32001, "not now")])
async def test_a_host_whose_handler_raises_raises_the_same_through_the_guard(fault: Exception) -> None:
    """What the SDK does with it is the SDK's business; the record says it was an error."""
    own, sink = Own(), RecordingSink()
    session = Guard([watching()], sinks=[sink]).session(ClientSession(dispatcher=own), name="files")

    async def on_request(_context: Any, _method: str, _params: Mapping[str, Any] | None) -> dict[str, Any]:
        raise fault

    async def on_notify(_context: Any, _method: str, _params: Mapping[str, Any] | None) -> None:
        pass

    async with anyio.create_task_group() as tasks:
        await tasks.start(session._dispatcher.run, on_request, on_notify)
        with pytest.raises(type(fault)) as raised:
            await own.asks("vendor/ask", {})
        tasks.cancel_scope.cancel()
    assert raised.value is fault
    assert sink.events[-1].outcome is Outcome.PROTOCOL_ERROR


async def test_a_callback_that_raises_raises_the_same_through_the_guard() -> None:
    """A host's elicitation callback is the host's; a guard does not answer for it."""
    fault = ValueError("theirs")

    async def refuse(_context: Any, _params: Any) -> types.ElicitResult:
        raise fault

    session = ClientSession(dispatcher=Own(), elicitation_callback=refuse)
    Guard([watching()]).session(session, name="files")
    asked = types.ElicitRequest(
        params=types.ElicitRequestFormParams(message="who?", requested_schema={"type": "object"})
    )
    context: Any = type("Context", (), {"request_id": 1})()
    with pytest.raises(ValueError, match="theirs") as raised:
        await session.dispatch_input_request(context, asked)
    assert raised.value is fault


async def test_a_notification_that_a_check_asks_about_is_dropped() -> None:
    """A notification cannot wait for a person."""

    def check(call: Call) -> Verdict:
        is_log = call.method == "notifications/message"
        return Ask("look", reason="somebody should see it") if is_log else ALLOW

    asking = Checking(check, frozenset({("notifications/message", "inbound")}))
    asking.can_ask = True
    sink = RecordingSink()
    own = Own()
    session = ClientSession(dispatcher=own)
    Guard([asking, ScriptedApprover().approves()], sinks=[sink]).session(session, name="files")
    async with session:
        await own.arrives("notifications/message", {"level": "info", "data": "hello"})
    dropped = [event for event in sink.events if event.verdict == "drop"]
    assert [event.code for event in dropped] == ["approval_required"]


async def test_what_arrives_belongs_to_the_run_the_session_was_bound_to() -> None:
    """`run=` when wrapping wins over whatever is in flight."""
    own, watcher = Own(), watching()
    run = Run(id="task", principal=Principal(user="ana"))
    session = ClientSession(dispatcher=own)
    Guard([watcher]).session(session, name="files", run=run)
    async with session:
        await own.arrives("notifications/message", {"level": "info", "data": "hello"})
    assert [(call.run, call.principal) for call in watcher.seen] == [(run, run.principal)]


async def test_a_request_out_of_the_blue_belongs_to_the_run_the_session_was_bound_to() -> None:
    """Nothing is in flight, and there is only one whom it can be about."""
    own, watcher = Own(), watching()
    run = Run(id="task", principal=Principal(user="ana"))
    session = ClientSession(dispatcher=own)
    Guard([watcher]).session(session, name="files", run=run)
    async with session:
        with pytest.raises(MCPError):
            await own.asks("vendor/ask", {})
    assert [(call.run, call.principal) for call in watcher.seen] == [(run, run.principal)]


async def test_a_request_out_of_the_blue_on_a_shared_session_is_nobodys() -> None:
    """Nothing is in flight and the session has no owner: no principal is made up."""
    own, watcher = Own(), watching()
    session = ClientSession(dispatcher=own)
    Guard([watcher]).session(session, name="files", shared=True)
    async with session:
        with pytest.raises(MCPError):
            await own.asks("vendor/ask", {})
    assert [(call.run, call.principal) for call in watcher.seen] == [(None, None)]


async def test_a_layer_that_waits_on_purpose_is_not_ended_with_the_callers_time() -> None:
    """A person may take longer than a tool; the SDK's timeout counts from the dispatch."""
    waited: list[bool] = []

    async def wait(call: Call, call_next: CallNext) -> Result:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        waited.append(True)
        return await call_next(call)

    layer = Around(wait)
    layer.waits = True
    own = Own()
    async with ClientSession(dispatcher=own) as session:
        Guard([layer]).session(session, name="files")
        await session.initialize()
        await session.call_tool("read", read_timeout_seconds=0)
    assert waited == [True]
    assert own.methods().count("tools/call") == 1


async def test_a_layer_that_hangs_is_recorded_with_the_call_it_held() -> None:
    """The caller's time ends it, and the record has one beginning and one end."""

    async def hang(call: Call, call_next: CallNext) -> Result:
        await anyio.sleep_forever()
        return await call_next(call)

    own, sink = Own(), RecordingSink()
    async with ClientSession(dispatcher=own) as session:
        Guard([Around(hang)], sinks=[sink]).session(session, name="files")
        await session.initialize()
        await session.call_tool("read", read_timeout_seconds=0)
    kinds = [event.kind for event in sink.events if event.target == "read"]
    assert kinds == ["received", "decision", "completed"]
    assert sink.events[-1].code == "interceptor_timeout"


async def test_a_call_of_an_ended_run_is_recorded_as_refused() -> None:
    """A refusal by the guard itself is an event like any other."""
    sink, run = RecordingSink(), Run(id="task")
    own = Own()
    async with ClientSession(dispatcher=own) as session:
        Guard([watching()], sinks=[sink]).session(session, name="files", run=run)
        await session.initialize()
        run.close()
        await session.call_tool("read")
    last = [event for event in sink.events if event.target == "read"]
    assert [event.kind for event in last] == ["received", "decision", "completed"]
    assert last[-1].code == "run_closed"


async def test_a_refusal_that_lapses_tells_when() -> None:
    """A model that knows when to try again need not try before."""

    def check(call: Call) -> Verdict:
        return Deny("later", reason="not yet", retry_after=2.5) if call.target == "read" else ALLOW

    own = Own()
    async with ClientSession(dispatcher=own) as session:
        Guard([Checking(check, ALL)]).session(session, name="files")
        await session.initialize()
        result = await session.call_tool("read")
    assert result.meta == {"mcpguard/denial": {"code": "later", "retryAfter": 2.5}}


async def test_a_listing_that_fails_does_not_fail_the_call_it_is_made_for() -> None:
    """A session lists by itself to validate a result that has arrived."""
    own = Own(tools_list=[ValueError("no list")], tools_call=[{"content": [], "structuredContent": {"a": 1}}])
    async with ClientSession(dispatcher=own) as session:
        Guard([watching()]).session(session, name="files")
        await session.initialize()
        result = await session.call_tool("read")
    assert result.structured_content == {"a": 1}
