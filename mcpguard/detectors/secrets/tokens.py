"""Tokens in an issuer's format, found anywhere in a text.

Most text has no word long enough to be a token: one pass over the bytes says so. Only long words are then
searched for what formats have in common, and only formats that may be there are matched.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.formats import FORMATS, Format
from mcpguard.detectors.secrets.stop_list import before_example, is_example

__all__ = ["long_words", "tokens"]

SHORTEST: Final = 12
"""Letters, digits, `_` and `-` that every token has in a row, at least; those of `SPACED` may have none."""

SPACED: Final = frozenset(
    {
        "azure_client_secret",
        "gitlab_token",
        "planetscale_token",
        "slack_webhook",
        "stripe_key",
        "typeform_token",
    }
)
"""Formats with other characters anywhere in their tokens, which are looked for in the text itself."""

MOST_WORDS: Final = 4
"""Words of examples that are taken off a token's end."""

_INSIDE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_BETWEEN: Final = frozenset(b".:/~+=,")
_SHAPE: Final = bytes(97 if byte in _INSIDE else 98 if byte in _BETWEEN else 32 for byte in range(256))
_RUN: Final = b"a" * SHORTEST
_HEX: Final = "0123456789abcdef-"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz_-./:~+=,"
_TIME: Final = "0123456789TZ_-./:~+=,"

_WORDS_OF: Final = tuple((word, one) for one in FORMATS if one.kind not in SPACED for word in one.words)
_WORDS_OF_SPACED: Final = tuple((word, one) for one in FORMATS if one.kind in SPACED for word in one.words)
_HELD: Final[Mapping[str, str]] = {"~": "Q~", "/": "hooks", "-": "gl", "_": "_"}
"""A character that some of these words have -> what all of them that have it hold; it is quickly found."""

_LINE: Final = re.compile("\n")
_REST: Final = re.compile(r"[A-Za-z0-9_-]*")


def long_words(text: str) -> tuple[list[int], str]:
    """The words of `text` that are long enough to be a token: where each begins, and all, a line each.

    Digests, times, and what is written in small letters alone, paths above all, are none.
    """
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    starts: list[int] = []
    found: list[str] = []
    inside, end = shape.find(_RUN), 0
    while inside >= 0:
        start = shape.rfind(b" ", end, inside) + 1 or end
        end = shape.find(b" ", inside)
        if end < 0:
            end = len(shape)
        word = text[start:end]
        if word.strip(_HEX) and word.strip(_LOWER) and word.strip(_TIME) and word != "structuredContent":
            starts.append(start)
            found.append(word)
        inside = shape.find(_RUN, end)
    return starts, "\n".join(found)


def tokens(text: str) -> Iterator[Finding]:
    """Every token of a known format in `text`, one after another within a format."""
    for one in {id(one): one for one in _spaced(text)}.values():
        for found in one.pattern.finditer(text):
            end = _end(text, text, found, 0, one)
            if end is not None:
                yield Finding(found.start(), end, one.kind)
    starts, words = long_words(text)
    if not starts:
        return
    lines: list[int] | None = None
    for one in {id(one): one for word, one in _WORDS_OF if word in words}.values():
        for found in one.pattern.finditer(words):
            if lines is None:
                lines = [0, *(line.end() for line in _LINE.finditer(words))]
            line = bisect_right(lines, found.start()) - 1
            offset = starts[line] - lines[line]
            end = _end(text, words, found, offset, one)
            if end is not None:
                yield Finding(found.start() + offset, end + offset, one.kind)


def _spaced(text: str) -> Iterator[Format]:
    """The formats with other characters anywhere in their tokens of which a word stands in `text`."""
    for mark, held in _HELD.items():
        if mark in text and held in text:
            yield from (one for word, one in _WORDS_OF_SPACED if mark in word and word in text)


def _end(text: str, words: str, found: re.Match[str], offset: int, one: Format) -> int | None:
    """Where a token ends in `words`, or None if it is none."""
    start, end = found.span()
    is_plain = found[0][:12].isalnum()
    if is_plain and start and words[start - 1].isalnum() and not _is_escape(text, start + offset):
        return None
    if words[end : end + 1].isalnum():
        if is_plain:
            return None
        rest = _REST.match(words, end)
        end = end if rest is None else rest.end()
    if one.requires is not None and not one.requires(found[0]):
        return None
    if one.proves is not None and one.proves(found[0]):
        return end
    return None if _is_example(found[0], one) else end


def _is_example(token: str, one: Format) -> bool:
    """Whether it is a documentation's token, and not one to which a word for that was attached."""
    for _ in range(MOST_WORDS):
        if not is_example(token):
            return False
        token = before_example(token).rstrip("._-")
        if one.pattern.fullmatch(token) is None:
            return True
    return True


def _is_escape(text: str, start: int) -> bool:
    r"""Whether the letter before `start` belongs to an escape, `\n` or `%3D`."""
    return (start > 1 and text[start - 2] == "\\") or (start > 2 and text[start - 3] == "%")
