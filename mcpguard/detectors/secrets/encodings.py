r"""Letters written as numbers: `\u0067` in strings of JSON and programs, `%67` in URLs, `&#103;` in HTML.

Only letters, digits, `-` and `_` are read: nobody has a reason to write these so, and what honest text
encodes, spaces and signs, stays as it is.
"""

import re
from typing import Final

__all__ = ["decoded"]

_WORD: Final = r"(?:3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a]|2d)"
_ENCODED: Final = re.compile(
    rf"\\{{1,8}}+u00(?P<escape>{_WORD})|%(?P<percent>{_WORD})|&\#(?:x0?(?P<hex>{_WORD})|(?P<decimal>\d{{2,3}}));",
    re.IGNORECASE,
)
_MARKS: Final = ("\\u00", "%", "&#")


def decoded(text: str) -> tuple[str, list[int]] | None:
    """`text` as it reads and where each of its characters, and its end, begins; None if it reads as it is."""
    if not any(one in text for one in _MARKS):
        return None
    pieces: list[str] = []
    places: list[int] = []
    end = 0
    for found in _ENCODED.finditer(text):
        number = found["escape"] or found["percent"] or found["hex"]
        letter = chr(int(found["decimal"]) if number is None else int(number, 16))
        if not (letter.isalnum() or letter in "-_"):
            continue
        pieces += text[end : found.start()], letter
        places += range(end, found.start() + 1)
        end = found.end()
    if not pieces:
        return None
    return "".join([*pieces, text[end:]]), [*places, *range(end, len(text) + 1)]
