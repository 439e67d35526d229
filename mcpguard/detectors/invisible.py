"""Text that is not seen: tag characters, bidi controls, terminal escapes, controls, zero-width characters.

What has an honest use is kept where that use is: joiners between letters of joining scripts and in emoji,
break hints in scripts written without spaces, direction marks near right-to-left letters, one variation
selector after a character that varies. Contexts follow the Unicode Standard, chapters 9, 12, 16 and 23, and
UTS #51 (emoji); the bound on how far a direction mark reaches is a choice of ours. One pass, linear in the
text's length whatever the text.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["DIRECTION_MARKS", "Cleaned", "clean", "is_clean"]

REACH: Final = 40
"""Characters on either side among which a direction mark must have a right-to-left letter."""

MAX_ISOLATED: Final = 202
"""Characters of an isolated text that stays so, with both marks."""

CHUNK: Final = 16_384
"""ASCII characters looked at in one step: more of them leave the processor's cache."""

_EMOJI: Final = (
    r"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f"
    r"\u2b00-\u2bff\u3030\u303d\u3297\u3299",
    r"\U0001f000-\U0001faff",
)
_JOINING: Final = (
    r"\u0591-\u05f4\u0600-\u061b\u061d-\u085f\u0860-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u17b3\u17b6-\u17ff"
    r"\u1800-\u180a\u1810-\u18af\u1900-\u1aaf\u1b00-\u1c7f\ua800-\ua95f\ua980-\uaaff\uabc0-\uabff"
    r"\ufb1d-\ufdff\ufe70-\ufefc",
    r"\U00010a00-\U00010d3f\U00010f30-\U00010f6f\U00011000-\U00011fff\U0001e900-\U0001e95f",
)
_UNSPACED: Final = (
    r"\u0e00-\u109f\u1780-\u17b3\u17b6-\u17ff\u1900-\u1aaf\u1b00-\u1bff\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\ua980-\uaaff\uff01-\uff9f",
    r"\U00020000-\U000323af",
)
_IDEOGRAPHS: Final = (r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", r"\U00020000-\U000323af")
_VARYING: Final = (
    _IDEOGRAPHS[0] + r"\u1000-\u109f\u2200-\u22ff\u2a00-\u2aff\u3001\u3002\ua840-\ua87f\uff01-\uff1f",
    _IDEOGRAPHS[1],
)
_MONGOLIAN: Final = r"\u1800-\u180a\u1810-\u18af"
_JAMO: Final = r"\u1100-\u115e\u1161-\u11ff\ua960-\ua97f\ud7b0-\ud7ff"
_RTL: Final = r"\u05d0-\u05f4\u0600-\u0605\u0608\u060b\u060d\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"

_NEVER: Final = (
    r"\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9a\x9c\x9e\x9f\u00ad\u17b4\u17b5\u202a-\u202e\u2060-\u206f\u3164"
    r"\uffa0\ufff0-\ufffb\ud800-\udfff"
)
_SELDOM: Final = r"\x1b\x9b\x9d\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\ufe00-\ufe0f\ufeff"
_FLAGS: Final = ("gbeng", "gbsct", "gbwls")
"""The flags that are written in tag characters (UTS #51, recommended for interchange)."""


def _in_a_flag() -> str:
    """A pattern that holds behind a tag character which is part of a flag."""
    places: list[str] = []
    for name in _FLAGS:
        tags = "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in name) + "\U000e007f"
        places += [f"(?<={tags[: at + 1]})(?={tags[at + 1 :]})" for at in range(1, len(tags))]
    return "|".join(places)


def _not_behind(ranges: tuple[str, str]) -> str:
    """A pattern that holds behind a character which has none of `ranges` before it.

    The planes apart: the engine finds a character of the first one in one step.
    """
    return f"(?<![{ranges[0]}].)(?<![{ranges[1]}].)"


def _beside_none(ranges: tuple[str, str]) -> str:
    """The same, with none of them after it either."""
    return f"{_not_behind(ranges)}(?![{ranges[0]}])(?![{ranges[1]}])"


_EMOJI_CHAR: Final = f"(?:[{_EMOJI[0]}]|[{_EMOJI[1]}])"

_FOUND: Final = re.compile(
    rf"""[{_NEVER}{_SELDOM}](?:
    (?<=[\u200c\u200d]){_beside_none(_JOINING)}
        (?!(?:(?<={_EMOJI_CHAR}\u200d)|(?<={_EMOJI_CHAR}\ufe0f\u200d)){_EMOJI_CHAR})
    |(?<=[{_NEVER}])
    |(?<=[\u200e\u200f\u061c])
    |(?<=\u200b){_beside_none(_UNSPACED)}
    |(?<=[\ufe0e\ufe0f]){_not_behind(_EMOJI)}{_not_behind(_VARYING)}(?!(?<=[0-9\#*].)\u20e3)
    |(?<=[\ufe00-\ufe0d]){_not_behind(_VARYING)}
    |(?<=[\x1b\x9b\x9d])(?:
        (?:(?<=\x1b)\[|(?<=\x9b))[0-?]*+[ -/]*+[@-~]
        |(?:(?<=\x1b)[\]PX^_]|(?<=\x9d))[^\x07\x1b\x9b-\x9d]*+(?:\x07|\x1b\\|\x9c)
        |(?<=\x1b)[ -/]*+[0-~]?
        |)
    |(?<=\ufeff)(?<!\A.)
    |(?<=\u034f){_beside_none(_JOINING)}
    |(?<=[\u180b-\u180d\u180f])(?<![{_MONGOLIAN}].)
    |(?<=\u180e)(?<![{_MONGOLIAN}].)(?![{_MONGOLIAN}])
    |(?<=[\u115f\u1160])(?<![{_JAMO}].)(?![{_JAMO}])
    )""",
    re.VERBOSE | re.DOTALL,
)
"""One character that may not stay, with the rest of its escape sequence; direction marks are judged apart."""

_FOUND_ABOVE: Final = re.compile(
    rf"""[\U0001d173-\U0001d17a\U000e0000-\U000e0fff](?:
    (?<=[\U000e0100-\U000e01ef])(?<![{_IDEOGRAPHS[0]}].)(?<![{_IDEOGRAPHS[1]}].)
    |(?<![\U000e0100-\U000e01ef])(?!{_in_a_flag()})
    )""",
    re.VERBOSE | re.DOTALL,
)
"""The same above the first plane, where the engine looks more slowly: a pattern of its own."""

_RIGHT_TO_LEFT: Final = re.compile(rf"[{_RTL}]")

DIRECTION_MARKS: Final = ("\u200e", "\u200f", "\u061c")
"""Judged by what stands further off than next to them."""

_BESIDE: Final = r"\s!-/:-@\[-`{-~"
_ISOLATED: Final = re.compile(
    rf"(?<![^{_BESIDE}])\u2068(?=[^\n\u2066-\u2069]{{0,200}}?\w)[^\n\u2066-\u2069]{{1,200}}\u2069(?![^{_BESIDE}])"
)
"""A short text isolated as what it is, between words: how libraries write a name into a message (CLDR).

The other isolates say a direction, which can show Latin text in another order than it is read in (UAX #9).
"""

_ISOLATES: Final = ("\u2068", "\u2069")
"""What opens and closes one; they stay in a text that has nothing else to hide."""

_CONTROLS: Final = bytes(byte in b"\t\n\r" or 32 <= byte < 127 for byte in range(256)).translate(
    bytes([1, 0]) + bytes(254)
)
"""For each byte whether it is a control character that may not stay."""

_INSTEAD: Final[Mapping[str, str]] = {"\x0b": "\n", "\x0c": "\n", "\x85": "\n"}
"""What ends a line or a page becomes the end of a line."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text without what is not seen.

    Args:
        text: The text.
        removed: How many of each kind were removed: `tag`, `bidi`, `escape`, `control`, `zero_width`,
            `variation`, `surrogate`.
    """

    text: str
    removed: Mapping[str, int] = field(default_factory=dict[str, int])


def is_clean(text: str) -> bool:
    """Whether `clean` would leave `text` as it is; quick for ASCII."""
    if text.isascii():
        if len(text) <= CHUNK:
            return 1 not in text.encode().translate(_CONTROLS)
        return not any(
            1 in text[start : start + CHUNK].encode().translate(_CONTROLS)
            for start in range(0, len(text), CHUNK)
        )
    if _next(text, 0, isolates=True) is not None:
        return False
    return not _may_be_above(text) or _FOUND_ABOVE.search(text) is None


def clean(text: str) -> Cleaned:
    """`text` without what is not seen. A lone surrogate, which no encoding carries, becomes U+FFFD."""
    if is_clean(text):
        return Cleaned(text)
    pieces: list[str] = []
    removed: Counter[str] = Counter()
    end = 0
    while (found := _next(text, end)) is not None:
        first = text[found.start()]
        kind = _kind(first)
        pieces += text[end : found.start()], "\ufffd" if kind == "surrogate" else _INSTEAD.get(first, "")
        removed[kind] += 1
        end = found.end()
    pieces.append(text[end:])

    def counted(found: re.Match[str]) -> str:
        removed[_kind(found[0])] += 1
        return ""

    left = Cleaned(_FOUND_ABOVE.sub(counted, "".join(pieces)), removed)
    # an escape sequence may have taken letters along that let a mark or a joiner stay; none of those is left
    if "escape" in removed:
        again = clean(left.text)
        left = Cleaned(again.text, removed + Counter(again.removed))
    return left


def _may_be_above(text: str) -> bool:
    """Whether a character above the first plane may have to go, by the first bytes of all that may."""
    encoded = text.encode("utf-8", "surrogatepass")
    return b"\xf3\xa0" in encoded or b"\xf0\x9d\x85" in encoded


def _next(text: str, start: int, *, isolates: bool = False) -> re.Match[str] | None:
    """The first thing of the first plane from `start` on that may not stay."""
    found = _FOUND.search(text, start)
    while found is not None and (
        (found[0] in DIRECTION_MARKS and _is_near_rtl(text, found.start()))
        or (isolates and found[0] in _ISOLATES and _is_isolated(text, found.start()))
    ):
        found = _FOUND.search(text, found.end())
    return found


def _is_isolated(text: str, at: int) -> bool:
    """Whether a mark is one of two around a short text."""
    start = text.rfind(_ISOLATES[0], max(0, at - MAX_ISOLATED), at + 1)
    isolated = _ISOLATED.match(text, start) if start >= 0 else None
    return isolated is not None and at in (start, isolated.end() - 1)


def _is_near_rtl(text: str, at: int) -> bool:
    return _RIGHT_TO_LEFT.search(text, max(0, at - REACH), at + REACH) is not None


def _kind(char: str) -> str:
    code = ord(char)
    if char in "\x1b\x9b\x9d":
        return "escape"
    if code < 0xA0:
        return "control"
    if 0xE0100 <= code <= 0xE01EF or 0xFE00 <= code <= 0xFE0F:
        return "variation"
    if code >= 0xE0000:
        return "tag"
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or char in DIRECTION_MARKS:
        return "bidi"
    return "surrogate" if 0xD800 <= code <= 0xDFFF else "zero_width"
