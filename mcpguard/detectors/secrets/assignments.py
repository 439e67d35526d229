"""Credentials told by what stands before them: keys in JSON, YAML, env and INI files, headers, URLs, PEM.

Where a name begins a line and its value has no quotes, the value goes to the end of the line, whatever signs
are in it; elsewhere it ends at what a program or a list would have behind it.

A key's name decides that its value is a secret; the value's looks decide only that it is none (a placeholder,
a reference, a type). Entropy decides nothing: hashes and ids have as much.
"""

import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.options import behind_a_blank, in_commands
from mcpguard.detectors.secrets.private_keys import private_keys
from mcpguard.detectors.secrets.stop_list import is_code, is_passphrase, is_placeholder, is_prose, is_weak
from mcpguard.detectors.secrets.tables import in_table, is_cell
from mcpguard.detectors.secrets.urls import in_urls

__all__ = ["assignments", "is_login", "is_secret_name", "is_secret_value"]

LONGEST: Final = 4096
"""Characters of a value that are read."""

LONGEST_BARE: Final = 512
"""Characters of a value without quotes that it is judged by; it may be longer."""

SHORTEST_KEY: Final = 8
"""Characters of the shortest value that is taken for a key or token; a password may have half as many."""

NAMES: Final = 4096
"""Names whose judgement is remembered: the same ones come again and again."""

_NAME: Final = (
    r"(?:pass(?:word|wd|phrase|code)|passwd|pwd|secret(?:[_-]?access)?[_-]?(?:key)?|"
    r"(?:api|access|account|auth|private|encryption|signing|master|service|shared|storage|client|app|"
    r"subscription|license|ssh|hmac|jwt|session)[_-]?(?:key|secret|token)|"
    r"(?:bearer|refresh|id|bot|personal|deploy|csrf|xsrf|security|user|oauth|web)[_-]?token|token|"
    r"credentials?|connection[_-]?string|authorization|x[_-]api[_-]key|set[_-]cookie|cookie|sas|signature|sig|"
    r"(?:db|ssh|user|admin|root|mysql|pg|sql|smtp|ftp|imap|mail|login|sudo|become|vault|http|proxy|redis|mongo|key)[_-]?pass)"
)
_IS_NAME: Final = re.compile(rf"(?:.*[^a-z]|[a-z]*)?{_NAME}", re.IGNORECASE | re.DOTALL)
_NOT_NAME: Final = re.compile(
    r"token[_-]?(?:type|count|limit|usage|budget|id|url|uri|endpoint|name)|(?:max|min|num|total|next|page|"
    r"prompt|completion|input|output|progress|cached?|used|remaining|continuation|sync)[_-]?(?:page[_-]?)?tokens?|"
    r"(?:_|-)(?:id|url|uri|path|file|name|type|field|hint|length|policy|expires?|expiry|count)$|secretname",
    re.IGNORECASE,
)
_AFTER: Final = re.compile(
    r"""[A-Za-z0-9_.\[-]{0,48}+\\{0,7}["'`\]]{0,2}[ \t]{0,8}+(?::=|=>|==?|:|>|%3D)[ \t]{0,8}+
    (?:(?:[|>][0-9+-]{0,2}[ \t]{0,8}+)?\\?\r?\n[ \t]{0,16}+)?
    (?P<quote>\\{0,7}["'`])?(?P<scheme>(?:bearer|basic|token|digest|apikey)[ ]+)?""",
    re.VERBOSE | re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"""[A-Za-z0-9_.-]{0,48}+(?:\\?["'][ \t\r\n]{0,32}+,(?:\\n)?[^{}\[\]\n]{0,160}?\n?[ \t]{0,32}\\?["']|
    ["']?\r?\n[ \t]{1,32}+|["'][ \t]{1,8}+)[Vv]alue(?:\\?["'])?[ \t]{0,8}+[:=][ \t]{0,8}+
    (?P<quote>\\?["'])?(?P<scheme>Basic[ ]+)?""",
    re.VERBOSE,
)
"""From the value of a `name` to that of the `value` beside it: Kubernetes, HAR, variables of CI systems."""

_COOKIE: Final = frozenset({"cookie", "cookies", "http_cookie"})
_PIECE: Final = r"[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}=[^\s;,\"'\\<>\[\]]{0,4096}+"
_COOKIES: Final = re.compile(rf"{_PIECE}(?:;[ ]?{_PIECE}){{0,64}}+")
_SCHEMES: Final = re.compile(r"\A(?:bearer|basic|token|digest|apikey) +", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://")
_LINE_START: Final = re.compile(
    r"(?:\A|\n)[ \t>|+*-]{0,24}(?:(?:export|set|setx|env|ENV|ARG|declare -x)[ ])?\Z"
)
_LINE: Final = re.compile(
    rf"(?P<value>[^\s\"'`]\S{{0,{LONGEST_BARE}}}+(?: [A-Za-z0-9]{{1,16}}+){{0,16}}+)"
    r"[ \t]{0,32}+(?:(?<=[ \t])#[^\n]{0,256}+)?(?=\r?\n|\Z)"
)
_FURTHER: Final = re.compile(r"[&;][A-Za-z_][A-Za-z0-9_.-]{0,40}+=|\\[nr\"']|</")
"""What shows that more than one value stands in a line."""

_CALLEE: Final = re.compile(r"[A-Za-z_$]+(?:(?:\.|::|->)[A-Za-z_$][A-Za-z0-9_$]*)*|[A-Za-z_]+_[A-Za-z0-9_]+")
_WORD: Final = re.compile(r"[A-Za-z_]+")
_AUTH: Final = re.compile(
    r"""(?<![A-Za-z0-9])_?auth\\?["']?[ \t]{0,8}+[:=][ \t]{0,8}+(?:\\?["'])?"""
    r"(?P<value>[A-Za-z0-9+/]{8,1024}+=*)"
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
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,}+=*")


@lru_cache(NAMES)
def is_secret_name(name: str) -> bool:
    """Whether what is called `name` is a credential."""
    name = name[-128:]
    return _IS_NAME.fullmatch(name) is not None and _NOT_NAME.search(name) is None


def is_secret_value(name: str, value: str, *, is_quoted: bool = True) -> bool:
    """Whether `value` may be the credential that `name` promises."""
    if is_quoted and name.lower() in _COOKIE and _COOKIES.fullmatch(value):
        return len(value) >= SHORTEST_KEY and not is_placeholder(value)
    value = _SCHEMES.sub("", value)
    if len(value) < _shortest(name) or is_placeholder(value):
        return False
    if not is_quoted:
        return not (is_weak(value) or value.isdigit() or is_code(value) or _is_variable(value))
    if " " in value.strip():
        return _is_password(name) and is_passphrase(value)
    return not ((is_weak(value) or is_code(value)) and not _is_password(name))


@lru_cache(NAMES)
def is_login(value: str) -> bool:
    """Whether `value` is the base64 of a user, a colon and a password."""
    try:
        user, colon, password = binascii.a2b_base64(value + "=" * (-len(value) % 4)).decode().partition(":")
    except ValueError:
        return False
    return bool(user and colon and password) and (user + password).isprintable()


def _is_password(name: str) -> bool:
    return "pass" in name.lower() or "pwd" in name.lower()


def _shortest(name: str) -> int:
    return SHORTEST_KEY // 2 if _is_password(name) else SHORTEST_KEY


def _is_variable(value: str) -> bool:
    """Whether a value without quotes is the name of what holds one."""
    return _WORD.fullmatch(value) is not None and is_secret_name(value)


def assignments(text: str) -> Iterator[Finding]:
    """Every credential in `text` that is told by what stands before it."""
    low = text.encode("ascii", "replace").lower()
    yield from private_keys(text, low)
    if b"://" in low:
        yield from in_urls(text, low)
    if b"auth" in low:
        yield from _packed_logins(text)
    yield from in_commands(text)
    for hint in (*_HINTS, *(_WITH_EQUALS if b"=" in low else ())):
        at, table = low.find(hint), 0
        while at >= 0:
            found = _bearer(text, at) if hint == b"bearer " else _assigned(text, at, len(hint))
            if found is not None:
                yield found
            elif hint != b"bearer ":
                more, table = _told_otherwise(text, at, at + len(hint), table)
                yield from more
            at = low.find(hint, at + len(hint) if found is None else max(at + len(hint), found.end))


def _told_otherwise(text: str, at: int, end: int, table: int) -> tuple[list[Finding], int]:
    """What stands behind a name and a blank, or in its column; and where the last table read ends."""
    before = text[max(0, at - 48) : at]
    start = at - len(before) + len(before.rstrip(_NAME_CHARS))
    tail = _TAIL.match(text, end, end + 48)
    stop = end if tail is None else tail.end()
    name = text[start:stop]
    if not is_secret_name(name.lstrip("-").rpartition(".")[2]) and name not in ("-pass", "--pass"):
        return [], table
    span = behind_a_blank(text, start, stop)
    if span is not None:
        return [Finding(*span, "credential")], table
    if start >= table and is_cell(text, start, stop):
        return in_table(text, start, is_secret_name)
    return [], table


def _assigned(text: str, at: int, length: int) -> Finding | None:
    """The value that is assigned to the name in which a hint stands at `at`."""
    end = at + length - (text[at + length - 1] == "=")
    after = _AFTER.match(text, end) or _PAIR.match(text, end)
    if after is None or "[REDACTED" in after[0]:
        return None
    before = text[max(0, at - 48) : at]
    tail = _TAIL.match(text, end, after.end())
    name = before[len(before.rstrip(_NAME_CHARS)) :] + text[at:end] + ("" if tail is None else tail[0])
    is_kind = before.rstrip(_NAME_CHARS).endswith("[REDACTED:") or _PLACEHOLDER.search(name) is not None
    if is_kind or not is_secret_name(name):
        return None
    span = _value(text, end - len(name) + (0 if tail is None else len(tail[0])), name, after)
    return None if span is None else Finding(*span, "credential")


def _value(text: str, start: int, name: str, after: re.Match[str]) -> tuple[int, int] | None:
    """Where the value of a name that begins at `start` stands, if it is a credential."""
    quote, begin = after["quote"], after.end()
    if name.lower() in _COOKIE and (cookies := _COOKIES.match(text, begin)) is not None:
        return None if len(cookies[0]) < SHORTEST_KEY or is_placeholder(cookies[0]) else cookies.span()
    if quote is None and after["scheme"] is None and _LINE_START.search(text, max(0, start - 32), start):
        line = _LINE.match(text, begin)
        if line is not None and _FURTHER.search(line["value"]) is None:
            if _is_line_value(name, line["value"]):
                return line.span("value")
            if " " not in line["value"]:
                return None
    value = (_BARE if quote is None else _QUOTED.get(quote, _BARE)).match(text, begin)
    if value is None:
        return None
    if after["scheme"] is None and not is_secret_value(name, value[0], is_quoted=quote is not None):
        return None
    if after["scheme"] is not None and (len(value[0]) < SHORTEST_KEY or is_placeholder(value[0])):
        return None
    if quote is not None:
        return value.span()
    if text[value.end() : value.end() + 1] in ("(", "[") and _CALLEE.fullmatch(value[0]):
        return None
    rest = _BARE_REST.match(text, value.end())
    return value.start(), value.end() if rest is None else rest.end()


def _is_line_value(name: str, value: str) -> bool:
    """Whether all that stands behind a name in its line is a credential."""
    if " " in value:
        return _is_password(name) and is_passphrase(value)
    core = value.rstrip(",;:.")
    is_word = core.isalpha() and (core.islower() or core.istitle() or core.isupper())
    if (
        is_word
        or core.isdigit()
        or is_code(value)
        or is_code(core)
        or _SCHEME.match(core)
        or _is_variable(core)
    ):
        return False
    return len(core) >= _shortest(name) and not is_placeholder(core)


def _packed_logins(text: str) -> Iterator[Finding]:
    """User and password in base64, as Docker's and npm's files have them."""
    for found in _AUTH.finditer(text):
        if is_login(found["value"]):
            yield Finding(*found.span("value"), "credential")


def _bearer(text: str, at: int) -> Finding | None:
    value = _BEARER.match(text, at + len("bearer "))
    if value is None or is_placeholder(value[0]) or is_weak(value[0]) or is_prose(value[0]):
        return None
    return Finding(value.start(), value.end(), "bearer_token")
