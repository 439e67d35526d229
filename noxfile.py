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
SDKS = ["1.24.*", "1.30.*", "2.1.*", "2.*"]
"""Lowest supported and newest of each major, and the 2.x that strands-agents resolves to."""

FRAMEWORKS = {
    "langchain_mcp_adapters": ("langchain-mcp-adapters", "0.3.0", ["langgraph", "mcp<2"]),
    "openai_agents": ("openai-agents", "0.20.0", []),
    "pydantic_ai": ("pydantic-ai-slim[mcp]", "2.68.0", []),
    "fastmcp": ("fastmcp", "3.0.0", []),
    "google_adk": ("google-adk", "2.13.0", []),
    "strands": ("strands-agents", "1.62.0", []),
    "agno": ("agno[mcp]", "3.1.10", ["openai"]),
    "llama_index": ("llama-index-tools-mcp", "0.6.0", []),
    "anthropic": ("anthropic[mcp]", "2.11.0", []),
    "autogen": ("autogen-ext[mcp]", "0.7.5", ["mcp<2"]),
    "haystack": ("mcp-haystack", "2.1.1", []),
    "dspy": ("dspy", "3.4.1", []),
    "agent_framework": ("agent-framework-core", "1.23.0", []),
    "langchain": ("langchain[mcp]", "1.4.7", []),
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
    """What makes tests import the installed wheel rather than the checkout, and measure it."""
    return {"PYTHONSAFEPATH": "1", "COVERAGE_FILE": f".coverage.{session.name}"}


@nox.session
@nox.parametrize("sdk", SDKS, ids=["1.24", "1.30", "2.1", "2.x"])
def tests(session: nox.Session, sdk: str) -> None:
    """Test the installed wheel against one version of the SDK, on asyncio and trio."""
    extra = "[rules]" if sdk == "2.1.*" else "[demo,rules]"  # no release of mcp-server-git runs on it
    session.install(wheel(session) + extra, f"mcp=={sdk}", *dependencies("test"))
    session.run(
        "coverage",
        "run",
        "-m",
        "pytest",
        "--numprocesses=auto",
        "--dist=loadscope",
        *session.posargs,
        env=installed(session),
    )


@nox.session
def coverage(session: nox.Session) -> None:
    """Every branch of core and seams, over all SDKs together; run it after `tests` and `fastmcp`."""
    session.install("coverage[toml]")
    session.run("coverage", "combine", "--keep")
    session.run(
        "coverage",
        "report",
        "--include=mcpguard/core/*,mcpguard/seams/*",
        "--fail-under=100",
        "--skip-covered",
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and the direction of imports."""
    packages = ("mcp==2.*", *dependencies("lint"), *dependencies("test"), "fastmcp>=4", "nox")
    session.install("-e", ".[rules]", *packages)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python")
    session.run("lint-imports")


@nox.session
def lint1(session: nox.Session) -> None:
    """Types of the seam for SDK 1.x, against that SDK."""
    session.install("-e", ".", "mcp==1.30.*", *dependencies("lint"))
    modules = ("-m", "mcpguard.seams.session1", "-m", "mcpguard.seams.requests1")
    session.run("mypy", "--config-file=", "--strict", *modules, "--follow-imports=silent")


@nox.session
@nox.parametrize("release", ["3.*", "4.*"], ids=["3", "4"])
def fastmcp(session: nox.Session, release: str) -> None:
    """The FastMCP seam, on both majors of FastMCP."""
    session.install(wheel(session), f"fastmcp=={release}", *dependencies("test"))
    session.run(
        "coverage",
        "run",
        "-m",
        "pytest",
        "tests/seams/test_fastmcp.py",
        "tests/test_docs.py",
        "-k",
        "fastmcp or seams",
        *session.posargs,
        env=installed(session),
    )


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
    # what a framework warns of is its own business, and it may leave sockets to the garbage collector
    session.run("pytest", *tests, "-k", chosen, "-W", "default", *session.posargs, env=installed(session))


@nox.session
@nox.parametrize("sdk", ["2", "1.30.0"], ids=["2.x", "1.30"])
def sdk_suite(session: nox.Session, sdk: str) -> None:
    """The SDK's own tests, bare and through the guard: none may newly fail. Fetches the SDK's sources."""
    command = ("-m", "tests.sdk_suite.run", "--sdk", sdk, "--modes", "empty,chain,entered")
    session.run("python", *command, "--guard", wheel(session), *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Print the overhead of a guard beside a bare control, in one process."""
    session.install(wheel(session), "mcp==2.*")
    session.run("python", "benchmarks/overhead.py", *session.posargs)
