"""The demo's two runs: real servers over stdio and HTTP, the agent, and a look at what it left.

Decisions are read back from the audit file, effects from git and SQLite; nothing is reported because the
script expects it. Below: `connect`, how servers are reached; `tokens`, what they want to see.
"""

import shutil
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

import anyio
from mcp import StdioServerParameters

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
    ToolPinning,
)
from mcpguard.cli.demo.agent import Agent
from mcpguard.cli.demo.connect import Servers, bare, virtual
from mcpguard.cli.demo.decisions import read_decisions
from mcpguard.cli.demo.left import left
from mcpguard.cli.demo.repo import DemoError, clone, look_at, make_repository
from mcpguard.cli.demo.report import Outcome, Report
from mcpguard.cli.demo.tokens import Tokens, make_tokens
from mcpguard.cli.demo.trail import judged_anew, make_key, read_trail
from mcpguard.config import parse_policy
from mcpguard.detectors.approval import Answer

__all__ = ["Approve", "perform"]

Approve: TypeAlias = Literal["yes", "no", "ask"]

STDIO = ("database", "tickets", "channel", "rota", "style")
HTTP = ("advisor",)
"""The example servers: each is a Python file of that name, and so is its database."""

CHANGING = "style"
"""The one that describes its tool otherwise when it is started again."""

PACKAGED = Path(__file__).parent / "servers"
"""Where a wheel has the example files; a checkout has them in `examples`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What both runs have in common.

    Args:
        work: The folder with the clones, the servers' data, and the lock file of approved tools.
        tokens: What is secret.
    """

    work: Path
    tokens: Tokens

    @property
    def lock(self) -> Path:
        """The lock file, as the policy calls it."""
        return self.work / "tools.lock"

    def database(self, which: str, server: str) -> Path:
        """Where a server keeps its data in one of the runs."""
        return self.work / f"{which}-data" / f"{server}.sqlite"

    @contextmanager
    def servers(
        self, which: str, environment: Mapping[str, Mapping[str, str]], *, only: str | None = None
    ) -> Generator[Servers]:
        """What is started in one of the runs, each server with further variables."""

        def started(name: str, *arguments: str) -> StdioServerParameters:
            variables = {**self.tokens.digest(name), **environment.get(name, {})}
            return StdioServerParameters(command=sys.executable, args=list(arguments), env=variables)

        def example(name: str, *options: str) -> StdioServerParameters:
            return started(name, str(_example(f"{name}.py")), str(self.database(which, name)), *options)

        folder = self.database(which, "").parent
        folder.mkdir(exist_ok=True)
        stdio = {name: example(name) for name in STDIO if only in (None, name)}
        http = {name: example(name, "--http") for name in HTTP if only in (None, name)}
        if only is None:
            git = started("git", "-m", "mcp_server_git", "--repository", str(self.work / which))
            stdio = {"git": git.model_copy(update={"env": {"GIT_LFS_SKIP_SMUDGE": "1"}}), **stdio}
        with (folder / "stderr.txt").open("w+", encoding="utf-8") as stderr:
            yield Servers(stdio=stdio, http=http, stderr=stderr)


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
    policy, stricter = _example("compliance_policy.yaml"), _example("stricter_policy.yaml")
    run_id = f"demo-{uuid4().hex[:8]}"
    stage = Stage(work=work, tokens=make_tokens())
    origin = make_repository(work / "origin", stage.tokens.committed) if given is None else given
    before = look_at(clone(origin, work / "unguarded"))
    clone(origin, work / "guarded")
    await _approve_tools(stage)
    key = make_key(work) if _is_new(audit) else None
    guard = _guard(policy, work, JsonLines(audit, key=None if key is None else key.file), approve)
    unguarded, guarded = await _both(partial(_unguarded, stage), partial(_guarded, stage, guard, run_id))
    events, decisions, states = read_decisions(audit, run_id)
    if len(decisions) != len(guarded.steps):
        raise DemoError(f"{audit} has {len(decisions)} tool calls, the agent made {len(guarded.steps)}")
    return Report(
        trail=read_trail(audit, run_id, None if key is None else key.public),
        anew=await judged_anew(audit, run_id, stricter),
        given=given,
        policy=policy,
        audit=audit,
        events=events,
        decisions=decisions,
        states=states,
        before=before,
        bare=unguarded,
        guarded=guarded,
    )


async def _approve_tools(stage: Stage) -> None:
    """Some day before: start the server that will change, approve what it lists, and stop it."""
    guard = Guard([ToolPinning(lock=stage.lock, first_use="trust")])
    with stage.servers("before", {}, only=CHANGING) as servers:
        async with guard, guard.run() as run, virtual(servers, guard, run):
            pass
    for which in ("unguarded", "guarded"):
        copy = stage.database(which, CHANGING)
        copy.parent.mkdir()
        shutil.copyfile(stage.database("before", CHANGING), copy)


async def _both(*runs: Callable[[], Awaitable[Outcome]]) -> list[Outcome]:
    """Both runs at a time: they share nothing, and most of one is waiting.

    Raises:
        DemoError: If one fails; the other is ended.
    """
    outcomes: dict[int, Outcome] = {}
    errors: list[DemoError] = []
    async with anyio.create_task_group() as tasks:

        async def one(number: int, run: Callable[[], Awaitable[Outcome]]) -> None:
            try:
                outcomes[number] = await run()
            except DemoError as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        for number, run in enumerate(runs):
            tasks.start_soon(one, number, run)
    if errors:
        raise errors[0]
    return [outcomes[number] for number in range(len(runs))]


async def _unguarded(stage: Stage) -> Outcome:
    """The agent with a session for each server, and with the tokens they want."""
    tokens = stage.tokens.wanted
    held = {"database": {"DATABASE_TOKEN": tokens["database"]}}
    with stage.servers("unguarded", held) as servers:
        async with bare(servers, tokens) as sessions:
            agent = Agent(sessions, stage.work / "unguarded", tokens)
            await agent.work()
    return _outcome(stage, "unguarded", agent)


async def _guarded(stage: Stage, guard: Guard, run_id: str) -> Outcome:
    """The agent with one session, and no token; it works on behalf of somebody."""
    who = Principal(tenant="acme", user="ana", agent="compliance")
    with stage.tokens.in_environment(), stage.servers("guarded", {}) as servers:
        async with (
            guard,
            guard.run(principal=who, id=run_id) as run,
            virtual(servers, guard, run) as sessions,
        ):
            agent = Agent(sessions, stage.work / "guarded")
            await agent.work()
    return _outcome(stage, "guarded", agent)


def _outcome(stage: Stage, which: str, agent: Agent) -> Outcome:
    """Look at what is there, when the servers have gone."""
    databases = {name: stage.database(which, name) for name in (*STDIO, *HTTP)}
    return Outcome(
        sessions=len(agent.sessions),
        tools=sorted(agent.tools),
        steps=agent.steps,
        repository=look_at(stage.work / which),
        left=left(databases, stage.tokens.committed),
        tokens_held=len(agent.tokens),
        tokens_sent=agent.tokens_sent,
    )


def _example(name: str) -> Path:
    """One of the demo's example files, from the wheel or from the checkout."""
    examples = Path(__file__).resolve().parents[3] / "examples"
    for path in (PACKAGED / name, examples / name, examples / "servers" / name):
        if path.is_file():
            return path
    raise DemoError(f"{name} is missing: neither in {PACKAGED} nor in {examples}")


def _is_new(audit: Path) -> bool:
    """Whether there is nothing in a file, so that one key can sign all of it."""
    return not audit.exists() or audit.stat().st_size == 0


def _guard(file: Path, folder: Path, trail: JsonLines, approve: Approve) -> Guard:
    """The policy's guard, with this run's trail in place of its own, and whoever answers its questions.

    Args:
        file: The policy.
        folder: Where the files lie that it names.
        trail: Where events go.
        approve: Who answers.
    """
    policy = parse_policy(file.read_text("utf-8"), source=str(file), folder=folder)
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
