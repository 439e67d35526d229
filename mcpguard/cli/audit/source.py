"""What the subcommands that read a trail have in common: the calls that were asked for."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcpguard.core.errors import MCPGuardError

if TYPE_CHECKING:
    from mcpguard.audit.calls import CallView, Selection
    from mcpguard.audit.reading import Trail

__all__ = ["chosen", "opened", "selection"]


def opened(path: str) -> "Trail":
    """The trail at a path.

    Raises:
        MCPGuardError: If there is none, or it cannot be read.
    """
    from mcpguard.audit.reading import open_trail

    try:
        return open_trail(path)
    except ModuleNotFoundError as error:
        what = "a trail in PostgreSQL takes the extra `postgres`: pip install 'mcpguard-inline[postgres]'"
        raise MCPGuardError(what) from error
    except ValueError as error:
        raise MCPGuardError(str(error)) from error
    except OSError as error:
        raise MCPGuardError(f"{error.filename or path}: cannot be read: {error.strerror}") from error


def selection(arguments: argparse.Namespace) -> "Selection":
    """Which calls were asked for."""
    from mcpguard.audit.calls import Selection

    return Selection(
        run=arguments.of_run,
        tool=arguments.tool,
        principal=arguments.principal,
        outcome=arguments.outcome,
        since=arguments.since,
        until=arguments.until,
    )


def chosen(arguments: argparse.Namespace) -> "Iterator[CallView]":
    """The calls that were asked for."""
    from mcpguard.audit.calls import calls
    from mcpguard.audit.reading import records

    wanted = selection(arguments)
    return (view for view in calls(records(opened(arguments.path))) if wanted.takes(view))
