"""Text as a model reads it: disguises undone, every position mapped back to the text as it is.

One level of entities, percent, JSON escapes and base64 is undone; compatibility forms, invisible characters,
marks, look-alike letters and digits for letters are folded. The result is for looking, never for showing.
"""

import base64
import binascii
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Final

from mcpguard.detectors.confusables import LOOKALIKES
from mcpguard.detectors.injection.glance import base64_runs

__all__ = [
    "View",
    "decoded",
    "folded",
    "joined",
    "looks_mixed",
    "unleeted",
    "unmixed",
]

MAX_DECODED: Final = 200_000
"""Characters of base64 that are decoded of one text."""

FEW: Final = 32
"""Characters that are replaced one by one: a table of characters is slower than so many passes."""

_ESCAPED: Final = re.compile(
    r"&(?:#[0-9]{1,7}|#x[0-9a-fA-F]{1,6}|lt|gt|amp|quot|apos|nbsp);"
    r"|%[0-9a-fA-F]{2}(?:%[0-9a-fA-F]{2})*"
    r"|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[nrt\"]"
)
_SPACED: Final = re.compile(r"(?<!\w)(?:\w[ .\-_*]){5,200}\w(?!\w)")
"""Letters set apart: `i g n o r e`."""

_LEET: Final = str.maketrans("013457@$", "oieastas")
_HEX: Final = "0123456789abcdef-"
_HOMOGLYPHS: Final = str.maketrans(dict(LOOKALIKES))
_MIXED: Final = re.compile("[{}](?:(?=[a-z])|(?<=[a-z].))".format("".join(map(re.escape, LOOKALIKES))))
"""It begins with what is quickly found."""
_READS: Final = {"\u2019": "'", "\u0131": "i"}
_SIMPLE: Final = {"n": "\n", "r": "\n", "t": " ", '"': '"'}


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a text, in lower case.

    Args:
        text: What is read.
        starts: Positions in `text` where a piece of it begins. Empty: `text` is as long as the original.
        origins: Where each piece begins in the original.
        ends: Where each piece ends in the original.
    """

    text: str
    starts: tuple[int, ...] = ()
    origins: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of what is read between two positions."""
        if not self.starts:
            return start, end
        first = max(0, bisect_right(self.starts, start) - 1)
        last = max(first, bisect_right(self.starts, max(start, end - 1)) - 1)
        begin, stop = self.origins[first], self.ends[last]
        if self._is_plain(first):
            begin += start - self.starts[first]
        if self._is_plain(last):
            stop = self.origins[last] + end - self.starts[last]
        return begin, max(begin, stop)

    def with_text(self, text: str) -> "View":
        """The same places, read otherwise: a text of the same length."""
        return View(text, self.starts, self.origins, self.ends)

    def _is_plain(self, piece: int) -> bool:
        """Whether a piece is as long in the original as it is here."""
        until = self.starts[piece + 1] if piece + 1 < len(self.starts) else len(self.text)
        return until - self.starts[piece] == self.ends[piece] - self.origins[piece]


def folded(text: str) -> View:
    """Without escapes, marks and invisible characters, in lower case."""
    view = View(_lower(text))
    if "&" in text or "%" in text or "\\" in text:
        pieces = list(_pieces(text, _ESCAPED, _unescaped, _lower))
        if len(pieces) > 1:
            view = _assembled(pieces)
    if view.text.isascii():
        return view
    odd = set(view.text) - _PLAIN
    reads = {one: _FOLD[ord(one)] for one in odd}
    _PLAIN.update(one for one in odd if reads[one] == one)
    even = [one for one in odd if len(reads[one]) == 1 and reads[one] != one]
    uneven = [one for one in odd if len(reads[one]) != 1]
    text = view.text
    if len(even) > FEW:
        text = text.translate({ord(one): reads[one] for one in even})
    else:
        for one in even:
            text = text.replace(one, reads[one])
    view = view.with_text(text)
    if not uneven:
        return view
    pattern = re.compile("[" + "".join(map(re.escape, uneven)) + "]+")
    return _within(view, _pieces(text, pattern, _refolded, str))


def joined(view: View) -> View:
    """With letters that are set apart put together."""
    return _within(view, _pieces(view.text, _SPACED, _joined, str))


def unleeted(view: View) -> View:
    """With digits read as the letters they stand for."""
    return view.with_text(view.text.translate(_LEET))


def unmixed(view: View) -> View:
    """With letters of other alphabets read as the Latin ones they look like."""
    return view.with_text(view.text.translate(_HOMOGLYPHS))


def looks_mixed(text: str) -> bool:
    """Whether letters of other alphabets stand among Latin ones."""
    return not text.isascii() and _MIXED.search(text) is not None


def decoded(text: str) -> Iterator[View]:
    """What stands in base64, if it is text."""
    left = MAX_DECODED
    for start, end in base64_runs(text):
        run = text[start:end]
        if not run.strip(_HEX) or (run.isalpha() and (run.islower() or run.isupper())):
            continue
        left -= len(run)
        if left < 0:
            return
        body = run.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            read = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            continue
        if read.isprintable() or "\n" in read:
            yield _assembled([(_lower(read), start, end)])


class _Fold(dict[int, str]):
    """Character -> how it reads; worked out on first use, bounded by the number of characters."""

    def __missing__(self, code: int) -> str:
        kept = _read(chr(code))
        self[code] = kept
        return kept


def _read(one: str) -> str:
    """Nothing for an invisible character or a mark, the plain letter for a form of it."""
    code = ord(one)
    if 0xE0020 <= code <= 0xE007E:
        return chr(code - 0xE0000).lower()
    if one in _READS:
        return _READS[one]
    category = unicodedata.category(one)
    if category == "Nd":
        return str(unicodedata.decimal(one))
    if category == "Cf" or category[0] == "Z" or (category == "Cc" and one not in "\n\t\r"):
        return "" if category != "Zs" and category[0] != "Z" else " "
    if category == "Mn" and (code < 0x0900 or 0xFE00 <= code <= 0xFE0F):
        return ""
    if code >= 0x0900:
        reads = unicodedata.normalize("NFKC", one).lower()
        return reads if len(reads) != 1 or reads == one else _read(reads)
    marks = unicodedata.normalize("NFKD", one)
    return "".join(part for part in marks if unicodedata.category(part) != "Mn").lower()


_FOLD: Final = _Fold()

_PLAIN: Final[set[str]] = set()
"""Characters seen that read as they are; bounded by the number of characters."""


def _lower(text: str) -> str:
    low = text.lower()
    return low if len(low) == len(text) else "".join(one.lower()[:1] for one in text)


def _joined(match: re.Match[str]) -> str:
    """Letters without what stands between them: blanks stay where other marks set the letters apart."""
    found = match.group()
    between = found[1::2]
    if not between.strip() or " " not in between:
        return f" {found[::2]} "
    return f" {''.join(one for at, one in enumerate(found) if at % 2 == 0 or one == ' ')} "


def _refolded(match: re.Match[str]) -> str:
    return match.group().translate(_FOLD)


def _unescaped(match: re.Match[str]) -> str:
    found = match.group()
    try:
        if found[0] == "&":
            return unescape(found).lower()
        if found[0] == "%":
            return bytes.fromhex(found.replace("%", "")).decode("utf-8").lower()
    except ValueError:
        return found.lower()
    if found[1] in "ux":
        digits = found[2:]
        return chr(int(digits, 16)).lower()
    return _SIMPLE[found[1]]


def _pieces(
    text: str, pattern: re.Pattern[str], change: Callable[[re.Match[str]], str], rest: Callable[[str], str]
) -> Iterator[tuple[str, int, int]]:
    """A text in pieces, those that match changed: what is read, and where it is."""
    here = 0
    for match in pattern.finditer(text):
        if match.start() > here:
            yield rest(text[here : match.start()]), here, match.start()
        read = change(match)
        if read:
            yield read, match.start(), match.end()
        here = match.end()
    if here < len(text):
        yield rest(text[here:]), here, len(text)


def _assembled(pieces: list[tuple[str, int, int]]) -> View:
    starts: list[int] = []
    at = 0
    for read, _, _ in pieces:
        starts.append(at)
        at += len(read)
    return View(
        "".join(read for read, _, _ in pieces),
        tuple(starts),
        tuple(start for _, start, _ in pieces),
        tuple(end for _, _, end in pieces),
    )


def _within(view: View, pieces: Iterator[tuple[str, int, int]]) -> View:
    """A view made of pieces of another one."""
    return _assembled([(read, *view.span(start, end)) for read, start, end in pieces])
