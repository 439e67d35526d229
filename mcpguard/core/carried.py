"""Text inside base64: blobs of resources, bytes of content blocks, `data:` URIs.

Bytes that read as text are text, whatever their label says; all others (images, audio, archives) are left
alone. Decoding is as lenient as the hosts that will do it: white space, missing padding and the URL-safe
alphabet are no way round.
"""

import binascii
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["DATA", "Carrier", "carrier"]

DATA: Final = "data:"
"""What a `data:` URI begins with, in small letters."""

HEAD: Final = 64
"""Characters of base64 that are decoded first: images and archives show in their first bytes."""

SHORT: Final = 256
"""Characters below which what decodes to no text is read as it stands: no image is that small, a key is."""

_URL_SAFE: Final = str.maketrans("-_", "+/")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\r\n-]*={0,2}\s*\Z")
_DATA_URI: Final = re.compile(r"data:([^,;]{0,127})((?:;[^,;]{0,127}){0,8}),", re.IGNORECASE)
_TEXTUAL: Final = re.compile(
    r"text/|application/(?:[\w.+-]*\+)?(?:json|xml|yaml|x-yaml|javascript|toml|sql|x-sh|x-ndjson|jsonl)\b|"
    r"image/svg",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Carrier:
    """A string that carries something in base64.

    Args:
        raw: The string.
        text: What is inside, if it reads as text; None for bytes.
        head: What stands before the base64.
    """

    raw: str
    text: str | None
    head: str = ""

    def carrying(self, text: str) -> str:
        """The string that carries `text` instead."""
        body = binascii.b2a_base64(text.encode("utf-8", "surrogateescape"), newline=False)
        return self.head + body.decode("ascii")


def carrier(raw: str, mime: object = None, *, is_base64: bool = False) -> Carrier | None:
    """What `raw` carries, or None if it carries nothing and is to be read as it stands.

    Args:
        raw: A string of a message.
        mime: The type its sender claims.
        is_base64: Whether it should be base64 by its place; otherwise only a `data:` URI is.
    """
    head = ""
    if not is_base64:
        match = _DATA_URI.match(raw)
        if match is None or "base64" not in match[2].lower():
            return None
        head, mime = match[0], match[1]
    is_textual = isinstance(mime, str) and _TEXTUAL.match(mime) is not None
    body = raw[len(head) :] if head else raw
    text = _text(body, is_textual=is_textual)
    if text is not None:
        return Carrier(raw, text, head)
    return None if len(body) < SHORT or _BASE64.match(body) is None else Carrier(raw, None, head)


def _text(body: str, *, is_textual: bool) -> str | None:
    """What is inside, if it reads as text."""
    if not is_textual and len(body) > 2 * HEAD:
        start = _decoded(body[:HEAD])
        if start is None or not _may_be_text(start):
            return None
    inside = _decoded(body)
    if inside is None or (not is_textual and b"\0" in inside):
        return None
    try:
        return inside.decode("utf-8")
    except UnicodeDecodeError:
        return inside.decode("utf-8", "surrogateescape") if is_textual else None


def _decoded(body: str) -> bytes | None:
    if not body.isascii():
        return None
    body = body.translate(_URL_SAFE).rstrip("=\r\n ")
    for whole in (body, body[:-1]):
        try:
            return binascii.a2b_base64(whole + "==")
        except binascii.Error:  # one character too many, which hosts drop
            continue
    return None


def _may_be_text(start: bytes) -> bool:
    """Whether these may be the first bytes of a text: the last character may be cut."""
    if b"\0" in start:
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3
    return True
