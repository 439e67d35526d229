"""The seam for sessions of SDK 1.x, seen from the host, the server and the guard's own records."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, TypeVar

import pytest

if not version("mcp").startswith("1."):
    pytest.skip("for mcp 1.x", allow_module_level=True)

import anyio
import mcp.types as types
from mcp import ClientSession, ClientSessionGroup, McpError
from mcp.server.fastmcp import Context, FastMCP
from mcp.shared.memory import create_client_server_memory_streams, create_connected_server_and_client_session
from mcp.shared.message import SessionMessage
from mcp.shared.session import RequestResponder
from pydantic import AnyUrl, BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from mcpguard import ALLOW, Call, Deny, Fate, Guard, Interceptor, Outcome, Result, Rewrite
from mcpguard.core.errors import Denied
from mcpguard.core.events import Event
from mcpguard.core.interceptor import CallNext, Handles
from mcpguard.core.result import DENIED_CODE, WireError
from mcpguard.core.verdict import Verdict
from mcpguard.seams.requests1 import MAX_TASKS
from mcpguard.testing.fake_server import FakeServer
from mcpguard.testing.gate import Gate
from mcpguard.testing.messages import Elicit, ListRoots, RPCError, Sample, Wire, structured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The experimental tasks API is deprecated"),
]

Kind = TypeVar("Kind", bound=ClientSession)

EVERYTHING: Handles = {
    ("*", "outbound"),
    ("*", "inbound"),
    ("notifications/*", "outbound"),
    ("notifications/*", "inbound"),
}
EVERY_REQUEST: Handles = {("*", "outbound"), ("*", "inbound")}


class Check(Interceptor):
    """Judge with a function; remember what was judged."""

    def __init__(self, judge: Callable[[Call], Verdict], handles: Handles = EVERYTHING) -> None:
        super().__init__()
        self.handles = handles
        self.calls: list[Call] = []
        self._judge = judge

    def check(self, call: Call) -> Verdict:
        self.calls.append(call)
        return self._judge(call)

    @property
    def methods(self) -> list[str]:
        return [call.method for call in self.calls]


class Look(Interceptor):
    """Look at results with a function."""

    def __init__(self, look: Callable[[Call, Result], Result], handles: Handles = EVERY_REQUEST) -> None:
        super().__init__()
        self.handles = handles
        self._look = look

    def filter(self, call: Call, result: Result) -> Result:
        return self._look(call, result)


class Around(Interceptor):
    """Stand around calls with a function."""

    def __init__(
        self, around: Callable[[Call, CallNext], Awaitable[Result]], handles: Handles = EVERY_REQUEST
    ) -> None:
        super().__init__()
        self.handles = handles
        self._around = around

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return await self._around(call, call_next)


class Events:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        self.all.append(event)

    async def aclose(self) -> None:
        """Nothing to close."""

    def of(self, kind: str, method: str) -> list[Event]:
        return [event for event in self.all if event.kind == kind and event.method == method]

    def ending(self, method: str) -> tuple[Outcome | None, Fate | None]:
        """Outcome and fate of the last call of a method."""
        last = self.of("completed", method)[-1]
        return last.outcome, last.fate


def watch(handles: Handles = EVERYTHING) -> Check:
    """Allow everything."""
    return Check(lambda call: ALLOW, handles)


def deny(*methods: str) -> Check:
    """Deny these methods."""
    return Check(
        lambda call: Deny("not_here", reason="the test says so") if call.method in methods else ALLOW
    )


def rewrite(method: str, **params: Any) -> Check:
    """Set members of one method's parameters."""
    return Check(lambda call: Rewrite({**call.params, **params}) if call.method == method else ALLOW)


async def on(call: Call, call_next: CallNext) -> Result:
    """A layer that only goes on."""
    return await call_next(call)


class Handler:
    """A message handler that remembers."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def methods(self) -> list[str]:
        return [one.root.method for one in self.messages if isinstance(one, types.ServerNotification)]


@asynccontextmanager
async def connected(
    guard: Guard | None,
    server: FakeServer,
    *,
    entered: bool = False,
    kind: type[Kind] = ClientSession,  # type: ignore[assignment]
    **options: Any,
) -> AsyncIterator[Kind]:
    """A session of 1.x with `server`, guarded before or after it is entered."""
    async with server.connect() as (read, write):
        session = kind(read, write, **options)
        if guard is not None and not entered:
            assert guard.session(session, name="files") is session
        async with session:
            if guard is not None and entered:
                guard.session(session, name="files")
            await session.initialize()
            yield session


def on_wire(model: BaseModel) -> Wire:
    """A model as it is on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def settled(server: FakeServer, session: ClientSession) -> None:
    """Wait until the session has read everything the server has sent so far."""
    await session.send_ping()


# Outbound requests


async def test_a_denied_tool_call_is_an_error_result_and_never_leaves() -> None:
    """Design, the contract: the agent goes on."""
    server = FakeServer()
    server.tool("remove")
    async with connected(Guard([deny("tools/call")]), server) as session:
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
    async with connected(Guard([deny("prompts/list")]), server) as session:
        with pytest.raises(McpError) as raised:
            await session.list_prompts()
        await session.list_resources()
    assert raised.value.error.code == DENIED_CODE
    assert raised.value.error.data == {"mcpguard/denial": {"code": "not_here"}}
    assert server.seen("prompts/list") == []


async def test_denials_are_raised_where_the_guard_was_built_to() -> None:
    """Design, the contract: `on_deny="raise"` raises."""
    server = FakeServer()
    async with connected(Guard([deny("tools/call")], on_deny="raise"), server) as session:
        with pytest.raises(Denied, match="not_here"):
            await session.call_tool("read")


async def test_a_denied_call_that_would_become_a_task_raises_the_sdks_error() -> None:
    """Its answer would be a task (SEP-1686); an error result of a tool is none."""
    server = FakeServer()
    server.tool("read")
    async with connected(Guard([deny("tools/call")]), server) as session:
        with pytest.raises(McpError, match="not_here"):
            await session.experimental.call_tool_as_task("read")
    assert server.calls("read") == []


async def test_tasks_work_through_the_guard() -> None:
    """Issue 2: unknown methods and experimental ones are guarded too."""
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
    watching = watch()
    async with connected(Guard([watching]), server) as session:
        tasks = session.experimental
        assert (await tasks.call_tool_as_task("read")).task.taskId == "t"
        assert (await tasks.get_task("t")).status == "completed"
        assert (await tasks.get_task_result("t", types.CallToolResult)).content == []
        assert len((await tasks.list_tasks("next")).tasks) == 1
        assert (await tasks.cancel_task("t")).taskId == "t"
        assert [status.taskId async for status in tasks.poll_task("t")] == ["t"]
    assert watching.methods == [
        "tools/call",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/get",
    ]


class Keeping(ClientSession):
    """A host's own session, which sees what it is asked to send."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.requests: list[Any] = []
        self.result_types: list[Any] = []

    async def send_request(self, request: Any, result_type: Any, *args: Any, **kwargs: Any) -> Any:
        self.requests.append(request)
        self.result_types.append(result_type)
        return await super().send_request(request, result_type, *args, **kwargs)


@pytest.mark.parametrize("guard", [Guard(), Guard([watch()])], ids=["empty", "allowing"])
async def test_what_no_interceptor_rewrites_goes_out_as_the_very_object(guard: Guard) -> None:
    """`facts/sdk-seams.md`: transparency; hosts override `send_request` too."""
    request = types.ClientRequest(types.PingRequest())
    tools = types.ClientRequest(types.ListToolsRequest())
    async with connected(guard, FakeServer(), kind=Keeping) as session:
        await session.send_request(request, types.EmptyResult)
        await session.send_request(tools, types.ListToolsResult)
        assert session.requests[1] is request
        assert session.requests[2] is tools


async def test_with_nothing_linked_the_callers_result_type_is_used_as_it_is() -> None:
    """What handles nothing costs nothing."""
    async with connected(Guard(), FakeServer(), kind=Keeping) as session:
        await session.list_tools()
        assert session.result_types[-1] is types.ListToolsResult


async def test_a_rewrite_is_what_the_server_gets() -> None:
    """Design, verdicts: edited arguments; values from an interceptor may be read-only mappings."""
    server = FakeServer()
    server.tool("read")
    arguments = MappingProxyType({"path": MappingProxyType({"root": "/safe"})})
    guard = Guard([rewrite("tools/call", arguments=arguments)])
    async with connected(guard, server) as session:
        await session.call_tool("read", {"path": "/etc/passwd"}, meta={"trace": "1"})
    assert server.calls("read") == [{"path": {"root": "/safe"}}]
    assert server.seen("tools/call")[0]["_meta"] == {"trace": "1"}


async def test_a_rewrite_the_sdks_models_refuse_is_sent_as_it_is() -> None:
    """The server is to judge it, as on SDK 2.x."""
    server = FakeServer()
    server.tool("read")
    guard = Guard([Check(lambda call: Rewrite({"tool": "read"}), {("tools/call", "outbound")})])
    async with connected(guard, server) as session:
        with pytest.raises(McpError):
            await session.call_tool("read")
    assert server.seen("tools/call") == [{"tool": "read"}]


class Vendor(types.Request[dict[str, Any] | None, str]):
    """A request of a method the SDK does not know."""

    method: str = "vendor/dance"
    params: dict[str, Any] | None = None


class Danced(BaseModel):
    """Its result."""

    steps: int


async def test_a_method_the_sdk_does_not_know_passes_the_chain() -> None:
    """Issue 2, core: wire-shaped and version-free; methods that do not exist yet."""
    server = FakeServer()
    server.on("vendor/dance").returns({"steps": 3})
    guard = Guard([rewrite("vendor/dance", style="slow")])
    request: Any = Vendor(params={"style": "fast"})
    async with connected(guard, server) as session:
        assert (await session.send_request(request, Danced)).steps == 3
        assert (await session.send_request(Vendor(), Danced)).steps == 3  # type: ignore[arg-type]
    assert server.seen("vendor/dance") == [{"style": "slow"}, {"style": "slow"}]


async def test_a_filter_changes_what_the_caller_gets() -> None:
    """Design, the contract: results are wire-shaped mappings, which may be read-only."""
    server = FakeServer()
    server.tool("read").returns("secret")
    changed = MappingProxyType({"content": (MappingProxyType({"type": "text", "text": "[removed]"}),)})
    guard = Guard([Look(lambda call, result: result.replace(value=changed), {("tools/call", "outbound")})])
    async with connected(guard, server) as session:
        result = await session.call_tool("read")
    assert result.content == [types.TextContent(type="text", text="[removed]")]


async def test_an_answer_that_is_not_of_the_callers_type_raises_what_the_sdk_raises() -> None:
    """Garbage from a server: the bare SDK's behaviour is kept."""
    server = FakeServer()
    server.on("tools/list").returns({"tools": "none"})
    async with connected(Guard([watch()]), server) as session:
        with pytest.raises(ValidationError, match="ListToolsResult"):
            await session.list_tools()


# Failures


async def bare_and_guarded(
    server: FakeServer, work: Callable[[ClientSession], Awaitable[object]], **options: Any
) -> tuple[Exception, Exception, Events]:
    """What `work` raises without and with a guard, and the guard's records."""
    events = Events()
    raised: list[Exception] = []
    for guard in (None, Guard([watch(), Around(on)], sinks=[events])):
        async with connected(guard, server, **options) as session:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
                await work(session)
            raised.append(caught.value)
    return raised[0], raised[1], events


async def test_the_timeout_of_a_request_is_the_sdks_own() -> None:
    """`facts/sdk-seams.md` 6: SDK timeouts still work."""
    server = FakeServer()
    server.tool("read").hangs()
    bare, guarded, events = await bare_and_guarded(
        server, lambda one: one.call_tool("read", {}, timedelta(0))
    )
    assert isinstance(bare, McpError)
    assert isinstance(guarded, McpError)
    assert guarded.error == bare.error
    assert events.ending("tools/call") == (Outcome.TIMEOUT, Fate.SENT)


async def test_the_timeout_of_a_session_is_the_sdks_own() -> None:
    """`facts/sdk-seams.md` 6: SDK timeouts still work."""
    server = FakeServer()
    server.tool("read").hangs()

    async def work(session: ClientSession) -> None:
        session._session_read_timeout_seconds = timedelta(0)
        await session.call_tool("read")

    bare, guarded, events = await bare_and_guarded(server, work)
    assert isinstance(guarded, McpError)
    assert isinstance(bare, McpError)
    assert guarded.error == bare.error
    assert events.ending("tools/call") == (Outcome.TIMEOUT, Fate.SENT)


async def test_a_layer_that_hangs_ends_with_the_callers_time() -> None:
    """Issue 2, bad input: interceptors that hang; the caller's time is allowed to layers too."""

    async def hang(call: Call, call_next: CallNext) -> Result:
        await anyio.sleep_forever()
        return await call_next(call)

    server = FakeServer()
    server.tool("read")
    async with connected(Guard([Around(hang, {("tools/call", "outbound")})]), server) as session:
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
    assert events.ending("tools/call") == (Outcome.PROTOCOL_ERROR, Fate.ANSWERED)


async def test_a_connection_lost_during_a_call_leaves_its_fate_open() -> None:
    """Design, fate: it left; whether it was executed is unknown."""
    server = FakeServer()
    server.tool("read").drops_connection()
    bare, guarded, events = await bare_and_guarded(server, lambda one: one.call_tool("read"))
    assert isinstance(bare, McpError)
    assert isinstance(guarded, McpError)
    assert guarded.error == bare.error
    assert guarded.error.code == types.CONNECTION_CLOSED
    assert events.ending("tools/call") == (Outcome.TRANSPORT_ERROR, Fate.SENT)


async def test_a_servers_error_with_the_code_of_a_lost_connection_is_an_answer() -> None:
    """-32000 is also the first code that JSON-RPC leaves to servers."""
    server = FakeServer()
    server.tool("read").fails(types.CONNECTION_CLOSED, "disk full")
    _, guarded, events = await bare_and_guarded(server, lambda one: one.call_tool("read"))
    assert isinstance(guarded, McpError)
    assert guarded.error.message == "disk full"
    assert events.ending("tools/call") == (Outcome.PROTOCOL_ERROR, Fate.ANSWERED)


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
    assert events.ending("tools/call") == (Outcome.TRANSPORT_ERROR, Fate.NOT_SENT)


async def test_any_other_exception_comes_out_as_it_went_in() -> None:
    """Design, the contract: `cause` is kept so that the very same exception is raised."""
    events = Events()
    server = FakeServer()
    server.tool("read")
    causes: list[Exception | None] = []

    async def note(call: Call, call_next: CallNext) -> Result:
        result = await call_next(call)
        causes.append(result.cause)
        return result

    odd: Any = object()
    guard = Guard(
        [Around(note, {("tools/call", "outbound")}), rewrite("tools/call", arguments={"x": odd})],
        sinks=[events],
    )
    async with connected(guard, server) as session:
        with pytest.raises(PydanticSerializationError) as raised:
            await session.call_tool("read")
    assert raised.value is causes[0]
    assert events.ending("tools/call")[0] is Outcome.TRANSPORT_ERROR


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.TIMEOUT, 408),
        (Outcome.TRANSPORT_ERROR, types.CONNECTION_CLOSED),
        (Outcome.PROTOCOL_ERROR, types.INTERNAL_ERROR),
    ],
)
async def test_a_layer_may_end_a_call_without_an_answer(outcome: Outcome, code: int) -> None:
    """A deadline's timeout has no exception of the SDK behind it; the caller gets one all the same."""

    async def end(call: Call, call_next: CallNext) -> Result:
        return Result(outcome=outcome, fate=Fate.NOT_SENT)

    async with connected(Guard([Around(end, {("tools/call", "outbound")})]), FakeServer()) as session:
        with pytest.raises(McpError) as raised:
            await session.call_tool("read")
    assert raised.value.error.code == code


async def test_an_error_changed_by_a_filter_is_the_one_the_caller_gets() -> None:
    """Filters look at errors too."""

    def hush(call: Call, result: Result) -> Result:
        return result.replace(error=WireError(-32001, "[removed]", {"why": "secret"}))

    server = FakeServer()
    server.tool("read").fails(-32001, "password is 1234")
    async with connected(Guard([Look(hush, {("tools/call", "outbound")})]), server) as session:
        with pytest.raises(McpError) as raised:
            await session.call_tool("read")
    assert raised.value.error == types.ErrorData(code=-32001, message="[removed]", data={"why": "secret"})


async def test_cancelling_a_call_leaves_the_session_usable() -> None:
    """Design, the contract: cancellation is never swallowed."""
    gate = Gate()
    events = Events()
    server = FakeServer()
    server.tool("read").waits_for(gate).returns("late").returns("next")
    async with connected(Guard([watch(), Around(on)], sinks=[events]), server) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call_tool, "read")
            await gate.reached()
            tasks.cancel_scope.cancel()
        gate.open()
        assert (await session.call_tool("read")).content == [types.TextContent(type="text", text="next")]
    assert len(events.of("cancelled", "tools/call")) == 1


# Validation of tool results


def tool_with_schema(server: FakeServer) -> Any:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return server.tool("count", output_schema=schema)


async def test_the_sdks_own_listing_is_no_call_of_the_agents() -> None:
    """`facts/sdk-seams.md` 5: `call_tool` lists by itself, after the call, to validate."""
    server = FakeServer()
    tool_with_schema(server).returns(structured({"n": 1}))
    events = Events()
    watching = watch()
    async with connected(Guard([watching], sinks=[events]), server) as session:
        await session.call_tool("count")
        await session.call_tool("count")
    assert watching.methods == ["tools/call", "tools/call"]
    assert events.of("received", "tools/list") == []
    assert len(server.seen("tools/list")) == 1


async def test_a_result_that_breaks_its_schema_still_raises() -> None:
    """The SDK's validation stands."""
    server = FakeServer()
    tool_with_schema(server).returns(structured({"n": "one"}))
    async with connected(Guard([watch()]), server) as session:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")


async def test_a_listing_that_fails_does_not_fail_the_call_that_has_completed() -> None:
    """Design, tool facts: the SDK's own inner listings cannot fail a call that has completed."""
    server = FakeServer()
    server.on("tools/list").fails(-32603, "cannot list")
    tool_with_schema(server).returns(structured({"n": 1}))
    async with connected(Guard([watch()]), server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": 1}


@pytest.mark.parametrize("on_deny", ["result", "raise"])
async def test_a_denied_listing_does_not_fail_the_call_that_has_completed(on_deny: Any) -> None:
    """`facts/sdk-seams.md` 5: denying that listing would raise after the tool ran."""

    def refuse(call: Call, result: Result) -> Result:
        return call.denied(code="no_lists", reason="the test says so")

    server = FakeServer()
    tool_with_schema(server).returns(structured({"n": 1}))
    guard = Guard([Look(refuse, {("tools/list", "outbound")}), deny("tools/list")], on_deny=on_deny)
    async with connected(guard, server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": 1}


async def test_a_hidden_tool_that_was_called_all_the_same_is_not_validated() -> None:
    """Filters look at the inner listing: what they hide stays hidden, and costs no warning."""
    server = FakeServer()
    tool_with_schema(server).returns(structured({"n": "one"}))
    guard = Guard(
        [Look(lambda call, result: result.replace(value={"tools": []}), {("tools/list", "outbound")})]
    )
    async with connected(guard, server) as session:
        assert (await session.call_tool("count")).structuredContent == {"n": "one"}


async def test_without_a_chain_for_listings_validation_is_the_sdks() -> None:
    """What handles nothing is not there."""
    server = FakeServer()
    tool_with_schema(server).returns(structured({"n": "one"}))
    async with connected(Guard(), server) as session:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await session.call_tool("count")


async def test_tool_facts_are_listed_past_the_chain_page_by_page() -> None:
    """Design, tool facts: where the client never listed, the seam lists first."""

    class Knowing(Interceptor):
        handles = {("tools/call", "outbound")}  # noqa: RUF012
        needs_tool = True

        def check(self, call: Call) -> Verdict:
            assert call.tool is not None
            return Deny("described", reason=str(call.tool.definition["description"]))

    server = FakeServer(page_size=1)
    server.tool("other")
    server.tool("read", description="reads")
    watching = watch({("tools/list", "outbound")})
    async with connected(Guard([watching, Knowing()]), server) as session:
        assert (await session.call_tool("read")).isError
    assert len(server.seen("tools/list")) == 2
    assert watching.calls == []


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
    async with connected(Guard([Check(judge)]), server) as session:
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
    """`facts/sdk-seams.md`: progress is called back before any other hook of the session."""
    server = FakeServer()
    server.tool("read").reports(1, 2, total=2, message="half").returns("done")
    events = Events()
    handler = Handler()
    told: list[object] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append((value, total, message))

    guard = Guard([watch()], sinks=[events])
    async with connected(guard, server, entered=entered, message_handler=handler) as session:
        await session.call_tool("read", {}, None, progress)
    assert told == [(1, 2, "half"), (2, 2, "half")]
    assert handler.methods == ["notifications/progress"] * 2
    assert [event.verdict for event in events.of("notification", "notifications/progress")] == [None, None]


async def test_denied_progress_reaches_neither_callback_nor_handler() -> None:
    """Denying a notification drops it."""
    server = FakeServer()
    server.tool("read").reports(1).returns("done")
    events = Events()
    handler = Handler()
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    guard = Guard([deny("notifications/progress")], sinks=[events])
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read", progress_callback=progress)
    assert (told, handler.messages) == ([], [])
    assert [event.verdict for event in events.of("notification", "notifications/progress")] == ["drop"]


async def test_rewritten_progress_is_what_the_callback_is_told() -> None:
    """A rewrite reaches the callback and the handler."""
    server = FakeServer()
    server.tool("read").reports(1, total=2, message="secret").returns("done")
    handler = Handler()
    told: list[object] = []

    async def progress(*values: object) -> None:
        told.append(values)

    guard = Guard([rewrite("notifications/progress", message="[removed]")])
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read", progress_callback=progress)
    assert told == [(1, 2, "[removed]")]
    assert handler.messages[0].root.params.message == "[removed]"


# Notifications from the server


@pytest.mark.parametrize("entered", [False, True])
async def test_every_notification_of_a_server_is_seen_once(entered: bool) -> None:
    """Issue 2, completeness: log, subscription, list changes, tasks, cancellation and unknown ones."""
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
    watching = watch({*EVERYTHING, ("notifications/cancelled", "inbound")})
    handler = Handler()
    logged: list[object] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    guard = Guard([watching])
    options = {"message_handler": handler, "logging_callback": log}
    async with connected(guard, server, entered=entered, **options) as session:
        for method, params in methods.items():
            await server.notify(method, params)
        await settled(server, session)
    inbound = [call for call in watching.calls if call.direction == "inbound"]
    assert {call.method: dict(call.params) for call in inbound} == methods
    assert len(inbound) == len(methods)
    assert logged == ["x"]
    assert handler.methods == list(methods)[:6]


async def test_a_denied_notification_reaches_neither_callback_nor_handler() -> None:
    """Denying a notification drops it."""
    server = FakeServer()
    handler = Handler()
    options = {"message_handler": handler, "logging_callback": handler}
    async with connected(Guard([deny("notifications/message")]), server, **options) as session:
        await server.notify("notifications/message", {"level": "info", "data": "secret"})
        await server.notify("notifications/tools/list_changed")
        await settled(server, session)
    assert handler.methods == ["notifications/tools/list_changed"]
    assert len(handler.messages) == 1


async def test_a_rewritten_notification_is_what_callback_and_handler_see() -> None:
    """Values from an interceptor may be read-only mappings."""
    server = FakeServer()
    handler = Handler()
    logged: list[object] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    guard = Guard([rewrite("notifications/message", data=MappingProxyType({"said": "[removed]"}))])
    options = {"message_handler": handler, "logging_callback": log}
    async with connected(guard, server, **options) as session:
        await server.notify("notifications/message", {"level": "info", "data": "secret"})
        await settled(server, session)
    assert logged == [{"said": "[removed]"}]
    assert handler.messages[0].root.params.data == {"said": "[removed]"}


@pytest.mark.parametrize("guard", [Guard(), Guard([watch()])], ids=["empty", "allowing"])
async def test_faults_of_the_transport_still_reach_the_message_handler(guard: Guard) -> None:
    """`facts/sdk-seams.md` 11: transport faults are still delivered."""
    handler = Handler()
    server = FakeServer()
    server.tool("read").sends_garbage().returns("x")
    async with connected(guard, server, message_handler=handler) as session:
        await session.call_tool("read")
    assert [type(one) for one in handler.messages] == [ValidationError]


# Requests from the server


async def accept(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"said": params.message})


async def complete(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    said = types.TextContent(type="text", text="Four.")
    return types.CreateMessageResult(role="assistant", content=said, model="m")


async def home(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri=AnyUrl("file:///home"))])  # type: ignore[arg-type]


HOST: Mapping[str, Any] = {
    "elicitation_callback": accept,
    "sampling_callback": complete,
    "list_roots_callback": home,
}
ASKED: Mapping[str, Wire] = {one.method: one.params for one in (Elicit("Name?"), Sample("2+2?"), ListRoots())}


@pytest.mark.parametrize("entered", [False, True])
async def test_a_servers_requests_are_answered_as_without_a_guard(entered: bool) -> None:
    """Issue 2: with no interceptors, and with ones that allow everything, nothing differs."""
    answers: list[list[Wire]] = []
    watching = watch({*EVERYTHING, ("ping", "inbound")})
    handlers: list[list[Any]] = []
    for guard in (None, Guard(), Guard([watching, Around(on)])):
        server = FakeServer()
        handler = Handler()
        async with connected(guard, server, entered=entered, message_handler=handler, **HOST):
            answers.append([await server.request(method, params) for method, params in ASKED.items()])
            answers[-1].append(await server.request("ping"))
            answers[-1].append(await server.request("tasks/get", {"taskId": "t"}))
            answers[-1].append(await server.request("tasks/list"))
            answers[-1].append(await server.request("vendor/ask", {"x": 1}))
            answers[-1].append(await server.request("elicitation/create", {"message": 1}))
        handlers.append(handler.messages)
    assert answers[0] == answers[1] == answers[2]
    assert handlers == [[], [], []]
    assert watching.methods == [
        *ASKED,
        "ping",
        "tasks/get",
        "tasks/list",
        "vendor/ask",
        "elicitation/create",
    ]
    assert answers[0][-1]["error"]["code"] == types.INVALID_PARAMS


async def test_refusals_take_the_form_the_request_allows() -> None:
    """Design: a denied elicitation is declined, roots are empty, a denied sampling is an error."""
    server = FakeServer()
    methods = [*ASKED, "ping", "vendor/ask"]
    refusing = Check(
        lambda call: Deny("not_here", reason="no") if call.method in methods else ALLOW,
        {*EVERYTHING, ("ping", "inbound")},
    )
    async with connected(Guard([refusing]), server, **HOST):
        assert await server.request("elicitation/create", ASKED["elicitation/create"]) == {
            "action": "decline"
        }
        assert await server.request("roots/list") == {"roots": []}
        for method in ("sampling/createMessage", "ping", "vendor/ask"):
            refused = await server.request(method, ASKED.get(method, {}))
            assert refused["error"]["code"] == DENIED_CODE
            assert refused["error"]["data"] == {"mcpguard/denial": {"code": "not_here"}}
        task = {**ASKED["elicitation/create"], "task": {"ttl": 1}}
        assert (await server.request("elicitation/create", task))["error"]["code"] == DENIED_CODE


async def test_a_denied_sampling_ends_as_an_error_of_the_tool_that_asked() -> None:
    """Design, the contract; with a server of the SDK's own."""
    server = FastMCP("asking")

    @server.tool()
    async def ask(context: Context[Any, Any, Any]) -> str:
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="2+2?"))
        answer = await context.session.create_message([message], max_tokens=10)
        return str(answer.content)

    guard = Guard([deny("sampling/createMessage")])
    async with create_connected_server_and_client_session(server, sampling_callback=complete) as session:
        guard.session(session, name="asking")
        result = await session.call_tool("ask")
        assert result.isError
        assert "not_here" in on_wire(result)["content"][0]["text"]
        assert not (await session.call_tool("ask")).structuredContent


async def test_the_hosts_answer_passes_the_filters() -> None:
    """Inbound: results are what the agent's side answers."""

    def look(call: Call, result: Result) -> Result:
        if call.method == "roots/list":
            return result.replace(value=MappingProxyType({"roots": (), "_meta": {"seen": True}}))
        if call.method == "elicitation/create":
            return Result(
                outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-1, "no", {"a": 1})
            )
        return Result(outcome=Outcome.TIMEOUT, fate=Fate.NOT_SENT)

    server = FakeServer()
    async with connected(Guard([Look(look, {("*", "inbound")})]), server, **HOST):
        answers = [await server.request(method, params) for method, params in ASKED.items()]
    assert answers == [
        {"error": {"code": -1, "message": "no", "data": {"a": 1}}},
        {"error": {"code": types.INTERNAL_ERROR, "message": "No answer"}},
        {"roots": [], "_meta": {"seen": True}},
    ]


async def test_a_rewritten_request_is_what_the_callback_is_asked() -> None:
    """Verdicts hold in both directions."""
    server = FakeServer()
    guard = Guard([rewrite("elicitation/create", message="[removed]")])
    async with connected(guard, server, **HOST):
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
    assert answer == {"action": "accept", "content": {"said": "[removed]"}}


async def test_a_rewrite_that_makes_a_request_readable_lets_it_be_answered() -> None:
    """The chain sees what the SDK cannot read."""
    server = FakeServer()
    guard = Guard([rewrite("elicitation/create", message="Name?")])
    schema = ASKED["elicitation/create"]["requestedSchema"]
    async with connected(guard, server, **HOST):
        answer = await server.request("elicitation/create", {"message": 1, "requestedSchema": schema})
    assert answer == {"action": "accept", "content": {"said": "Name?"}}


async def test_a_rewrite_the_sdk_cannot_read_is_an_error_for_the_server() -> None:
    """Nothing an interceptor does ends the session."""
    server = FakeServer()
    async with connected(Guard([rewrite("elicitation/create", message=1)]), server, **HOST) as session:
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
        await session.send_ping()
    assert answer["error"]["code"] == types.INVALID_PARAMS


async def test_a_callback_that_raises_is_answered_as_without_a_guard() -> None:
    """The bare SDK tells the server of invalid parameters, and goes on."""

    async def fail(context: Any) -> types.ListRootsResult:
        raise RuntimeError("no roots today")

    answers = []
    for guard in (None, Guard([watch()])):
        server = FakeServer()
        async with connected(guard, server, list_roots_callback=fail) as session:
            answers.append(await server.request("roots/list"))
            await session.send_ping()
    assert answers[0] == answers[1]


async def test_an_answer_nobody_can_write_is_an_error_for_the_server() -> None:
    """Interceptors that return odd values lose neither the session nor the server's request."""
    odd: Any = {"roots": object()}
    server = FakeServer()
    guard = Guard([Look(lambda call, result: result.replace(value=odd), {("roots/list", "inbound")})])
    async with connected(guard, server, **HOST) as session:
        answer = await server.request("roots/list")
        await session.send_ping()
        assert session._in_flight == {}
    assert answer["error"]["code"] == types.INTERNAL_ERROR


async def test_a_request_that_waits_holds_up_nothing_else() -> None:
    """`facts/sdk-seams.md` 6: on 1.x a waiting callback stalled another call."""
    gate = Gate()

    async def wait(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    server = FakeServer()
    server.tool("ask").asks(Elicit("Name?")).returns("asked")
    server.tool("read").returns("read")
    guard = Guard([Around(wait, {("elicitation/create", "inbound")})])
    async with connected(guard, server, **HOST) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call_tool, "ask")
        await gate.reached()
        assert not (await session.call_tool("read")).isError
        gate.open()
    assert server.replies == [{"action": "accept", "content": {"said": "Name?"}}]


async def test_a_callback_may_use_the_session_it_was_called_from() -> None:
    """Where a request has a task of its own, what it waits for can arrive."""
    server = FakeServer()
    server.tool("read").returns("data")

    async def look_up(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        found = on_wire(await context.session.call_tool("read"))["content"][0]["text"]
        return types.ElicitResult(action="accept", content={"found": found})

    watching = watch()
    async with connected(Guard([watching]), server, elicitation_callback=look_up):
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
    assert answer == {"action": "accept", "content": {"found": "data"}}
    assert watching.methods == ["elicitation/create", "tools/call"]


class Leaving(ClientSession):
    """A host that leaves a server's requests to its message handler."""

    async def _received_request(self, responder: Any) -> None:
        """Leave it."""


@pytest.mark.parametrize("guard", [None, Guard(), Guard([watch()])], ids=["bare", "empty", "allowing"])
async def test_a_request_the_session_leaves_goes_to_the_message_handler_once(guard: Guard | None) -> None:
    """1.x: what `_received_request` does not answer is passed on, and may be answered later."""
    kept: list[Any] = []

    async def keep(message: Any) -> None:
        kept.append(message)

    server = FakeServer()
    async with (
        connected(guard, server, kind=Leaving, message_handler=keep) as session,
        anyio.create_task_group() as tasks,
    ):

        async def ask() -> None:
            assert await server.request("roots/list") == {"roots": []}

        tasks.start_soon(ask)
        await server.until_seen("notifications/initialized")
        await settled(server, session)
        while not kept:
            await settled(server, session)
        (responder,) = kept
        assert isinstance(responder, RequestResponder)
        assert responder.request.root.method == "roots/list"
        with responder:
            await responder.respond(types.ClientResult(types.ListRootsResult(roots=[])))


async def test_a_request_the_server_cancels_is_cancelled() -> None:
    """`notifications/cancelled`, in a layer and in the callback."""
    server = FakeServer()
    for waits_in in ("layer", "callback"):
        gate = Gate()
        ended: list[str] = []

        async def wait(where: str, gate: Gate = gate, ended: list[str] = ended) -> None:
            try:
                await gate.wait()
            except anyio.get_cancelled_exc_class():
                ended.append(where)
                raise

        async def around(call: Call, call_next: CallNext, here: str = waits_in) -> Result:
            if here == "layer":
                await wait("layer")
            return await call_next(call)

        async def roots(context: Any) -> types.ListRootsResult:
            await wait("callback")
            return types.ListRootsResult(roots=[])

        events = Events()
        guard = Guard([Around(around, {("roots/list", "inbound")})], sinks=[events])
        async with connected(guard, server, list_roots_callback=roots) as session:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.request, "roots/list")
                await gate.reached()
                await server.notify("notifications/cancelled", {"requestId": 1})
            assert server.replies[-1]["error"]["message"] == "Request cancelled"
            await session.send_ping()
            assert session._in_flight == {}
        assert ended == [waits_in]
        assert len(events.of("cancelled", "roots/list")) == 1


async def test_a_request_cancelled_before_its_task_has_begun_is_not_asked() -> None:
    """The server sends both at once; the host is never asked."""
    asked: list[object] = []

    async def roots(context: Any) -> types.ListRootsResult:
        asked.append(context)
        return types.ListRootsResult(roots=[])

    server = FakeServer()
    first = {"jsonrpc": "2.0", "id": 7, "method": "roots/list"}
    then = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    server.tool("read").sends_garbage(first).sends_garbage(then).returns("x")

    async def step(call: Call, call_next: CallNext) -> Result:
        await anyio.lowlevel.checkpoint()
        return await call_next(call)

    guard = Guard([Around(step, {("roots/list", "inbound")})])
    async with connected(guard, server, list_roots_callback=roots) as session:
        await session.call_tool("read")
        await session.send_ping()
        replies = [one for one in server.received if one.get("id") == 7 and "method" not in one]
        assert [one["error"]["message"] for one in replies] == ["Request cancelled"]
    assert asked == []


async def test_an_answer_that_comes_after_the_cancellation_is_not_sent() -> None:
    """A request is answered once, also where something shields itself from cancellation."""
    gate = Gate()

    async def shield(call: Call, call_next: CallNext) -> Result:
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return Result.of({"roots": []})

    server = FakeServer()
    guard = Guard([Around(shield, {("roots/list", "inbound")})])
    async with connected(guard, server) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.request, "roots/list")
            await gate.reached()
            await server.notify("notifications/cancelled", {"requestId": 1})
            await server.until_seen("ping", 0) if False else None
        gate.open()
        await session.send_ping()
        answers = [one for one in server.received if one.get("id") == 1 and "method" not in one]
    assert len(answers) == 1


async def test_closing_the_session_ends_the_requests_under_way() -> None:
    """No task without an owner: these belong to the session."""
    gate = Gate()
    ended: list[bool] = []

    async def roots(context: Any) -> types.ListRootsResult:
        try:
            await gate.wait()
        finally:
            ended.append(True)
        return types.ListRootsResult(roots=[])

    server = FakeServer()
    async with server.connect() as (read, write), anyio.create_task_group() as tasks:
        async with Guard([watch()]).session(
            ClientSession(read, write, list_roots_callback=roots), name="files"
        ) as session:
            await session.initialize()
            tasks.start_soon(server.request, "roots/list")
            await gate.reached()
        assert ended == [True]
        tasks.cancel_scope.cancel()


async def test_an_answer_to_a_server_that_has_left_is_dropped() -> None:
    """Losing the connection is no fault of the request's task."""
    gate = Gate()
    left = anyio.Event()

    async def roots(context: Any) -> types.ListRootsResult:
        await gate.wait()
        return types.ListRootsResult(roots=[])

    answered = anyio.Event()

    def look(call: Call, result: Result) -> Result:
        answered.set()
        return result

    server = FakeServer()
    server.tool("drop").drops_connection()
    guard = Guard([Look(look, {("roots/list", "inbound")})])
    async with connected(guard, server, list_roots_callback=roots) as session:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ConnectionError):
                    await server.request("roots/list")
                left.set()

            tasks.start_soon(ask)
            await gate.reached()
            with pytest.raises(McpError):
                await session.call_tool("drop")
            await left.wait()
            gate.open()
            await answered.wait()


async def test_a_flood_of_requests_gets_a_bounded_number_of_tasks() -> None:
    """State is always bounded: beyond, the read loop waits, as it does for each request without a guard."""
    gate = Gate()
    server = FakeServer()

    async def roots(context: Any) -> types.ListRootsResult:
        await gate.wait()
        return types.ListRootsResult(roots=[])

    count = MAX_TASKS + 2
    async with connected(Guard([watch()]), server, list_roots_callback=roots):
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(server.request, "roots/list")
            await gate.reached(MAX_TASKS + 1)
            await anyio.wait_all_tasks_blocked()
            assert gate._arrived == MAX_TASKS + 1
            gate.open()
    assert server.replies == [{"roots": []}] * count


async def test_requests_that_no_chain_meets_leave_nothing_behind() -> None:
    """Bare: a request that cannot be read is not kept."""
    server = FakeServer()
    async with connected(Guard(), server) as session:
        for _ in range(3):
            assert (await server.request("vendor/ask"))["error"]["code"] == types.INVALID_PARAMS
        assert session._in_flight == {}


# The session as a whole


async def use_every_method(session: ClientSession) -> list[Wire]:
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
    return [*(on_wire(answer) for answer in answers), {"told": told}]


def full_server() -> FakeServer:
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
    """Issue 2: with no interceptors, and with ones that allow everything, nothing differs on either side."""
    answers: list[list[Wire]] = []
    received: list[list[Wire]] = []
    watching = watch({*EVERYTHING, ("initialize", "outbound"), ("ping", "outbound")})
    allowing = Guard([watching, Look(lambda call, result: result), Around(on)], sinks=[Events()])
    for guard in (None, Guard(), allowing):
        server = full_server()
        async with connected(guard, server, entered=entered) as session:
            answers.append(await use_every_method(session))
        received.append(server.received)
    assert answers[0] == answers[1] == answers[2]
    assert received[0] == received[1] == received[2]
    sent = [one["method"] for one in received[0] if one["method"] != "notifications/initialized"]
    outbound = [call.method for call in watching.calls if call.direction == "outbound"]
    assert outbound == sent


async def test_a_group_of_sessions_goes_through_the_guards_of_each() -> None:
    """Issue 2: `ClientSessionGroup` too."""
    server = FakeServer()
    server.tool("remove")
    server.tool("read").returns("data")
    info = types.Implementation(name="files", version="1")
    refusing = Check(lambda call: Deny("no", reason="no") if call.target == "remove" else ALLOW)
    async with connected(Guard([refusing]), server) as session:
        group = ClientSessionGroup()
        await group.connect_with_session(info, session)
        assert sorted(group.tools) == ["read", "remove"]
        assert (await group.call_tool("remove", {})).isError
        assert not (await group.call_tool("read", {})).isError
    assert server.calls("remove") == []


async def test_an_entered_session_has_no_blind_spots() -> None:
    """1.x looks its own attributes up when it needs them."""
    guard = Guard([watch()])
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

    guard = Guard([deny("notifications/progress")])
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
