"""`mcpguard demo`: a compliance agent at work on a git repository, without a guard and with one.

This module is the command; `performance` performs it, `agent` is the agent, `repo` the repositories,
`report` what is printed. The SDK is imported when the command runs, not before.
"""

import argparse
import importlib.util
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from mcpguard.cli.demo.repo import DemoError, find_repository
from mcpguard.cli.output import fail, write, write_json

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.cli.demo.performance import Approve
    from mcpguard.cli.demo.report import Report

__all__ = ["add_parser", "run"]

WIDTH = 100
"""Columns of the output where there is no terminal to ask."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `demo` command to the program's commands."""
    parser = commands.add_parser(
        "demo",
        help="show a compliance agent at work without a guard and with one",
        description="Run the same scripted agent twice, without a guard and with one, against real MCP"
        " servers over stdio, and show every call, every decision and what was there afterwards.",
    )
    parser.add_argument(
        "--repo", type=Path, metavar="PATH", help="git repository to review; it is cloned, never changed"
    )
    parser.add_argument(
        "--audit",
        type=Path,
        metavar="FILE",
        help="where to write the audit file (default: a new temporary file)",
    )
    parser.add_argument(
        "--approve",
        choices=("yes", "no", "ask"),
        help="what becomes of calls that wait for a person: ask you at the terminal, or answer for you"
        " (default: ask on a terminal, else no: nobody is there)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if both runs came to their end, 2 with one line on stderr if they could not."""
    for what, found, remedy in (
        ("mcp-server-git", importlib.util.find_spec("mcp_server_git"), "pip install 'mcpguard-inline[demo]'"),
        ("cel", importlib.util.find_spec("cel"), "pip install 'mcpguard-inline[demo]'"),
        ("cryptography", importlib.util.find_spec("cryptography"), "pip install 'mcpguard-inline[demo]'"),
        ("git", shutil.which("git"), "install git and put it on PATH"),
    ):
        if found is None:
            return fail([f"mcpguard demo: {what} is missing: {remedy}"])

    import anyio
    from rich.console import Console

    from mcpguard.cli.demo.performance import perform

    try:
        given = None if arguments.repo is None else find_repository(arguments.repo)
        audit = _audit_file(arguments.audit)
        approve: Approve = arguments.approve or ("ask" if _is_attended() else "no")
        console = Console(stderr=True)
        waiting: AbstractContextManager[object] = nullcontext()
        if approve == "ask":
            console.print("the agent is at work, twice; you will be asked about one of its calls")
        else:
            waiting = console.status("the agent is at work, twice")
        with waiting, tempfile.TemporaryDirectory(prefix="mcpguard-demo-") as work:
            report = anyio.run(perform, Path(work).resolve(), given, audit, approve)
    except (DemoError, OSError) as error:
        return fail([f"mcpguard demo: {error}"])
    if arguments.json:
        write_json(report.document())
    else:
        _print(report)
    return 0


def _is_attended() -> bool:
    """Whether a person sits at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _print(report: "Report") -> None:
    """Print for people: as rich does on a terminal, else plain lines of at most `WIDTH` columns."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        report.print(console)
        return
    console.width = WIDTH
    with console.capture() as printed:
        report.print(console)
    for line in printed.get().splitlines():
        write(line.rstrip())


def _audit_file(chosen: Path | None) -> Path:
    """The file for the audit, which can be written; it outlives the demo."""
    if chosen is None:
        return Path(tempfile.gettempdir()) / f"mcpguard-demo-{uuid4().hex[:12]}.jsonl"
    try:
        with chosen.open("ab"):
            return chosen.absolute()
    except OSError as error:
        raise DemoError(f"--audit {chosen}: {error.strerror}") from None
