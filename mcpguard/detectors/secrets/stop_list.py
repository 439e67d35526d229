"""What stands where a secret would, and is none: placeholders, references, examples, what was masked."""

import re
from typing import Final

__all__ = ["is_example", "is_placeholder", "is_weak"]

_WORDS: Final = re.compile(
    r"example|sample|dummy|placeholder|changeme|change[_-]me|replace[_-]?(?:me|with)|redacted|masked|censored|"
    r"your[_-]|my[_-]?(?:secret|token|key|password)|insert[_-]|enter[_-]|goes[_-]?here|<[a-z_ -]+>|"
    r"x{4,}|\*{3,}|\.{3,}|0{8,}|(?:1234){2,}|123456789|abcdef(?:gh|12)|foobar|lorem",
    re.IGNORECASE,
)
_EXAMPLES: Final = re.compile(r"example|placeholder|redacted|x{6,}|\*{3,}|\.{3,}|0{10,}", re.IGNORECASE)
_REFERENCES: Final = re.compile(
    r"\$\{?\w|\{\{|%\(?\w|<|\[REDACTED|&lt;|(?:os|process|env|config|settings|self|this|secrets|vars)[.\[]|"
    r"(?:arn|vault|op|ssm|secretsmanager|keyring|file|ref|env)[:/]",
    re.IGNORECASE,
)
_TYPES: Final = frozenset(
    [
        *("string", "str", "text", "bool", "boolean", "number", "integer", "int", "float", "object", "array"),
        *("null", "none", "nil", "true", "false", "undefined", "any", "unknown", "optional", "required"),
        *("bytes", "uuid", "password", "passwd", "secret", "token", "apikey", "api_key", "bearer", "basic"),
        *("digest", "enabled", "disabled", "default", "hidden", "invalid", "expired", "missing", "empty"),
        *("public", "private"),
    ]
)

MIN_DISTINCT: Final = 5
"""Different characters that a secret of eight or more has at least."""


def is_example(token: str) -> bool:
    """Whether something in an issuer's format is a documentation's token."""
    return len(set(token[:256])) < MIN_DISTINCT + 3 or _EXAMPLES.search(token, 0, 256) is not None


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
