"""The seam for sessions of SDK 1.x: what a server asks of the host, and how it is answered."""

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import pytest

if not version("mcp").startswith("1."):
    pytest.skip("for mcp 1.x", allow_module_level=True)

import anyio
import anyio.lowlevel
import mcp.types as types
from harness import ALL, Around, Checking, Filtering, accept, complete, roots, watching, wire
from mcp import ClientSession, McpError
from mcp.server.fastmcp import Context, FastMCP
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.shared.session import RequestResponder
from sessions1 import Handler, connected, go_on, read_all, recorded, refusing, rewriting

from mcpguard import Call, CallNext, Fate, Guard, Outcome, Result, WireError
from mcpguard.core.result import DENIED_CODE
from mcpguard.seams.requests1 import MAX_TASKS
from mcpguard.testing import Elicit, FakeServer, Gate, ListRoots, RecordingSink, Sample

pytestmark = pytest.mark.anyio

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
    seen = watching({*ALL, ("ping", "inbound")})
    handlers: list[list[Any]] = []
    for guard in (None, Guard(), Guard([seen, Around(go_on)])):
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
    assert seen.methods() == [
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
    refusing = Checking(
        lambda call: Deny("not_here", reason="no") if call.method in methods else ALLOW,
        {*ALL, ("ping", "inbound")},
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

    guard = Guard([refusing("sampling/createMessage")])
    async with create_connected_server_and_client_session(server, sampling_callback=complete) as session:
        guard.session(session, name="asking")
        result = await session.call_tool("ask")
        assert result.isError
        assert "not_here" in wire(result)["content"][0]["text"]
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
    async with connected(Guard([Filtering(look, {("*", "inbound")})]), server, **HOST):
        answers = [await server.request(method, params) for method, params in ASKED.items()]
    assert answers == [
        {"error": {"code": -1, "message": "no", "data": {"a": 1}}},
        {"error": {"code": types.INTERNAL_ERROR, "message": "No answer"}},
        {"roots": [], "_meta": {"seen": True}},
    ]


async def test_a_rewritten_request_is_what_the_callback_is_asked() -> None:
    """Verdicts hold in both directions."""
    server = FakeServer()
    guard = Guard([rewriting("elicitation/create", message="[removed]")])
    async with connected(guard, server, **HOST):
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
    assert answer == {"action": "accept", "content": {"said": "[removed]"}}


async def test_a_rewrite_that_makes_a_request_readable_lets_it_be_answered() -> None:
    """The chain sees what the SDK cannot read."""
    server = FakeServer()
    guard = Guard([rewriting("elicitation/create", message="Name?")])
    schema = ASKED["elicitation/create"]["requestedSchema"]
    async with connected(guard, server, **HOST):
        answer = await server.request("elicitation/create", {"message": 1, "requestedSchema": schema})
    assert answer == {"action": "accept", "content": {"said": "Name?"}}


async def test_a_rewrite_the_sdk_cannot_read_is_an_error_for_the_server() -> None:
    """Nothing an interceptor does ends the session."""
    server = FakeServer()
    async with connected(Guard([rewriting("elicitation/create", message=1)]), server, **HOST) as session:
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
        await session.send_ping()
    assert answer["error"]["code"] == types.INVALID_PARAMS


async def test_a_callback_that_raises_is_answered_as_without_a_guard() -> None:
    """The bare SDK tells the server of invalid parameters, and goes on."""

    async def fail(context: Any) -> types.ListRootsResult:
        raise RuntimeError("no roots today")

    answers = []
    for guard in (None, Guard([watching()])):
        server = FakeServer()
        async with connected(guard, server, list_roots_callback=fail) as session:
            answers.append(await server.request("roots/list"))
            await session.send_ping()
    assert answers[0] == answers[1]


async def test_an_answer_nobody_can_write_is_an_error_for_the_server() -> None:
    """Interceptors that return odd values lose neither the session nor the server's request."""
    odd: Any = {"roots": object()}
    server = FakeServer()
    guard = Guard([Filtering(lambda call, result: result.replace(value=odd), {("roots/list", "inbound")})])
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
        found = wire(await context.session.call_tool("read"))["content"][0]["text"]
        return types.ElicitResult(action="accept", content={"found": found})

    seen = watching()
    async with connected(Guard([seen]), server, elicitation_callback=look_up):
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
    assert answer == {"action": "accept", "content": {"found": "data"}}
    assert seen.methods() == ["elicitation/create", "tools/call"]


class Leaving(ClientSession):
    """A host that leaves a server's requests to its message handler."""

    async def _received_request(self, responder: Any) -> None:
        """Leave it."""


@pytest.mark.parametrize("guard", [None, Guard(), Guard([watching()])], ids=["bare", "empty", "allowing"])
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
        await read_all(session)
        while not kept:
            await read_all(session)
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

        events = RecordingSink()
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
        assert len(recorded(events, "cancelled", "roots/list")) == 1


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
        async with Guard([watching()]).session(
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
    guard = Guard([Filtering(look, {("roots/list", "inbound")})])
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
    async with connected(Guard([watching()]), server, list_roots_callback=roots):
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
