"""What a text may be taken for by a program that decodes it further than the rule it is compared with.

Percent escapes (also of UTF-16 and nested ones), character references, backslash escapes, compatibility
forms, look-alikes of separators and invisible characters are undone in every order, one at a time: a value
is safe if all of its readings are. Nothing here knows what is being protected.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["MAX_READINGS", "Unreadable", "readings"]

MAX_READINGS: Final = 64
"""Readings of one text; what has more was made to have them."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_\-./ +=,@()\[\]{}!^*?<>|\"']*")
"""Text that every program reads as it is written."""

_PERCENT: Final = re.compile(r"%(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
_PERCENT_WIDE: Final = re.compile(r"%[uU]([0-9A-Fa-f]{4})")
_BACKSLASHED: Final = re.compile(r"\\(?:u\{?([0-9A-Fa-f]{4})\}?|x([0-9A-Fa-f]{2}))")

_LOOKALIKES: Final = str.maketrans(
    {
        **dict.fromkeys("\u2215\u2044\u29f8\u2571\u29f6\u3033\ua7f7", "/"),
        **dict.fromkeys("\u2216\u29f5\u29f9\ufe68\u00a5\u20a9", "\\"),
        **dict.fromkeys("\u3002\uff61\u2024\u00b7\u0701\u0702\ua4f8", "."),
        **dict.fromkeys("\u2236\ua789\u02d0\u05c3", ":"),
    }
)
"""Characters that code pages, name resolution (IDNA) and eyes take for a separator."""


class Unreadable(ValueError):  # noqa: N818 - it never leaves the detectors
    """A text is not valid in one of its readings, or has too many."""


def readings(text: str) -> Sequence[str]:
    """`text` itself, and everything it may be decoded to.

    Raises:
        Unreadable: If an escape decodes to invalid UTF-8 (an overlong form, say), or there are too many.
    """
    if _PLAIN.fullmatch(text):
        return (text,)
    found = {text: None}
    ahead = [text]
    while ahead:
        one = ahead.pop()
        for step in _STEPS:
            other = step(one)
            if other not in found:
                if len(found) >= MAX_READINGS:
                    raise Unreadable("too many readings")
                found[other] = None
                ahead.append(other)
    return tuple(found)


def _percent(text: str) -> str:
    if not _PERCENT.search(text):
        return text
    try:
        wide = _PERCENT_WIDE.sub(lambda match: chr(int(match[1], 16)), text)
        return unquote_to_bytes(wide).decode()
    except UnicodeError:
        raise Unreadable("escapes that are no valid UTF-8") from None


def _backslashed(text: str) -> str:
    return _BACKSLASHED.sub(lambda match: chr(int(match[1] or match[2], 16)), text) if "\\" in text else text


def _referenced(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _compatible(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _looked_at(text: str) -> str:
    return text if text.isascii() else text.translate(_LOOKALIKES)


def _visible(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


_STEPS: Final[Sequence[Callable[[str], str]]] = (
    _percent,
    _backslashed,
    _referenced,
    _compatible,
    _looked_at,
    _visible,
)
