"""Passwords and tokens before the host of a URL.

A password that was not percent-encoded may hold what ends an authority: it goes on to the `@`.
"""

import re
from collections.abc import Iterator
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.stop_list import is_placeholder

__all__ = ["in_urls"]

_MORE: Final = r"(?:@[^\s/?#@\"'<>]{0,128}+(?=@)){0,3}+"
"""Further signs in a password: the last before the host ends it."""

_USER: Final = r"[^\s/?#@:\"'<>\[\]]{0,128}+"
_STRICT: Final = re.compile(rf"{_USER}:(?P<password>[^\s/?#@\"'<>]{{1,256}}+{_MORE})@[^\s]")
_LOOSE: Final = re.compile(
    rf"{_USER}:(?!\d{{1,5}}[/?#])(?P<password>[^\s/@\"'`{{][^\s@\"'`]{{0,255}}+{_MORE})@[\w\[]"
)
_TOKEN: Final = re.compile(r"(?P<password>(?=[^\s@]{0,64}\d)[A-Za-z0-9_-]{16,256}+)@[\w\[]")
"""A user without a password is a token where it is long and has digits."""


def in_urls(text: str, low: bytes) -> Iterator[Finding]:
    """Every password in a URL of `text`, whose bytes in small letters are `low`."""
    at = low.find(b"://")
    while at >= 0:
        for pattern in (_STRICT, _LOOSE, _TOKEN):
            found = pattern.match(text, at + 3)
            if found is not None:
                if not is_placeholder(found["password"]) and "[REDACTED" not in found[0]:
                    yield Finding(*found.span("password"), "url_password")
                break
        at = low.find(b"://", at + 3)
