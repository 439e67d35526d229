"""What hides a name in a text from a machine and from no reader: unseen characters, odd letters, brackets.

Above: `destinations`. Nothing here says whether what was hidden is bad: people defang addresses out of care.
"""

import html
import re
import unicodedata
from typing import Final

from mcpguard.core.hosts import UNSEEN

__all__ = ["folded", "undisguised"]

_ODD: Final = re.compile(
    f"{UNSEEN.pattern[:-1]}\u2024\u2100-\u214f\u2460-\u24ff\ufe50-\ufe6f\uff01-\uff65\U0001d400-\U0001d7ff]"
)
"""What is not seen, or read as a plainer character where a host or an address stands (UTS 46)."""

MAX_ODD: Final = 32
"""Odd characters of a text that are replaced one by one."""

_DEFANGED: Final = re.compile(r"[\[({]\s?(\.|dot|@|at|:)\s?[\])}]", re.IGNORECASE)
_DEFANGERS: Final = ("[.", "(.", "{.", "[d", "(d", "{d", "[D", "(D", "[@", "[a", "[:")
_UNFANGED: Final = {"dot": ".", "at": "@"}
_ENTITY: Final = re.compile(r"&(?:#|period;|commat;|colon;|sol;)")


def folded(text: str) -> str:
    """Without what is not seen, and with plain letters for wide and ornamental ones."""
    if text.isascii():
        return text
    odd = _ODD.findall("".join(set(text)))
    if len(odd) > MAX_ODD:
        return unicodedata.normalize("NFKC", UNSEEN.sub("", text))
    for char in odd:
        text = text.replace(char, UNSEEN.sub("", unicodedata.normalize("NFKC", char)))
    return text


def undisguised(text: str) -> str:
    """A text as a person or a model reads it."""
    text = folded(text)
    if "&" in text and _ENTITY.search(text) is not None:
        text = html.unescape(text)
    if ("[" in text or "(" in text or "{" in text) and any(one in text for one in _DEFANGERS):
        text = _DEFANGED.sub(_unfanged, text)
    return text


def _unfanged(found: re.Match[str]) -> str:
    return _UNFANGED.get(found[1].lower(), found[1])
