"""`mcpguard schema`: the JSON Schema of the policy file, for editors."""

import argparse
from typing import TYPE_CHECKING

from mcpguard.cli.output import fail, write_json

if TYPE_CHECKING:
    from mcpguard.cli import Commands

__all__ = ["add_parser", "run"]


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `schema` command to the program's commands."""
    return commands.add_parser(
        "schema",
        help="print the JSON Schema of the policy file",
        description="Print the JSON Schema (draft 2020-12) of what a policy may say here, plugins included. A"
        " plugin that cannot be used is left out and named on stderr.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the schema; 0."""
    del arguments
    from mcpguard.config import policy_schema

    write_json(policy_schema(on_broken=lambda error: _warn(str(error))))
    return 0


def _warn(message: str) -> None:
    fail([f"left out: {message}"])
