"""The command `mcpguard`: which commands there are, and what every one of them keeps to.

An error is one line on stderr and exit code 2, never a traceback. Tables and colour are for people; `--json`
is for programs. A command is a module with `add_parser` and `run`; what it needs it imports when it runs.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn, Protocol, cast

__all__ = ["main"]

COMMANDS: Final = (
    "check",
    "explain",
    "replay",
    "pin",
    "plugins",
    "schema",
    "init",
    "wrap",
    "serve",
    "approvals",
    "audit",
    "demo",
)
"""Modules of this package, in the order of the help."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

CUT_OFF: Final = 141
"""Exit code when the reader of our output has gone, as shells have it: 128 + SIGPIPE."""


class Commands(Protocol):
    """What `ArgumentParser.add_subparsers()` returns."""

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser: ...


class Command(Protocol):
    """A module of this package that is a command."""

    def add_parser(self, commands: Commands) -> argparse.ArgumentParser:
        """Add the command to the program's commands."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, or 2 for invalid or unusable input.

    Args:
        argv: The arguments without the program's name. None: those of the process.
    """
    from mcpguard.core.errors import MCPGuardError

    try:
        arguments = _parser().parse_args(argv)
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except MCPGuardError as error:
        from mcpguard.cli.output import fail

        return fail(str(error).splitlines())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_OFF
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return code


class _Parser(argparse.ArgumentParser):
    """Reports misuse in one line, and leaves what stands after `--` as it is, for a command that starts it.

    argparse itself takes a list that may be empty to be empty wherever an option stands before it.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        given, namespace = list(args or ()), namespace or argparse.Namespace()
        if self.get_default("command") is None or "--" not in given:
            return super().parse_known_args(args, namespace)
        at = given.index("--")
        found, unknown = super().parse_known_args(given[:at], namespace)
        found.command = given[at + 1 :]
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version; it is looked up only if somebody asks."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        from importlib.metadata import PackageNotFoundError

        try:
            from mcpguard import __version__ as version
        except PackageNotFoundError:
            version = "(not installed: there is no version to tell)"
        sys.stdout.write(f"mcpguard {version}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mcpguard", description="Policies for MCP client sessions, inside the agent's process."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = cast("Commands", parser.add_subparsers(metavar="COMMAND", required=True))
    for name in COMMANDS:
        try:
            command = cast("Command", import_module(f"mcpguard.cli.{name}"))
        except ImportError:
            continue
        command.add_parser(commands).set_defaults(run=command.run)
    return parser
