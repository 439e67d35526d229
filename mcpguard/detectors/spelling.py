"""Names as a server more lenient than a rule may read them."""

import unicodedata
from typing import Final
from urllib.parse import unquote

__all__ = ["folded"]

MAX_ESCAPES: Final = 4
"""Times escapes are undone; deeper nesting stays as it is."""

_LEFT_OUT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zs", "Zl", "Zp"})
"""Unicode categories of what cannot be seen, or changes a letter only to the eye."""


def folded(name: str) -> str:
    """`name` without what readers overlook: case, width, blanks, marks, invisible characters, escapes.

    For comparing beside the name as it is written, never in its place: two honest names may fold to one.
    """
    for _ in range(MAX_ESCAPES):
        before, name = name, unquote(name)
        if name == before:
            break
    if name.isascii():
        return "".join(name.split()).casefold() if name.isprintable() else _visible(name).casefold()
    return _visible(unicodedata.normalize("NFKD", _visible(name).casefold())).casefold()


def _visible(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) not in _LEFT_OUT)
