"""Where data can go, as texts name it: addresses, URLs, hosts and accounts; and which of them a run has read.

This is provenance and not detection: a destination that was read somewhere is not bad for it. Values are
kept as salted hashes of this process. What is asked, and of whom, is decided elsewhere.
"""

import re
import string
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal
from urllib.parse import unquote

from mcpguard.core.call import Call
from mcpguard.core.content import texts
from mcpguard.core.scope import Matcher, matcher
from mcpguard.core.wire import JSON
from mcpguard.detectors.labelling import DESTINATION, Labels

__all__ = ["Allowed", "Destination", "ReadDestinations", "destinations", "sent_by"]

MAX_READ: Final = 16_384
"""Destinations kept of one run; once there are more, every destination counts as read."""

MAX_LENGTH: Final = 320
"""Characters of an address (RFC 3696), and more than a host has (RFC 1035)."""

_ADDRESS: Final = re.compile(r"[\w.+%-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){0,8})")
_BESIDE: Final = re.compile(r"[\w.+%-]@[\w-]")
LOCAL: Final = 64
DOMAIN: Final = 640
"""Characters of an address before its sign, and from it on, at most."""

_AUTHORITY: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}:[/\\]{2,}([^\s/\\?#<>\"'`|]{1,320})")
_NAME: Final = re.compile(r"(?<![\w@.-])(?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w-])")
_ACCOUNT: Final = re.compile(
    r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"  # IBAN, ISO 13616
    r"|\b0x[0-9a-fA-F]{40}\b|\bbc1[0-9a-z]{25,59}\b"
)
_DOTTED: Final = re.compile(r"\.[a-zA-Z]{2}")
"""What hosts do not go without: most text has none, and it is cheap to see that."""

_SHAPE: Final = bytes(
    0x41 if chr(byte) in string.ascii_uppercase else 0x30 if chr(byte) in string.digits else 0x20
    for byte in range(256)
)
"""Capital letters as A and digits as 0: an IBAN begins with AA00."""

_OF_NAMES: Final = string.ascii_letters + string.digits + "_-.@"
"""What a host may begin behind none of."""

SHORTEST: Final = 12
"""Characters of an account."""

_STOPS: Final = str.maketrans({"\u3002": ".", "\uff61": ".", "\uff0e": "."})
"""Characters that stand for a dot in a host (UTS 46)."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination.

    Args:
        kind: What it is; `other` for the value of an argument that was declared to be one.
        value: Folded, for comparing: an address, a host, an account, or the value itself.
        text: As it was written.
    """

    kind: Literal["address", "url", "host", "account", "other"]
    value: str
    text: str


def destinations(text: str) -> Iterator[Destination]:
    """Every address, URL and account in a text, and the text itself where all of it is a host."""
    for address in _addresses(text):
        yield Destination("address", _address(address), address)
    if ("/" in text and ":/" in text) or ("\\" in text and ":\\" in text):
        for match in _AUTHORITY.finditer(text):
            yield Destination("url", _host(match[1]), match.group())
    if len(text) >= SHORTEST and _may_hold_account(text):
        for match in _ACCOUNT.finditer(text):
            yield Destination("account", match.group().replace(" ", "").casefold(), match.group())
    if len(text) <= MAX_LENGTH and ("." in text or not text.isascii()):
        alone = text.strip().translate(_STOPS).partition("/")[0]
        if _NAME.fullmatch(alone):
            yield Destination("host", _host(alone), text.strip())


def _addresses(text: str) -> Iterator[str]:
    """Every address, looked for on either side of its sign alone."""
    at, end = text.find("@"), 0
    while at >= 0:
        if _BESIDE.match(text, max(0, at - 1)):
            found = _ADDRESS.search(text, max(end, at - LOCAL), at + DOMAIN)
            if found is not None:
                yield found.group()
                end = found.end()
        at = text.find("@", max(at + 1, end))


def _whole(text: str) -> list[Destination]:
    """What an argument names that was declared to be a destination: something, whatever it is."""
    return list(destinations(text)) or [Destination("other", text.strip().casefold(), text.strip())]


def sent_by(call: Call, labels: Labels) -> Iterator[tuple[str, Iterable[Destination]]]:
    """What a call names as destinations, by argument: what is declared as one, or looks like one."""
    declared = [name for name, its in labels.arguments.items() if DESTINATION in its]
    if declared:
        arguments = call.arguments
        for name in declared:
            if name in arguments:
                for text in texts(arguments[name]):
                    yield name, _whole(text)
        return
    given: JSON = call.arguments or {key: value for key, value in call.params.items() if key != "_meta"}
    for text in texts(given):
        yield "", destinations(text)


class ReadDestinations:
    """What one run has read, bounded."""

    __slots__ = ("_hashes", "is_full")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self.is_full = False
        """Whether there was more than is kept, so that nothing is known not to have been read."""

    def read(self, texts: Sequence[str]) -> None:
        """Remember every destination in some texts."""
        if self.is_full:
            return
        for value in chain.from_iterable(map(_named, _together(texts))):
            self._hashes.add(hash(value))
            if len(self._hashes) > MAX_READ:
                self.is_full = True
                self._hashes.clear()
                return

    def __contains__(self, one: Destination) -> bool:
        if self.is_full:
            return True
        if hash(one.value) in self._hashes:
            return True
        host = one.value.rpartition("@")[2] if one.kind != "address" else ""
        while "." in host:
            if hash(host) in self._hashes:
                return True
            host = host.partition(".")[2]
        return False


class Allowed:
    """Destinations that somebody has allowed.

    Args:
        patterns: Addresses (`*@example.com`), hosts (`*.example.com`), accounts or values; names or globs.
    """

    __slots__ = ("_matches",)

    def __init__(self, patterns: Collection[str]) -> None:
        self._matches: Matcher = matcher([pattern.casefold() for pattern in patterns])

    def __contains__(self, one: Destination) -> bool:
        return self._matches(one.value)


def _named(text: str) -> Iterator[str]:
    for one in destinations(text):
        yield one.value
        if one.kind == "address":
            yield one.value.rpartition("@")[2]
    yield from _hosts(text)


def _together(texts: Sequence[str]) -> Iterable[str]:
    """Texts as one, where no destination could begin in one and end in another, or be one as a whole."""
    joined = "\n".join(texts)
    return (joined,) if joined.isascii() else texts


def _may_hold_account(text: str) -> bool:
    if ("0" in text and "0x" in text) or ("1" in text and "bc1" in text):
        return True
    return b"AA00" in text.encode("ascii", "replace").translate(_SHAPE)


def _hosts(text: str) -> Iterator[str]:
    """What looks like a host in a text, found by its dots."""
    if not text.isascii() and _DOTTED.search(text) is not None:
        for word in {word for word in text.split() if "." in word}:
            for match in _NAME.finditer(word):
                yield _host(match.group())
    if not text.isascii():
        return
    end = 0
    for dot in _DOTTED.finditer(text):
        at = dot.start()
        if at < end:
            continue
        before, behind = text[max(end, at - MAX_LENGTH) : at], text[at : at + MAX_LENGTH]
        start = at - len(before) + len(before.rstrip(_OF_NAMES))
        end = at + len(behind) - len(behind.lstrip(_OF_NAMES))
        for match in _NAME.finditer(text, start, end):
            yield _host(match.group())


def _address(text: str) -> str:
    """Without the tag that mail to the same box may have (RFC 5233)."""
    name, _, host = text.casefold().rpartition("@")
    return f"{name.partition('+')[0]}@{host}"


def _host(authority: str) -> str:
    """The host of a URL's authority, or what cannot be one where that is unclear."""
    host = authority.rpartition("@")[2]
    if "%" in host:
        host = unquote(host)
    if not host.isascii():
        host = unicodedata.normalize("NFKC", host).translate(_STOPS)
    host = host.casefold()
    if not host.startswith("["):
        host = host.partition(":")[0]
    return host.removeprefix("www.").strip(".,;:!?)]}*_")
