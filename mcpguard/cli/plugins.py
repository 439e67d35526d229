"""`mcpguard plugins`: every interceptor and sink a policy may name here, and where it comes from.

The list is made from the metadata of what is installed; no plugin is imported for it.
"""

import argparse
from typing import TYPE_CHECKING

from mcpguard.cli.output import fail, write_json, write_table

if TYPE_CHECKING:
    from mcpguard.cli import Commands

__all__ = ["add_parser", "run"]


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `plugins` command to the program's commands."""
    parser = commands.add_parser(
        "plugins",
        help="list the interceptors and sinks a policy may name",
        description="List the built-in and installed interceptors and sinks. Exit code 2 if two of them have"
        " the same name, which then cannot be used.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """List them; 0, or 2 if names clash."""
    from mcpguard.config import Registry

    plugins = Registry().plugins()
    if arguments.json:
        write_json(
            [
                {
                    "kind": plugin.kind,
                    "name": plugin.name,
                    "distribution": plugin.distribution,
                    "target": plugin.target,
                    "problem": plugin.problem,
                }
                for plugin in plugins
            ]
        )
    else:
        rows = [(plugin.kind, plugin.name, plugin.distribution, plugin.target) for plugin in plugins]
        write_table(("kind", "name", "distribution", "class"), rows)
    problems = dict.fromkeys(plugin.problem for plugin in plugins if plugin.problem is not None)
    return fail(problems) if problems else 0
