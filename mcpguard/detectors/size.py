"""How much of a model's context something takes: bytes as JSON, and tokens, approximately.

No tokenizer is asked: each model has another. Four ASCII characters are a token, and so are three bytes of
anything else, which is near what tokenizers make of English, code, Chinese and Russian, and above it for
repeated text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from mcpguard.core.carried import carrier
from mcpguard.core.wire import JSON

__all__ = ["NOTHING", "Size", "asked_size", "shown_size", "size", "text_size"]

ASCII_WEIGHT: Final = 3
"""Twelfths of a token that an ASCII character is."""

BYTE_WEIGHT: Final = 4
"""Twelfths of a token that a byte of another character is."""

_SEEN_OTHERWISE: Final = frozenset({"image", "audio"})
"""Blocks whose `data` a model is not given as text."""

_FIVE: Final = frozenset({bool, type(None)})
"""What is written in five characters at most."""


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
    """The size of a JSON value, found without recursion; escapes are not counted."""
    total = 0
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
    whole = Size(total, total * ASCII_WEIGHT)
    if not others:
        return whole
    for text in others:
        exact = text_size(text)
        whole += Size(exact.bytes - len(text), exact.weight - len(text) * ASCII_WEIGHT)
    return whole


def shown_size(part: JSON) -> Size:
    """The size of content blocks, resource contents or messages, or of one of them, for a model.

    The base64 of an image, of audio, or of bytes that are no text counts in bytes only.
    """
    whole, unseen = size(part), 0
    ahead: list[JSON] = [part]
    while ahead:
        one = ahead.pop()
        if isinstance(one, list | tuple):
            ahead += one
        elif isinstance(one, Mapping):
            unseen += _unseen(one)
            if one.get("type") == "resource":
                ahead.append(one.get("resource"))
            elif "role" in one:
                ahead.append(one.get("content"))
    return Size(whole.bytes, whole.weight - unseen * ASCII_WEIGHT)


def asked_size(requests: JSON) -> Size:
    """The size of what a server asks for inside an answer, whose messages are content like others."""
    found = size(requests)
    for request in requests.values() if isinstance(requests, Mapping) else ():
        params = request.get("params") if isinstance(request, Mapping) else None
        messages = params.get("messages") if isinstance(params, Mapping) else None
        found -= size(messages) - shown_size(messages)
    return found


def _unseen(members: Mapping[str, JSON]) -> int:
    """Characters of a block or resource that no model is given as text: base64 of other bytes."""
    raw = members.get("data" if members.get("type") in _SEEN_OTHERWISE else "blob")
    if not isinstance(raw, str):
        return 0
    held = carrier(raw, members.get("mimeType"), is_base64=True)
    return len(raw) if held is not None and held.text is None else 0
