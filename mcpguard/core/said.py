"""What a person provided, as far as a destination argument can be compared with it.

Only what can be a destination is kept: e-mail addresses, URLs, hosts and account numbers, as keyed digests.
This is provenance, not detection: a value that is not found has an unknown origin, nothing more.
"""

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from mcpguard.core.wire import digest

__all__ = ["Said"]

MAX_ENTRIES: Final = 4096
"""Values kept per run; the oldest leave first."""

MAX_TEXT: Final = 1_000_000
"""Characters of one text that are read; what a person types is shorter."""

_ADDRESS: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s<>\"'`]{1,2000}", re.IGNORECASE)
_HOST: Final = re.compile(r"\b(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b", re.IGNORECASE)
_ACCOUNT: Final = re.compile(r"\b[A-Z]{0,4}[0-9](?:[ -]?[0-9A-Z]){5,33}\b")


class Said:
    """A bounded set of keyed digests; safe to use from several threads."""

    __slots__ = ("_digests", "_key", "_lock")

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Remember every destination in `text`."""
        if not isinstance(text, str):
            raise TypeError(f"user_said takes text, not {type(text).__name__}")
        with self._lock:
            for value in _destinations(text[:MAX_TEXT]):
                known = digest(value.encode("utf-8", "backslashreplace"), self._key)
                self._digests[known] = None
                self._digests.move_to_end(known)
                if len(self._digests) > MAX_ENTRIES:
                    self._digests.popitem(last=False)

    def __contains__(self, value: str) -> bool:
        return digest(_folded(value).encode("utf-8", "backslashreplace"), self._key) in self._digests


def _destinations(text: str) -> Iterator[str]:
    for pattern in (_ADDRESS, _URL, _HOST):
        for match in pattern.finditer(text):
            yield _folded(match.group().rstrip(".,;:!?)]}"))
    for match in _ACCOUNT.finditer(text):
        yield _folded(match.group())


def _folded(value: str) -> str:
    """Case and the separators people put into account numbers do not make another destination."""
    value = value.strip().casefold()
    if "@" not in value and "." not in value and "/" not in value:
        value = value.replace(" ", "").replace("-", "")
    return value.rstrip("/")
