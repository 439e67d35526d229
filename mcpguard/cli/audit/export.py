"""`mcpguard audit export`: calls or records, for other systems."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mcpguard.cli.audit.source import chosen, opened, selection
from mcpguard.cli.output import fail

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Export; 0, or 2 if it cannot be written."""
    if arguments.out is None:
        sys.stdout.writelines(_lines(arguments))
        return 0
    try:
        with Path(arguments.out).open("w", encoding="utf-8", newline="") as file:
            file.writelines(_lines(arguments))
    except OSError as error:
        return fail([f"{arguments.out}: cannot be written: {error.strerror}"])
    return 0


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    from mcpguard.audit.export import cloud_events, csv_rows, encoded, ocsf
    from mcpguard.audit.reading import records

    if arguments.format == "csv":
        return csv_rows(chosen(arguments))
    if arguments.format == "ocsf":
        trail = opened(arguments.path)
        host = next((first.get("host", "unknown") for first in records(trail)), "unknown")
        return map(encoded, ocsf(chosen(arguments), host=str(host)))
    kept = _records(arguments)
    return map(encoded, cloud_events(kept) if arguments.format == "cloudevents" else kept)


def _records(arguments: argparse.Namespace) -> "Iterator[dict[str, str | int | bool]]":
    """The records of the calls that were asked for; all there are, where nothing was asked for."""
    from mcpguard.audit.calls import Selection
    from mcpguard.audit.reading import records

    everything = records(opened(arguments.path))
    if selection(arguments) == Selection():
        return everything
    wanted = {view.call_id for view in chosen(arguments)}
    return (record for record in everything if record.get("call_id") in wanted)
