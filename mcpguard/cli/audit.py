"""`mcpguard audit`: what was recorded: verify it, look at it, hand it on.

Each subcommand has a module of its own, loaded when it runs; here are their arguments.
"""

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mcpguard.cli import Command, Commands

__all__ = ["add_parser", "run"]

_PATH = "the trail: a file in JSON Lines, its directory, or an SQLite file"


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
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand, and return its exit code."""
    module = import_module(f"mcpguard.cli.audit_{arguments.subcommand}")
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
        description="Write a private key to a new file, and print the public one that verifies.",
    )
    parser.add_argument("name", metavar="NAME", help="who signs: a host or program, without spaces")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the private key goes")
    parser.set_defaults(subcommand="keygen")
