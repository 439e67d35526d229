"""What commands print: tables and colour for people, JSON for programs, one line for an error.

On a terminal tables are drawn by rich, which honours NO_COLOR; anywhere else they are plain columns, as wide
as their content, so that `grep` and `cut` see whole lines.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from mcpguard.core.wire import JSON

__all__ = ["fail", "write", "write_json", "write_table"]

GAP: Final = "  "
"""Between two columns where there is no terminal."""


def write(line: str, *, style: str = "") -> None:
    """Print one line; `style` is rich's and counts on a terminal only."""
    if not style:
        _put(sys.stdout, f"{_printable(line)}\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        console.print(Text(_printable(line), style=style))
    else:
        _put(sys.stdout, f"{_printable(line)}\n")


def write_json(value: JSON) -> None:
    """Print one JSON document."""
    _put(sys.stdout, json.dumps(value, indent=2) + "\n")


def write_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Mapping[str, str] | None = None
) -> None:
    """Print a table.

    Args:
        headings: One for each column.
        rows: A cell for each column.
        styles: rich's style for cells with exactly this text.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[_printable(cell) for cell in row] for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        _put(sys.stdout, _columns([headings, *cells]))
        return
    table = Table(box=None, padding=(0, len(GAP), 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    console.print(table)


def fail(lines: Iterable[str]) -> int:
    """Print errors, one line each, and return the exit code for them: 2."""
    for line in lines:
        _put(sys.stderr, f"{_printable(line)}\n")
    return 2


def _columns(rows: Sequence[Sequence[str]]) -> str:
    from rich.cells import cell_len, set_cell_size

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = (
        GAP.join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def _printable(text: str) -> str:
    """`text` on one line, with nothing a terminal would obey: names come from files."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _put(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
