"""`mcpguard audit show`: one line for each call."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from mcpguard.cli.audit.source import chosen, opened, selection
from mcpguard.cli.output import write, write_table

if TYPE_CHECKING:
    from mcpguard.audit.calls import CallView, Record

__all__ = ["run"]

PAUSE: Final = 0.5
"""Seconds between two looks at a trail that is followed."""

_HEADINGS: Final = ("time", "who", "run", "server", "what", "outcome", "code", "by", "ms")


def run(arguments: argparse.Namespace) -> int:
    """Show the calls; 0."""
    if arguments.follow:
        return _follow(arguments)
    if arguments.json:
        for view in chosen(arguments):
            write(json.dumps(asdict(view)))
    else:
        write_table(_HEADINGS, [_row(view) for view in chosen(arguments)], styles={"denied": "bold red"})
    return 0


def _follow(arguments: argparse.Namespace) -> int:
    from mcpguard.audit.calls import calls

    wanted = selection(arguments)
    for view in calls(_endless(arguments.path)):
        if wanted.takes(view):
            write(json.dumps(asdict(view)) if arguments.json else "  ".join(_row(view)))
    return 0


def _endless(path: str) -> "Iterator[Record]":
    """The records of a trail, and those that come."""
    from mcpguard.audit.reading import records

    seen = 0
    while True:
        for record in records(opened(path)):
            seq = record.get("seq", 0)
            if isinstance(seq, int) and seq > seen:
                seen = seq
                yield record
        sys.stdout.flush()
        time.sleep(PAUSE)


def _row(view: "CallView") -> tuple[str, ...]:
    from mcpguard.audit.export import timestamp

    return (
        timestamp(view.time_us)[:23].replace("T", " "),
        "/".join(filter(None, (view.tenant, view.user, view.agent))) or "-",
        view.run_id or "-",
        view.server,
        view.target or view.method,
        view.outcome,
        view.code or view.error_code or "-",
        view.interceptor or "-",
        f"{view.duration_us / 1000:.1f}",
    )
