"""What stands where a secret would, and is none: placeholders, references, examples, what was masked."""

import re
from typing import Final

__all__ = [
    "before_example",
    "could_be_credential",
    "is_code",
    "is_example",
    "is_passphrase",
    "is_placeholder",
    "is_prose",
    "is_weak",
    "looks_made",
]

_WORDS: Final = re.compile(
    r"example|sample|dummy|placeholder|changeme|change[_-]me|replace[_-]?(?:me|with)|redacted|masked|censored|"
    r"your[_-]|my[_-]?(?:secret|token|key|password)|insert[_-]|enter[_-]|goes[_-]?here|<[a-z_ -]+>|"
    r"x{4,}|\*{3,}|\.{3,}|0{8,}|(?:1234){2,}|123456789|abcdef(?:gh|12)|foobar|lorem",
    re.IGNORECASE,
)
_CALL: Final = re.compile(r"[A-Za-z_$][\w$]*+(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*+)*+[!?]?[(\[{<]")
_MEMBERS: Final = re.compile(
    r"(?:args|argv|req|request|response|res|data|user|opts|options|params|ctx|context|cfg|kwargs|session|"
    r"client|app|state|props|event|input|form|body|headers?|http|account|row|item|obj|result|match|parsed)"
    r"(?:(?:\??\.|::|->)[A-Za-z_]++)++",
)
_PATH: Final = re.compile(
    r"(?:~|\.{1,2})?/(?:etc|run|var|home|opt|usr|tmp|mnt|srv|root|Users|app|data|dev|proc|builds)(?:/|\Z)"
)
_BYTES: Final = re.compile(r"[rbuf]{1,2}['\"]")
_ADDRESS: Final = re.compile(r"0x[0-9A-Fa-f]{1,16}")
_PROSE: Final = re.compile(r"(?:[A-Z]?[a-z]{3,}+)++(?:[-_.](?:[A-Z]?[a-z]{2,}+)++)*+")
_CLOSED: Final = (")", "]", "}", "(", "[", "{", ",", ";", ":", ">", "'", '"', "`")
_NO_WORDS: Final = frozenset(
    [
        "the",
        "and",
        "for",
        "you",
        "your",
        "our",
        "their",
        "its",
        "his",
        "her",
        "this",
        "that",
        "these",
        "those",
        "with",
        "without",
        "from",
        "into",
        "not",
        "are",
        "was",
        "were",
        "has",
        "have",
        "had",
        "will",
        "would",
        "can",
        "could",
        "should",
        "must",
        "may",
        "been",
        "being",
        "who",
        "whom",
        "whose",
        "which",
        "what",
        "when",
        "where",
        "why",
        "how",
        "all",
        "any",
        "each",
        "than",
        "then",
        "them",
        "they",
        "but",
        "does",
        "did",
        "per",
        "via",
        "yet",
        "use",
        "using",
        "set",
        "get",
        "put",
        "new",
        "old",
        "one",
        "password",
        "passwords",
        "passphrase",
        "passwd",
        "secret",
        "token",
        "key",
        "user",
        "users",
        "username",
        "email",
        "login",
        "logout",
        "sign",
        "enter",
        "type",
        "reset",
        "forgot",
        "change",
        "confirm",
        "invalid",
        "required",
        "missing",
        "wrong",
        "incorrect",
        "expired",
        "minimum",
        "maximum",
        "least",
        "characters",
        "letters",
        "digits",
        "field",
        "value",
        "string",
        "hash",
        "hashed",
        "here",
        "there",
        "only",
        "also",
        "both",
        "more",
        "most",
        "some",
        "such",
        "please",
        "between",
        "description",
        "optional",
        "default",
        "length",
        "account",
    ]
)
"""Words of sentences about passwords; lists of words for passphrases have few of them."""

_PHRASE_WORD: Final = re.compile(r"[a-z]{3,}|[A-Z][a-z]{2,}|\d{1,4}")
_EXAMPLES: Final = re.compile(r"example|placeholder|redacted|x{6,}|\*{3,}|\.{3,}|0{10,}", re.IGNORECASE)
_REFERENCES: Final = re.compile(
    r"\$[\{(]?\w|\{\{|%\(\w|%[sdr]\b|%\w+%|<[\w/!]|\[REDACTED|&lt;|(?:os|process|env|config|settings|self|this|secrets|vars)[.\[]|"
    r"(?:arn|vault|op|ssm|secretsmanager|keyring|file|ref|env)[:/]",
    re.IGNORECASE,
)
MIN_WORDS: Final = 4
"""Words of a passphrase."""

_TYPES: Final = frozenset(
    [
        *("string", "str", "text", "bool", "boolean", "number", "integer", "int", "float", "object", "array"),
        *("null", "none", "nil", "true", "false", "undefined", "any", "unknown", "optional", "required"),
        *("bytes", "uuid", "password", "passwd", "secret", "token", "apikey", "api_key", "bearer", "basic"),
        *("digest", "enabled", "disabled", "default", "hidden", "invalid", "expired", "missing", "empty"),
        *("public", "private", "secretstr"),
    ]
)

MADE: Final = 8
"""Characters of the shortest value that looks made."""

_MADE_OTHERWISE: Final = re.compile(
    r"[\w.-]*[/\\][\w./\\-]*|v?\d+(?:\.\d+)+\S{0,16}|[A-Za-z_-]+[-_.]?\d{1,4}|\d{1,6}[A-Za-z_-]+|"
    r"\d{4}-\d\d-\d\d\S{0,20}|[\d.,]+[A-Za-z%]{1,4}|[\w.+-]+@[\w.-]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|"
    r"(?:[a-z0-9]+[_-])+[a-z0-9]+|[\w-]+(?:\.[\w-]+)+"
)
"""Paths, versions, names with a number, dates, sizes, addresses, ids, names of hosts and files."""

MIN_DISTINCT: Final = 5
"""Different characters that a secret of eight or more has at least."""


def is_example(token: str) -> bool:
    """Whether something in an issuer's format is a documentation's token."""
    return len(set(token[:256])) < MIN_DISTINCT + 3 or _EXAMPLES.search(token, 0, 256) is not None


def before_example(token: str) -> str:
    """What of a token stands before the first word that makes it an example; nothing without one."""
    found = _EXAMPLES.search(token, 0, 256)
    return "" if found is None else token[: found.start()]


def is_placeholder(value: str) -> bool:
    """Whether `value` stands for a secret, rather than being one."""
    head = value[:256]
    if head.lower() in _TYPES or _REFERENCES.match(head) or _WORDS.search(head):
        return True
    return len(value) >= 8 and len(set(head)) < MIN_DISTINCT


def is_weak(value: str) -> bool:
    """Whether `value` reads like a word or a call in a program, and not like a secret."""
    if "(" in value or value.endswith((":", ".", ",")) or "://" in value:
        return True
    return value.isalpha() and (value.islower() or value.istitle() or value.isupper())


def could_be_credential(value: str) -> bool:
    """Whether it looks made, and is no placeholder and no code: where little but its place speaks for it."""
    return looks_made(value) and not is_placeholder(value) and not is_code(value)


def looks_made(value: str) -> bool:
    """Whether `value` has letters and digits mixed, as no word, number, date, path or address has."""
    if len(value) < MADE or "://" in value or _MADE_OTHERWISE.fullmatch(value) is not None:
        return False
    has_digit = any(map(str.isdigit, value))
    return has_digit and any(map(str.isalpha, value)) and len(set(value)) >= MIN_DISTINCT


def is_code(value: str) -> bool:
    """Whether `value` is what a program has in a place where it has no quotes: a call, a member, a path."""
    if (value[-1:] in _CLOSED and _CALL.match(value)) or _BYTES.match(value) or _PATH.match(value):
        return True
    return any(one.fullmatch(value) for one in (_MEMBERS, _ADDRESS))


def is_prose(value: str) -> bool:
    """Whether `value` is made of words, joined in the ways of names."""
    return _PROSE.fullmatch(value) is not None


def is_passphrase(value: str) -> bool:
    """Whether `value` is several words that make no sentence."""
    words = value.split(" ")
    if len(words) < MIN_WORDS or len(value) > 256 or not all(map(_PHRASE_WORD.fullmatch, words)):
        return False
    return not any(one.lower() in _NO_WORDS for one in words)
