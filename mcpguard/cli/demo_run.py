"""The demo's two runs: real servers over stdio, the agent, and a look at what it left.

Decisions are read back from the audit file, effects from git and SQLite; nothing is reported because the
script expects it.
"""

import json
import os
import secrets
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Literal, TextIO, TypeAlias
from uuid import uuid4

import anyio
import mcp
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcpguard import (
    Approval,
    ApprovalRequest,
    Approved,
    Approver,
    Declined,
    Guard,
    Interceptor,
    JsonLines,
    Principal,
)
from mcpguard.cli.demo_agent import Agent
from mcpguard.cli.demo_repo import DemoError, clone, look_at, make_repository
from mcpguard.cli.demo_report import Decision, Outcome, Report, State
from mcpguard.cli.demo_trail import make_key, read_trail
from mcpguard.config import load_policy
from mcpguard.detectors.approval import Answer

__all__ = ["Approve", "connected", "perform"]

Approve: TypeAlias = Literal["yes", "no", "ask"]

STARTUP = 60.0
"""Seconds within which all servers have to answer the handshake."""

SERVERS = ("database", "tickets", "channel", "advisor", "rota")
"""The example servers: each is a Python file of that name, and so is its database."""

TOKEN = "TICKETS_TOKEN"  # noqa: S105 - a variable's name
"""Where the tickets server, and the example policy, look for the token; it is made for each demo."""

PACKAGED = Path(__file__).parent / "demo_servers"
"""Where a wheel has the example files; a checkout has them in `examples`."""

PROTOCOL_ERROR: type[Exception] = getattr(mcp, "MCPError" if hasattr(mcp, "MCPError") else "McpError")
"""What the SDK raises for an error that is not a tool's and for a lost connection; 1.x has another name."""

BROKEN = (PROTOCOL_ERROR, OSError, TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What comes out of a session whose server is gone."""


async def perform(work: Path, given: Path | None, audit: Path, approve: Approve = "no") -> Report:
    """Let the agent work twice, and compare.

    Args:
        work: An empty directory for the clones and databases; its path is absolute.
        given: The repository to review, which is only read; None for one made on the spot.
        audit: The JSON Lines file that the guarded run's events are added to; signed if it is new.
        approve: What becomes of calls that wait for a person: `yes`, `no`, or `ask` at the terminal.

    Raises:
        DemoError: If git or a server fails, or the example files are missing.
    """
    policy = _example("compliance_policy.yaml")
    run_id = f"demo-{uuid4().hex[:8]}"
    origin = make_repository(work / "origin") if given is None else given
    before = look_at(clone(origin, work / "unguarded"))
    clone(origin, work / "guarded")
    token = secrets.token_urlsafe(24)
    bare = await _work(work / "unguarded", None, token)
    key = make_key(work) if _is_new(audit) else None
    guard = _guard(policy, JsonLines(audit, key=None if key is None else key.file), approve)
    try:
        who = Principal(tenant="acme", user="ana", agent="compliance")
        with _set(TOKEN, token):
            async with guard.run(principal=who, id=run_id):
                guarded = await _work(work / "guarded", guard, token)
    finally:
        await guard.aclose()
    events, decisions, states = _read(audit, run_id)
    if len(decisions) != len(guarded.steps):
        raise DemoError(f"{audit} has {len(decisions)} tool calls, the agent made {len(guarded.steps)}")
    return Report(
        trail=read_trail(audit, run_id, None if key is None else key.public),
        given=given,
        policy=policy,
        audit=audit,
        events=events,
        decisions=decisions,
        states=states,
        before=before,
        bare=bare,
        guarded=guarded,
    )


async def _work(repository: Path, guard: Guard | None, token: str) -> Outcome:
    """Start the servers, let the agent work on a clone, stop the servers, and look at what is there.

    Without a guard the agent has to hold the tickets' token; with one, the guard puts it on calls.
    """
    directory = repository.parent / f"{repository.name}-data"
    directory.mkdir()
    databases = {name: directory / f"{name}.sqlite" for name in SERVERS}
    environment = {"GIT_LFS_SKIP_SMUDGE": "1"}
    commands = {"git": ["-m", "mcp_server_git", "--repository", str(repository)]}
    for name, database in databases.items():
        commands[name] = [str(_example(f"{name}.py")), str(database)]
    servers = {
        name: StdioServerParameters(
            command=sys.executable,
            args=arguments,
            env={**environment, TOKEN: token} if name == "tickets" else environment,
        )
        for name, arguments in commands.items()
    }
    with (directory / "stderr.txt").open("w+", encoding="utf-8") as stderr:
        async with connected(servers, stderr, guard) as sessions:
            agent = Agent(sessions, repository, {"tickets": token} if guard is None else {})
            await agent.work()
    rows = {f"{name}.{table}": n for name, path in databases.items() for table, n in _tables(path)}
    return Outcome(
        tools=agent.tools,
        steps=agent.steps,
        repository=look_at(repository),
        rows=rows,
        tokens_sent=agent.tokens_sent,
    )


@contextmanager
def _set(name: str, value: str) -> Generator[None]:
    """With a variable in this process's environment, which is as it was afterwards."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@asynccontextmanager
async def connected(
    servers: Mapping[str, StdioServerParameters], stderr: TextIO, guard: Guard | None
) -> AsyncGenerator[dict[str, ClientSession]]:
    """Initialized sessions with all servers, which start side by side.

    Args:
        servers: By the name that the policy has for it, how to start each server.
        stderr: A file, open for reading too, for what the servers write there.
        guard: Guards every session; None leaves them bare.

    Raises:
        DemoError: If a connection fails at any time, with the last line of `stderr`.
    """
    try:
        async with AsyncExitStack() as stack:
            streams = {
                name: await stack.enter_async_context(stdio_client(server, errlog=stderr))
                for name, server in servers.items()
            }
            sessions: dict[str, ClientSession] = {}
            for name, (read, write) in streams.items():
                session = ClientSession(read, write)
                if guard is not None:
                    session = guard.session(session, name=name)
                sessions[name] = await stack.enter_async_context(session)
            with anyio.fail_after(STARTUP):
                for session in sessions.values():
                    await session.initialize()
            yield sessions
    except* BROKEN as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        stderr.seek(0)
        complaint = (stderr.read().strip().splitlines() or ["they wrote nothing to stderr"])[-1]
        raise DemoError(f"a server failed: {str(error) or type(error).__name__}; {complaint}") from group


def _example(name: str) -> Path:
    """One of the demo's example files, from the wheel or from the checkout."""
    examples = Path(__file__).resolve().parents[2] / "examples"
    for path in (PACKAGED / name, examples / name, examples / "servers" / name):
        if path.is_file():
            return path
    raise DemoError(f"{name} is missing: neither in {PACKAGED} nor in {examples}")


def _is_new(audit: Path) -> bool:
    """Whether there is nothing in a file, so that one key can sign all of it."""
    return not audit.exists() or audit.stat().st_size == 0


def _guard(file: Path, trail: JsonLines, approve: Approve) -> Guard:
    """The policy's guard, with this run's trail in place of its own, and whoever answers its questions."""
    policy = load_policy(file)
    interceptors: list[Interceptor] = []
    for plan in policy.plans:
        one = plan.build()
        if isinstance(one, Approval) and approve != "ask":
            one = Approval(id=one.id, rules=one.rules, approver=_answering(approve))
        interceptors.append(one)
    return Guard(
        interceptors,
        sinks=[trail],
        servers=policy.servers,
        on_deny=policy.on_deny,
        anonymous=policy.anonymous,
        policy_digest=policy.digest,
        connection=policy.options.connection,
    )


def _answering(approve: Literal["yes", "no"]) -> Approver:
    """Whoever answers each question as the command line says."""

    async def answer(_request: ApprovalRequest) -> Answer:
        if approve == "yes":
            return Approved(by="--approve yes")
        return Declined(by="--approve no")

    return answer


def _tables(path: Path) -> list[tuple[str, int]]:
    """The tables of a SQLite file and how many rows each has."""
    with closing(sqlite3.connect(path)) as database:
        names = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return [
            (name, database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608
            for (name,) in names
        ]


def _read(audit: Path, run_id: str) -> tuple[Counter[str], list[Decision], list[State]]:
    """Of the audit file: this run's events by kind, its tool calls in order, and what changed its state."""
    kinds: Counter[str] = Counter()
    dispatched: set[str] = set()
    warnings: dict[str, str] = {}
    approvers: dict[str, str] = {}
    decisions: list[Decision] = []
    states: list[State] = []
    is_open = False
    for line in audit.read_text(encoding="utf-8", errors="replace").splitlines():
        if f'"{run_id}"' not in line and not (is_open and '"state_changed"' in line):
            continue
        event = json.loads(line)["record"]
        kind = event["kind"]
        kinds[kind] += 1
        is_open = kind != "run_closed"
        if kind == "state_changed":
            of = " ".join(filter(None, (event.get("server"), event.get("target"))))
            states.append(State(interceptor=event["interceptor"], of=of, state=event["state"]))
        elif kind == "warning":
            warnings[event["call_id"]] = event["code"]
        elif kind == "decision" and event.get("verdict") == "approve":
            approvers[event["call_id"]] = event.get("approver", "somebody")
        elif kind == "dispatched":
            dispatched.add(event["call_id"])
        elif kind == "completed" and event["method"] == "tools/call":
            call_id = event["call_id"]
            decisions.append(
                Decision(
                    dispatched=call_id in dispatched,
                    interceptor=event.get("interceptor"),
                    code=event.get("code"),
                    warning=warnings.get(call_id),
                    approver=approvers.get(call_id),
                )
            )
    return kinds, decisions, states
