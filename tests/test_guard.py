"""The guard: what a user holds. Through a real session, on whichever SDK is installed."""

import json
import textwrap
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from chains import ADA, Around, Checking, allowing, denying
from harness import code, opened, text
from mcp import ClientSession

from mcpguard import (
    ALLOW,
    JSON,
    Access,
    AccessRule,
    Ask,
    Budget,
    Call,
    CallNext,
    Denied,
    Guard,
    GuardBuildError,
    Interceptor,
    JsonLines,
    OrderError,
    Principal,
    Result,
    Run,
    SeamError,
    Verdict,
    current_run,
)
from mcpguard.seams.session import sdk_major
from mcpguard.testing import FakeClock, FakeServer, Gate, RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> FakeServer:
    """A server with two tools."""
    server = FakeServer("files")
    server.tool("read").returns("text")
    server.tool("delete").returns("gone")
    return server


def asking(name: str) -> Checking:
    """Ask about one tool."""
    return Checking(
        lambda call: Ask("sure", reason="a test") if call.target == name else ALLOW,
        can_ask=True,
        id="flow",
    )


async def test_a_denied_tool_never_reaches_the_server_and_the_agent_goes_on(server: FakeServer) -> None:
    """The promise of the whole; without the guard the same calls are served."""
    for guard, expected in ((Guard([denying("delete")]), "not_here"), (Guard(), None)):
        async with opened(guard, server, "session") as peer:
            before = len(server.calls("delete"))
            refused = await peer.call("delete")
            assert code(refused) == expected
            assert len(server.calls("delete")) - before == (expected is None)
            assert text(await peer.call("read")) == "text"


async def test_a_person_may_approve_deny_and_edit(server: FakeServer) -> None:
    """Ask, from the check to the wire."""
    approver = ScriptedApprover().approves().denies("not on Fridays").edits({"path": "b"})
    guard = Guard([asking("delete"), approver])
    async with opened(guard, server, "session") as peer:
        assert text(await peer.call("delete", {"path": "a"})) == "gone"
        refused = await peer.call("delete", {"path": "a"})
        assert code(refused) == "approval_denied"
        assert "Fridays" not in text(refused)
        assert text(await peer.call("delete", {"path": "a"})) == "gone"
        assert text(await peer.call("read")) == "text"
    assert server.calls("delete") == [{"path": "a"}, {"path": "b"}]
    assert approver.codes == [("sure",)] * 3


async def test_stopping_a_run_stops_the_call_that_waits_for_a_person(server: FakeServer) -> None:
    """The kill switch is for exactly this; the approval that comes later sends nothing."""
    gate, answers = Gate(), []
    guard = Guard([asking("delete"), ScriptedApprover().waits_for(gate).approves()])
    async with opened(guard, server, "session") as peer, guard.run() as run:

        async def agent() -> None:
            answers.append(await peer.call("delete"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent)
            await gate.reached()
            guard.stop(run)
            gate.open()
    assert [code(answer) for answer in answers] == ["run_stopped"]
    assert server.calls("delete") == []


async def test_stopping_a_tenant_stops_its_waiting_calls_and_nobody_elses(server: FakeServer) -> None:
    """A tenant's runs, and those below them that act for somebody else."""
    gate, answers = Gate(), dict[str, Any]()
    approver = ScriptedApprover().waits_for(gate).approves()
    sink = RecordingSink()
    guard = Guard([asking("delete"), approver], sinks=[sink])

    async def agent(name: str, run: Run) -> None:
        async with opened(guard, server, "session", run=run) as peer:
            answers[name] = code(await peer.call("delete"))

    async with (
        guard.run(principal=Principal(tenant="acme"), id="acme") as acme,
        guard.run(principal=Principal(user="helper"), parent=acme, id="helper") as helper,
        guard.run(principal=Principal(tenant="other"), parent=Run(), id="other") as other,
        anyio.create_task_group() as tasks,
    ):
        for name, run in {"acme": acme, "helper": helper, "other": other}.items():
            tasks.start_soon(agent, name, run)
        await gate.reached(3)
        guard.stop("acme")
        gate.open()
    assert answers == {"acme": "tenant_stopped", "helper": "tenant_stopped", "other": None}
    assert {event.run_id for event in sink.of("stopped")} == {"acme", "helper"}
    assert guard.status()["stopped_tenants"] == ["acme"]


async def test_a_run_closed_while_a_call_is_under_way_leaves_that_call_alone(server: FakeServer) -> None:
    """It has been sent; only the next one is refused."""
    gate, answers = Gate(), []
    server.on_call("read").waits_for(gate).returns("late")
    guard = Guard([allowing()])
    async with opened(guard, server, "session") as peer, guard.run() as run:

        async def agent() -> None:
            answers.append(text(await peer.call("read")))
            answers.append(code(await peer.call("read")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent)
            await gate.reached()
            run.close()
            gate.open()
    assert answers == ["late", "run_closed"]


async def test_runs_nest_by_context_and_by_name() -> None:
    """`async with guard.run()` binds; the innermost counts."""
    sink = RecordingSink()
    guard = Guard(sinks=[sink])
    async with guard.run(principal=ADA, id="outer") as outer:
        async with guard.run(id="inner") as inner:
            assert current_run() is inner
            assert (inner.parent, inner.principal) == (outer, ADA)
            async with guard.run(id="aside", parent=outer) as aside:
                assert aside.parent is outer
        assert current_run() is outer
    assert current_run() is None
    assert [(event.kind, event.run_id) for event in sink.events] == [
        ("run_opened", "outer"),
        ("run_opened", "inner"),
        ("run_opened", "aside"),
        ("run_closed", "aside"),
        ("run_closed", "inner"),
        ("run_closed", "outer"),
    ]
    assert sink.events[1].parent_run_id == "outer"


async def test_an_error_inside_closes_the_run() -> None:
    """And is the caller's to see."""
    sink = RecordingSink()
    guard = Guard(sinks=[sink])
    with pytest.raises(KeyError):
        async with guard.run() as run:
            raise KeyError
    assert (run.ended, sink.kinds) == ("run_closed", ["run_opened", "run_closed"])


async def test_a_task_that_outlived_its_run_opens_the_next_one_below_what_is_still_open() -> None:
    """Else a sub-agent's background task would leave its parent's budget."""
    guard = Guard()
    async with guard.run(id="outer") as outer, guard.run(id="inner") as inner:
        inner.close()
        async with guard.run() as late:
            assert late.parent is outer
        outer.close()
        async with guard.run() as fresh:
            assert fresh.parent is None


async def test_a_new_run_does_not_undo_a_stop() -> None:
    """The kill switch must not be left by opening another run."""
    guard = Guard()
    async with guard.run(id="outer") as outer, guard.run() as inner:
        inner.close()
        guard.stop(outer)
        with pytest.raises(ValueError, match=r"has ended \(run_stopped\)"):
            async with guard.run():
                raise AssertionError
        with pytest.raises(ValueError, match=r"has ended \(run_stopped\)"):
            async with guard.run(parent=outer):
                raise AssertionError
        assert inner.ended == "run_stopped"


async def test_what_the_person_said_is_known_to_the_checks_of_the_run(server: FakeServer) -> None:
    """`run.user_said`: provenance that MCP does not carry."""
    guard = Guard([seen := allowing()])
    async with opened(guard, server, "session") as peer, guard.run() as run:
        run.user_said("send it to ada@example.org")
        async with guard.run():
            await peer.call("read", {"to": "ada@example.org"})
    asked = seen.seen[0].run
    assert asked is not None
    assert asked.said("ada@example.org")
    assert not asked.said("eve@example.org")


async def test_only_runs_and_tenants_can_be_stopped() -> None:
    """A principal or an id would silently stop nothing."""
    target: Any = Principal(tenant="acme")
    with pytest.raises(TypeError, match="takes a Run, a run's id or a tenant's name, not Principal"):
        Guard().stop(target)


async def test_a_run_is_stopped_by_its_id_and_no_tenant_with_it() -> None:
    """Whoever has a status page has ids only."""
    guard = Guard()
    async with guard.run(id="job") as one, guard.run(id="other", parent=None) as other:
        guard.stop("other")
        assert other.ended == "run_stopped"
        assert one.ended is None
        assert guard.status()["stopped_tenants"] == []


async def test_a_name_that_is_a_runs_id_and_a_tenant_stops_both() -> None:
    """The kill switch errs towards stopping."""
    guard = Guard()
    async with guard.run(id="acme") as one:
        async with guard.run(principal=Principal(tenant="acme")) as other:
            guard.stop("acme")
            assert one.ended == other.ended == "run_stopped"
            assert guard.status()["stopped_tenants"] == ["acme"]


def test_what_is_no_sink_is_refused() -> None:
    """A path in place of a sink would record nothing."""
    nothing: Any = ["audit.jsonl"]
    with pytest.raises(TypeError, match=r"sinks= takes sinks, .*; str is none"):
        Guard(sinks=nothing)


async def test_the_status_is_json_and_shows_what_there_is(server: FakeServer) -> None:
    """Runs, interceptors, connections, sinks."""

    class Counting(Checking):
        def status(self) -> dict[str, JSON]:
            return {"calls": len(self.seen)}

    failing = RecordingSink(fails_with=OSError("full"))
    guard = Guard([Counting(lambda call: ALLOW, id="count")], sinks=[failing])
    async with opened(guard, server, "session") as peer, guard.run(id="job"):
        await peer.call("read")
        status = json.loads(json.dumps(guard.status()))
        assert status["runs"] == [{"id": "job", "depth": 0}]
        assert status["interceptors"] == {"count": {"calls": 1}}
        assert status["connections"] == [{"server": "files", "seam": "session"}]
        assert status["sinks"]["failures"]["RecordingSink"] >= 4
    assert guard.status()["runs"] == []


async def test_coverage_shows_hooks_and_connections(server: FakeServer) -> None:
    """What runs where, and what a seam cannot see."""
    guard = Guard([denying("delete", id="rules"), ScriptedApprover()])
    assert guard.coverage().handling("tools/call") == ("rules", "scripted_approver")
    assert guard.coverage().connections == ()
    async with opened(guard, server, "session", shared=True):
        (connection,) = guard.coverage().connections
        assert (connection.server, connection.seam, connection.is_shared) == ("files", "session", True)


async def test_explaining_a_call_sends_and_spends_nothing(server: FakeServer) -> None:
    """`guard.explain(call)` decides without sending."""
    guard = Guard([denying("delete"), Budget(calls=1)])
    async with opened(guard, server, "session") as peer, guard.run() as run:
        for _ in range(3):
            assert guard.explain(Call.tool_call("read", server="files", run=run)).verdict == "allow"
        explanation = guard.explain(Call.tool_call("delete", server="files", run=run))
        assert explanation.denial is not None
        assert (explanation.verdict, explanation.denial.code) == ("deny", "not_here")
        assert text(await peer.call("read")) == "text"
        spent = guard.explain(Call.tool_call("read", server="files", run=run))
        assert spent.denial is not None
        assert spent.denial.code == "budget_exhausted"
        run.close()
        ended = guard.explain(Call.tool_call("read", server="files", run=run))
        assert ended.denial is not None
        assert (ended.denial.code, ended.denial.source) == ("run_closed", "guard")
    assert len(server.calls("read")) == 1


@pytest.mark.parametrize(("anonymous", "expected"), [("deny", "no_principal"), ("allow", None)])
async def test_what_is_explained_is_what_happens_to_nobodys_call(
    server: FakeServer, anonymous: Any, expected: str | None
) -> None:
    """`anonymous: allow` makes a rule about principals not match, in the explanation too."""
    deny = [AccessRule(tools=["read"], roles=["guest"])]
    guard = Guard([Access(default="allow", deny=deny)], anonymous=anonymous)
    async with opened(guard, server, "session") as peer:
        assert code(await peer.call("read")) == expected
    explanation = guard.explain(Call.tool_call("read", server="files"))
    assert (None if explanation.denial is None else explanation.denial.code) == expected


async def test_a_denial_may_be_raised(server: FakeServer) -> None:
    """`on_deny="raise"`, for programs that want it so."""
    guard = Guard([denying("delete")], on_deny="raise")
    async with opened(guard, server, "session") as peer:
        with pytest.raises(Denied, match=r"Not here. \[not_here\]") as caught:
            await peer.call("delete")
        assert caught.value.code == "not_here"
        assert text(await peer.call("read")) == "text"


async def test_closing_a_guard_closes_its_sinks_once_and_leaves_sessions_open(server: FakeServer) -> None:
    """What happens afterwards is no longer recorded."""
    sink = RecordingSink()
    async with Guard(sinks=[sink]) as guard, opened(guard, server, "session") as peer:
        await guard.aclose()
        before = len(sink.events)
        assert text(await peer.call("read")) == "text"
        assert (sink.is_closed, len(sink.events)) == (True, before)
    assert guard.status()["sinks"] == {"failures": {}}


async def test_digests_of_two_guards_compare_where_they_share_a_key() -> None:
    """By default they do not: a digest in a log then tells nothing to whoever has no key."""
    key = b"sixteen bytes ok"
    digests: list[str | None] = []
    for given in (key, key, None, None):
        sink = RecordingSink()
        guard = Guard(sinks=[sink], digest_key=given, clock=FakeClock())
        server = FakeServer()
        server.tool("read")
        async with opened(guard, server, "session") as peer:
            await peer.call("read", {"a": 1})
        digests.append(next(event.arguments_digest for event in sink.of("received") if event.target))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_deny": "ignore"}, "on_deny is 'result' or 'raise', not 'ignore'"),
        ({"anonymous": True}, "anonymous is 'deny' or 'allow', not True"),
        ({"digest_key": b"short"}, "digest_key has 5 bytes; 16 at least"),
    ],
)
def test_options_are_checked_when_the_guard_is_built(options: Any, message: str) -> None:
    """And not when the first call comes."""
    with pytest.raises(ValueError, match=message):
        Guard(**options)


def test_a_guard_that_cannot_be_linked_is_not_built() -> None:
    """An error that says which part, before anything is guarded."""
    with pytest.raises(OrderError, match="no Approval stands further in"):
        Guard([asking("read")])
    thing: Any = Access
    with pytest.raises(GuardBuildError, match="got the class Access"):
        Guard([thing])


def test_a_guard_shows_its_interceptors() -> None:
    """In a traceback it says which guard it is."""
    assert repr(Guard([allowing(id="a"), ScriptedApprover()])) == "Guard([a, scripted_approver])"


async def test_a_server_has_a_name(server: FakeServer) -> None:
    """Policy, stores and audit call it by that."""
    with pytest.raises(ValueError, match="must not be empty"):
        async with opened(Guard(), server, "session", name=""):
            raise AssertionError


async def test_only_sessions_are_guarded_as_sessions() -> None:
    """The message says which way works."""
    thing: Any = FakeServer().connect()
    with pytest.raises(SeamError, match=r"guard.transport\(\) takes transports"):
        Guard().session(thing, name="files")


@pytest.mark.skipif(sdk_major() > 1, reason="SDK 2.x has a Client")
def test_a_client_needs_sdk_2() -> None:
    """The message says what to use instead."""
    with pytest.raises(SeamError, match=r"use guard.session\(\) or guard.transport\(\)"):
        Guard().client(FakeServer().connect(), name="files")


async def test_a_policy_file_makes_the_same_guard(server: FakeServer, tmp_path: Path) -> None:
    """Design: what the file can say, Python can say."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        textwrap.dedent(
            """\
            version: 1
            on_deny: raise
            servers:
              files: {shared: true}
            interceptors:
              access:
                default: allow
                deny: [{tools: [delete]}]
            """
        )
    )
    sink = RecordingSink()
    guard = Guard.from_policy(path, sinks=[sink])
    async with opened(guard, server, "session") as peer:
        assert guard.coverage().connections[0].is_shared
        with pytest.raises(Denied, match="access_denied"):
            await peer.call("delete")
    assert sink.codes == ["access_denied"]
    assert server.calls("delete") == []


async def test_every_call_ends_in_the_record_whatever_an_interceptor_does(server: FakeServer) -> None:
    """Raises, returns None, goes on twice, hangs; the session outlives all of it."""

    async def misbehave(call: Call, call_next: CallNext) -> Any:
        match call.arguments.get("how"):
            case "raise":
                raise ValueError("canary")
            case "none":
                return None
            case "twice":
                await call_next(call)
                return await call_next(call)
            case "hang":
                await anyio.sleep_forever()
        return await call_next(call)

    sink = RecordingSink()
    guard = Guard([Around(misbehave, id="bad")], sinks=[sink])
    async with opened(guard, server, "session") as peer:
        for how in ("raise", "none", "twice"):
            assert code(await peer.call("read", {"how": how})) == "interceptor_failed"
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_once_received, sink, scope)
                await peer.call("read", {"how": "hang"})
        assert text(await peer.call("read")) == "text"
    received = [event.call_id for event in sink.of("received") if event.target]
    ended = [
        event.call_id for event in sink.events if event.kind in ("completed", "cancelled") and event.target
    ]
    assert received == ended
    assert len(sink.of("cancelled")) == 1
    assert len(server.calls("read")) == 2
    assert not any("canary" in text for text in sink.texts)


async def _cancel_once_received(sink: RecordingSink, scope: anyio.CancelScope) -> None:
    while len([event for event in sink.of("received") if event.target]) < 4:
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_tenant_is_stopped_in_runs_the_guard_has_never_seen() -> None:
    """A run made by hand is not registered anywhere, and its waiting call is refused all the same."""
    waiting, go_on = anyio.Event(), anyio.Event()

    class Holding(Interceptor):
        handles = frozenset({("tools/call", "outbound")})

        async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
            waiting.set()
            await go_on.wait()
            return await call_next(call)

    server = FakeServer()
    server.tool("pay")
    guard = Guard([Holding()])
    run = Run(principal=Principal(tenant="acme"))
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="bank", run=run)
        async with session, anyio.create_task_group() as tasks:
            await session.initialize()
            tasks.start_soon(session.call_tool, "pay")
            await waiting.wait()
            guard.stop("acme")
            go_on.set()
    assert server.calls("pay") == []


async def test_a_run_stopped_while_a_tool_is_looked_up_makes_no_call() -> None:
    """A rule that needs the tool's definition waits for a listing, and much can happen meanwhile."""
    gate = Gate()

    class Needing(Interceptor):
        handles = frozenset({("tools/call", "outbound")})
        needs_tool = True

        def check(self, call: Call) -> Verdict:
            return ALLOW

    server = FakeServer()
    server.tool("pay")
    server.on("tools/list").waits_for(gate)
    guard = Guard([Needing()])
    run = Run()
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="bank", run=run)
        async with session, anyio.create_task_group() as tasks:
            await session.initialize()
            tasks.start_soon(session.call_tool, "pay")
            await gate.reached()
            guard.stop(run)
            gate.open()
    assert server.calls("pay") == []


def test_a_guard_is_made_of_a_list() -> None:
    """The commonest slip: the one interceptor there is, without brackets."""
    with pytest.raises(GuardBuildError, match=r"a list of interceptors: \[Budget\(...\)\]"):
        Guard(Budget(calls=1))  # type: ignore[arg-type]
    sink = RecordingSink()
    for build in (Guard, Guard.standard):
        with pytest.raises(GuardBuildError, match=r"a list of sinks: \[RecordingSink\(...\)\]"):
            build(sinks=sink)  # type: ignore[arg-type]


async def test_a_guard_that_was_closed_cannot_be_entered_again(server: FakeServer, tmp_path: Path) -> None:
    """A second task would not be recorded, and nobody would know."""
    trail = tmp_path / "audit"
    guard = Guard(sinks=[JsonLines(trail, mode="durable")])
    async with guard, opened(guard, server, "session") as peer:
        await peer.call("read")
    with pytest.raises(GuardBuildError, match="was closed, with its sinks"):
        async with guard:
            raise AssertionError
    left = Guard()
    await left.aclose()
    with pytest.raises(GuardBuildError, match="was closed"):
        async with left:
            raise AssertionError


async def test_a_guard_that_is_entered_twice_is_closed_by_the_last_to_leave(server: FakeServer) -> None:
    """Tasks that overlap may each enter it."""
    sink = RecordingSink()
    guard = Guard(sinks=[sink])
    async with guard:
        async with guard, opened(guard, server, "session") as peer:
            await peer.call("read")
        assert not sink.is_closed
        async with guard, opened(guard, server, "session") as peer:
            before = len(sink.events)
            await peer.call("read")
            assert len(sink.events) > before
    assert sink.is_closed


def test_a_run_on_behalf_of_a_name_fails_at_once() -> None:
    """Not only where the context is entered."""
    with pytest.raises(TypeError, match=r"principal is a Principal\(user=...\), not str"):
        Guard().run(principal="ana")  # type: ignore[arg-type]
