"""What the docstrings of a class say of it and its parameters, for the schema that editors show."""

import inspect
import re
from collections.abc import Iterator
from typing import Final

__all__ = ["descriptions", "summary"]

_ENTRY: Final = re.compile(r"\*{0,2}(\w+)(?: *\([^)]*\))?:\s*(.*)")


def summary(cls: type) -> str:
    """The first paragraph of a class's own docstring, on one line."""
    return " ".join(_own(cls).split("\n\n")[0].split())


def descriptions(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say under `Args:`; a class overrides its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found.update(_documented(_own(base)))
    return found


def _own(cls: type) -> str:
    return inspect.cleandoc(vars(cls).get("__doc__") or "")


def _documented(text: str) -> Iterator[tuple[str, str]]:
    _, _, section = text.partition("\nArgs:\n")
    name, words = "", list[str]()
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        entry = None if line.startswith(" " * 5) else _ENTRY.match(line[4:])
        if entry:
            if name:
                yield name, " ".join(words)
            name, words = entry[1], [entry[2]]
        elif line.strip():
            words.append(line.strip())
    if name:
        yield name, " ".join(words)
