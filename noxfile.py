"""How this project checks itself. `nox -s tests` is what a contributor runs; CI adds the rest."""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "uv|virtualenv"

HERE = Path(__file__).parent
DIST = HERE / ".nox" / "dist"
RESULTS = HERE / ".nox" / "integrations"
SDKS = ["1.24.*", "1.30.*", "2.1.*", "2.*"]
"""Lowest supported and newest of each major, and the 2.x that strands-agents resolves to."""

SDK_FREE = [
    "tests/test_docs.py",
    "tests/cli",
    "tests/audit",
    "tests/config",
    "tests/detectors",
    "tests/examples",
    "tests/sinks",
    "tests/stores",
]
"""Tests in which no SDK takes part, or that look at more than a seam: with the newest only."""

SEAMS = ["tests/seams", "tests/testing", "tests/test_guard.py"]
"""What releases between the lowest and the newest can make a difference to."""

EXTRAS = "approvals,audit,jwt,nats,postgres,redis,rules,webhook"
"""The extras whose code is tested everywhere."""

PARALLEL = ("--numprocesses=3", "--dist=loadscope", "--max-worker-restart=0", "--timeout=300")
"""One module to a process at a time; one that dies or hangs ends the run, and is not waited for. With two
processes two cores wait half of the time."""

WAITING = ("--numprocesses=3", "--dist=load", *PARALLEL[2:])
"""For tests that mostly wait, and share nothing."""

MEASURED = ("--cov=mcpguard.core", "--cov=mcpguard.seams", "--cov-branch", "--cov-report=")
"""What `uncovered` needs, from sessions of both majors; it slows tests down, so others go without."""

HOSTILE = [
    "tests/hostile",
    "-k",
    "asyncio and not messages and not pings and not sampling and not changes and not ever and not at_once",
]
"""Servers that misbehave, without the floods: what reaches stdio, HTTP and what brings connections back."""

NODE = [
    "@modelcontextprotocol/inspector",
    "@modelcontextprotocol/server-everything",
    "@modelcontextprotocol/server-filesystem",
    "@modelcontextprotocol/server-memory",
]
"""Packages of npm that `served` installs: a client, and servers."""

FRAMEWORKS = {
    "langchain_mcp_adapters": ("langchain-mcp-adapters", "0.3.0", ["langgraph", "mcp<2"]),
    "openai_agents": ("openai-agents", "0.20.0", []),
    "pydantic_ai": ("pydantic-ai-slim[mcp]", "2.20.0", []),
    "fastmcp": ("fastmcp", "3.0.0", []),
    "google_adk": ("google-adk", "2.10.0", []),
    "strands": ("strands-agents", "1.45.0", []),
    "agno": ("agno[mcp]", "3.0.0", ["openai"]),
    "llama_index": ("llama-index-tools-mcp", "0.4.4", []),
    "anthropic": ("anthropic[mcp]", "2.11.0", []),
    "autogen": ("autogen-ext[mcp]", "0.7.0", ["autogen-agentchat", "mcp<2"]),
    "haystack": ("mcp-haystack", "1.5.0", []),
    "dspy": ("dspy", "3.3.1", []),
    "presidio": ("presidio-analyzer", "2.2.360", ["mcp"]),
    "agent_framework": ("agent-framework-core", "1.23.0", []),
    "langchain": ("langchain[mcp]", "1.4.0", []),
    "crewai": ("crewai", "1.15.0", ["mcp<2"]),
    "claude_agent_sdk": ("claude-agent-sdk", "0.2.100", []),
    "smolagents": ("smolagents[mcp]", "1.23.0", ["mcp[ws]<2"]),
}
"""Module of `mcpguard.integrations` -> what installs its framework, its lowest supported release, and what
else its tests need."""


def wheel(session: nox.Session) -> str:
    """Build the wheel once per run of nox: what is tested is what would be installed."""
    mark = DIST / f"built-by-{os.getpid()}"
    if not mark.exists():
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir(parents=True)
        session.install("build")
        session.run("python", "-m", "build", "--wheel", "--outdir", str(DIST), str(HERE), silent=True)
        mark.touch()
    (built,) = DIST.glob("*.whl")
    return str(built)


def dependencies(group: str) -> list[str]:
    """A dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml(HERE / "pyproject.toml"), group))


def installed(session: nox.Session) -> dict[str, str]:
    """What makes tests import the installed wheel rather than the checkout."""
    return {"PYTHONSAFEPATH": "1", "COVERAGE_FILE": f".coverage.{session.name}"}


@nox.session
@nox.parametrize("sdk", SDKS, ids=["1.24", "1.30", "2.1", "2.x"])
def tests(session: nox.Session, sdk: str) -> None:
    """Test the installed wheel against one version of the SDK, on asyncio and trio."""
    demo = "" if sdk == "2.1.*" else ",demo"  # no release of mcp-server-git runs on 2.1
    session.install(f"{wheel(session)}[{EXTRAS}{demo}]", f"mcp=={sdk}", *dependencies("test"))
    command = ["-m", "pytest", *PARALLEL]
    if sdk not in ("1.30.*", "2.*"):
        session.run("python", *command, *SEAMS, *session.posargs, env=installed(session))
        return
    elsewhere = ["tests/hostile", "tests/integrations", "tests/served", *SDK_FREE]
    seen = [*MEASURED, *(f"--ignore={path}" for path in elsewhere)]
    session.run("python", *command, *seen, *session.posargs, env=installed(session))
    if sdk == "2.*":
        session.run("python", *command, *SDK_FREE, *session.posargs, env=installed(session))


@nox.session
@nox.parametrize("sdk", ["1.30.*", "2.*"], ids=["1.30", "2.x"])
def misbehaving(session: nox.Session, sdk: str) -> None:
    """Servers that misbehave, without the floods; all of it is `hostile`."""
    session.install(f"{wheel(session)}[{EXTRAS}]", f"mcp=={sdk}", *dependencies("test"))
    command = ("-m", "pytest", *HOSTILE, *WAITING, *MEASURED)
    session.run("python", *command, *session.posargs, env=installed(session))


@nox.session
def uncovered(session: nox.Session) -> None:
    """Print what of core and seams `tests`, `fastmcp`, `misbehaving` have not reached; fail over 1 in 100."""
    session.install("coverage[toml]>=7.6")
    session.run("coverage", "combine", "--keep")
    session.run(
        "coverage",
        "report",
        "--include=mcpguard/core/*,mcpguard/seams/*",
        "--fail-under=99",
        "--skip-covered",
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and the direction of imports."""
    packages = ("mcp==2.*", *dependencies("lint"), *dependencies("test"), "fastmcp>=4", "nox")
    session.install("-e", f".[{EXTRAS}]", *packages)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python")
    session.run("lint-imports")


@nox.session
def lint1(session: nox.Session) -> None:
    """Types of the seam for SDK 1.x, against that SDK."""
    session.install("-e", ".", "mcp==1.30.*", *dependencies("lint"))
    session.run("mypy", "--config-file=", "--strict", "-p", "mcpguard.seams.sdk1", "--follow-imports=silent")


@nox.session
@nox.parametrize("release", ["3.*", "4.*"], ids=["3", "4"])
def fastmcp(session: nox.Session, release: str) -> None:
    """The FastMCP seam, on both majors of FastMCP."""
    session.install(wheel(session), f"fastmcp=={release}", *dependencies("test"))
    files = ("tests/seams/test_fastmcp.py", "tests/test_docs.py")
    command = ("-m", "pytest", *files, "-k", "fastmcp or seams", *MEASURED)
    session.run("python", *command, *session.posargs, env=installed(session))


@nox.session
@nox.parametrize("sdk", ["1.30.*", "2.*"], ids=["1.30", "2.x"])
def hostile(session: nox.Session, sdk: str) -> None:
    """Servers that misbehave in every way known, one process each, bare and guarded."""
    session.install(f"{wheel(session)}[{EXTRAS}]", f"mcp=={sdk}", *dependencies("test"))
    command = ("-m", "pytest", "tests/hostile", *PARALLEL)
    session.run("python", *command, *session.posargs, env=installed(session))


@nox.session
@nox.parametrize("release", ["lowest", "newest"])
@nox.parametrize("name", list(FRAMEWORKS))
def integrations(session: nox.Session, name: str, release: str) -> None:
    """One framework's integration and its page, in an environment of its own."""
    requirement, lowest, more = FRAMEWORKS[name]
    pinned = f"{requirement}=={lowest}" if release == "lowest" else requirement
    session.install(wheel(session), pinned, *more, *dependencies("test"))
    tests = (f"tests/integrations/test_{name}.py", "tests/test_docs.py")
    chosen = f"test_{name} or integrations/{name}.md"
    results = f"--junitxml={RESULTS / f'{name}-{release}.xml'}"
    # what a framework warns of is its own business, and it may leave sockets to the garbage collector
    command = (*tests, "-k", chosen, "-W", "default", results, "--timeout=600")
    session.run("pytest", *command, *session.posargs, env=installed(session))


@nox.session(venv_backend="none")
def integrations_table(session: nox.Session) -> None:
    """Write the table of docs/integrations/index.md: what `integrations` has tested, and what came of it."""
    page = ("--write", "docs/integrations/index.md")
    session.run("python", "tests/integrations/table.py", str(RESULTS), *(session.posargs or page))


@nox.session
@nox.parametrize("sdk", ["2", "1.30.0"], ids=["2.x", "1.30"])
def sdk_suite(session: nox.Session, sdk: str) -> None:
    """The SDK's own tests, bare and through the guard: none may newly fail. Fetches the SDK's sources."""
    command = ("-m", "tests.sdk_suite.run", "--sdk", sdk, "--modes", "empty,chain,entered")
    session.run("python", *command, "--guard", wheel(session), *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Print the overhead of a guard beside a bare control, in one process."""
    session.install(f"{wheel(session)}[audit,rules]", "mcp==2.*", "opentelemetry-sdk>=1.37")
    session.run("python", "benchmarks/overhead.py", *session.posargs)
    session.run("python", "benchmarks/connection.py", *session.posargs)
    session.run("python", "benchmarks/detectors.py", *session.posargs)
    session.run("python", "benchmarks/admission.py", *session.posargs)
    session.run("python", "benchmarks/hub.py", *session.posargs)
    session.run("python", "benchmarks/audit.py")
    session.run("python", "benchmarks/telemetry.py")


@nox.session
@nox.parametrize("sdk", ["1.30.*", "2.*"], ids=["1.30", "2.x"])
def fuzz(session: nox.Session, sdk: str) -> None:
    """Every property with examples of its own, twelve times; `nox -s fuzz -- 3` for three times."""
    session.install(f"{wheel(session)}[{EXTRAS}]", f"mcp=={sdk}", *dependencies("test"))
    command = ("-m", "pytest", "tests", "-m", "hypothesis", "--hypothesis-profile=fuzz", *WAITING)
    for _ in range(int(*session.posargs or ["12"])):
        session.run("python", *command, "--ignore=tests/integrations", env=installed(session))


@nox.session
def killed(session: nox.Session) -> None:
    """A process that records 50,000 calls and is killed twenty times: none went out without its intent."""
    session.install(f"{wheel(session)}[{EXTRAS}]", "mcp==2.*", *dependencies("test"))
    environment = {**installed(session), "MCPGUARD_KILLED_CALLS": "50000"}
    session.run(
        "pytest", "tests/sinks/test_jsonl.py", "-k", "whenever_the_process_is_killed", env=environment
    )


@nox.session
@nox.parametrize("sdk", ["1.30.*", "2.*"], ids=["1.30", "2.x"])
def soak(session: nox.Session, sdk: str) -> None:
    """Half an hour of random misbehaviour over a hub of five; `nox -s soak -- --seconds 60` for less."""
    session.install(wheel(session), f"mcp=={sdk}", "trio")
    session.run("python", "tests/hostile/soak.py", *session.posargs)


@nox.session
@nox.parametrize("sdk", ["1.30.*", "2.*"], ids=["1.30", "2.x"])
def served(session: nox.Session, sdk: str) -> None:
    """Real servers behind `mcpguard serve`, and the official inspector in front of it; needs Node."""
    session.install(f"{wheel(session)}[serve]", f"mcp=={sdk}", *dependencies("test"))
    folder = Path(session.create_tmp())
    session.run("npm", "install", "--prefix", str(folder), *NODE, external=True, silent=True)
    programs = [str(folder / "node_modules" / ".bin")]
    for name in ("git", "time", "fetch"):  # each may want another SDK than the one that is tested
        session.run("python", "-m", "venv", str(folder / name))
        session.run(str(folder / name / "bin" / "pip"), "install", "-q", f"mcp-server-{name}", external=True)
        programs.append(str(folder / name / "bin"))
    env = {"MCPGUARD_SERVED": os.pathsep.join(programs), "MCPGUARD_REQUIRE_SERVED": "1"}
    command = ("-m", "pytest", "tests/served", "--timeout=300")
    session.run("python", *command, *session.posargs, env=installed(session) | env)


@nox.session
@nox.parametrize("sdk", ["2.*", "1.30.*"], ids=["2.x", "1.30"])
def hostile_table(session: nox.Session, sdk: str) -> None:
    """Write the tables of docs/hostile-servers.md: every behaviour, bare and guarded, on both majors."""
    session.install(wheel(session), f"mcp=={sdk}")
    page = ("--write", "docs/hostile-servers.md")
    session.run("python", "tests/hostile/table.py", *(session.posargs or page))
