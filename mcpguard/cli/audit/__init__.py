"""`mcpguard audit`: what was recorded: verify it, look at it, hand it on.

Each subcommand has a module of its own, loaded when it runs; here are their arguments.
"""

import argparse
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mcpguard.cli import Command, Commands

__all__ = ["add_parser", "run", "selecting"]

_PATH = "the trail: a file in JSON Lines, its directory, an SQLite file, or postgresql://host/database#trail"


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `audit` command to the program's commands."""
    parser = commands.add_parser(
        "audit",
        help="verify an audit trail, look at it, hand it on",
        description="Verify, show, export and report what a guard has recorded.",
    )
    subcommands = cast("Commands", parser.add_subparsers(metavar="SUBCOMMAND", required=True))
    _verify(subcommands)
    _keygen(subcommands)
    _show(subcommands)
    _export(subcommands)
    _stats(subcommands)
    _report(subcommands)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand, and return its exit code."""
    module = import_module(f"mcpguard.cli.audit.{arguments.subcommand}")
    return cast("Command", module).run(arguments)


def _verify(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "verify",
        help="follow the hash chain, check checkpoints and anchors",
        description="Exit code 0: intact. 1: tampered with; the first bad record is named. 2: incomplete.",
    )
    parser.add_argument("path", metavar="PATH", help=_PATH)
    parser.add_argument(
        "--key", action="append", default=[], help="a public key that signs it, or a file with one"
    )
    parser.add_argument(
        "--anchor", action="append", default=[], help="a file with checkpoints that were kept elsewhere"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(subcommand="verify")


def _keygen(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "keygen",
        help="make a key that signs checkpoints",
        description="Write a private key to a new file, and print the public one that verifies;"
        " or print the public one of a key that there is.",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="who signs: a host or program, without spaces"
    )
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--out", metavar="FILE", help="where the private key goes")
    files.add_argument("--public", metavar="FILE", help="a file with a private key: print the public one")
    parser.set_defaults(subcommand="keygen")


def _show(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "show", help="list calls and what became of them", description="List calls, oldest first."
    )
    selecting(parser)
    parser.add_argument("--follow", action="store_true", help="go on as calls are recorded, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.set_defaults(subcommand="show")


def _export(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "export",
        help="hand calls or records on in another shape",
        description="Write calls as OCSF events (API Activity) or CSV, records as CloudEvents or JSON Lines.",
    )
    selecting(parser)
    parser.add_argument(
        "--format", choices=("ocsf", "cloudevents", "jsonl", "csv"), required=True, help="the shape"
    )
    parser.add_argument("--out", metavar="FILE", help="where to; stdout if left out")
    parser.set_defaults(subcommand="export")


def _stats(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "stats", help="figures by tool, outcome and denial", description="Figures about calls."
    )
    selecting(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(subcommand="stats")


def _report(subcommands: "Commands") -> None:
    parser = subcommands.add_parser(
        "report",
        help="write one HTML page that needs no server",
        description="Write a page with timeline, tables and every call. It loads nothing from anywhere.",
    )
    selecting(parser)
    parser.add_argument("--out", metavar="FILE", default="audit-report.html", help="where to")
    parser.add_argument("--title", default="Audit report", help="what the page calls itself")
    parser.set_defaults(subcommand="report")


def selecting(parser: argparse.ArgumentParser) -> None:
    """Add the trail and what narrows it to a command's arguments."""
    parser.add_argument("path", metavar="PATH", help=_PATH)
    parser.add_argument("--run", dest="of_run", help="calls of this run only")
    parser.add_argument("--tool", help="calls of this tool, prompt or URI only")
    parser.add_argument("--principal", help="calls of this tenant, user or agent only")
    parser.add_argument(
        "--outcome", help="calls with this outcome only: ok, denied, tool_error, unanswered ..."
    )
    parser.add_argument("--since", type=_moment, metavar="TIME", help="from this time on: 2026-11-21T07:00")
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="before this time; UTC if it has no zone"
    )


def _moment(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
