"""Private keys, as files and configurations write them: PEM, PEM in base64, PuTTY's files, JSON Web Keys.

A block that does not end, because a page does, goes as far as it may be a key; line numbers and marks of
quotations before its lines belong to it.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from mcpguard.detectors.findings import Finding

__all__ = ["KEY_MEMBERS", "holds_begin", "holds_end", "private_keys"]

LONGEST: Final = 32_768
"""Characters within which a private key ends."""

KEY_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})
"""Members of a JSON Web Key that only its owner has (RFC 7518, 6)."""

_BODY: Final = re.compile(r"(?:[A-Za-z0-9+/=:,|>\s-]|\\[nr])*+")
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
_PACKED: Final = "LS0tLS1CRUdJTi"
"""How the base64 of every PEM block begins."""

_PACKED_BODY: Final = re.compile(rf"(?:[A-Za-z0-9+/=]|\\[nr]|\r?\n[ \t]{{0,16}}+){{1,{2 * LONGEST}}}+")
_PUTTY: Final = re.compile(
    r"Private-Lines: ?\d{1,4}+(?:\s|\\[nr]){1,4}+(?P<key>(?:[A-Za-z0-9+/=\s]|\\[nr])*+)"
)
_MEMBER: Final = re.compile(
    r"""\\?"(?:d|p|q|dp|dq|qi|k)\\?"\s{0,8}+:\s{0,8}+\\?"(?P<key>[A-Za-z0-9_=-]{16,2048}+)\\?\""""
)


def private_keys(text: str, low: bytes) -> Iterator[Finding]:
    """Every private key in `text`, whose bytes in small letters are `low`."""
    if b"private key" in low:
        yield from _blocks(text)
    if _PACKED in text:
        yield from _packed(text)
    if "Private-Lines" in text:
        yield from (Finding(*found.span("key"), "private_key") for found in _PUTTY.finditer(text))
    if '"kty' in text:
        yield from (Finding(*found.span("key"), "private_key") for found in _MEMBER.finditer(text))


def holds_begin(text: str) -> bool:
    """Whether a private key begins in `text`."""
    return "-----" in text and _PEM.search(text) is not None


def holds_end(text: str) -> bool:
    """Whether a block ends in `text`."""
    return "-----END" in text or "-----end" in text


def _blocks(text: str) -> Iterator[Finding]:
    begins = _PEM.search(text)
    while begins is not None:
        end = text.find("-----END", begins.end(), begins.end() + LONGEST)
        if end < 0:
            end = text.find("-----end", begins.end(), begins.end() + LONGEST)
        if end >= 0:
            closing = text.find("-----", end + 8, end + 80)
            stop = end + 8 if closing < 0 else closing + 5
        else:
            body = _BODY.match(text, begins.end(), begins.end() + LONGEST)
            stop = begins.end() if body is None else body.end()
        yield Finding(begins.start(), stop, "private_key")
        begins = _PEM.search(text, max(stop, begins.end()))


def _packed(text: str) -> Iterator[Finding]:
    """Blocks in base64: of Kubernetes' secrets and configurations, and of CI variables."""
    at = text.find(_PACKED)
    while at >= 0:
        body = _PACKED_BODY.match(text, at)
        end = at + len(_PACKED) if body is None else body.end()
        head = text[at : min(end, at + 60)]
        if b"PRIVATE KEY" in binascii.a2b_base64(head + "=" * (-len(head) % 4)):
            yield Finding(at, at + len(text[at:end].rstrip()), "private_key")
        at = text.find(_PACKED, end)
