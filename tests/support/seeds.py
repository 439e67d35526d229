"""Secrets made up when a test runs: a random text for an issuer's format, so that none is written down."""

import random
import re._constants as op
import re._parser as parser
import string
from typing import Any

from mcpguard.detectors.secrets.checksums import is_jwt
from mcpguard.detectors.secrets.formats import FORMATS, Format

__all__ = ["FORMATS", "password", "token"]

_LETTERS = string.ascii_letters + string.digits


def token(one: Format, seed: int = 0) -> str:
    """A token of a format."""
    rng = random.Random(f"{one.kind}-{seed}")  # noqa: S311 - these guard nothing
    if one.requires is is_jwt:
        return (
            "eyJhbGciOiJIUzI1NiJ9.eyJ"
            + "".join(rng.choices(_LETTERS, k=24))
            + "."
            + "".join(rng.choices(_LETTERS, k=43))
        )
    return "".join(_made(item, rng) for item in parser.parse(one.body))


def password(seed: int = 0) -> str:
    """What a person or a generator would choose."""
    rng = random.Random(seed)  # noqa: S311 - these guard nothing
    return "".join(rng.sample(string.ascii_lowercase, 5)) + "-" + "".join(rng.sample(_LETTERS, 9)) + "!7"


def _made(item: Any, rng: random.Random) -> str:
    kind, value = item
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.IN:
        choices: list[str] = []
        for what, given in value:
            if what is op.LITERAL:
                choices.append(chr(given))
            elif what is op.RANGE:
                choices += map(chr, range(given[0], given[1] + 1))
            else:
                choices += string.digits
        return rng.choice(choices)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        low, _, body = value
        return "".join(_made(part, rng) for _ in range(max(low, 0)) for part in body)
    if kind is op.BRANCH:
        return "".join(_made(part, rng) for part in rng.choice(value[1]))
    assert kind is op.SUBPATTERN, kind
    return "".join(_made(part, rng) for part in value[-1])
