"""Personal data that shows by its form: e-mail addresses, cards, IBANs, US SSNs, IP addresses, phones.

What has a checksum or rules is held to them: Luhn for cards (ISO/IEC 7812), modulo 97 and lengths by country
for IBANs (ISO 13616), the areas the SSA gives out. Names and addresses have no form; they need a model.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from typing import Final, Literal, TypeAlias

from mcpguard.detectors.findings import Finding

__all__ = ["KINDS", "Kind", "personal"]

Kind: TypeAlias = Literal["email", "card", "iban", "ssn", "ip", "phone"]

_LOCAL: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9-]{1,63}+\.){1,8}+[A-Za-z]{2,24}+|(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
)
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CARD: Final = re.compile(r"\d(?<!\d\d)(?<![\d.]\d)(?:[ -]?\d){12,18}(?![\d]|\.\d)")
_ISSUED: Final = re.compile(
    r"3[47]\d{13}|(?:30[0-59]|3[689]\d)\d{11,16}|4(?:\d{12}|\d{15}|\d{18})|35\d{14,17}|"
    r"(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720|220[0-4])\d{12}|"
    r"(?:60|62|64[4-9]|65|81|82)\d{12,17}|(?:50|5[6-8]|6[1378])\d{11,17}"
)
"""First digits and lengths of the cards that networks give out."""

_REMOTE: Final = re.compile(r":(?:[/~]|\d{1,5}/|[A-Za-z0-9_.-]{1,64}/)")
_VERSIONED: Final = re.compile(
    r"(?<![A-Za-z])(?:(?:versions?|release|build|sections?|sec|rev|revision|ver|clause|chapter)"
    r"[ :=\"'#-]{0,3}|"
    r"(?-i:[A-Z])[A-Za-z]{1,20}/)\Z",
    re.IGNORECASE,
)
_TIMES: Final = re.compile(r"\d{1,2}(?::\d{2}){1,2}::")
_IBAN: Final = re.compile(r"[A-Z]{2}(?<![A-Za-z0-9][A-Z]{2})\d{2}(?:[ ]?[A-Z0-9]){11,30}")
_SSN: Final = re.compile(r"\d{3}(?<!\d{4})(?<!-\d{3})-\d{2}-\d{4}(?![\d-])")
_IPV4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6: Final = re.compile(r"[0-9A-Fa-f]{0,4}:(?<![0-9A-Fa-f:]{6})[0-9A-Fa-f:]{2,37}(?![0-9A-Za-z:])")
_PHONE: Final = re.compile(r"\+\d(?:[ ().-]{0,2}\d){7,14}(?!\d)")


def _shape_of(byte: int) -> int:
    if chr(byte).isdigit():
        return ord("0")
    if chr(byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        return ord("A")
    return byte if chr(byte) in " -.:abcdef" else ord("x")


_SHAPE: Final = bytes(_shape_of(byte) for byte in range(256))
_DOTS: Final = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")
_DIGITS: Final = re.compile(rb"0(?:[ -]?+0){12}+")
_COLONS: Final = re.compile(rb"::|:(?:[0Aa-f]{1,4}:){6}")
"""What an address has in it: two colons side by side, or seven; times of day have neither."""

REACH: Final = 48
"""Characters from there to the end of an address or card number, at most."""


def _may_be_ip(shape: bytes) -> bool:
    return _DOTS.search(shape) is not None or _COLONS.search(shape) is not None


_MAY_BE: Final[Mapping[Kind, Callable[[bytes], bool]]] = {
    "card": lambda shape: b"0" * 13 in shape.translate(None, b" -"),
    "iban": lambda shape: b"AA00" in shape,
    "ssn": lambda shape: b"000-00-0000" in shape,
    "ip": _may_be_ip,
}
"""Whether a text may hold something of a kind, by its shape: digits as 0, capital letters as A."""

_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC SM",
        28: "AL AZ BY CY DO GT HU LB PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}


def personal(text: str, kinds: Collection[Kind]) -> Iterator[Finding]:
    """Personal data of some kinds in `text`, one after another within a kind.

    What form a text has in all is told first, in a few passes over its bytes: most hold nothing of a kind.
    """
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    for kind in kinds:
        if kind not in _MAY_BE or _MAY_BE[kind](shape):
            yield from KINDS[kind](text)


def _emails(text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at >= 0:
        before = text[max(0, at - 64) : at]
        start = at - (len(before) - len(before.rstrip(_LOCAL)))
        domain = _DOMAIN.match(text, at + 1, at + 256) if start < at else None
        if domain is not None and not _is_remote(text, start, domain.end()):
            yield Finding(start, domain.end(), "email")
        at = text.find("@", at + 1)


def _is_remote(text: str, start: int, end: int) -> bool:
    """Whether it is a user at a host: of a URL, or of a copy or a repository over SSH."""
    return text[max(0, start - 3) : start] == "://" or _REMOTE.match(text, end) is not None


def _cards(text: str) -> Iterator[Finding]:
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    spans = (_CARD.finditer(text, start, end) for start, end in _around(_DIGITS, shape))
    for found in chain.from_iterable(spans):
        digits = found[0].replace(" ", "").replace("-", "")
        if _ISSUED.fullmatch(digits) is None or _is_in_a_word(text, *found.span()):
            continue
        if len(set(digits)) > 1 and _luhn(digits):
            yield Finding(*found.span(), "card")


def _is_in_a_word(text: str, start: int, end: int) -> bool:
    r"""Whether digits stand among letters, as in a digest; the letter of an escape, `\n`, is none."""
    if text[end : end + 1] in _LETTERS:
        return True
    return text[start - 1 : start] in _LETTERS and text[max(0, start - 2) : start - 1] != "\\"


def _luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _ibans(text: str) -> Iterator[Finding]:
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[0][:2])
        if length is None:
            continue
        read, end = "", found.start()
        while end < found.end() and len(read) < length:
            read += text[end].strip()
            end += 1
        if len(read) == length and not text[end : end + 1].isalnum() and _mod97(read):
            yield Finding(found.start(), end, "iban")


def _mod97(iban: str) -> bool:
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1


def _ssns(text: str) -> Iterator[Finding]:
    for found in _SSN.finditer(text):
        area, group, serial = found[0].split("-")
        if area not in ("000", "666") and area < "900" and group != "00" and serial != "0000":
            yield Finding(*found.span(), "ssn")


def _ips(text: str) -> Iterator[Finding]:
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    for mark, pattern in ((_DOTS, _IPV4), (_COLONS, _IPV6)):
        for start, end in _around(mark, shape):
            for found in pattern.finditer(text, start, end):
                try:
                    address = ipaddress.ip_address(found[0])
                except ValueError:
                    continue
                if address.is_global and not _is_version(text, *found.span()):
                    yield Finding(*found.span(), "ip")


def _is_version(text: str, start: int, end: int) -> bool:
    """Whether what has the form of an address is a version, a section, a time of day or a slice."""
    if ":" not in text[start:end]:
        return _VERSIONED.search(text, max(0, start - 24), start) is not None
    before, opens = text[max(0, start - 2) : start].partition("[")[:2]
    is_slice = bool(opens) and before.isalnum() and text.startswith("::", start)
    return is_slice or _TIMES.fullmatch(text, start, end) is not None


def _around(mark: re.Pattern[bytes], shape: bytes) -> Iterator[tuple[int, int]]:
    """The stretches of a text in which there is a mark, with what may belong to it."""
    start = end = 0
    for found in mark.finditer(shape):
        if found.start() - REACH > end:
            yield start, end
            start = found.start() - REACH
        end = found.end() + REACH
    if end:
        yield start, end


def _phones(text: str) -> Iterator[Finding]:
    for found in _PHONE.finditer(text):
        yield Finding(*found.span(), "phone")


KINDS: Final[Mapping[Kind, Callable[[str], Iterator[Finding]]]] = {
    "email": _emails,
    "card": _cards,
    "iban": _ibans,
    "ssn": _ssns,
    "ip": _ips,
    "phone": _phones,
}
"""Only addresses that anybody can reach are somebody's: private and reserved ones are not found."""
