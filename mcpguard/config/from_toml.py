"""TOML, by the standard library, which tells no lines: they are found by looking for headers and keys.

A value inside an array or an inline table is reported at the line of the key that holds it.
"""

import re
import tomllib
from typing import Final, cast

from mcpguard.config.document import MAX_DEPTH, Node, Tree, Unreadable, Where
from mcpguard.core.errors import Problem

__all__ = ["read"]

_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAMES: Final = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_HEADER: Final = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_NAMES})[ \t]*\]")
_ENTRY: Final = re.compile(rf"[ \t]*({_NAMES})[ \t]*=")
_ERROR_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")
_TOO_DEEP: Final = re.compile(rf"(?m)(?:^|[\[{{,])[ \t]*(?:{_NAME}[ \t]*\.[ \t]*){{{MAX_DEPTH}}}")


def read(text: str) -> tuple[Node, list[Problem]]:
    """Read one TOML document.

    Raises:
        Unreadable: If it is not TOML, is empty or nests too deep.
    """
    if not text.strip():
        raise Unreadable("the file is empty; a policy begins with version = 1")
    if _TOO_DEEP.search(text):
        raise Unreadable(f"nested more than {MAX_DEPTH} deep")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _ERROR_LINE.search(str(error))
        what = _ERROR_LINE.sub("", str(error))
        raise Unreadable(f"not TOML: {what}", int(place[1]) if place else None) from None
    except RecursionError:
        raise Unreadable(f"nested more than {MAX_DEPTH} deep") from None
    except ValueError:
        raise Unreadable("not TOML: a number has too many digits") from None
    tree = Tree()
    _grow(tree, data, (), _lines(text))
    return cast("Node", tree.root), tree.problems


def _grow(tree: Tree, value: object, where: Where, lines: dict[Where, int]) -> None:
    line = lines.get(where)
    match value:
        case dict():
            tree.begin({}, line)
            for name, member in cast("dict[str, object]", value).items():
                tree.scalar(name, lines.get((*where, name)))
                _grow(tree, member, (*where, name), lines)
            tree.end()
        case list():
            tree.begin([], line)
            for position, member in enumerate(cast("list[object]", value)):
                _grow(tree, member, (*where, position), lines)
            tree.end()
        case str() | bool() | int() | float():
            tree.scalar(value, line)
        case _:
            tree.problem("expected text, a number or a boolean, got a date or time: put it in quotes", line)
            tree.scalar(None, line)


def _lines(text: str) -> dict[Where, int]:
    """Where each table and each key at the beginning of a line stands."""
    lines: dict[Where, int] = {}
    tables: dict[Where, int] = {}
    here: Where = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            here = ()
            for name in _split(header[2]):
                here = (*_last(here, tables), name)
                lines.setdefault(here, number)
            if header[1] == "[[":
                tables[here] = tables.get(here, -1) + 1
                here = (*here, tables[here])
                lines[here] = number
        elif entry := _ENTRY.match(line):
            where = here
            for name in _split(entry[1]):
                where = (*where, name)
                lines.setdefault(where, number)
    return lines


def _last(where: Where, tables: dict[Where, int]) -> Where:
    """In an array of tables, the last table there is so far."""
    return (*where, tables[where]) if where in tables else where


def _split(key: str) -> list[str]:
    """The parts of a dotted key."""
    return [part if part[0] not in "\"'" else part[1:-1] for part in re.findall(_NAME, key)]
