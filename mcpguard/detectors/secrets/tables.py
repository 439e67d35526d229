"""Credentials in tables: columns of CSV and Markdown with a secret's name, and rows that begin with one.

The cells are those of the line with the name; a row has as many. Quotation marks and backquotes around a cell
belong to it; a separator inside quotation marks ends a cell all the same, and the table with it.
"""

from collections.abc import Callable, Iterator
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.stop_list import could_be_credential

__all__ = ["in_table", "is_cell"]

ROWS: Final = 10_000
"""Rows of one table that are read."""

SEPARATORS: Final = "|\t;,"
"""What stands between cells, the surest sign first."""

_WRAP: Final = " \t\"'`*"


def is_cell(text: str, start: int, end: int) -> bool:
    """Whether what stands between two positions is all of a cell."""
    while start > 0 and text[start - 1] in " \"'`*":
        start -= 1
    while end < len(text) and text[end] in " \"'`*\r":
        end += 1
    before, behind = text[start - 1 : start] if start else "\n", text[end : end + 1] or "\n"
    return before in SEPARATORS + "\n" and behind in SEPARATORS + "\n" and not before == behind == "\n"


def in_table(text: str, at: int, is_name: Callable[[str], bool]) -> tuple[list[Finding], int]:
    """The credentials of the table whose line, with a name in it, `at` is in, and where the table ends.

    Args:
        text: What the table stands in.
        at: A position in the line with the name.
        is_name: Whether a cell names a credential.
    """
    begin, end = text.rfind("\n", 0, at) + 1, _line_end(text, at)
    line = text[begin:end]
    separator = next((one for one in SEPARATORS if one in line), "")
    is_code_line = line.rstrip().endswith(separator) if separator != "|" else " | " not in line
    if not separator or is_code_line:
        return [], end
    head = list(_cells(line, separator))
    named = [place for place, (_, _, cell) in enumerate(head) if is_name(cell)]
    has_pairs = separator == "|" or len(head) == 2
    found: list[Finding] = []
    row, is_head = head, True
    for _ in range(ROWS):
        places = [] if is_head else list(named)
        if has_pairs:
            places += [place + 1 for place, (_, _, cell) in enumerate(row[:-1]) if is_name(cell)]
        for place in places:
            start, stop, cell = row[place]
            if " " not in cell and could_be_credential(cell):
                found.append(Finding(begin + start, begin + stop, "credential"))
        if end + 1 >= len(text):
            break
        begin, after = end + 1, _line_end(text, end + 1)
        row, is_head = list(_cells(text[begin:after], separator)), False
        if len(row) != len(head):
            break
        end = after
    return found, end


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _cells(line: str, separator: str) -> Iterator[tuple[int, int, str]]:
    """Where each cell begins and ends, and what is in it."""
    at = 0
    for part in line.rstrip("\r").split(separator):
        cell = part.strip(_WRAP)
        start = at + len(part) - len(part.lstrip(_WRAP))
        yield start, start + len(cell), cell
        at += len(part) + 1
