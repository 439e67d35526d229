"""How much of a model's context something takes: bytes as JSON, and tokens, approximately.

No tokenizer is asked: each model has another. Four ASCII characters are a token, and so are three bytes of
anything else, which is near what tokenizers make of English, code, Chinese and Russian, and above it for
repeated text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from mcpguard.core.wire import JSON

__all__ = ["NOTHING", "Size", "size", "text_size"]

ASCII_WEIGHT: Final = 3
"""Twelfths of a token that an ASCII character is."""

BYTE_WEIGHT: Final = 4
"""Twelfths of a token that a byte of another character is."""

_SEEN_OTHERWISE: Final = frozenset({"image", "audio"})
"""Blocks whose `data` a model is not given as text."""

_FIVE: Final = frozenset({bool, type(None)})
"""What is written in five characters at most."""

_TEXTUAL: Final = ("text/", "application/json", "application/xml")


@dataclass(frozen=True, slots=True)
class Size:
    """How much something is.

    Args:
        bytes: In UTF-8, JSON's punctuation included.
        weight: In twelfths of a token.
    """

    bytes: int
    weight: int

    @classmethod
    def of(cls, bytes: int, tokens: int) -> Self:
        """So many bytes and tokens."""
        return cls(bytes, tokens * 12)

    @property
    def tokens(self) -> int:
        """Tokens, approximately."""
        return -(-self.weight // 12)

    def __add__(self, other: "Size") -> "Size":
        return Size(self.bytes + other.bytes, self.weight + other.weight)

    def __sub__(self, other: "Size") -> "Size":
        return Size(self.bytes - other.bytes, self.weight - other.weight)

    def __le__(self, other: "Size") -> bool:
        return self.bytes <= other.bytes and self.weight <= other.weight

    def times(self, share: float) -> "Size":
        """A share of it."""
        return Size(int(self.bytes * share), int(self.weight * share))


NOTHING: Final = Size(0, 0)


def text_size(text: str) -> Size:
    """The size of a string."""
    if text.isascii():
        return Size(len(text), len(text) * ASCII_WEIGHT)
    whole = len(text.encode("utf-8", "surrogatepass"))
    plain = len(text.encode("ascii", "ignore"))
    return Size(whole, plain * ASCII_WEIGHT + (whole - plain) * BYTE_WEIGHT)


def size(value: JSON) -> Size:
    """The size of a JSON value, found without recursion; escapes are not counted.

    The base64 of an image, of audio, or of bytes that are no text counts in bytes only.
    """
    total = unseen = 0
    others: list[str] = []
    ahead: list[JSON] = [value]
    while ahead:
        one = ahead.pop()
        if isinstance(one, str):
            total += len(one) + 2
            if not one.isascii():
                others.append(one)
        elif isinstance(one, dict) or isinstance(one, Mapping):  # noqa: SIM101 - a dict is told in no time
            total += 2 + 2 * len(one)
            ahead += one
            ahead += one.values()
            if "data" in one or "blob" in one:
                unseen += _unseen(one)
        elif isinstance(one, list):
            total += 2 + len(one)
            ahead += one
        elif type(one) in _FIVE:
            total += 5
        elif isinstance(one, int):
            total += one.bit_length() // 3 + 1
        elif isinstance(one, Sequence):
            total += 2 + len(one)
            ahead += one
        else:
            total += 24
    whole = Size(total, (total - unseen) * ASCII_WEIGHT)
    if not others:
        return whole
    for text in others:
        exact = text_size(text)
        whole += Size(exact.bytes - len(text), exact.weight - len(text) * ASCII_WEIGHT)
    return whole


def _unseen(members: Mapping[str, JSON]) -> int:
    """Characters of a block or resource that no model is given as text."""
    data, blob = members.get("data"), members.get("blob")
    if isinstance(data, str) and members.get("type") in _SEEN_OTHERWISE:
        return len(data)
    kind = members.get("mimeType")
    if isinstance(blob, str) and isinstance(kind, str) and not kind.lower().startswith(_TEXTUAL):
        return len(blob)
    return 0
