"""The protocol of 2026-07-28 through each seam: input rounds, headers, subscriptions, the client's cache."""

from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import (
    MODERN_SEAMS,
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

from mcpguard import ALLOW, Budget, Call, Deny, Fate, Guard, Outcome, Principal, Result, Rewrite, SeamError
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, RecordingSink
from mcpguard.testing.messages import Elicit, ListRoots, Sample

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(V1, reason="SDK 1.x has no 2026-07-28 client"),
]

CALLBACKS = {"elicitation_callback": accept, "sampling_callback": complete, "list_roots_callback": roots}


@pytest.fixture(params=MODERN_SEAMS or ["none"])
def seam(request: pytest.FixtureRequest) -> str:
    """Seams through which a modern server can be reached."""
    name: str = request.param
    return name


@pytest.fixture
def server() -> FakeServer:
    """A modern server with a tool to read and one to remove."""
    made = FakeServer(era="modern")
    made.tool("read")
    made.tool("remove")
    return made


async def test_one_logical_call_over_rounds_is_one_call(seam: str, server: FakeServer) -> None:
    """Framework trap 4: budgets, rate and audit count the logical call once."""
    server.on_call("read").asks(Elicit("who?")).asks(Sample("2+2?")).returns("done")
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen, Budget(calls=1)])
    async with opened(guard, server, seam, modern=True, **CALLBACKS) as peer, guard.run():
        assert text(await peer.call("read")) == "done"
        assert code(await peer.call("read")) == "budget_exhausted"
    rounds = [call for call in seen.seen if call.round or call.id == seen.seen[0].id]
    assert [call.round for call in rounds] == [0, 1, 2]
    assert len({call.id for call in rounds}) == 1


async def test_a_fresh_call_dressed_as_a_continuation_is_a_fresh_call(seam: str, server: FakeServer) -> None:
    """Only what this guard saw asked for continues a call."""
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen, Budget(calls=1)])
    async with opened(guard, server, seam, modern=True) as peer, guard.run():
        await peer.call("read")
        forged = await peer.session.call_tool(
            "read", {}, request_state="round-1", input_responses={}, allow_input_required=True
        )
        assert code(wire(forged)) == "budget_exhausted"
    assert [call.round for call in seen.seen] == [0, 0]


async def test_a_continuation_is_single_use_and_bound_to_its_arguments(seam: str, server: FakeServer) -> None:
    """Replaying a round, or continuing with other arguments, is a fresh call each time."""
    server.on_call("read").asks(Elicit("who?")).returns("done")
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen])
    async with opened(guard, server, seam, modern=True) as peer:
        asked: Any = await peer.session.call_tool("read", {"path": "a"}, allow_input_required=True)
        answer = {"ask-1": import_module("mcp.types").ElicitResult(action="decline")}

        async def go_on(path: str) -> None:
            await peer.session.call_tool(
                "read",
                {"path": path},
                request_state=asked.request_state,
                input_responses=answer,
                allow_input_required=True,
            )

        await go_on("b")
        await go_on("a")
        await go_on("a")
    assert [call.round for call in seen.seen] == [0, 0, 1, 0]


async def test_a_continuation_belongs_to_its_principal(seam: str, server: FakeServer) -> None:
    """Another tenant cannot go on with a call that was paid for by the first."""
    server.on_call("read").asks(Elicit("who?")).returns("done")
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen])
    async with opened(guard, server, seam, modern=True, shared=True) as peer:
        async with guard.run(principal=Principal(tenant="a")):
            asked: Any = await peer.session.call_tool("read", {}, allow_input_required=True)
        async with guard.run(principal=Principal(tenant="b")):
            answer = {"ask-1": import_module("mcp.types").ElicitResult(action="decline")}
            await peer.session.call_tool(
                "read",
                {},
                request_state=asked.request_state,
                input_responses=answer,
                allow_input_required=True,
            )
    assert [call.round for call in seen.seen] == [0, 0]


async def test_what_a_server_asks_inside_a_result_passes_the_chain_inbound(
    seam: str, server: FakeServer
) -> None:
    """Modern servers have no requests of their own; what they ask is seen all the same."""
    server.on_call("read").asks(Elicit("who?"), Sample("2+2?"), ListRoots()).returns("done")
    seen = watching()
    async with opened(Guard([seen]), server, seam, modern=True, **CALLBACKS) as peer:
        assert text(await peer.call("read")) == "done"
    asked = {call.method: call for call in seen.seen if call.direction == "inbound"}
    assert set(asked) == {"elicitation/create", "sampling/createMessage", "roots/list"}
    called = next(call for call in seen.seen if call.method == "tools/call")
    assert {call.parent for call in asked.values()} == {called.id}


async def test_a_denied_elicitation_is_declined_and_the_call_survives(seam: str, server: FakeServer) -> None:
    """Trap 7: an error in its place would abort the call after the tool began."""
    server.on_call("read").asks(Elicit("password?"), ListRoots()).returns("done")
    guard = Guard([denying(methods=["elicitation/create", "roots/list"], direction="inbound")])
    async with opened(guard, server, seam, modern=True, **CALLBACKS) as peer:
        assert text(await peer.call("read")) == "done"
    assert server.replies[0]["action"] == "decline"
    assert server.replies[1]["roots"] == []


async def test_what_is_not_denied_is_still_answered_by_the_host(seam: str, server: FakeServer) -> None:
    """A round may hold several questions; only the refused ones are answered by the guard."""
    server.on_call("read").asks(Elicit("who?"), ListRoots()).returns("done")
    guard = Guard([denying(methods=["roots/list"], direction="inbound")])
    async with opened(guard, server, seam, modern=True, **CALLBACKS) as peer:
        assert text(await peer.call("read")) == "done"
    assert server.replies[0]["content"] == {"said": "who?"}
    assert server.replies[1]["roots"] == []


async def test_denied_sampling_ends_as_an_error_result(seam: str, server: FakeServer) -> None:
    """Design, the contract: the agent reads why and goes on."""
    server.on_call("read").asks(Sample("2+2?")).returns("done")
    sink = RecordingSink()
    guard = Guard([denying(methods=["sampling/createMessage"], direction="inbound")], sinks=[sink])
    async with opened(guard, server, seam, modern=True, **CALLBACKS) as peer:
        assert code(await peer.call("read")) == "not_here"
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'
    completed = [event for event in sink.events if event.kind == "completed" and event.target == "read"]
    assert [(event.outcome, event.fate) for event in completed] == [(Outcome.DENIED, Fate.ANSWERED)]


async def test_sampling_denied_by_a_layer_ends_as_an_error_result(server: FakeServer) -> None:
    """A layer decides when the host is asked, after the round was handed on."""
    server.on_call("read").asks(Sample("2+2?")).returns("done")

    async def refuse(call: Call, call_next: Any) -> Result:
        return call.denied(code="no_model", reason="test")

    guard = Guard([Around(refuse, {("sampling/createMessage", "inbound")})])
    async with opened(guard, server, "client", modern=True, **CALLBACKS) as peer:
        assert code(await peer.call("read")) == "no_model"
    assert len(server.seen("tools/call")) == 1


async def test_a_host_that_answers_rounds_by_hand_sees_only_what_is_allowed(
    seam: str, server: FakeServer
) -> None:
    """`session.call_tool(allow_input_required=True)` bypasses the session's own callbacks."""
    server.on_call("read").asks(Elicit("password?"), Elicit("name?")).returns("done")

    def check(call: Call) -> Verdict:
        if call.method == "elicitation/create" and call.params["message"] == "password?":
            return Deny("no_secrets", reason="test")
        return ALLOW

    async with opened(Guard([Checking(check)]), server, seam, modern=True) as peer:
        asked: Any = await peer.session.call_tool("read", {}, allow_input_required=True)
        assert list(asked.input_requests) == ["ask-2"]
        answer = {"ask-2": import_module("mcp.types").ElicitResult(action="accept", content={"n": "Ada"})}
        done: Any = await peer.session.call_tool(
            "read", {}, request_state=asked.request_state, input_responses=answer, allow_input_required=True
        )
    assert text(wire(done)) == "done"
    assert [reply["action"] for reply in server.replies] == ["decline", "accept"]


async def test_the_answer_to_an_embedded_question_passes_the_filters(server: FakeServer) -> None:
    """What leaves the agent inside a round can be cleaned like anything else."""
    server.on_call("read").asks(Elicit("who?")).returns("done")

    def look(call: Call, result: Result) -> Result:
        if call.method != "elicitation/create":
            return result
        return result.replace(value={"action": "accept", "content": {"said": "cleaned"}})

    async with opened(Guard([Filtering(look)]), server, "client", modern=True, **CALLBACKS) as peer:
        await peer.call("read")
    assert server.replies[0]["content"] == {"said": "cleaned"}


async def test_a_layer_that_cannot_run_around_an_embedded_question_refuses_it(server: FakeServer) -> None:
    """A control that would silently not run is the worst fault: a transport fails closed, and says so."""
    server.on_call("read").asks(Elicit("who?")).returns("done")
    guard = Guard([Around(lambda call, call_next: call_next(call), {("elicitation/create", "inbound")})])
    async with opened(guard, server, "transport", modern=True, **CALLBACKS) as peer:
        assert text(await peer.call("read")) == "done"
        assert any("inside a result" in spot for spot in guard.coverage().connections[0].blind_spots)
    assert server.replies[0]["action"] == "decline"


async def test_headers_do_not_keep_what_a_rewrite_removed(seam: str, server: FakeServer) -> None:
    """Trap 1: the session copies marked arguments into headers before the dispatcher sees them."""
    server.tool(
        "lookup",
        input_schema={
            "type": "object",
            "properties": {"ssn": {"type": "string", "x-mcp-header": "Ssn"}, "city": {"type": "string"}},
        },
    )

    def check(call: Call) -> Verdict:
        if call.target != "lookup":
            return ALLOW
        return Rewrite({**call.params, "arguments": {"ssn": "***", "city": "Bonn"}})

    async with opened(Guard([Checking(check)]), server, seam, modern=True) as peer:
        await peer.tools()
        await peer.call("lookup", {"ssn": "078-05-1120", "city": "Bonn"})
    (headers,) = _headers_of_calls(server)
    assert "078-05-1120" not in repr(headers)
    assert headers.get("mcp-param-ssn") in ("***", None)


async def test_a_renamed_tool_is_renamed_in_the_headers_too(seam: str, server: FakeServer) -> None:
    """Trap 1: a rename that left the header alone sent a mismatch."""

    def check(call: Call) -> Verdict:
        return Rewrite({**call.params, "name": "read"}) if call.target == "fetch" else ALLOW

    async with opened(Guard([Checking(check)]), server, seam, modern=True) as peer:
        await peer.session.call_tool("fetch", {})
    (headers,) = _headers_of_calls(server)
    assert headers["mcp-name"] == "read"


@pytest.mark.skipif(
    not hasattr(getattr(import_module("mcp"), "Client", None), "_relist_tool"),
    reason="this SDK does not resend after a header mismatch",
)
async def test_a_call_resent_after_a_header_mismatch_is_counted_once(server: FakeServer) -> None:
    """Trap 2: the client lists again and resends the very same call, once."""
    mismatch = import_module("mcp.types").HEADER_MISMATCH
    server.on_call("read").fails(mismatch, "header mismatch").returns("done").fails(mismatch).fails(mismatch)
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen, Budget(calls=2)])
    async with opened(guard, server, "client", modern=True) as peer, guard.run():
        assert text(await peer.call("read")) == "done"
        assert [call.round for call in seen.seen] == [0, 1]
        with pytest.raises(MCPError):
            await peer.call("read")
        assert [call.round for call in seen.seen] == [0, 1, 0, 1]
        assert code(await peer.call("read")) == "budget_exhausted", "a resend does not earn another one"


@pytest.mark.skipif(
    not hasattr(getattr(import_module("mcp"), "Client", None), "_relist_tool"),
    reason="this SDK does not resend after a header mismatch",
)
async def test_one_tools_resend_is_no_other_tools(server: FakeServer) -> None:
    """A call that was refused for its headers for good is a fresh call when the agent repeats it."""
    mismatch = import_module("mcp.types").HEADER_MISMATCH
    server.on_call("remove").fails(mismatch, "header mismatch")
    server.on_call("read").fails(mismatch, "header mismatch").returns("done")
    seen = watching({("tools/call", "outbound")})
    async with opened(Guard([seen]), server, "client", modern=True) as peer:
        with pytest.raises(MCPError):
            await peer.call("remove")
        assert text(await peer.call("read")) == "done"
        with pytest.raises(MCPError):
            await peer.call("remove")
    assert [(call.target, call.round) for call in seen.seen] == [
        ("remove", 0),
        ("remove", 1),
        ("read", 0),
        ("read", 1),
        ("remove", 0),
        ("remove", 1),
    ]


async def test_a_server_cannot_hand_out_free_calls_by_asking_for_ever(server: FakeServer) -> None:
    """Rounds are bounded by the guard too, whatever the client does."""
    script = server.on_call("read")
    for _ in range(40):
        script = script.asks(Elicit("again?"))
    seen = watching({("tools/call", "outbound")})
    guard = Guard([seen])
    async with opened(
        guard, server, "client", modern=True, input_required_max_rounds=100, **CALLBACKS
    ) as peer:
        await peer.call("read")
    assert max(call.round for call in seen.seen) == 32
    assert [call.round for call in seen.seen].count(0) == 2


@pytest.mark.parametrize("guard", [Guard(), Guard([watching()])], ids=["empty", "allowing"])
async def test_the_clients_cache_does_not_serve_one_tenant_what_another_read(guard: Guard) -> None:
    """Trap 5: with one message on the wire, tenant B was given tenant A's resource."""
    server = FakeServer(era="modern", ttl_ms=60_000)
    server.resource("file:///mine").returns("A's notes").returns("B's notes")
    async with opened(guard, server, "client", modern=True, shared=True) as peer:
        async with guard.run(principal=Principal(tenant="a")):
            first = await peer.read("file:///mine")
        async with guard.run(principal=Principal(tenant="b")):
            second = await peer.read("file:///mine")
    assert first["contents"][0]["text"] == "A's notes"
    assert second["contents"][0]["text"] == "B's notes"


async def test_a_bare_clients_cache_does(server: FakeServer) -> None:
    """The promise above is the guard's doing."""
    server = FakeServer(era="modern", ttl_ms=60_000)
    server.resource("file:///mine").returns("A's notes").returns("B's notes")
    async with import_module("mcp").Client(server.transport()) as client:
        await client.read_resource("file:///mine")
        second = wire(await client.read_resource("file:///mine"))
    assert second["contents"][0]["text"] == "A's notes"


async def test_neither_a_stopped_run_nor_a_stranger_is_answered_from_the_clients_cache() -> None:
    """A cache above the guard would answer whoever asks."""
    server = FakeServer(era="modern", ttl_ms=60_000)
    server.resource("file:///mine").returns("Ana's notes")
    guard = Guard()
    async with opened(guard, server, "client", modern=True) as peer:
        async with guard.run(principal=Principal(user="ana")):
            await peer.read("file:///mine")
        async with guard.run(principal=Principal(user="bob")):
            with pytest.raises(MCPError, match="session_not_shared"):
                await peer.read("file:///mine")
        async with guard.run(principal=Principal(user="ana")) as run:
            guard.stop(run)
            with pytest.raises(MCPError, match="run_stopped"):
                await peer.read("file:///mine")


async def test_a_denied_subscription_leaves_the_session_usable_where_denials_are_raised() -> None:
    """A task of the session's own awaits it: an error that is not the SDK's ended the session."""
    server = FakeServer(era="modern")
    server.tool("read").returns("data")
    guard = Guard([denying(methods=["subscriptions/listen"])], on_deny="raise")
    async with opened(guard, server, "client", modern=True) as peer:
        with pytest.raises(Exception, match=r"not_here|Not here"):
            async with peer.client.listen(resource_subscriptions=["file:///secret"]):
                pass
        assert text(await peer.call("read")) == "data"


async def test_asking_for_the_clients_cache_beside_interceptors_is_an_error(server: FakeServer) -> None:
    """A cache above every seam cannot be had by asking for it."""
    from mcp.client.caching import CacheConfig

    with pytest.raises(SeamError, match="cache="):
        Guard([watching()]).client(server.transport(), name="files", cache=CacheConfig())


@pytest.mark.parametrize("listing", ["fails", "has a bad header"])
async def test_no_argument_becomes_a_header_where_nothing_good_says_which(
    listing: str, server: FakeServer
) -> None:
    """A call that was renamed goes out without, rather than with what it must not have."""
    schema = {"type": "object", "properties": {"q": {"type": "string", "x-mcp-header": "bad header"}}}
    server.tool("real", input_schema=schema)
    if listing == "fails":
        server.on("tools/list").fails(-32603, "no")

    def check(call: Call) -> Verdict:
        return Rewrite({**call.params, "name": "real"}) if call.target == "shown" else ALLOW

    async with opened(Guard([Checking(check)]), server, "client", modern=True) as peer:
        await peer.call("shown", {"q": "x"})
    headers = _headers_of_calls(server)[-1]
    assert headers["mcp-name"] == "real"
    assert not any(name.startswith("mcp-param") for name in headers)


async def test_one_principals_listing_does_not_break_anothers_headers(server: FakeServer) -> None:
    """Trap 5: `_x_mcp_header_maps` was pruned by any principal's listing."""
    server.tool(
        "lookup",
        input_schema={"type": "object", "properties": {"q": {"type": "string", "x-mcp-header": "Q"}}},
    )

    def look(call: Call, result: Result) -> Result:
        if call.method != "tools/list" or result.value is None or call.principal is None:
            return result
        if call.principal.tenant == "a":
            return result
        tools: Any = result.value["tools"]
        return result.replace(value={**result.value, "tools": [t for t in tools if t["name"] != "lookup"]})

    guard = Guard([Filtering(look)])
    async with opened(guard, server, "client", modern=True, shared=True) as peer:
        async with guard.run(principal=Principal(tenant="a")):
            assert "lookup" in await peer.tools()
        async with guard.run(principal=Principal(tenant="b")):
            assert "lookup" not in await peer.tools()
        async with guard.run(principal=Principal(tenant="a")):
            await peer.call("lookup", {"q": "x"})
    assert _headers_of_calls(server)[-1]["mcp-param-q"] == "x"


async def test_subscriptions_are_seen_and_have_no_deadline(seam: str, server: FakeServer) -> None:
    """Trap 3, and subscription events on the synchronous path."""
    seen = watching()
    async with opened(Guard([seen]), server, seam, modern=True, read_timeout_seconds=5.0) as peer:
        async with peer.client.listen(tools_list_changed=True) as events:
            await server.notify("notifications/tools/list_changed")
            with anyio.fail_after(10):
                await anext(events)
    assert "subscriptions/listen" in seen.methods()
    assert "notifications/tools/list_changed" in seen.methods()


async def test_a_denied_subscription_event_reaches_nobody(seam: str, server: FakeServer) -> None:
    """The demultiplexer runs on the receive path, before any handler."""
    guard = Guard([denying(methods=["notifications/tools/list_changed"])])
    async with opened(guard, server, seam, modern=True) as peer:
        async with peer.client.listen(tools_list_changed=True, prompts_list_changed=True) as events:
            await server.notify("notifications/tools/list_changed")
            await server.notify("notifications/prompts/list_changed")
            with anyio.fail_after(10):
                event = await anext(events)
    assert type(event).__name__ == "PromptsListChanged"


async def test_discovery_is_seen_by_whoever_names_it(seam: str, server: FakeServer) -> None:
    """Lifecycle methods pass the chain of those who ask for them by name."""
    named = watching({("server/discover", "outbound")})
    everything = watching()
    async with opened(Guard([named, everything]), server, seam, modern=True):
        pass
    assert named.methods() == ["server/discover"]
    assert "server/discover" not in everything.methods()


async def test_an_in_process_server_is_guarded_without_streams() -> None:
    """`DirectDispatcher` has no streams at all."""
    from mcp.server.mcpserver import Context, MCPServer

    app = MCPServer("in-process")

    @app.tool()
    async def work(ctx: Context) -> str:
        await ctx.report_progress(0.5, 1.0)
        return "worked"

    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    seen = watching()
    async with Guard([seen]).client(app, name="app") as client:
        result = await client.call_tool("work", {}, progress_callback=on_progress)
    assert text(wire(result)) == "worked"
    assert told == [0.5]
    assert "notifications/progress" in seen.methods()


async def test_hosts_may_set_and_delete_attributes_of_a_guarded_session(server: FakeServer) -> None:
    """Framework trap 2: fastmcp 4 sets and then deletes `session.send_discover`."""
    from mcp import ClientSession

    async with server.connect() as (read, write):
        session = Guard([watching()]).session(ClientSession(read, write), name="files")
        original = session.send_discover
        session.send_discover = original  # type: ignore[method-assign]
        del session.send_discover
        async with session:
            await session.discover()
            assert text(wire(await session.call_tool("read", {"a": 1}))) == '{"a": 1}'
            for name in ("_absorb_tool_listing", "_tool_output_schemas", "dispatch_input_request"):
                assert getattr(session, name) is not None


async def test_cancelling_a_round_forgets_nothing_else(seam: str, server: FakeServer) -> None:
    """A caller that gives up while the host is asked leaves the session usable."""
    server.on_call("read").asks(Elicit("who?")).returns("done")
    asked = anyio.Event()

    async def wait(*_args: Any) -> Any:
        asked.set()
        await anyio.sleep_forever()

    async with opened(Guard([watching()]), server, seam, modern=True, elicitation_callback=wait) as peer:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.call, "read")
            await asked.wait()
            tasks.cancel_scope.cancel()
        assert text(await peer.call("remove", {"path": "a"})) == '{"path": "a"}'


def _headers_of_calls(server: FakeServer) -> list[dict[str, str]]:
    """The HTTP headers of every tool call, with names in lower case."""
    return [
        {name.lower(): value for name, value in headers.items()}
        for message, headers in zip(server.received, server.headers, strict=True)
        if message.get("method") == "tools/call"
    ]
