"""The seam for sessions of SDK 1.x: what a host sends, what reaches it, and what is recorded of both."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import pytest

if not version("mcp").startswith("1."):
    pytest.skip("for mcp 1.x", allow_module_level=True)

import anyio
import mcp.types as types
from harness import ALL, Around, Checking, Filtering, watching, wire
from mcp import ClientSession, ClientSessionGroup, McpError
from pydantic import AnyUrl, BaseModel, ValidationError
from sessions1 import Handler, connected, go_on, read_all, recorded, refusing, rewriting

from mcpguard import (
    ALLOW,
    Call,
    CallNext,
    Denied,
    Deny,
    Fate,
    Guard,
    Interceptor,
    Outcome,
    Result,
    Rewrite,
    WireError,
)
from mcpguard.core.result import DENIED_CODE
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, Gate, RecordingSink, Script, structured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The experimental tasks API is deprecated"),
]

LISTING: Any = {("tools/list", "outbound")}
CALLING: Any = {("tools/call", "outbound")}


def ending(sink: RecordingSink, method: str) -> tuple[Outcome | None, Fate | None]:
    """Outcome and fate of the last call of a method."""
    last = recorded(sink, "completed", method)[-1]
    return last.outcome, last.fate


# Outbound requests


async def test_a_denied_tool_call_is_an_error_result_and_never_leaves() -> None:
    """Design, the contract: the agent goes on."""
    server = FakeServer()
    server.tool("remove")
    async with connected(Guard([refusing("tools/call")]), server) as session:
        result = await session.call_tool("remove")
    assert result.isError
    assert result.meta == {"mcpguard/denial": {"code": "not_here"}}
    assert server.calls("remove") == []


async def test_without_the_guard_the_same_call_reaches_the_server() -> None:
    """The promise above is the guard's doing."""
    server = FakeServer()
    server.tool("remove")
    async with connected(Guard(), server) as session:
        await session.call_tool("remove")
    assert server.calls("remove") == [{}]


async def test_another_denied_method_raises_the_sdks_error_with_the_code() -> None:
    """Design, the contract: for other methods a denial is the SDK's own error."""
    server = FakeServer()
    async with connected(Guard([refusing("prompts/list")]), server) as session:
        with pytest.raises(McpError) as raised:
            await session.list_prompts()
        await session.list_resources()
    assert raised.value.error.code == DENIED_CODE
    assert raised.value.error.data == {"mcpguard/denial": {"code": "not_here"}}
    assert server.seen("prompts/list") == []


async def test_denials_are_raised_where_the_guard_was_built_to() -> None:
    """Design, the contract: `on_deny="raise"` raises."""
    server = FakeServer()
    async with connected(Guard([refusing("tools/call")], on_deny="raise"), server) as session:
        with pytest.raises(Denied, match="not_here"):
            await session.call_tool("read")


async def test_a_denied_call_that_would_become_a_task_raises_the_sdks_error() -> None:
    """Its answer would be a task (SEP-1686); an error result of a tool is none."""
    server = FakeServer()
    server.tool("read")
    async with connected(Guard([refusing("tools/call")]), server) as session:
        with pytest.raises(McpError, match="not_here"):
            await session.experimental.call_tool_as_task("read")
    assert server.calls("read") == []


async def test_tasks_work_through_the_guard() -> None:
    """Unknown methods and experimental ones are guarded too."""
    server = FakeServer()
    task = {
        "taskId": "t",
        "status": "completed",
        "createdAt": "2026-01-01T00:00:00Z",
        "lastUpdatedAt": "2026-01-01T00:00:00Z",
        "ttl": 60000,
    }
    server.on("tools/call").returns({"task": task})
    server.on("tasks/get").returns(task)
    server.on("tasks/cancel").returns(task)
    server.on("tasks/list").returns({"tasks": [task]})
    server.on("tasks/result").returns({"content": []})
    seen = watching()
    async with connected(Guard([seen]), server) as session:
        tasks = session.experimental
        assert (await tasks.call_tool_as_task("read")).task.taskId == "t"
        assert (await tasks.get_task("t")).status == "completed"
        assert (await tasks.get_task_result("t", types.CallToolResult)).content == []
        assert len((await tasks.list_tasks("next")).tasks) == 1
        assert (await tasks.cancel_task("t")).taskId == "t"
        assert [status.taskId async for status in tasks.poll_task("t")] == ["t"]
    assert seen.methods() == [
        "tools/call",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/get",
    ]


class Keeping(ClientSession):
    """A host's own session, which looks at what it sends and at what comes back, and may change that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[Any] = []
        self.received: list[Any] = []
        self.instead: Any = None

    async def send_request(self, request: Any, result_type: Any, *args: Any, **kwargs: Any) -> Any:
        self.sent.append(request)
        answer = await super().send_request(request, result_type, *args, **kwargs)
        self.received.append(wire(answer))
        return self.instead or answer


@pytest.mark.parametrize("guard", [Guard(), Guard([watching()])], ids=["empty", "allowing"])
async def test_what_no_interceptor_rewrites_goes_out_as_the_very_object(guard: Guard) -> None:
    """Transparency; hosts override `send_request` too (mcp-agent)."""
    ping = types.ClientRequest(types.PingRequest())
    tools = types.ClientRequest(types.ListToolsRequest())
    async with connected(guard, FakeServer(), kind=Keeping) as session:
        await session.send_request(ping, types.EmptyResult)
        await session.send_request(tools, types.ListToolsResult)
        assert session.sent[1] is ping
        assert session.sent[2] is tools
        assert session.received[1:] == [{}, {"tools": []}]


@pytest.mark.parametrize("guard", [Guard(), Guard([watching()])], ids=["empty", "allowing"])
async def test_what_a_hosts_own_session_makes_of_an_answer_is_the_answer(guard: Guard) -> None:
    """Transparency; the guard stands around the host's session."""
    server = FakeServer()
    server.tool("read").returns("data")
    changed = types.CallToolResult(content=[types.TextContent(type="text", text="the host's own")])
    async with connected(guard, server, kind=Keeping) as session:
        await session.list_tools()
        session.instead = changed
        assert await session.call_tool("read") == changed


async def test_a_rewrite_is_what_the_server_gets() -> None:
    """Design, verdicts: edited arguments; values from an interceptor may be read-only mappings."""
    server = FakeServer()
    server.tool("read")
    arguments = MappingProxyType({"path": MappingProxyType({"root": "/safe"})})
    guard = Guard([rewriting("tools/call", arguments=arguments)])
    async with connected(guard, server) as session:
        await session.call_tool("read", {"path": "/etc/passwd"}, meta={"trace": "1"})
    assert server.calls("read") == [{"path": {"root": "/safe"}}]
    assert server.seen("tools/call")[0]["_meta"] == {"trace": "1"}


async def test_a_rewrite_the_sdks_models_refuse_is_sent_as_it_is() -> None:
    """The server is to judge it, as on SDK 2.x."""
    server = FakeServer()
    server.tool("read")
    guard = Guard([Checking(lambda call: Rewrite({"tool": "read"}), CALLING)])
    async with connected(guard, server) as session:
        with pytest.raises(McpError):
            await session.call_tool("read")
    assert server.seen("tools/call") == [{"tool": "read"}]


class Vendor(types.Request[dict[str, Any] | None, str]):
    """A request of a method the SDK does not know."""

    method: str = "vendor/dance"
    params: dict[str, Any] | None = None


class Loose:
    """One that is no model: all the SDK asks of a request is that it can be dumped."""

    def model_dump(self, **_options: object) -> dict[str, Any]:
        return {"method": "vendor/dance", "params": {"style": "fast"}}


class Danced(BaseModel):
    """Its result."""

    steps: int


@pytest.mark.parametrize("request_", [Vendor(params={"style": "fast"}), Vendor(), Loose()])
async def test_a_method_the_sdk_does_not_know_passes_the_chain(request_: Any) -> None:
    """Wire-shaped and version-free; methods that do not exist yet."""
    server = FakeServer()
    server.on("vendor/dance").returns({"steps": 3})
    for guard in (Guard(), Guard([watching()]), Guard([rewriting("vendor/dance", style="slow")])):
        async with connected(guard, server) as session:
            assert (await session.send_request(request_, Danced)).steps == 3
    given = wire(request_).get("params", {})
    assert server.seen("vendor/dance") == [given, given, {"style": "slow"}]


async def test_a_filter_changes_what_the_caller_gets() -> None:
    """Design, the contract: results are wire-shaped mappings, which may be read-only."""
    server = FakeServer()
    server.tool("read").returns("secret")
    changed = MappingProxyType({"content": (MappingProxyType({"type": "text", "text": "[removed]"}),)})
    guard = Guard([Filtering(lambda call, result: result.replace(value=changed), CALLING)])
    async with connected(guard, server) as session:
        result = await session.call_tool("read")
    assert result.content == [types.TextContent(type="text", text="[removed]")]


@pytest.mark.parametrize("garbage", [{"tools": "none"}, {"tools": [], "_meta": 1}])
async def test_an_answer_that_is_not_of_the_callers_type_raises_what_the_sdk_raises(garbage: Any) -> None:
    """Garbage from a server: the bare SDK's behaviour is kept, and the guard records an answer."""
    server = FakeServer()
    server.on("tools/list").returns(garbage)
    bare, guarded, events = await bare_and_guarded(server, lambda one: one.list_tools())
    assert isinstance(bare, ValidationError)
    assert isinstance(guarded, ValidationError)
    assert guarded.errors() == bare.errors()
    assert ending(events, "tools/list") == (Outcome.OK, Fate.ANSWERED)


# Failures


async def bare_and_guarded(
    server: FakeServer, work: Callable[[ClientSession], Awaitable[object]], **options: Any
) -> tuple[Exception, Exception, RecordingSink]:
    """What `work` raises without and with a guard, and the guard's records."""
    events = RecordingSink()
    raised: list[Exception] = []
    for guard in (None, Guard([watching(), Around(go_on, {("*", "outbound")})], sinks=[events])):
        async with connected(guard, server, **options) as session:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
                await work(session)
            raised.append(caught.value)
    return raised[0], raised[1], events


async def test_the_timeout_of_a_request_is_the_sdks_own() -> None:
    """SDK timeouts still work."""
    server = FakeServer()
    server.tool("read").hangs()
    bare, guarded, events = await bare_and_guarded(
        server, lambda one: one.call_tool("read", {}, timedelta(0))
    )
    assert isinstance(bare, McpError)
    assert isinstance(guarded, McpError)
    assert guarded.error == bare.error
    assert ending(events, "tools/call") == (Outcome.TIMEOUT, Fate.SENT)


async def test_the_timeout_of_a_session_is_the_sdks_own() -> None:
    """SDK timeouts still work."""
    server = FakeServer()
    server.tool("read").hangs()

    async def work(session: ClientSession) -> None:
        session._session_read_timeout_seconds = timedelta(0)
        await session.call_tool("read")

    bare, guarded, events = await bare_and_guarded(server, work)
    assert isinstance(guarded, McpError)
    assert isinstance(bare, McpError)
    assert guarded.error == bare.error
    assert ending(events, "tools/call") == (Outcome.TIMEOUT, Fate.SENT)


async def test_a_layer_that_hangs_ends_with_the_callers_time() -> None:
    """Interceptors that hang; the caller's time is allowed to layers too."""

    async def hang(call: Call, call_next: CallNext) -> Result:
        await anyio.sleep_forever()
        return await call_next(call)

    server = FakeServer()
    server.tool("read")
    async with connected(Guard([Around(hang, CALLING)]), server) as session:
        result = await session.call_tool("read", {}, timedelta(0))
    assert result.meta == {"mcpguard/denial": {"code": "interceptor_timeout"}}
    assert server.calls("read") == []


async def test_a_servers_error_with_the_code_of_a_timeout_is_an_answer() -> None:
    """Who says 408 decides: only the SDK's own timeout is one."""
    server = FakeServer()
    server.tool("read").fails(408, "too slow for me", {"at": 1})
    bare, guarded, events = await bare_and_guarded(server, lambda one: one.call_tool("read"))
    assert isinstance(bare, McpError)
    assert isinstance(guarded, McpError)
    assert guarded.error == bare.error
    assert ending(events, "tools/call") == (Outcome.PROTOCOL_ERROR, Fate.ANSWERED)


async def test_a_connection_lost_during_a_call_leaves_its_fate_open() -> None:
    """Design, fate: it left; whether it was executed is unknown."""
    server = FakeServer()
    server.tool("read").drops_connection()
    bare, guarded, events = await bare_and_guarded(server, lambda one: one.call_tool("read"))
    assert isinstance(bare, McpError)
    assert isinstance(guarded, McpError)
    assert guarded.error == bare.error
    assert guarded.error.code == types.CONNECTION_CLOSED
    assert ending(events, "tools/call") == (Outcome.TRANSPORT_ERROR, Fate.SENT)


async def test_a_servers_error_with_the_code_of_a_lost_connection_is_an_answer() -> None:
    """-32000 is also the first code that JSON-RPC leaves to servers."""
    server = FakeServer()
    server.tool("read").fails(types.CONNECTION_CLOSED, "disk full")
    _, guarded, events = await bare_and_guarded(server, lambda one: one.call_tool("read"))
    assert isinstance(guarded, McpError)
    assert guarded.error.message == "disk full"
    assert ending(events, "tools/call") == (Outcome.PROTOCOL_ERROR, Fate.ANSWERED)


async def test_a_call_on_a_closed_connection_was_not_sent() -> None:
    """Design, fate: the exception is the SDK's own, and nothing left."""
    server = FakeServer()
    server.tool("read").drops_connection()

    async def work(session: ClientSession) -> None:
        with pytest.raises(McpError):
            await session.call_tool("read")
        await session.call_tool("read")

    bare, guarded, events = await bare_and_guarded(server, work)
    assert type(guarded) is type(bare)
    assert isinstance(guarded, anyio.ClosedResourceError | anyio.BrokenResourceError)
    assert ending(events, "tools/call") == (Outcome.TRANSPORT_ERROR, Fate.NOT_SENT)


class Failing(ClientSession):
    """A host's own session that fails in its own way."""

    failure: Exception = OSError("the host's own")

    async def send_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if wire(request)["method"] == "tools/call":
            raise self.failure
        return await super().send_request(request, *args, **kwargs)


async def test_any_other_exception_comes_out_as_it_went_in() -> None:
    """Design, the contract: `cause` is kept so that the very same exception is raised."""
    bare, guarded, events = await bare_and_guarded(
        FakeServer(), lambda one: one.call_tool("read"), kind=Failing
    )
    assert guarded is bare is Failing.failure
    assert ending(events, "tools/call") == (Outcome.TRANSPORT_ERROR, Fate.SENT)


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.TIMEOUT, 408), (Outcome.TRANSPORT_ERROR, types.CONNECTION_CLOSED)]
)
async def test_a_layer_may_end_a_call_without_an_answer(outcome: Outcome, code: int) -> None:
    """A deadline's timeout has no exception of the SDK behind it; the caller gets one all the same."""

    async def end(call: Call, call_next: CallNext) -> Result:
        return Result(outcome=outcome, fate=Fate.NOT_SENT)

    async with connected(Guard([Around(end, CALLING)]), FakeServer()) as session:
        with pytest.raises(McpError) as raised:
            await session.call_tool("read")
    assert raised.value.error.code == code


async def test_an_error_changed_by_a_filter_is_the_one_the_caller_gets() -> None:
    """Filters look at errors too."""

    def hush(call: Call, result: Result) -> Result:
        return result.replace(error=WireError(-32001, "[removed]", {"why": "secret"}))

    server = FakeServer()
    server.tool("read").fails(-32001, "password is 1234")
    async with connected(Guard([Filtering(hush, CALLING)]), server) as session:
        with pytest.raises(McpError) as raised:
            await session.call_tool("read")
    assert raised.value.error == types.ErrorData(code=-32001, message="[removed]", data={"why": "secret"})


async def test_cancelling_a_call_leaves_the_session_usable() -> None:
    """Design, the contract: cancellation is never swallowed."""
    gate = Gate()
    events = RecordingSink()
    server = FakeServer()
    server.tool("read").waits_for(gate).returns("late").returns("next")
    async with connected(Guard([watching(), Around(go_on)], sinks=[events]), server) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call_tool, "read")
            await gate.reached()
            tasks.cancel_scope.cancel()
        gate.open()
        assert (await session.call_tool("read")).content == [types.TextContent(type="text", text="next")]
    assert len(recorded(events, "cancelled", "tools/call")) == 1


# Validation of tool results


def counting(server: FakeServer) -> Script:
    """A tool whose result has a schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return server.tool("count", output_schema=schema)


async def test_the_sdks_own_listing_is_no_call_of_the_agents() -> None:
    """`call_tool` lists by itself, after the call, to validate."""
    server = FakeServer()
    counting(server).returns(structured({"n": 1}))
    events = RecordingSink()
    seen = watching()
    async with connected(Guard([seen], sinks=[events]), server) as session:
        await session.call_tool("count")
        await session.call_tool("count")
    assert seen.methods() == ["tools/call", "tools/call"]
    assert recorded(events, "received", "tools/list") == []
    assert len(server.seen("tools/list")) == 1


async def test_a_result_that_breaks_its_schema_still_raises() -> None:
    """The SDK's validation stands."""
    server = FakeServer()
    counting(server).returns(structured({"n": "one"}))
    async with connected(Guard([watching()]), server) as session:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")


async def test_a_listing_that_fails_does_not_fail_the_call_that_has_completed() -> None:
    """Design, tool facts: the SDK's own inner listings cannot fail a call that has completed."""
    server = FakeServer()
    server.on("tools/list").fails(-32603, "cannot list")
    counting(server).returns(structured({"n": 1}))
    async with connected(Guard([watching()]), server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": 1}


@pytest.mark.parametrize("on_deny", ["result", "raise"])
async def test_a_denied_listing_does_not_fail_the_call_that_has_completed(on_deny: Any) -> None:
    """Denying that listing would raise after the tool ran."""

    def refuse(call: Call, result: Result) -> Result:
        return call.denied(code="no_lists", reason="the test says so")

    server = FakeServer()
    counting(server).returns(structured({"n": 1}))
    guard = Guard([Filtering(refuse, LISTING), refusing("tools/list")], on_deny=on_deny)
    async with connected(guard, server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": 1}


async def test_a_hidden_tool_that_was_called_all_the_same_is_not_validated() -> None:
    """Filters look at the inner listing: what they hide stays hidden."""
    server = FakeServer()
    counting(server).returns(structured({"n": "one"}))
    guard = Guard([Filtering(lambda call, result: result.replace(value={"tools": []}), LISTING)])
    async with connected(guard, server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": "one"}


@pytest.mark.parametrize("guard", [None, Guard(), Guard([watching()])], ids=["bare", "empty", "allowing"])
async def test_the_sdk_warns_of_a_tool_that_is_not_listed(
    guard: Guard | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What the SDK says of its own listing it says under a guard too."""
    server = FakeServer()
    server.tool("secret", listed=False)
    async with connected(guard, server) as session:
        await session.call_tool("secret")
    assert "Tool secret not listed" in caplog.text
    assert len(server.seen("tools/list")) == 1


async def test_without_a_chain_for_listings_validation_is_the_sdks() -> None:
    """What handles nothing is not there."""
    server = FakeServer()
    counting(server).returns(structured({"n": "one"}))
    async with connected(Guard(), server) as session:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")


async def test_tool_facts_are_listed_past_the_chain_page_by_page() -> None:
    """Design, tool facts: where the client never listed, the seam lists first."""

    class Knowing(Interceptor):
        handles = CALLING
        needs_tool = True

        def check(self, call: Call) -> Verdict:
            assert call.tool is not None
            return Deny("described", reason=str(call.tool.definition["description"]))

    server = FakeServer(page_size=1)
    server.tool("other")
    server.tool("read", description="reads")
    seen = watching(LISTING)
    async with connected(Guard([seen, Knowing()]), server) as session:
        assert (await session.call_tool("read")).isError
    assert len(server.seen("tools/list")) == 2
    assert seen.seen == []


# Notifications to the server


async def test_a_denied_notification_is_dropped_and_a_rewritten_one_changed() -> None:
    """Notifications meet checks; denying one drops it."""

    def judge(call: Call) -> Verdict:
        if call.method == "notifications/progress":
            return Rewrite({**call.params, "message": "[removed]"})
        if call.method == "notifications/roots/list_changed":
            return Deny("not_here", reason="the test says so")
        return ALLOW

    server = FakeServer()
    async with connected(Guard([Checking(judge)]), server) as session:
        await session.send_roots_list_changed()
        await session.send_progress_notification("t", 0.5, message="secret")
        await session.send_ping()
    assert server.seen("notifications/roots/list_changed") == []
    assert server.seen("notifications/progress") == [
        {"progressToken": "t", "progress": 0.5, "message": "[removed]"}
    ]


async def test_notifications_pass_an_empty_guard() -> None:
    """Nothing linked, nothing changed."""
    server = FakeServer()
    async with connected(Guard(), server) as session:
        await session.send_roots_list_changed()
        await session.send_ping()
    assert server.seen("notifications/initialized") == [{}]
    assert server.seen("notifications/roots/list_changed") == [{}]


# Progress


@pytest.mark.parametrize("entered", [False, True])
async def test_progress_passes_the_checks_once_and_reaches_callback_and_handler(entered: bool) -> None:
    """Progress is called back before any other hook of the session."""
    server = FakeServer()
    server.tool("read").reports(1, 2, total=2, message="half").returns("done")
    events = RecordingSink()
    handler = Handler()
    told: list[object] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append((value, total, message))

    guard = Guard([watching()], sinks=[events])
    async with connected(guard, server, entered=entered, message_handler=handler) as session:
        await session.call_tool("read", {}, None, progress)
    assert told == [(1, 2, "half"), (2, 2, "half")]
    assert handler.methods() == ["notifications/progress"] * 2
    assert [event.verdict for event in recorded(events, "notification", "notifications/progress")] == [
        None,
        None,
    ]


async def test_denied_progress_reaches_neither_callback_nor_handler() -> None:
    """Denying a notification drops it."""
    server = FakeServer()
    server.tool("read").reports(1).returns("done")
    events = RecordingSink()
    handler = Handler()
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    guard = Guard([refusing("notifications/progress")], sinks=[events])
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read", progress_callback=progress)
    assert (told, handler.messages) == ([], [])
    assert [event.verdict for event in recorded(events, "notification", "notifications/progress")] == ["drop"]


async def test_rewritten_progress_is_what_the_callback_is_told() -> None:
    """A rewrite reaches the callback and the handler."""
    server = FakeServer()
    server.tool("read").reports(1, total=2, message="secret").returns("done")
    handler = Handler()
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    guard = Guard([rewriting("notifications/progress", message="[removed]")])
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read", progress_callback=progress)
    assert told == [(1, 2, "[removed]")]
    assert handler.messages[0].root.params.message == "[removed]"


# Notifications from the server


@pytest.mark.parametrize("entered", [False, True])
async def test_every_notification_of_a_server_is_seen_once(entered: bool) -> None:
    """Log, subscription, list changes, tasks, cancellation and unknown ones."""
    methods = {
        "notifications/message": {"level": "info", "data": "x"},
        "notifications/resources/updated": {"uri": "file:///a"},
        "notifications/resources/list_changed": {},
        "notifications/tools/list_changed": {},
        "notifications/prompts/list_changed": {},
        "notifications/elicitation/complete": {"elicitationId": "e"},
        "notifications/cancelled": {"requestId": 99},
        "notifications/vendor": {"x": 1},
    }
    server = FakeServer()
    seen = watching({*ALL, ("notifications/cancelled", "inbound")})
    handler = Handler()
    logged: list[object] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    guard = Guard([seen])
    options = {"message_handler": handler, "logging_callback": log}
    async with connected(guard, server, entered=entered, **options) as session:
        for method, params in methods.items():
            await server.notify(method, params)
        await read_all(session)
    inbound = [call for call in seen.seen if call.direction == "inbound"]
    assert {call.method: dict(call.params) for call in inbound} == methods
    assert len(inbound) == len(methods)
    assert logged == ["x"]
    assert handler.methods() == list(methods)[:6]


async def test_a_denied_notification_reaches_neither_callback_nor_handler() -> None:
    """Denying a notification drops it."""
    server = FakeServer()
    handler = Handler()
    options = {"message_handler": handler, "logging_callback": handler}
    async with connected(Guard([refusing("notifications/message")]), server, **options) as session:
        await server.notify("notifications/message", {"level": "info", "data": "secret"})
        await server.notify("notifications/tools/list_changed")
        await read_all(session)
    assert handler.methods() == ["notifications/tools/list_changed"]
    assert len(handler.messages) == 1


async def test_a_rewritten_notification_is_what_callback_and_handler_see() -> None:
    """Values from an interceptor may be read-only mappings."""
    server = FakeServer()
    handler = Handler()
    logged: list[object] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    guard = Guard([rewriting("notifications/message", data=MappingProxyType({"said": "[removed]"}))])
    options = {"message_handler": handler, "logging_callback": log}
    async with connected(guard, server, **options) as session:
        await server.notify("notifications/message", {"level": "info", "data": "secret"})
        await read_all(session)
    assert logged == [{"said": "[removed]"}]
    assert handler.messages[0].root.params.data == {"said": "[removed]"}


@pytest.mark.parametrize("guard", [Guard(), Guard([watching()])], ids=["empty", "allowing"])
async def test_faults_of_the_transport_still_reach_the_message_handler(guard: Guard) -> None:
    """Transport faults are still delivered."""
    handler = Handler()
    server = FakeServer()
    server.tool("read").sends_garbage().returns("x")
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read")
    assert [type(one) for one in handler.messages] == [ValidationError]


# The session as a whole


async def use_every_method(session: ClientSession) -> list[dict[str, Any]]:
    """Call everything a client of 1.x can call, in every shape, and keep the answers."""
    paged = types.PaginatedRequestParams(cursor=None)
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    prompt = types.PromptReference(type="ref/prompt", name="greet")
    answers: list[Any] = [
        await session.send_ping(),
        await session.set_logging_level("info"),
        await session.list_tools(),
        await session.list_tools(None),
        await session.list_tools(params=paged),
        await session.list_prompts(),
        await session.list_prompts(params=paged),
        await session.list_resources(),
        await session.list_resources(params=paged),
        await session.list_resource_templates(),
        await session.list_resource_templates(params=paged),
        await session.read_resource(AnyUrl("file:///notes")),
        await session.subscribe_resource(AnyUrl("file:///notes")),
        await session.unsubscribe_resource(AnyUrl("file:///notes")),
        await session.get_prompt("greet", {"name": "Ada"}),
        await session.get_prompt("greet"),
        await session.complete(prompt, {"name": "name", "value": "A"}, {"other": "x"}),
        await session.call_tool("read"),
        await session.call_tool("read", {"path": "a"}),
        await session.call_tool("read", {"path": "a"}, timedelta(seconds=60)),
        await session.call_tool(name="read", arguments={}, progress_callback=progress, meta={"trace": "1"}),
        await session.call_tool("broken"),
    ]
    for wrong in (session.call_tool("nothing"), session.get_prompt("nothing")):
        with pytest.raises(McpError) as raised:
            await wrong
        answers.append(raised.value.error)
    with pytest.raises(ValueError, match="both cursor and params"):
        await session.list_tools("c", params=paged)  # type: ignore[call-overload]
    await session.send_roots_list_changed()
    await session.send_progress_notification("t", 1, 2, "m")
    return [*(wire(answer) for answer in answers), {"told": told}]


def full_server() -> FakeServer:
    """A server with something for every method."""
    server = FakeServer()
    server.tool("read", output_schema={"type": "object"}).reports(1).returns(structured({"n": 1}))
    server.tool("broken").is_error("no")
    server.prompt("greet", arguments=[{"name": "name"}]).returns("Hello")
    server.completion("greet", {"name": ["Ada"]})
    server.resource("file:///notes").returns("remember")
    server.resource_template("file:///{name}")
    return server


@pytest.mark.parametrize("entered", [False, True])
async def test_every_method_in_every_shape_is_as_without_a_guard(entered: bool) -> None:
    """With no interceptors, and with ones that allow everything, nothing differs on either side."""
    answers: list[list[dict[str, Any]]] = []
    received: list[list[dict[str, Any]]] = []
    seen = watching({*ALL, ("initialize", "outbound"), ("ping", "outbound")})
    allowing = Guard([seen, Filtering(lambda call, result: result), Around(go_on)], sinks=[RecordingSink()])
    for guard in (None, Guard(), allowing):
        server = full_server()
        async with connected(guard, server, entered=entered) as session:
            answers.append(await use_every_method(session))
        received.append(server.received)
    assert answers[0] == answers[1] == answers[2]
    assert received[0] == received[1] == received[2]
    sent = [one["method"] for one in received[0] if one["method"] != "notifications/initialized"]
    outbound = [call.method for call in seen.seen if call.direction == "outbound"]
    assert outbound == sent


async def test_a_group_of_sessions_goes_through_the_guards_of_each() -> None:
    """`ClientSessionGroup` too."""
    server = FakeServer()
    server.tool("remove")
    server.tool("read").returns("data")
    info = types.Implementation(name="files", version="1")
    refusing = Checking(lambda call: Deny("no", reason="no") if call.target == "remove" else ALLOW)
    async with connected(Guard([refusing]), server) as session:
        group = ClientSessionGroup()
        await group.connect_with_session(info, session)
        assert sorted(group.tools) == ["read", "remove"]
        assert (await group.call_tool("remove", {})).isError
        assert not (await group.call_tool("read", {})).isError
    assert server.calls("remove") == []


async def test_an_entered_session_has_no_blind_spots() -> None:
    """1.x looks its own attributes up when it needs them."""
    guard = Guard([watching()])
    async with connected(guard, FakeServer(), entered=True):
        (connection,) = guard.coverage().connections
    assert (connection.seam, connection.blind_spots) == ("session", ())


async def test_calls_under_way_when_the_session_is_guarded_are_named_as_a_blind_spot() -> None:
    """They were sent before; what their progress says is checked all the same."""
    gate = Gate()
    server = FakeServer()
    server.tool("read").waits_for(gate).reports(1).returns("x")
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    guard = Guard([refusing("notifications/progress")])
    async with connected(None, server) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call_tool, "read", {}, None, progress)
            await gate.reached()
            guard.session(session, name="files")
            gate.open()
        (connection,) = guard.coverage().connections
    assert len(connection.blind_spots) == 1
    assert "under way" in connection.blind_spots[0]
    assert told == []
