"""Credentials told by what stands before them: keys in JSON, YAML, env and INI files, headers, URLs, PEM.

A key's name decides that its value is a secret; the value's looks decide only that it is none (a placeholder,
a reference, a type). Entropy decides nothing: hashes and ids have as much.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.stop_list import is_placeholder, is_weak

__all__ = ["assignments", "is_secret_name", "is_secret_value"]

LONGEST: Final = 4096
"""Characters of a value that are read."""

LONGEST_BARE: Final = 512
"""Characters of a value without quotes that it is judged by; it may be longer."""

PEM: Final = 32_768
"""Characters within which a private key ends."""

SHORTEST_KEY: Final = 8
"""Characters of the shortest value that is taken for a key or token; a password may have half as many."""

NAMES: Final = 4096
"""Names whose judgement is remembered: the same ones come again and again."""

_NAME: Final = (
    r"(?:pass(?:word|wd|phrase|code)|passwd|pwd|secret(?:[_-]?access)?[_-]?(?:key)?|"
    r"(?:api|access|account|auth|private|encryption|signing|master|service|shared|storage|client|app|"
    r"subscription|license|ssh|hmac|jwt|session)[_-]?(?:key|secret|token)|"
    r"(?:bearer|refresh|id|bot|personal|deploy|csrf|xsrf|security|user|oauth|web)[_-]?token|token|"
    r"credentials?|connection[_-]?string|authorization|x[_-]api[_-]key|set[_-]cookie|cookie|sas|signature|sig)"
)
_IS_NAME: Final = re.compile(rf"(?:.*[^a-z]|[a-z]*)?{_NAME}", re.IGNORECASE | re.DOTALL)
_NOT_NAME: Final = re.compile(
    r"token[_-]?(?:type|count|limit|usage|budget|id|url|uri|endpoint|name)|(?:max|min|num|total|next|page|"
    r"prompt|completion|input|output|progress|cached?|used|remaining|continuation|sync)[_-]?(?:page[_-]?)?tokens?|"
    r"(?:_|-)(?:id|url|uri|path|file|name|type|field|hint|length|policy|expires?|expiry|count)$|secretname",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(
    r"""[A-Za-z0-9_.\[-]{0,48}+\\?["'`\]]{0,2}[ \t]{0,8}+(?::=|=>|==?|:|>|%3D)[ \t]{0,8}+
    (?:\\?\r?\n[ \t]{0,16}+)?
    (?P<quote>\\?["'`])?(?P<scheme>(?:bearer|basic|token|digest|apikey)[ ]+)?""",
    re.VERBOSE | re.IGNORECASE,
)
_QUOTED: Final = {
    '"': re.compile(rf'(?:[^"\\\n]|\\.){{1,{LONGEST}}}+', re.DOTALL),
    "'": re.compile(rf"(?:[^'\\\n]|\\.){{1,{LONGEST}}}+", re.DOTALL),
    "`": re.compile(rf"(?:[^`\\\n]|\\.){{1,{LONGEST}}}+", re.DOTALL),
    '\\"': re.compile(rf'(?:[^"\\\n]|\\[^"]){{1,{LONGEST}}}+'),
    "\\'": re.compile(rf"(?:[^'\\\n]|\\[^']){{1,{LONGEST}}}+"),
}
_BARE_CHAR: Final = r"""(?:[^\s"'`,;&<>(){}\[\]|\\]|&(?!(?:amp;)?[\w.-]{1,40}=|[a-z]{2,6};))"""
_BARE: Final = re.compile(rf"{_BARE_CHAR}{{1,{LONGEST_BARE}}}+")
_BARE_REST: Final = re.compile(rf"{_BARE_CHAR}*+")
_NAME_CHARS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_PLACEHOLDER: Final = re.compile(r"_[0-9a-f]{24}\Z")
_TAIL: Final = re.compile(r"[A-Za-z0-9_.-]*+")

_HINTS: Final = (
    *b"pass pwd secret token key credential connection authori cookie signature".split(),
    b"bearer ",
)
_WITH_EQUALS: Final = (b"sig=", b"sas=")
_URL: Final = re.compile(r"[^\s/?#@:\"'<>\[\]]{0,128}+:(?P<password>[^\s/?#@\"'<>]{1,256}+)@[^\s]")
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,}+=*")
_PEM_BODY: Final = re.compile(r"(?:[A-Za-z0-9+/=:,\s-]|\\[nr])*+")
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")


@lru_cache(NAMES)
def is_secret_name(name: str) -> bool:
    """Whether what is called `name` is a credential."""
    name = name[-128:]
    return _IS_NAME.fullmatch(name) is not None and _NOT_NAME.search(name) is None


def is_secret_value(name: str, value: str, *, is_quoted: bool = True) -> bool:
    """Whether `value` may be the credential that `name` promises."""
    is_password = "pass" in name.lower() or "pwd" in name.lower()
    if len(value) < (SHORTEST_KEY // 2 if is_password else SHORTEST_KEY) or is_placeholder(value):
        return False
    if not is_quoted:
        return not is_weak(value) and not value.isdigit()
    return not (" " in value.strip() or (is_weak(value) and not is_password))


def assignments(text: str) -> Iterator[Finding]:
    """Every credential in `text` that is told by what stands before it."""
    low = text.encode("ascii", "replace").lower()
    if b"private key" in low:
        yield from _private_keys(text)
    if b"://" in low:
        yield from _in_urls(text, low)
    for hint in (*_HINTS, *(_WITH_EQUALS if b"=" in low else ())):
        at = low.find(hint)
        while at >= 0:
            found = _bearer(text, at) if hint == b"bearer " else _assigned(text, at, len(hint))
            if found is not None:
                yield found
            at = low.find(hint, at + len(hint) if found is None else max(at + len(hint), found.end))


def _assigned(text: str, at: int, length: int) -> Finding | None:
    """The value that is assigned to the name in which a hint stands at `at`."""
    end = at + length - (text[at + length - 1] == "=")
    after = _AFTER.match(text, end)
    if after is None or "[REDACTED" in after[0]:
        return None
    before = text[max(0, at - 48) : at]
    tail = _TAIL.match(text, end, after.end())
    name = before[len(before.rstrip(_NAME_CHARS)) :] + text[at:end] + ("" if tail is None else tail[0])
    is_kind = before.rstrip(_NAME_CHARS).endswith("[REDACTED:") or _PLACEHOLDER.search(name) is not None
    if is_kind or not is_secret_name(name):
        return None
    quote = after["quote"]
    value = (_BARE if quote is None else _QUOTED.get(quote, _BARE)).match(text, after.end())
    if value is None:
        return None
    if after["scheme"] is None and not is_secret_value(name, value[0], is_quoted=quote is not None):
        return None
    if after["scheme"] is not None and (len(value[0]) < SHORTEST_KEY or is_placeholder(value[0])):
        return None
    rest = _BARE_REST.match(text, value.end()) if quote is None else None
    return Finding(value.start(), value.end() if rest is None else rest.end(), "credential")


def _bearer(text: str, at: int) -> Finding | None:
    value = _BEARER.match(text, at + len("bearer "))
    if value is None or is_placeholder(value[0]) or is_weak(value[0]):
        return None
    return Finding(value.start(), value.end(), "bearer_token")


def _in_urls(text: str, low: bytes) -> Iterator[Finding]:
    at = low.find(b"://")
    while at >= 0:
        found = _URL.match(text, at + 3)
        if found is not None and not is_placeholder(found["password"]):
            yield Finding(*found.span("password"), "url_password")
        at = low.find(b"://", at + 3)


def _private_keys(text: str) -> Iterator[Finding]:
    """Whole blocks; one that does not end goes as far as it may be a key."""
    begins = _PEM.search(text)
    while begins is not None:
        end = text.find("-----END", begins.end(), begins.end() + PEM)
        if end >= 0:
            closing = text.find("-----", end + 8, end + 80)
            stop = end + 8 if closing < 0 else closing + 5
        else:
            body = _PEM_BODY.match(text, begins.end(), begins.end() + PEM)
            stop = begins.end() if body is None else body.end()
        yield Finding(begins.start(), stop, "private_key")
        begins = _PEM.search(text, max(stop, begins.end()))
