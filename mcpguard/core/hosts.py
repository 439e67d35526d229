"""One spelling for a host, however it is written; and whose place it is on a host that many share.

What browsers and resolvers take for the same host is the same here: letters of other scripts and their
`xn--` form, characters that are dropped, addresses in all the numbers that `inet_aton` reads. No name is
resolved, and a host is not judged.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

__all__ = ["STOPS", "UNSEEN", "canonical_host", "in_letters", "shared_place"]

UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
"""Characters that are not seen, and that a host is read without (UTS 46)."""

_BLANK: Final = re.compile(r"[\t\r\n]")
"""Characters that URL parsers drop wherever they stand (WHATWG URL)."""

STOPS: Final = str.maketrans({"\u3002": ".", "\uff61": ".", "\uff0e": "."})
"""Characters that stand for a dot in a host (UTS 46)."""

_NUMBERS: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\.?")
"""What is read as an IPv4 address (WHATWG URL, host parsing; `inet_aton`)."""

_EDGES: Final = ".,;:!?)]}*_"
"""What stands beside a host in a sentence."""

_SHARED: Final[Mapping[str, int]] = MappingProxyType(
    {
        "api.github.com": 2,
        "api.telegram.org": 1,
        "bitbucket.org": 1,
        "codeberg.org": 1,
        "discord.com": 3,
        "discordapp.com": 3,
        "docs.google.com": 4,
        "drive.google.com": 3,
        "gist.github.com": 1,
        "gist.githubusercontent.com": 1,
        "github.com": 1,
        "gitlab.com": 1,
        "hooks.slack.com": 3,
        "hooks.zapier.com": 3,
        "huggingface.co": 1,
        "maker.ifttt.com": 2,
        "medium.com": 1,
        "outlook.office.com": 2,
        "pastebin.com": 1,
        "raw.githubusercontent.com": 1,
        "s3.amazonaws.com": 1,
        "script.google.com": 3,
        "sites.google.com": 2,
        "storage.googleapis.com": 1,
        "webhook.site": 1,
    }
)
"""Hosts on which anybody can have a place -> how many segments of the path say whose."""

_BUCKETS: Final = re.compile(r"s3[.-][a-z0-9-]+\.amazonaws\.com")
"""The regional hosts of a store whose buckets are the first segment."""

_END: Final = re.compile(r"[?#]")


def canonical_host(authority: str) -> str:
    """The host of a URL's authority in one spelling, or what cannot be one where that is unclear."""
    host = authority.rpartition("@")[2]
    if "%" in host:
        host = unquote(host)
    host = _BLANK.sub("", host)
    if not host.isascii():
        host = UNSEEN.sub("", unicodedata.normalize("NFKC", UNSEEN.sub("", host))).translate(STOPS)
    host = host.lower()
    if host.startswith("["):
        return _address6(host[1:].partition("]")[0])
    if host.count(":") > 1:
        return _address6(host)
    host = host.partition(":")[0].removeprefix("www.").strip(_EDGES)
    if host[:1].isdigit() and _NUMBERS.fullmatch(host):
        return _address4(host)
    return in_letters(host)


def in_letters(host: str) -> str:
    """A host, or a pattern of hosts, with its `xn--` labels in their own letters."""
    return ".".join(map(_letters, host.split("."))) if "xn--" in host else host


def shared_place(host: str, path: str) -> str | None:
    """`host` with what says whose place it is there; None where the host is one party's.

    Args:
        host: As `canonical_host` has it.
        path: What follows the authority.
    """
    count = _SHARED.get(host) or (1 if _BUCKETS.fullmatch(host) else 0)
    if not count:
        return None
    segments = [unquote(one).casefold() for one in _END.split(path)[0].replace("\\", "/").split("/") if one]
    return "/".join([host, *segments[:count]])


def _address4(host: str) -> str:
    """A dotted quad; what stands there is one or up to four numbers of base 8, 10 or 16."""
    try:
        numbers = [_number(part) for part in host.rstrip(".").split(".")]
        last = numbers.pop()
        if any(number > 255 for number in numbers) or last >= 256 ** (4 - len(numbers)):
            return host
        return str(ipaddress.IPv4Address(sum(n << 8 * (3 - at) for at, n in enumerate(numbers)) + last))
    except ValueError:
        return host


def _number(part: str) -> int:
    if len(part) > 16:
        raise ValueError("too long for a number of an address")
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _address6(host: str) -> str:
    """An IPv6 address as RFC 5952 writes it, without a zone; the IPv4 address that it is another form of."""
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or address)


def _letters(label: str) -> str:
    """A label of a host in its own letters, if it is the `xn--` form of some (RFC 3492, 5891)."""
    if not label.startswith("xn--"):
        return label
    try:
        letters = label[4:].encode("ascii").decode("punycode")
        again = f"xn--{letters.encode('punycode').decode('ascii')}"
    except UnicodeError:
        return label
    is_stable = unicodedata.normalize("NFKC", letters).lower() == letters
    return letters if again == label and is_stable and not letters.isascii() else label
