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

from mcpguard.core.hosts import canonical_host, shared_place
from mcpguard.core.wire import digest

__all__ = ["Said"]

MAX_ENTRIES: Final = 4096
"""Values kept per run; the oldest leave first."""

MAX_TEXT: Final = 1_000_000
"""Characters of one text that are read; what a person types is shorter."""

_ADDRESS: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_URL: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://([^\s<>\"'`/\\?#]{1,320})([^\s<>\"'`]{0,1700})", re.IGNORECASE
)
_HOST: Final = re.compile(
    r"(?<![\w@./\\-])((?:[\w-]{1,63}\.){1,8}(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,24}))(?![\w@-])(?::\d{1,5})?([/\\?#][^\s<>\"'`]{0,1700})?",
    re.IGNORECASE,
)
_NUMBERED: Final = re.compile(
    r"(?<![\w.:@])(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}\]?)(?![\w.]*\w)",
    re.IGNORECASE,
)
_ACCOUNT: Final = re.compile(r"\b[A-Z]{0,4}[0-9](?:[ -]?[0-9A-Z]){5,33}\b")

_FILES: Final = (
    ".cc", ".md", ".ml", ".mm", ".mov", ".pl", ".ps", ".py", ".rs", ".sh", ".so", ".tf", ".zip",
)  # fmt: skip
"""Ends of files that are ends of hosts, too: who says `README.md` names no host."""


_AFTER: Final = ".,;:!?)]}"
"""What stands behind a destination in a sentence."""


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
    for match in _ADDRESS.finditer(text):
        name, _, host = match.group().rstrip(_AFTER).rpartition("@")
        yield _folded(match.group().rstrip(_AFTER))
        yield f"{name.casefold().partition('+')[0]}@{canonical_host(host)}"
    for match in _URL.finditer(text):
        yield _folded(match.group().rstrip(_AFTER))
        yield from _places(match[1], match[2])
    for match in _HOST.finditer(text):
        if not match[1].casefold().endswith(_FILES):
            yield _folded(match[1])
            yield from _places(match[1], match[2] or "")
    for match in _NUMBERED.finditer(text):
        yield canonical_host(match.group())
    for match in _ACCOUNT.finditer(text):
        yield _folded(match.group())


def _places(authority: str, path: str) -> Iterator[str]:
    """The host; where many share it, only the part of it that was named."""
    host = canonical_host(authority)
    yield shared_place(host, path.rstrip(_AFTER)) or host


def _folded(value: str) -> str:
    """Case and the separators people put into account numbers do not make another destination."""
    value = value.strip().casefold()
    if "@" not in value and "." not in value and "/" not in value:
        value = value.replace(" ", "").replace("-", "")
    return value.rstrip("/")
