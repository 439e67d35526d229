"""Where data can go, as texts name it: addresses, URLs, hosts and accounts.

This is not detection: a destination that stands somewhere is not bad for it.

Above: `provenance`, which knows where one was read. Below: `disguise`.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mcpguard.core.hosts import STOPS, canonical_host, shared_place
from mcpguard.detectors.disguise import folded, undisguised

__all__ = ["Destination", "destinations", "named", "whole"]

MAX_ONE: Final = 2048
"""Characters of a text of which all may be one destination."""

_TLD: Final = re.compile(r"xn--[a-zA-Z0-9-]{1,59}|[^\W\d_]{2,24}")
_IPV4: Final = re.compile(r"(?:0x[0-9A-Fa-f]{1,8}|\d{1,11})(?:\.(?:0x[0-9A-Fa-f]{1,8}|\d{1,11})){3}")
_IPV6: Final = re.compile(r"\[?([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.\d{1,3}){0,3})\]?")
_RUNS: Final = re.compile(r"[\w.-]+", re.ASCII), re.compile(r"[\w.-]+")
"""What a host may be part of. The first for ASCII alone, beside which other scripts write without a blank."""

_BOXES: Final = re.compile(r"[\w.+%!-]{1,64}", re.ASCII), re.compile(r"[\w.+%!-]{1,64}")
_AT: Final = r"(\s{0,3})(?:\([^()]{0,64}\))?([\w-]{1,63}(?:\.[\w-]{1,63}){0,8}|\[[^\[\]\s]{2,60}\])"
_HOSTS: Final = re.compile(_AT, re.ASCII), re.compile(_AT)
"""What stands before and behind the sign of an address."""

_BEFORE: Final = 160
_BEHIND: Final = 700
"""Characters on either side of the sign that can belong to an address."""

_PLACE: Final = r"([^\s/\\?#<>\"'`|]{1,320})(?=([^\s<>\"'`|]{0,320}))"
_URL: Final = re.compile(rf"[a-zA-Z][a-zA-Z0-9+.-]{{0,20}}:[/\\]{{2,}}{_PLACE}")
_LOOSE_URL: Final = re.compile(rf"\b(?:https?|wss?|ftp):[/\\]?(?![/\\]){_PLACE}", re.IGNORECASE)
"""What URL parsers take for one without two slashes (WHATWG URL, special schemes)."""

_ALONE: Final = re.compile(
    r"([\w.-]+|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Fa-f:.]{2,45})(?::\d{0,5})?([/\\?#].*)?", re.DOTALL
)
"""A host without a scheme: with a port, a path or a query."""

_ACCOUNT: Final = re.compile(
    r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b"  # IBAN, ISO 13616
    r"|\b0x[0-9a-fA-F]{40}\b|\bbc1[0-9a-z]{25,59}\b"
)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")
_IBAN_HEAD: Final = re.compile(r"[A-Z][A-Z][0-9][0-9]")
_DOTTED: Final = re.compile(r"\.\w"), re.compile("[.\u2024\u3002\ufe52\uff0e\uff61]\\w")
_COLONS: Final = re.compile(r":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:|::")
"""What accounts and hosts do not go without: most text has none, and it is cheap to see that."""

_DISPLAYED: Final = re.compile(r"(?:\A|[,;])\s{0,3}(?:\"[^\"]{0,200}\"\s{0,3}|[^<>,;\"@]{0,200})(?=<)")
"""The name of whose address follows in angle brackets (RFC 5322)."""

_WHOLE: Final = re.compile("[<(\\['\"]*(?:mailto:|tel:)?(?:\0|\1.*)[>)\\]'\".]*")
_BETWEEN: Final = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination.

    Args:
        kind: What it is; `other` for the value of an argument that was declared to be one.
        value: In one spelling, for comparing: an address, a host, an account, or the value itself.
        text: As it was written.
        place: What must have been named where many share the host: with the start of the path. Else empty.
    """

    kind: Literal["address", "url", "host", "account", "other"]
    value: str
    text: str
    place: str = ""

    def is_named(self, said: Callable[[str], bool]) -> bool:
        """Whether somebody said it, by a look-up of what was said."""
        return said(self.place) if self.place else said(self.text) or said(self.value)


def destinations(text: str) -> Iterator[Destination]:
    """Every address, URL and account in a text, and the text itself where all of it is a host."""
    text = folded(text)
    if "%40" in text:
        text = text.replace("%40", "@")
    yield from _found(text)
    if ":" in text:
        for match in _LOOSE_URL.finditer(text):
            yield _url(match)
    if len(text) <= MAX_ONE:
        yield from _alone(text.strip())


def whole(text: str) -> Iterator[Destination]:
    """What an argument names that was declared to be a destination: something, whatever it is."""
    rest = _DISPLAYED.sub(" ", folded(text))
    for one in destinations(text):
        yield one
        rest = rest.replace(one.text, "\1" if one.kind == "url" else "\0")
    words = [word for word in _BETWEEN.split(rest) if word and not _WHOLE.fullmatch(word)]
    if words:
        left = " ".join(words)
        yield Destination("other", left.casefold(), left)


def named(text: str) -> Iterator[str]:
    """Every destination that a text names, as a person or a model reads it."""
    text = undisguised(text)
    for one in _found(text):
        yield one.value
        if one.kind == "address":
            yield one.value.rpartition("@")[2]
    if _DOTTED[not text.isascii()].search(text) is not None:
        yield from _hosts(text)
    if _COLONS.search(text) is not None:
        for word in text.split():
            for match in _IPV6.finditer(word) if word.count(":") > 1 else ():
                yield canonical_host(match[1])


def _found(text: str) -> Iterator[Destination]:
    """What shows as a destination wherever it stands."""
    if "@" in text:
        yield from _addresses(text)
    if ":/" in text or ":\\" in text:
        for match in _URL.finditer(text):
            yield _url(match)
    if "0x" in text or "bc1" in text or _IBAN_HEAD.search(text) is not None:
        for match in _ACCOUNT.finditer(text):
            value = match.group().replace(" ", "").replace("-", "")
            yield Destination("account", value.casefold(), match.group())


def _alone(text: str) -> Iterator[Destination]:
    """A text of which all is one destination, without a scheme, with line ends in it, or in small letters."""
    if " " not in text and text.count(":") < 3 and any(blank in text for blank in "\t\r\n"):
        text = "".join(text.split())
        yield from _found(text)
    if text[:2] in ("//", "\\\\", "/\\", "\\/"):
        match = _URL.match(f"http:{text}")
        if match is not None:
            yield _url(match)
    stopped = text if text.isascii() else text.translate(STOPS)
    match = _ALONE.fullmatch(stopped)
    host = None if match is None else _host(match[1])
    if match is not None and host is not None:
        yield Destination("host", host, text, shared_place(host, match[2] or "") or "")
    value = text.replace(" ", "").replace("-", "").upper()
    if _IBAN.fullmatch(value) and _is_iban(value):
        yield Destination("account", value.casefold(), text)


def _hosts(text: str) -> Iterator[str]:
    """What may be a host in a text."""
    for word in {word for word in text.split() if "." in word or "\u3002" in word}:
        if word.isascii():
            runs = _RUNS[0].findall(word)
        else:
            written = {word, word.translate(STOPS)}  # such a stop may also end a sentence
            runs = [run for one in written for pattern in _RUNS for run in pattern.findall(one)]
        for run in runs:
            host = _host(run) if "." in run else None
            if host is not None:
                yield host


def _host(text: str) -> str | None:
    """A text as a host, if it can be one by its form."""
    if ":" in text:
        host = canonical_host(text)
        return host if _IPV6.fullmatch(text) and _is_address(host) else None
    name = text.strip("._-")
    last = name.rpartition(".")
    if not last[0] or (_TLD.fullmatch(last[2]) is None and _IPV4.fullmatch(name) is None):
        return None
    return canonical_host(name)


def _addresses(text: str) -> Iterator[Destination]:
    """Addresses, with what RFC 5322 lets stand in one: quotes, comments, blanks."""
    at = text.find("@")
    while at >= 0:
        before = text[max(0, at - _BEFORE) : at]
        bare = before.rstrip()
        if bare.endswith(")"):
            bare = bare.rpartition("(")[0].rstrip()
        bare = bare.removesuffix('"')[::-1]
        for box, behind in zip(_BOXES[text.isascii() :], _HOSTS[text.isascii() :], strict=True):
            name, host = box.match(bare), behind.match(text, at + 1, at + _BEHIND)
            is_apart = before[-1:].isspace() or (host is not None and host[1] != "")
            if name is not None and host is not None and ("." in host[2] or not is_apart):
                yield from _address(name[0][::-1], host[2])
        at = text.find("@", at + 1)


def _address(name: str, host: str) -> Iterator[Destination]:
    """An address without the tag that mail to the same box may have (RFC 5233), and where it is passed on."""
    text = f"{name}@{host}"
    name = name.casefold()
    yield Destination("address", f"{name.partition('+')[0]}@{canonical_host(host)}", text)
    if "!" in name:
        first, _, user = name.partition("!")
        yield Destination("address", f"{user}@{canonical_host(first)}", text)
    if "%" in name:
        user, _, last = name.rpartition("%")
        yield Destination("address", f"{user}@{canonical_host(last)}", text)


def _url(match: re.Match[str]) -> Destination:
    host = canonical_host(match[1])
    return Destination("url", host, match.group(), shared_place(host, match[2]) or "")


def _is_iban(value: str) -> bool:
    """Whether the check digits are right (ISO 13616: modulo 97)."""
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
