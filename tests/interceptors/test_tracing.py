"""Tracing: what OpenTelemetry is told of calls, and what goes to servers; and that nothing else changes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from chains import FAILED, OK, TOOLS, Wire, allowing, denying, linked, tool_call
from collected import Collected, Receiver, plain
from harness import ALL, LEGACY_SEAMS, MODERN_SEAMS, V1, opened
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, Tracer, TracerProvider

from mcpguard import (
    Budget,
    Call,
    CircuitBreaker,
    Deny,
    Guard,
    GuardBuildError,
    Price,
    Principal,
    Result,
    Retry,
    Run,
    ToolView,
    Tracing,
    View,
)
from mcpguard.core.chain import Chain
from mcpguard.core.line import Line
from mcpguard.core.result import Fate, Outcome, WireError
from mcpguard.core.verdict import ALLOW, Verdict
from mcpguard.core.watching import Watcher
from mcpguard.testing import Elicit, FakeClock, FakeServer, RecordingSink, tool_error
from mcpguard.testing.catalogue import META

pytestmark = pytest.mark.anyio

MISHAP = Result.of({"content": [], "isError": True})


def tracing(told: Collected, **options: Any) -> Tracing:
    """Tracing with providers of its own."""
    return Tracing(tracer_provider=told.tracers, meter_provider=told.meters, **options)


def traced(told: Collected, *others: Any, clock: FakeClock | None = None, **options: Any) -> Chain:
    """The chain of tool calls behind Tracing."""
    return linked(tracing(told, **options), *others, clock=clock).chain("tools/call", "outbound")


async def test_a_tool_call_is_one_execute_tool_span() -> None:
    """Semantic conventions, execute_tool: internal, and named by the tool."""
    told = Collected()
    run = Run(id="review", principal=Principal(tenant="acme", user="ada", agent="tester"))
    await traced(told)(tool_call("read", run=run, path="/etc"), Wire(OK))
    (span,) = told.spans
    assert span.name == "execute_tool read"
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "read",
        "gen_ai.agent.name": "tester",
        "mcpguard.server": "files",
        "mcpguard.call.id": "call-1",
        "mcpguard.run.id": "review",
        "mcpguard.tenant": "acme",
        "mcpguard.attempts": 1,
        "mcpguard.outcome": "ok",
    }


async def test_codes_that_a_server_makes_up_make_no_series_of_their_own() -> None:
    """The span has the code; the histogram knows those that JSON-RPC reserves."""
    told = Collected()
    for code in range(50):
        error = WireError(code, "no")
        answer = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error)
        await traced(told)(tool_call(), Wire(answer))
    ((attributes, point),) = told.points("mcp.client.operation.duration")
    assert attributes["error.type"] == attributes["rpc.response.status_code"] == "_OTHER"
    assert point.count == 50
    codes = {(span.attributes or {})["rpc.response.status_code"] for span in told.spans}
    assert codes == {str(code) for code in range(50)}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (MISHAP, "tool_error"),
        (FAILED, "-32603"),
        (Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT), "timeout"),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT), "transport_error"),
    ],
    ids=["tool", "protocol", "timeout", "transport"],
)
async def test_a_failure_is_named_on_the_span_and_in_the_histogram(answer: Result, error: str) -> None:
    """`error.type`, and the status code of JSON-RPC where there is one."""
    told = Collected()
    await traced(told)(tool_call(), Wire(answer))
    (span,) = told.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert (span.attributes or {})["error.type"] == error
    ((attributes, point),) = told.points("mcp.client.operation.duration")
    assert attributes["error.type"] == error
    assert ("rpc.response.status_code" in attributes) == error.startswith("-")
    assert point.count == 1


async def test_decisions_are_events_of_the_span_and_counted() -> None:
    """Also where nothing is recorded: there is no sink here."""
    told = Collected()
    chain = traced(told, denying("write", code="not_here"))
    await chain(tool_call("write"), Wire(OK))
    (span,) = told.spans
    (event,) = span.events
    assert event.name == "mcpguard.decision"
    assert dict(event.attributes or {}) == {
        "mcpguard.interceptor": "checking",
        "mcpguard.verdict": "deny",
        "mcpguard.code": "not_here",
    }
    assert (span.attributes or {})["error.type"] == "denied"
    assert (span.attributes or {})["mcpguard.code"] == "not_here"
    ((counted, point),) = told.points("mcpguard.decisions")
    assert counted == {
        "mcpguard.server": "files",
        "mcpguard.interceptor": "checking",
        "mcpguard.verdict": "deny",
        "mcpguard.code": "not_here",
    }
    assert point.value == 1
    assert told.points("mcp.client.operation.duration") == []
    ((calls, _),) = told.points("mcpguard.calls")
    assert calls["mcpguard.outcome"] == "denied"


async def test_each_attempt_is_measured_for_itself() -> None:
    """By the guard's own clock; the span is one."""
    told, clock = Collected(), FakeClock()

    class Slow(Wire):
        async def __call__(self, call: Call) -> Result:
            clock.advance(0.25)
            return await super().__call__(call)

    async def no_time(seconds: float) -> None:
        clock.advance(seconds)

    chain = traced(told, Retry(tools={"read"}, attempts=3, sleep=no_time), clock=clock)
    lost = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT, cause=ConnectionError("closed"))
    await chain(tool_call(), Slow(lost, OK))
    points = {one.get("error.type"): point for one, point in told.points("mcp.client.operation.duration")}
    assert set(points) == {"transport_error", None}
    assert [round(point.sum, 6) for point in points.values()] == [0.25, 0.25]
    assert points[None].explicit_bounds == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
    (span,) = told.spans
    assert (span.attributes or {})["mcpguard.attempts"] == 2


async def test_the_request_that_is_named_is_that_of_the_last_attempt() -> None:
    """An attempt that is made again is another request; names from outside are cut, as everywhere."""
    told, ids = Collected(), iter([7, "x" * 1000])
    line = Line("tcp", address="tools.example", port=443)

    class Sent(Wire):
        async def __call__(self, call: Call) -> Result:
            call.goes_out(next(ids), line)
            line.session = "one"
            return await super().__call__(call)

    async def no_time(_seconds: float) -> None:
        pass

    chain = traced(told, Retry(tools={"read"}, attempts=3, sleep=no_time))
    lost = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT, cause=ConnectionError("closed"))
    await chain(tool_call(), Sent(lost, OK))
    (span,) = told.spans
    about = dict(span.attributes or {})
    assert (about["jsonrpc.request.id"], about["mcp.session.id"]) == ("x" * 256, "one")
    assert (about["server.address"], about["server.port"]) == ("tools.example", 443)


async def test_a_call_that_is_refused_names_no_request() -> None:
    """Nothing went out."""
    told = Collected()
    await traced(told, denying("write"))(tool_call("write"), Wire(OK))
    (span,) = told.spans
    assert "jsonrpc.request.id" not in (span.attributes or {})


@pytest.mark.parametrize("seam", [*LEGACY_SEAMS, *(f"modern-{seam}" for seam in MODERN_SEAMS)])
async def test_no_argument_result_or_uri_is_told(seam: str) -> None:
    """Through every seam, for every kind of request; nor what the reason of an error says."""
    told = Collected()
    server = FakeServer(era="modern" if seam.startswith("modern") else "legacy")
    server.tool("read").returns("answer-one")
    server.tool("fail").returns(tool_error("answer-two"))
    server.prompt("ask").returns("answer-three")
    server.resource("file:///uri-one").returns("answer-four")
    guard = Guard([tracing(told)])
    async with opened(guard, server, seam.removeprefix("modern-"), modern=seam.startswith("modern")) as peer:
        await peer.call("read", {"path": "argument-one"})
        await peer.call("fail", {"argument-two": 1})
        await peer.prompt("ask")
        await peer.read("file:///uri-one")
        await peer.tools()
    names = [span.name for span in told.spans]
    for name in ("execute_tool read", "execute_tool fail", "prompts/get ask", "resources/read", "tools/list"):
        assert names.count(name) == 1
    text = told.everything()
    for value in ("answer-", "argument-", "uri-one"):
        assert value not in text


@pytest.mark.parametrize("seam", [*LEGACY_SEAMS, *(f"modern-{seam}" for seam in MODERN_SEAMS)])
async def test_every_request_carries_the_context_of_its_span(seam: str) -> None:
    """MCP SEP-414. These spans go to a provider of their own, so that none of the SDK's is in between."""
    told = Collected()
    server = FakeServer(era="modern" if seam.startswith("modern") else "legacy")
    server.tool("read").returns("fine")
    server.prompt("ask").returns("fine")
    guard = Guard([tracing(told)])
    async with opened(guard, server, seam.removeprefix("modern-"), modern=seam.startswith("modern")) as peer:
        await peer.call("read", {"path": "x"})
        await peer.prompt("ask")
        await peer.tools()
    for method, name in (
        ("tools/call", "execute_tool read"),
        ("prompts/get", "prompts/get ask"),
        ("tools/list", "tools/list"),
    ):
        span = told.span(name).get_span_context()
        assert span is not None
        carried = [params.get("_meta", {}).get("traceparent", "") for params in server.seen(method)]
        ours = f"00-{span.trace_id:032x}-{span.span_id:016x}-"
        assert [one.startswith(ours) for one in carried].count(True) == 1
    (called,) = server.seen("tools/call")
    assert (called["name"], called["arguments"]) == ("read", {"path": "x"})


@pytest.mark.parametrize("seam", [*LEGACY_SEAMS, *(f"modern-{seam}" for seam in MODERN_SEAMS)])
async def test_a_span_says_which_revision_is_spoken_where_the_messages_say_it(seam: str) -> None:
    """The answer to `initialize`, or what each request says of itself; a session that had begun tells neither."""
    told = Collected()
    is_modern = seam.startswith("modern")
    server = FakeServer(era="modern" if is_modern else "legacy")
    server.tool("read").returns("fine")
    async with opened(Guard([tracing(told)]), server, seam.removeprefix("modern-"), modern=is_modern) as peer:
        await peer.call("read")
    said = (told.span("execute_tool read").attributes or {}).get("mcp.protocol.version")
    seen = {params.get("_meta", {}).get(f"{META}protocolVersion") for params in server.seen("tools/call")}
    begun = {params["protocolVersion"] for params in server.seen("initialize")}
    assert said is None or {said} == (seen if is_modern else begun)
    assert said is not None or "transport" not in seam


@pytest.mark.skipif(V1, reason="SDK 1.x connects to a server in the same process by streams")
async def test_a_server_in_the_same_process_is_told_too() -> None:
    """There the SDK has no span of its own and puts no context into `_meta`."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context

    told, seen = Collected(), list[Any]()
    server = MCPServer("files")

    @server.tool()
    async def read(path: str, ctx: Context) -> str:
        seen.append(dict(ctx.request_context.meta or {}))
        return path

    async with Guard([tracing(told)]).client(server, name="files") as client:
        await client.call_tool("read", {"path": "x"})
    span = told.span("execute_tool read").get_span_context()
    assert span is not None
    assert seen[0]["traceparent"].startswith(f"00-{span.trace_id:032x}-{span.span_id:016x}-")


async def test_a_context_that_is_there_already_stays() -> None:
    """The SDK's own, FastMCP's or the agent's: it is the inner one."""
    told, wire = Collected(), Wire(OK)
    given = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "progressToken": 7}
    call = Call(id="1", method="tools/call", params={"name": "read", "_meta": given}, server="files")
    await traced(told)(call, wire)
    (sent,) = wire.calls
    assert sent.carried == {}
    assert sent.sent(sent.params) is call.params


async def test_what_goes_along_is_no_rewrite() -> None:
    """It is not judged, not recorded, and the parameters stay the object that they were."""
    told, wire, sink = Collected(), Wire(OK), RecordingSink()
    watched = allowing()
    call = Call(
        id="1", method="tools/call", params={"name": "read", "_meta": {"progressToken": 7}}, server="f"
    )
    await linked(tracing(told), watched, sinks=[sink]).chain("tools/call", "outbound")(call, wire)
    (sent,) = wire.calls
    assert sent.params is call.params
    assert len(watched.seen) == 1
    assert sink.of("decision") == []
    meta: Any = sent.sent(sent.params)["_meta"]
    assert meta.keys() == {"progressToken", "traceparent"}
    assert call.params == {"name": "read", "_meta": {"progressToken": 7}}


@contextmanager
def carrying(**members: str) -> Iterator[None]:
    """With baggage in the context."""
    bag = context.get_current()
    for name, value in members.items():
        bag = baggage.set_baggage(name, value, bag)
    token = context.attach(bag)
    try:
        yield
    finally:
        context.detach(token)


async def test_baggage_stays_at_home() -> None:
    """Anybody may have put anything into it; and nothing further in, the SDK among it, finds any."""
    told, seen = Collected(), list[dict[str, object]]()

    class Looking(Wire):
        async def __call__(self, call: Call) -> Result:
            seen.append(dict(baggage.get_all()))
            return await super().__call__(call)

    wire = Looking(OK)
    params = {"name": "read", "_meta": {"baggage": "user=ada"}}
    with carrying(user="ada"):
        await traced(told)(Call(id="1", method="tools/call", params=params, server="files"), wire)
        assert baggage.get_all() == {"user": "ada"}
    meta: Any = wire.calls[0].sent(wire.calls[0].params)["_meta"]
    assert meta.keys() == {"traceparent"}
    assert seen == [{}]


async def test_baggage_goes_to_the_servers_that_are_named() -> None:
    """And to no other."""
    for server, goes in (("files-1", True), ("mail", False)):
        told, wire = Collected(), Wire(OK)
        with carrying(user="ada"):
            call = Call(id="1", method="tools/call", params={"name": "read"}, server=server)
            await traced(told, baggage=["files-*"])(call, wire)
        assert wire.calls[0].carried.get("baggage") == ("user=ada" if goes else None)


@pytest.mark.parametrize(
    ("name", "kind", "attributes"),
    [
        (
            "execute_tool read",
            SpanKind.INTERNAL,
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "read"},
        ),
        ("tools/call read", SpanKind.CLIENT, {"mcp.method.name": "tools/call", "gen_ai.tool.name": "read"}),
        ("MCP send tools/call read", SpanKind.CLIENT, {"mcp.method.name": "tools/call"}),
    ],
    ids=["framework", "fastmcp", "sdk"],
)
async def test_a_span_that_is_there_for_the_call_is_added_to(
    name: str, kind: SpanKind, attributes: dict[str, str]
) -> None:
    """Semantic conventions: it SHOULD NOT create a separate span. What comes after in it has its own."""
    told = Collected()
    chain = traced(told, denying("write"))
    tracer = told.tracers.get_tracer("framework")
    with tracer.start_as_current_span(name, kind=kind, attributes=attributes):
        await chain(tool_call("read"), Wire(MISHAP))
        await chain(tool_call("read"), Wire(OK))
    inner, outer = told.spans
    assert outer.name == name
    assert (outer.attributes or {})["mcpguard.call.id"] == "call-1"
    assert (outer.attributes or {})["error.type"] == "tool_error"
    assert outer.status.status_code is StatusCode.ERROR
    assert inner.name == "execute_tool read"
    assert inner.parent is not None
    assert inner.parent == outer.get_span_context()


@pytest.mark.parametrize(
    ("name", "kind", "attributes"),
    [
        ("agent", SpanKind.INTERNAL, {}),
        ("execute_tool write", SpanKind.INTERNAL, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "write"}),
        ("tools/call read", SpanKind.SERVER, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "read", "mcp.method.name": "tools/call"}),
        ("MCP send tools/call bread", SpanKind.CLIENT, {"mcp.method.name": "tools/call"}),
        ("MCP send tools/list", SpanKind.CLIENT, {"mcp.method.name": "tools/list"}),
        ("tools/call write", SpanKind.CLIENT, {"mcp.method.name": "tools/call", "gen_ai.tool.name": "write"}),
    ],
    ids=["agent", "other tool", "served", "other name", "other method", "other of fastmcp"],
)  # fmt: skip
async def test_another_span_is_only_the_parent(name: str, kind: SpanKind, attributes: dict[str, str]) -> None:
    """A gateway that calls on under the same name is one of those."""
    told = Collected()
    with told.tracers.get_tracer("t").start_as_current_span(name, kind=kind, attributes=attributes):
        await traced(told)(tool_call("read"), Wire(OK))
    assert [span.name for span in told.spans] == ["execute_tool read", name]
    assert told.spans[0].parent == told.spans[1].get_span_context()
    assert "mcpguard.call.id" not in (told.spans[1].attributes or {})


async def test_the_span_is_named_as_the_server_names_the_tool() -> None:
    """Records go by the server's own names; a framework's span by the agent's, and is still found."""
    told = Collected()
    view = View(tools=[ToolView("read", name="look")])
    chain = traced(told, view)
    await chain(tool_call("look"), Wire(OK))
    assert [span.name for span in told.spans] == ["execute_tool read"]
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}
    with told.tracers.get_tracer("t").start_as_current_span("execute_tool look", attributes=attributes):
        await chain(tool_call("look"), Wire(OK))
    assert [span.name for span in told.spans] == ["execute_tool read", "execute_tool look"]


async def test_the_audit_trail_has_the_trace_of_the_span() -> None:
    """The span is outside the record, so that the first event is under it already."""
    told, sink = Collected(), RecordingSink()
    await linked(tracing(told), sinks=[sink]).chain("tools/call", "outbound")(tool_call(), Wire(OK))
    (received,) = sink.of("received")
    span = told.spans[0].get_span_context()
    assert span is not None
    assert received.trace_id == f"{span.trace_id:032x}"


async def test_a_cancelled_call_ends_its_span_and_leaves_nothing_behind() -> None:
    """Neither in the context nor among the calls under way."""
    told = Collected()
    one = tracing(told)
    chain = linked(one).chain("tools/call", "outbound")

    async def forever(call: Call) -> Result:
        await anyio.sleep_forever()
        return OK

    before = context.get_current()
    with anyio.move_on_after(0.01):
        await chain(tool_call(), forever)
    assert context.get_current() == before
    (span,) = told.spans
    assert (span.attributes or {})["error.type"] == "cancelled"
    ((attributes, _),) = told.points("mcp.client.operation.duration")
    assert attributes["error.type"] == "cancelled"
    assert one._spans == {}


async def test_nothing_is_done_where_no_provider_is_set() -> None:
    """The call meets nothing, and goes out as it came."""
    one = Tracing()
    wire = Wire(OK)
    call = tool_call()
    chain = linked(one).chain("tools/call", "outbound")
    assert chain.may_pass()
    await linked(one, allowing()).chain("tools/call", "outbound")(call, wire)
    assert wire.calls[0] is call
    assert not one.is_awake()


class Broken(TracerProvider):
    """Fails whatever it is asked."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        class Failing(Tracer):
            def start_span(self, *args: Any, **kwargs: Any) -> Any:
                raise RuntimeError("secret-value")

            def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
                raise RuntimeError("secret-value")

        return Failing()


async def test_a_tracer_that_fails_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is said in the log, without what the exception says."""
    chain = linked(Tracing(tracer_provider=Broken()), denying("write")).chain("tools/call", "outbound")
    assert await chain(tool_call(), Wire(OK)) is OK
    assert (await chain(tool_call("write"), Wire(OK))).outcome is Outcome.DENIED
    assert "a watcher failed with RuntimeError" in caplog.text
    assert "secret-value" not in caplog.text


class Sulking(SpanProcessor):
    """Fails when a span ends."""

    def on_end(self, span: Any) -> None:
        raise RuntimeError("secret-value")

    def on_start(self, span: Span, parent_context: Any = None) -> None: ...


async def test_a_processor_that_fails_fails_no_call() -> None:
    """The answer is the server's."""
    told = Collected()
    told.tracers.add_span_processor(Sulking())
    assert await traced(told)(tool_call(), Wire(OK)) is OK


async def test_names_that_a_model_makes_up_are_bounded_in_metrics() -> None:
    """A backend is paid by the series."""
    told = Collected()
    chain = traced(told)
    for number in range(600):
        await chain(tool_call(f"tool-{number}"), Wire(OK))
    names = {attributes["gen_ai.tool.name"] for attributes, _ in told.points("mcpguard.calls")}
    assert len(names) <= 501
    assert "_OTHER" in names
    assert told.spans[-1].name == "execute_tool tool-599"


async def test_a_long_name_is_cut() -> None:
    """As in events."""
    told = Collected()
    await traced(told)(tool_call("x" * 5000), Wire(OK))
    assert len(told.spans[0].name) == len("execute_tool ") + 256


async def test_no_metric_tells_who_called() -> None:
    """Neither user nor tenant nor run: they are for spans and the trail, and only the last two for spans."""
    told = Collected()
    who = Principal(tenant="tenant-one", user="user-one", agent="agent-one")
    budget = Budget(per="user", calls=2)
    chain = traced(told, budget)
    for _ in range(3):
        await chain(tool_call(run=Run(id="run-one", principal=who)), Wire(OK))
    for metric in (
        "mcpguard.calls",
        "mcpguard.decisions",
        "mcpguard.budget.left",
        "mcp.client.operation.duration",
    ):
        told_of = str([attributes for attributes, _ in told.points(metric)])
        assert "-one" not in told_of
        assert told_of != "[]"
    assert "user-one" not in told.everything()


async def test_gauges_show_breakers_budgets_and_lost_records() -> None:
    """When somebody collects."""
    told, clock = Collected(), FakeClock()
    sink = RecordingSink(fails_with=OSError("full"))
    one = tracing(told)
    chain = linked(
        one, Budget(id="day", per="tenant", calls=4), CircuitBreaker(min_calls=1), clock=clock, sinks=[sink]
    ).chain("tools/call", "outbound")
    await chain(tool_call(), Wire(Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT)))
    ((budget, left),) = told.points("mcpguard.budget.left")
    assert budget == {"mcpguard.interceptor": "day", "mcpguard.unit": "calls"}
    assert left.value == 0.75
    ((breaker, state),) = told.points("mcpguard.breaker.state")
    assert breaker["mcpguard.server"] == "files"
    assert state.value == 2
    ((lost, count),) = told.points("mcpguard.audit.dropped")
    assert lost == {"mcpguard.sink": "RecordingSink"}
    assert count.value >= 3
    ((change, times),) = told.points("mcpguard.state_changes")
    assert (change["mcpguard.state"], times.value) == ("open", 1)


async def test_what_calls_cost_is_counted() -> None:
    """In millionths of the currency."""
    told = Collected()
    budget = Budget(per="tenant", cost="2 USD", prices=[Price("0.25 USD", tools=["read"])])
    await traced(told, budget)(tool_call(), Wire(OK))
    ((attributes, point),) = told.points("mcpguard.cost")
    assert (attributes["mcpguard.currency"], point.value) == ("USD", 250_000)


async def test_two_guards_of_a_process_share_a_gauge() -> None:
    """A meter has one instrument of a name; a guard that is gone is not in it any more."""
    told = Collected()
    chains = [traced(told, Budget(id=name, per="tenant", calls=4)) for name in ("one", "two")]
    for chain in chains:
        await chain(tool_call(), Wire(OK))
    seen = {attributes["mcpguard.interceptor"] for attributes, _ in told.points("mcpguard.budget.left")}
    assert seen == {"one", "two"}


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_refused_question_of_the_server_shows_on_the_call_it_interrupts(seam: str) -> None:
    """An inbound request has no span of its own."""
    from harness import Checking, accept

    def check(call: Call) -> Verdict:
        return Deny("no_questions", reason="none") if call.method == "elicitation/create" else ALLOW

    told = Collected()
    server = FakeServer()
    server.tool("book").asks(Elicit("Really?", {"type": "object", "properties": {}})).returns("booked")
    guard = Guard([tracing(told), Checking(check, ALL)])
    async with opened(guard, server, seam, elicitation_callback=accept) as peer:
        await peer.call("book")
    events = [dict(event.attributes or {}) for event in told.span("execute_tool book").events]
    assert [event["mcpguard.code"] for event in events] == ["no_questions"]


async def test_a_call_that_the_guard_itself_refuses_is_counted() -> None:
    """It meets no interceptor, and no span is opened for it."""
    told = Collected()
    server = FakeServer()
    server.tool("read").returns("fine")
    guard = Guard([tracing(told)])
    async with opened(guard, server, "session") as peer, guard.run(id="r") as run:
        guard.stop(run)
        await peer.call("read")
    ((counted, _),) = told.points("mcpguard.decisions")
    assert counted["mcpguard.code"] == "run_stopped"
    assert "execute_tool read" not in [span.name for span in told.spans]


def test_a_watcher_decides_nothing() -> None:
    """So it has no check, no filter and no layer."""

    class Both(Watcher):
        handles = TOOLS

        def check(self, call: Call) -> Verdict:
            return ALLOW

    with pytest.raises(GuardBuildError, match="Both watches, and so has no check"):
        Guard([Both()])


async def test_what_a_watcher_raises_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """In each of its moments."""

    class Bad(Watcher):
        handles = TOOLS

        def heard(self, kind: Any, call: Call, details: Any) -> None:
            raise RuntimeError("heard")

        def changed(self, details: Any) -> None:
            raise RuntimeError("changed")

    wire = Wire(Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT), OK)
    chain = linked(Bad(), denying("write"), CircuitBreaker(min_calls=1)).chain("tools/call", "outbound")
    await chain(tool_call(), wire)
    assert (await chain(tool_call("write"), wire)).denial is not None
    assert caplog.text.count("a watcher failed") >= 3
    assert "NotImplementedError" in caplog.text


async def test_a_reload_keeps_telling(tmp_path: Any) -> None:
    """From a policy file; gauges look at the rules that are enforced now."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\ninterceptors:\n  tracing: {}\n  access: {default: allow}\n")
    guard = Guard.from_policy(policy)
    assert [hook.hook for hook in guard.coverage().hooks if hook.name == "tracing"] == ["watch"]
    policy.write_text(
        "version: 1\ninterceptors:\n  tracing: {baggage: [files]}\n  access: {default: allow}\n"
    )
    assert guard.reload()
    await guard.aclose()


SCRIPT = """
import anyio, sys
from mcp import ClientSession
from mcpguard import Access, AccessRule, Guard, Tracing
from mcpguard.testing import FakeServer
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

async def main():
    server = FakeServer()
    server.tool("read").returns("fine")
    server.tool("write").returns("fine")
    guard = Guard([Tracing(), Access(deny=[AccessRule(tools=["write"])], default="allow")])
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="files")
        async with session:
            await session.initialize()
            await session.call_tool("read", {"path": "argument-one"})
            tracers = TracerProvider()
            tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(ENDPOINT + "/v1/traces")))
            trace.set_tracer_provider(tracers)
            reader = PeriodicExportingMetricReader(OTLPMetricExporter(ENDPOINT + "/v1/metrics"))
            metrics.set_meter_provider(MeterProvider([reader]))
            context.attach(baggage.set_baggage("user", "ada"))
            await session.call_tool("read", {"path": "argument-one"})
            await session.call_tool("write", {})
    trace.get_tracer_provider().shutdown()
    metrics.get_meter_provider().shutdown()
    first, second = server.seen("tools/call")
    print("traceparent" in (first.get("_meta") or {}), second["_meta"]["traceparent"], "baggage" in second["_meta"])

anyio.run(main)
"""


def test_spans_and_metrics_arrive_at_an_otlp_receiver() -> None:
    """Through the program's own providers, set up after the guard was built; the SDK's span hangs below."""
    with Receiver().listening() as receiver:
        script = SCRIPT.replace("ENDPOINT", repr(receiver.endpoint))
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    was_traced, traceparent, has_baggage = ran.stdout.split()
    assert (was_traced, has_baggage) == ("False", "False")
    ours = {span.name: span for scope, span in receiver.spans if scope == "mcpguard"}
    theirs = [span for scope, span in receiver.spans if scope == "mcp-python-sdk"]
    assert set(ours) == {"execute_tool read", "execute_tool write"}
    read, write = ours["execute_tool read"], ours["execute_tool write"]
    assert plain(read.attributes)["gen_ai.operation.name"] == "execute_tool"
    request_id = plain(read.attributes)["jsonrpc.request.id"]
    assert "jsonrpc.request.id" not in plain(write.attributes), "it was refused, and never a request"
    assert [event.name for event in write.events] == ["mcpguard.decision"]
    sent = read
    if not V1:
        (sent,) = [span for span in theirs if span.parent_span_id == read.span_id]
        assert sent.name == "MCP send tools/call read"
        assert plain(sent.attributes)["jsonrpc.request.id"] == request_id
    assert traceparent.startswith(f"00-{read.trace_id.hex()}-{sent.span_id.hex()}-")
    assert len([span for _, span in receiver.spans if "read" in span.name]) == (1 if V1 else 2)
    metrics = {metric.name: metric for metric in receiver.metrics}
    (point,) = metrics["mcp.client.operation.duration"].histogram.data_points
    assert plain(point.attributes)["gen_ai.tool.name"] == "read"
    assert point.count == 1
    calls = {plain(one.attributes)["mcpguard.outcome"] for one in metrics["mcpguard.calls"].sum.data_points}
    assert calls == {"ok", "denied"}
    assert b"argument-one" not in b"".join(span.SerializeToString() for _, span in receiver.spans)
