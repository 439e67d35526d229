"""`mcpguard audit report`: one HTML page."""

import argparse
from pathlib import Path

from mcpguard.cli.audit.source import opened, selection
from mcpguard.cli.output import fail, write

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is; 0, or 2 if it cannot be written."""
    from mcpguard.audit.reading import records
    from mcpguard.audit.report import Report, page
    from mcpguard.audit.verify import verify

    trail = opened(arguments.path)
    report = Report()
    report.read(records(trail), selection(arguments))
    text = page(report, title=arguments.title, verdict=verify(trail))
    out = Path(arguments.out).absolute()
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        return fail([f"{out}: cannot be written: {error.strerror}"])
    write(f"{report.stats.calls} calls: {out}")
    return 0
