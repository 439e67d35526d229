"""Whether a form asks a person for something that must not be typed into it.

Forms are for what may pass through the client and the model; secrets are not (MCP 2025-11-25, elicitation).
Names, titles, descriptions and the message are read, with look-alikes and separators folded away. A form that
asks in other words is not recognised: this is a fence, not a proof.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

from mcpguard.core.wire import JSON, JSONObject

__all__ = ["asks_for_secret"]

MAX_TEXT: Final = 20_000
"""Characters of a form that are read; a longer one asks for something that nobody will read."""

MAX_PARTS: Final = 2_000
"""Parts of a form that are read; forms are flat, and have a few fields."""

_TEXTS: Final = ("title", "description", "format", "default", "pattern", "$ref")
"""Keywords with text that may be shown, or says what is meant."""

_BELOW: Final = ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties")
"""Keywords with further schemas: the specification has none but `items`, hosts may show more."""

_NAME_WORDS: Final = (
    r"pass(?:word|wd|phrase|code)s?|pwd|pw|secrets?|credentials?|token$|pin|otp|totp|mfa|2fa|cvv2?|cvc2?|csc|ssn",
    r"passwort|kennwort|geheimnis|contrasena|clave|senha|motdepasse|mdp|haslo|parola",
    r"(?:api|access|secret|private|signing|encryption|ssh)_?key",
    r"(?:access|auth|bearer|refresh|session|id|api|secret|personal|bot)_?token|client_?secret",
    r"(?:seed|recovery|mnemonic)(?:_?(?:phrase|words?|codes?))?|card_?(?:number|no)|(?:credit|debit)_?card",
    r"security_?code|social_?security|session_?cookie",
)

_NAMES: Final = re.compile(rf"(?:^|_)(?:{'|'.join(_NAME_WORDS)})(?:_|$)")
"""A field's name, in snake case, that says it holds a secret."""

_TEXT_WORDS: Final = (
    r"pass[ _-]?(?:word|phrase|code)|passwd|\bpwd\b|credentials|(?:api|private|secret|ssh)[ _-]?key",
    r"(?:access|auth\w*|bearer|refresh|session|api|secret|security|bot)[ _-]?token|client[ _-]?secret",
    r"(?:seed|recovery|mnemonic) (?:phrase|words|code)|one[ -]?time (?:code|pass)|verification code",
    r"\botp\b|\b2fa\b|\bcvv\b|\bcvc\b|security code|(?:credit|debit|bank)[ -]?card|card number",
    r"social security|\bssn\b|\bpin (?:code|number)\b|\b(?:your|the|enter|type) (?:\w+ )?pin\b",
    r"passwort|kennwort|contrasena|mot de passe|\bsenha\b|palavra-passe|session cookie",
    "\u5bc6\u7801|\u53e3\u4ee4|\u5bc6\u94a5|\u30cf\u309a?\u30b9\u30ef|\u30d1\u30b9\u30ef|\u6697\u8a3c\u756a\u53f7",
    "\u043f\u0430\u0440\u043e\u043b\u044c",
)

_PHRASES: Final = re.compile("|".join(_TEXT_WORDS))
"""Words for a secret in running text."""

_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u0261\u03b1\u03bf\u03c1\u03bd01345@$",
    "aeopcyxisjdgaopvoieasas",
)
"""Letters of other scripts, and digits and signs, that stand for Latin letters (Unicode TR 39)."""


def asks_for_secret(params: JSONObject) -> bool:
    """Whether an `elicitation/create` in form mode asks for a secret, or is too long or strange to tell.

    What can only be answered with one of a few given values asks for none.
    """
    message = params.get("message")
    texts = [message] if isinstance(message, str) else []
    ahead: list[JSON] = [params.get("requestedSchema")]
    for _ in range(MAX_PARTS):
        if not ahead:
            break
        schema = ahead.pop()
        if isinstance(schema, list | tuple):
            ahead.extend(schema)
        if not isinstance(schema, Mapping) or _is_choice(schema):
            continue
        for name, field in _named(schema):
            if _is_choice(field):
                continue
            if _NAMES.search(_snake(name)) or _NAMES.search(_snake(_folded(name))):
                return True
            texts.append(name)
            ahead.append(field)
        texts.extend(text for key in _TEXTS if isinstance(text := schema.get(key), str))
        ahead.extend(schema[key] for key in _BELOW if key in schema)
    if ahead or sum(map(len, texts)) > MAX_TEXT:
        return True
    return any(_PHRASES.search(reading) for text in texts for reading in (_plain(text), _folded(text)))


def _named(schema: JSONObject) -> Iterator[tuple[str, JSON]]:
    """What a schema has by name: fields, and definitions that fields may refer to."""
    for key in ("properties", "$defs", "definitions"):
        members = schema.get(key)
        if isinstance(members, Mapping):
            yield from members.items()


def _is_choice(field: JSON) -> bool:
    """Whether a field can be answered with given values alone."""
    if not isinstance(field, Mapping) or any(key in field for key in ("properties", "$ref")):
        return False
    if field.get("type") == "boolean":
        return True
    known = field.get("enum")
    if isinstance(known, list | tuple):
        return bool(known) and not any(isinstance(one, list | tuple | Mapping) for one in known)
    known = field.get("oneOf")
    return (
        isinstance(known, list | tuple)
        and bool(known)
        and all(isinstance(one, Mapping) and "const" in one for one in known)
    )


def _plain(text: str) -> str:
    """Lower case, compatibility forms, no accents, nothing invisible."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(one for one in letters if unicodedata.category(one) not in ("Mn", "Cf"))
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _folded(text: str) -> str:
    """The same, with what looks like a Latin letter as that letter, and no spacing inside words."""
    folded = _plain(text).translate(_LOOKALIKES)
    return re.sub(r"\b(\w)[ .*_-](?=\w\b)", r"\1", folded)


def _snake(name: str) -> str:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFKC", name))
    return re.sub(r"[^a-z0-9]+", "_", _plain(split))
