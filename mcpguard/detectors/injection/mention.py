"""Whether an order is only spoken of: quoted as what an attack says, or told of what others are asked to do.

The author of an attack can write so, too; a model that reads a quotation is less likely to obey it.
"""

import re
from typing import Final

__all__ = ["is_mentioned"]

REACH: Final = 200
"""Characters before and behind an order in which it is looked for what it is said of it."""

_PAIRS: Final = (
    ("\u201c", "\u201d"),
    ("\u201e", "\u201c"),
    ("\u201e", "\u201d"),
    ("\u00ab", "\u00bb"),
    ("\u300c", "\u300d"),
)
_EVEN: Final = ('"', "`")
"""Quotation marks that open and close alike."""

_VALUE: Final = re.compile(r"(?:[\"'`]|\A[\s-]*[\w.-]{1,40})\s{0,4}:\s{0,4}\Z|[\[{][^\]}]*\Z|[,;:=|\t\[{]\Z")
"""What stands before a value of JSON, YAML or CSV."""

_ABOUT: Final = re.compile(
    r"attack|inject|phrase|payload|jailbr|poison|malicious|adversar|detect|classif|such as|e\.g\.|"
    r"angreif|angriff|ataque|atacant|attaque|attacc|significa|d\u00e9tecter|bedeutet|\u0430\u0442\u0430\u043a|\u0444\u0440\u0430\u0437|"
    r"\u653b\u51fb|\u653b\u6483|\u6ce8\u5165|\uacf5\uaca9",
    re.IGNORECASE,
)
"""Words of those who write about attacks."""

_ASKED: Final = re.compile(r"[^.!?\u3002\uff01\n]{0,120}[?\uff1f]")
"""The end of a question in which something is quoted."""

_REPORTED: Final = re.compile(
    r"\b(?:attackers?|attacks?|jailbreaks?|injections?|adversar\w{1,4}|users|people|customers|somebody|someone)\b[^.!?\n\"]{0,60}?"
    r"\b(?:from|could|can|might|may|would|to|who|that|try|tries|trying)\b[^.!?\n\"]{0,40}\Z",
    re.IGNORECASE,
)
"""Others, and what they do or are asked to do."""


def is_mentioned(text: str, start: int, end: int) -> bool:
    """Whether what stands between two positions of a text is spoken of, and nobody is told to do it."""
    before = text[max(0, start - REACH) : start].rpartition("\n")[2]
    if _REPORTED.search(before) is not None:
        return True
    behind = text[end : end + REACH].partition("\n")[0]
    quoted = _quoted(before, behind)
    if quoted is None:
        return False
    opened, closed = quoted
    is_about = _ABOUT.search(before, 0, opened) or _ABOUT.search(behind, closed)
    return is_about is not None or _ASKED.match(behind, closed) is not None


def _quoted(before: str, behind: str) -> tuple[int, int] | None:
    """Where the quotation begins that ends before it, and where behind; None if it is none.

    A value of JSON, YAML or CSV is none, whatever its quotation marks.
    """
    for mark in _EVEN:
        if before.count(mark) % 2 and mark in behind:
            opened = before.rindex(mark)
            is_value = _VALUE.search(before, 0, opened) is not None
            return None if is_value else (opened, behind.index(mark) + 1)
    for opening, closing in _PAIRS:
        opened = before.rfind(opening)
        if opened >= 0 and closing not in before[opened + 1 :] and closing in behind:
            return opened, behind.index(closing) + 1
    return None
