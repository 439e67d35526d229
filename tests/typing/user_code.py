"""What users write, as a type checker sees it: `mypy --strict` and `pyright` in strict mode accept all of it.

Nothing here runs: it is there to be read by checkers.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Unpack, assert_type

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client

from mcpguard import (
    ALLOW,
    JSON,
    Access,
    AccessRule,
    Allow,
    Ask,
    Budget,
    Call,
    CallNext,
    Clock,
    Common,
    Coverage,
    Denial,
    Denied,
    Deny,
    Event,
    Explanation,
    Fate,
    Guard,
    GuardBuildError,
    Interceptor,
    JsonLines,
    JSONObject,
    Logging,
    Match,
    MCPGuardError,
    OrderError,
    Outcome,
    Place,
    PluginError,
    PolicyError,
    Principal,
    Result,
    Rewrite,
    Run,
    Scope,
    Scrubber,
    SeamError,
    Sink,
    ToolFacts,
    Verdict,
    WireError,
    current_run,
)
from mcpguard.config import (
    Built,
    Plugin,
    Policy,
    Registry,
    ServerOptions,
    load_policy,
    parse_policy,
    policy_schema,
)
from mcpguard.testing import (
    Elicit,
    FakeClock,
    FakeServer,
    Gate,
    RecordingSink,
    RPCError,
    Sample,
    Script,
    ScriptedApprover,
    check_interceptor,
    structured,
    tool_error,
)

# Interceptors: one for each hook, in the ways people write `handles`.


class Checks(Interceptor):
    """A check with every verdict."""

    handles = frozenset({("tools/call", "outbound"), ("sampling/createMessage", "inbound")})
    place = Place.ARGUMENT_RULES
    needs_tool = True
    can_ask = True

    def __init__(self, *, words: Collection[str] = (), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.scope = Scope(servers=["git"], tools=words)

    def check(self, call: Call) -> Verdict:
        """Judge."""
        assert_type(call.params, JSONObject)
        assert_type(call.target, str | None)
        assert_type(call.arguments, JSONObject)
        assert_type(call.tool, ToolFacts | None)
        assert_type(call.principal, Principal | None)
        assert_type(call.run, Run | None)
        assert_type(call.canonical_arguments, bytes)
        assert_type(call.texts, tuple[str, ...])
        match self.scope.match(call):
            case Match.NO_PRINCIPAL:
                return Deny("no_principal", reason="nobody said", retry_after=1.0)
            case Match.NO:
                return ALLOW
            case Match.YES:
                pass
        if call.arguments.get("force") is True:
            return Ask("forced", reason="force is set")
        path = call.arguments.get("path")
        if isinstance(path, str):
            return Rewrite({**call.params, "arguments": {**call.arguments, "path": path.strip()}})
        return Allow()

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Warn."""
        if "git" not in servers:
            yield "no server is called git"


class Filters(Interceptor):
    """A filter of lists and results."""

    filters = frozenset({("tools/list", "outbound"), ("tools/call", "outbound")})

    def filter(self, call: Call, result: Result) -> Result:
        """Look."""
        assert_type(result.outcome, Outcome)
        assert_type(result.fate, Fate)
        assert_type(result.value, JSONObject | None)
        assert_type(result.error, WireError | None)
        assert_type(result.denial, Denial | None)
        if result.value is None:
            return result
        tools: JSON = result.value.get("tools")
        shown: list[JSON] = [tool for tool in tools if tool] if isinstance(tools, list) else []
        return result.replace(value={**result.value, "tools": shown})


class Around(Interceptor):
    """A layer."""

    handles = (("*", "outbound"), ("*", "inbound"))
    repeats = True

    def __init__(self, *, limit: float = 1.0, clock: Clock | None = None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.limit = limit
        self.clock = clock

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Stand around."""
        result = assert_type(await call_next(call), Result)
        if result.outcome is Outcome.TRANSPORT_ERROR and result.fate is Fate.NOT_SENT:
            result = await call_next(call.replace(params={**call.params, "again": True}))
        if result.outcome is Outcome.PROTOCOL_ERROR:
            return call.denied(code="server_failed", reason="the server failed", retry_after=self.limit)
        return result

    def status(self) -> Mapping[str, JSON]:
        """Show."""
        return {"limit": self.limit}


# Sinks and scrubbers: anything of the right shape.


class Printer:
    """A sink."""

    def emit(self, event: Event) -> None:
        """Take it."""
        assert_type(event.outcome, Outcome | None)
        assert_type(event.as_dict(), dict[str, JSON])

    async def aclose(self) -> None:
        """Nothing."""


class Nothing:
    """A scrubber."""

    def scrub(self, value: JSON) -> JSON:
        """Keep nothing."""
        return None


sink: Sink = Printer()
scrubber: Scrubber = Nothing()
clock: Clock = FakeClock()


# A guard, in Python and from a file.


def in_python(folder: Path) -> Guard:
    """Interceptors and sinks as objects."""
    return Guard(
        [
            Access(
                default="deny",
                allow=[AccessRule(servers=["git"], tools=["git_*"], roles=["auditor"])],
                deny=[AccessRule(tools=["git_reset"])],
                mode="audit",
            ),
            Checks(words=["git_*"], id="words"),
            ScriptedApprover().approves(),
            Around(fail_open=True),
            Budget(per="run", calls=20, tenants=["acme"]),
            Filters(),
        ],
        sinks=[
            JsonLines(folder / "audit", mode="strict"),
            Logging(level="debug"),
            Printer(),
            RecordingSink(),
        ],
        scrubber=Nothing(),
        clock=clock,
        on_deny="raise",
        anonymous="allow",
        digest_key=b"sixteen bytes...",
    )


def from_a_file(path: Path) -> Guard | None:
    """What a program does with a policy file, and with what is wrong in it."""
    try:
        return assert_type(Guard.from_policy(path, sinks=[Printer()]), Guard)
    except PolicyError as error:
        assert_type(error.line, int | None)
        assert_type([problem.located(error.source) for problem in error.problems], list[str])
    except (PluginError, OrderError) as error:
        raise SystemExit(str(error)) from error
    except GuardBuildError as error:
        raise ValueError from error
    return None


def a_policy(path: Path) -> None:
    """A policy without a guard."""
    policy = assert_type(load_policy(path), Policy)
    assert_type(parse_policy("version: 1", format="yaml"), Policy)
    assert_type(policy.servers, Mapping[str, ServerOptions])
    assert_type(policy.build(), Built)
    for plugin in Registry().plugins():
        assert_type(plugin, Plugin)
    assert_type([problem.message for problem in policy.warnings()], list[str])
    assert_type(policy_schema(), dict[str, JSON])


# Sessions.


class MySession(ClientSession):
    """A host's own kind of session."""

    async def hello(self) -> str:
        """Say hello."""
        return "hello"


async def guarded(guard: Guard) -> None:
    """A session keeps its type; runs nest."""
    server = StdioServerParameters(command="mcp-server-git")
    task = Run(id="task", principal=Principal(tenant="acme", user="ana", roles=frozenset({"auditor"})))
    async with guard, stdio_client(server) as (read, write):
        session = guard.session(MySession(read, write), name="git", run=task, shared=False)
        assert_type(session, MySession)
        async with session, guard.run(principal=Principal(user="ana"), id="sub", parent=task) as run:
            assert_type(run, Run)
            assert_type(current_run(), Run | None)
            await session.initialize()
            assert_type(await session.hello(), str)
            run.user_said("write to ana@example.com")
            assert_type(run.said("ana@example.com"), bool)
        guard.stop(task)
        guard.stop("acme")
    assert_type(guard.status(), dict[str, JSON])


@asynccontextmanager
async def through_a_transport(guard: Guard) -> AsyncGenerator[ClientSession]:
    """A host that builds its session on a guarded transport."""
    try:
        transport = guard.transport(stdio_client(StdioServerParameters(command="mcp-server-git")), name="git")
    except SeamError as error:
        raise TypeError from error
    async with transport as (read, write), ClientSession(read, write) as session:
        yield session


async def refused(session: ClientSession) -> str:
    """A guard that raises."""
    try:
        await session.call_tool("git_reset", {})
    except Denied as denied:
        assert_type(denied.retry_after, float | None)
        return denied.code
    except MCPGuardError:
        return "other"
    return "allowed"


def questions(guard: Guard) -> None:
    """Asking a guard about itself."""
    call = Call.tool_call("git_status", {"repo_path": "."}, server="git", principal=Principal(user="ana"))
    assert_type(guard.explain(call), Explanation)
    coverage = assert_type(guard.coverage(), Coverage)
    assert_type(coverage.handling("tools/call", "outbound"), tuple[str, ...])
    for connection in coverage.connections:
        assert_type(connection.blind_spots, tuple[str, ...])


# Tests.


async def tests_with_fakes() -> None:
    """What a test's author writes."""
    gate = Gate()
    server = FakeServer("files", era="modern", page_size=2)
    assert_type(
        server.tool("read", annotations={"readOnlyHint": True}).waits_for(gate).returns("text"), Script
    )
    server.tool("sum").answers(lambda given: structured({"sum": given["a"] + given["b"]}))
    server.tool("ask").asks(Elicit("Which?"), Sample("Why?")).returns(tool_error("no")).times(2).hangs()
    server.on("prompts/list").fails(-32601, "none")

    async def later(given: dict[str, object]) -> str:
        if "path" not in given:
            raise RPCError(-32602, "no path")
        return "later"

    server.tool("later").answers(later)
    record = RecordingSink(strict=True, fails_with=OSError(), fails_on=["dispatched"])
    guard = Guard([Checks(), ScriptedApprover().denies("no").edits({"path": "b"})], sinks=[record])
    async with (
        server.connect() as (read, write),
        guard.session(ClientSession(read, write), name="files") as session,
    ):
        with anyio.fail_after(1):
            await session.initialize()
        gate.open()
        await server.until_seen("tools/list")
    assert_type(record.last("completed").outcome, Outcome | None)
    assert_type(record.codes, list[str])
    await check_interceptor(lambda: Around(clock=FakeClock()), calls=[Call.tool_call("read", server="files")])
