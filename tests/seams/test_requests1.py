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
from harness import Around, Filtering, accept, complete, roots, watching, wire
from mcp import ClientSession, McpError
from mcp.server.lowlevel import Server
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.shared.session import RequestResponder
from sessions1 import Handler, connected, go_on, read_all, recorded, refusing, rewriting

from mcpguard import Call, CallNext, Fate, Guard, Outcome, Result, WireError
from mcpguard.core.result import DENIED_CODE
from mcpguard.seams.sdk1.requests import MAX_TASKS
from mcpguard.testing import Elicit, FakeServer, Gate, ListRoots, RecordingSink, Sample
from mcpguard.testing.messages import Wire

pytestmark = pytest.mark.anyio

HOST: Mapping[str, Any] = {
    "elicitation_callback": accept,
    "sampling_callback": complete,
    "list_roots_callback": roots,
}
ASKED: Mapping[str, Wire] = {one.method: one.params for one in (Elicit("Name?"), Sample("2+2?"), ListRoots())}
NAMED = {"action": "accept", "content": {"said": "Name?"}}
PING: Any = frozenset({("ping", "inbound")})
EVERY_REQUEST: Any = {("*", "outbound"), ("*", "inbound")}
ELICITING: Any = {("elicitation/create", "inbound")}
LISTING_ROOTS: Any = {("roots/list", "inbound")}


class Waiting:
    """A roots callback that waits at a gate, and tells how that ended."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.asked = 0
        self.ended: list[str] = []

    async def __call__(self, context: Any) -> types.ListRootsResult:
        self.asked += 1
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        return types.ListRootsResult(roots=[])


def replies(server: FakeServer, request_id: int) -> list[Wire]:
    """What the client answered to one of the server's requests."""
    return [one for one in server.received if one.get("id") == request_id and "method" not in one]


@pytest.mark.parametrize("entered", [False, True])
async def test_a_servers_requests_are_answered_as_without_a_guard(entered: bool) -> None:
    """Empty, or allowing everything, a guard changes nothing; also where the SDK cannot read."""
    asked = {
        **ASKED,
        "ping": {},
        "tasks/get": {"taskId": "t"},
        "tasks/list": {},
        "vendor/ask": {"x": 1},
        "vendor/bare": {},
    }
    seen = watching()
    seen.handles = {*seen.handles, *PING}
    answers: list[list[Wire]] = []
    handlers: list[list[Any]] = []
    for guard in (None, Guard(), Guard([seen, Around(go_on, {*EVERY_REQUEST, *PING})])):
        server = FakeServer()
        handler = Handler()
        async with connected(guard, server, entered=entered, message_handler=handler, **HOST):
            answers.append([await server.request(method, params) for method, params in asked.items()])
            answers[-1].append(await server.request("elicitation/create", {"message": 1}))
        handlers.append(handler.messages)
    assert answers[0] == answers[1] == answers[2]
    assert handlers == [[], [], []]
    assert seen.methods() == [*asked, "elicitation/create"]
    assert answers[0][-1]["error"]["code"] == types.INVALID_PARAMS


async def test_refusals_take_the_form_the_request_allows() -> None:
    """Design: a denied elicitation is declined, roots are empty, anything else is an error."""
    server = FakeServer()
    guard = Guard([refusing(*ASKED, "ping", "vendor/ask", more=PING)])
    async with connected(guard, server, **HOST):
        declined = await server.request("elicitation/create", ASKED["elicitation/create"])
        assert declined == {"action": "decline"}
        assert await server.request("roots/list") == {"roots": []}
        for method in ("sampling/createMessage", "ping", "vendor/ask"):
            refused = await server.request(method, ASKED.get(method, {}))
            assert refused["error"]["code"] == DENIED_CODE
            assert refused["error"]["data"] == {"mcpguard/denial": {"code": "not_here"}}


async def test_a_denied_elicitation_that_would_become_a_task_is_an_error() -> None:
    """Its answer would be a task (SEP-1686), which cannot decline."""
    server = FakeServer()
    async with connected(Guard([refusing("elicitation/create")]), server, **HOST):
        task = {**ASKED["elicitation/create"], "task": {"ttl": 1}}
        refused = await server.request("elicitation/create", task)
    assert refused["error"]["code"] == DENIED_CODE


async def test_a_denied_sampling_ends_as_an_error_of_the_tool_that_asked() -> None:
    """Design, the contract; with a server of the SDK's own."""
    server: Server[Any, Any] = Server("asking")

    @server.list_tools()
    async def tools() -> list[types.Tool]:
        return [types.Tool(name="ask", inputSchema={"type": "object"})]

    @server.call_tool()
    async def call(name: str, arguments: dict[str, Any]) -> list[types.TextContent]:
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="2+2?"))
        answer = await server.request_context.session.create_message([message], max_tokens=10)
        return [types.TextContent(type="text", text=wire(answer)["content"]["text"])]

    for guard, expected in ((Guard(), "Four."), (Guard([refusing("sampling/createMessage")]), "not_here")):
        async with create_connected_server_and_client_session(server, sampling_callback=complete) as session:
            guard.session(session, name="asking")
            result = wire(await session.call_tool("ask"))
            assert expected in result["content"][0]["text"]
            assert result["isError"] is (expected == "not_here")


async def test_the_hosts_answer_passes_the_filters() -> None:
    """A filter may change a value, make an error of it, or end the request without an answer."""

    def look(call: Call, result: Result) -> Result:
        if call.method == "roots/list":
            return result.replace(value=MappingProxyType({"roots": (), "_meta": {"seen": True}}))
        if call.method == "elicitation/create":
            refused = WireError(-1, "no", {"a": 1})
            return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=refused)
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
    async with connected(Guard([rewriting("elicitation/create", message="[removed]")]), server, **HOST):
        answer = await server.request("elicitation/create", ASKED["elicitation/create"])
    assert answer == {"action": "accept", "content": {"said": "[removed]"}}


async def test_a_rewrite_that_makes_a_request_readable_lets_it_be_answered() -> None:
    """The chain sees what the SDK cannot read."""
    server = FakeServer()
    async with connected(Guard([rewriting("elicitation/create", message="Name?")]), server, **HOST):
        answer = await server.request("elicitation/create", {**ASKED["elicitation/create"], "message": 1})
    assert answer == NAMED


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
    assert answers[0]["error"]["code"] == types.INVALID_PARAMS


async def test_an_answer_nobody_can_write_is_an_error_for_the_server() -> None:
    """Interceptors that return odd values lose neither the session nor the server's request."""
    odd: Any = {"roots": object()}
    server = FakeServer()
    guard = Guard([Filtering(lambda call, result: result.replace(value=odd), LISTING_ROOTS)])
    async with connected(guard, server, **HOST) as session:
        answer = await server.request("roots/list")
        await session.send_ping()
    assert answer["error"]["code"] == types.INTERNAL_ERROR


async def test_a_request_that_waits_holds_up_nothing_else() -> None:
    """On 1.x a waiting callback stalled another call."""
    gate = Gate()

    async def wait(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    server = FakeServer()
    server.tool("ask").asks(Elicit("Name?")).returns("asked")
    server.tool("read").returns("read")
    guard = Guard([Around(wait, ELICITING)])
    async with connected(guard, server, **HOST) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call_tool, "ask")
        await gate.reached()
        assert not (await session.call_tool("read")).isError
        assert server.replies == []
        gate.open()
    assert server.replies == [NAMED]


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
    """1.x passes on what `_received_request` does not answer; it may be answered later."""
    answers: list[Wire] = []
    handler = Handler()
    server = FakeServer()
    async with connected(guard, server, kind=Leaving, message_handler=handler) as session:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                answers.append(await server.request("roots/list"))

            tasks.start_soon(ask)
            while not handler.messages:
                await read_all(session)
            (responder,) = handler.messages
            assert isinstance(responder, RequestResponder)
            assert responder.request.root.method == "roots/list"
            with responder:
                await responder.respond(types.ClientResult(types.ListRootsResult(roots=[])))
        await read_all(session)
    assert answers == [{"roots": []}]
    assert len(handler.messages) == 1


async def test_a_request_the_server_cancels_in_the_callback_is_cancelled() -> None:
    """`notifications/cancelled` reaches the callback, and is recorded."""
    waiting = Waiting()
    sink = RecordingSink()
    server = FakeServer()
    async with (
        connected(Guard([watching()], sinks=[sink]), server, list_roots_callback=waiting) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.request, "roots/list")
        await waiting.gate.reached()
        await server.notify("notifications/cancelled", {"requestId": 1})
        await read_all(session)
    assert waiting.ended == ["cancelled"]
    assert server.replies == [{"error": {"code": 0, "message": "Request cancelled"}}]
    assert len(recorded(sink, "cancelled", "roots/list")) == 1


async def test_a_request_the_server_cancels_in_a_layer_is_never_asked() -> None:
    """The host is not asked what nobody waits for."""
    gate = Gate()
    waiting = Waiting()

    async def wait(call: Call, call_next: CallNext) -> Result:
        await gate.wait()
        return await call_next(call)

    server = FakeServer()
    guard = Guard([Around(wait, LISTING_ROOTS)])
    async with connected(guard, server, list_roots_callback=waiting), anyio.create_task_group() as tasks:
        tasks.start_soon(server.request, "roots/list")
        await gate.reached()
        await server.notify("notifications/cancelled", {"requestId": 1})
    assert waiting.ended == []
    assert server.replies == [{"error": {"code": 0, "message": "Request cancelled"}}]


async def test_a_request_cancelled_before_its_task_has_begun_is_answered_once() -> None:
    """The server sends both at once; nothing of the cancellation is lost."""
    waiting = Waiting()
    server = FakeServer()
    asked: Wire = {"jsonrpc": "2.0", "id": 7, "method": "roots/list"}
    cancelled: Wire = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    server.tool("read").sends_garbage(asked).sends_garbage(cancelled).returns("x")
    async with connected(Guard([watching()]), server, list_roots_callback=waiting) as session:
        await session.call_tool("read")
        await session.send_ping()
    assert [one["error"]["message"] for one in replies(server, 7)] == ["Request cancelled"]
    assert "answered" not in waiting.ended


async def test_an_answer_that_comes_after_the_cancellation_is_not_sent() -> None:
    """A request is answered once, also where something shields itself from cancellation."""
    gate = Gate()

    async def shield(call: Call, call_next: CallNext) -> Result:
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return Result.of({"roots": []})

    server = FakeServer()
    async with connected(Guard([Around(shield, LISTING_ROOTS)]), server) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.request, "roots/list")
            await gate.reached()
            await server.notify("notifications/cancelled", {"requestId": 1})
        gate.open()
        await read_all(session)
    assert [one["error"]["message"] for one in replies(server, 1)] == ["Request cancelled"]


async def test_closing_the_session_ends_the_requests_under_way() -> None:
    """No task without an owner: these belong to the session."""
    waiting = Waiting()
    server = FakeServer()
    async with server.connect() as (read, write), anyio.create_task_group() as tasks:
        session = ClientSession(read, write, list_roots_callback=waiting)
        async with Guard([watching()]).session(session, name="files"):
            await session.initialize()
            tasks.start_soon(server.request, "roots/list")
            await waiting.gate.reached()
        assert waiting.ended == ["cancelled"]
        tasks.cancel_scope.cancel()


async def test_an_answer_to_a_server_that_has_left_is_dropped() -> None:
    """Losing the connection is no fault of the request's task."""
    waiting = Waiting()
    server = FakeServer()
    server.tool("leave").drops_connection()
    async with connected(Guard([watching()]), server, list_roots_callback=waiting) as session:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ConnectionError):
                    await server.request("roots/list")

            tasks.start_soon(ask)
            await waiting.gate.reached()
            with pytest.raises(McpError):
                await session.call_tool("leave")
        waiting.gate.open()
        while session._in_flight:
            await anyio.lowlevel.checkpoint()
    assert waiting.ended == ["answered"]
    assert replies(server, 1) == []


async def test_a_flood_of_requests_gets_a_bounded_number_of_tasks() -> None:
    """Beyond the bound the read loop waits, as it does for every request without a guard."""
    waiting = Waiting()
    server = FakeServer()
    guard = Guard([watching()])
    async with connected(guard, server, list_roots_callback=waiting), anyio.create_task_group() as tasks:
        for _ in range(MAX_TASKS + 3):
            tasks.start_soon(server.request, "roots/list")
        await waiting.gate.reached(MAX_TASKS + 1)
        await anyio.wait_all_tasks_blocked()
        assert waiting.asked == MAX_TASKS + 1
        waiting.gate.open()
    assert server.replies == [{"roots": []}] * (MAX_TASKS + 3)


async def test_requests_that_cannot_be_read_leave_nothing_behind() -> None:
    """Bare, the SDK keeps none of them, however many come."""
    server = FakeServer()
    for guard in (None, Guard(), Guard([watching()])):
        async with connected(guard, server) as session:
            for _ in range(3):
                assert (await server.request("vendor/ask"))["error"]["code"] == types.INVALID_PARAMS
            assert session._in_flight == {}
