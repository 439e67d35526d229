"""Answers that another process gives, signed with a key whose public half the policy lists (Ed25519).

What may write to the store is not trusted: not with the answer, and not with what the person was shown.
So a signature covers the verdict, what it is bound to, and the very lines that were read. The library
(cryptography, extra `approvals`) is imported on use.
"""

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from mcpguard.core.wire import JSON, JSONObject, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["Forged", "Keys", "SignedAnswer", "load_key", "make_key", "seen", "sign"]

DOMAIN: Final = b"mcpguard approval answer 1\n"
"""Stands before what is signed, so that a signature for another purpose is none here."""


class Forged(Exception):  # noqa: N818 - an answer, not an error of ours
    """An answer is not signed by a listed key, or not for this question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnswer:
    """One answer as it is stored.

    Args:
        digest: What it is bound to.
        nonce: The one question it answers.
        shown: Digest of the lines that the person read.
        expires: When the question ends, in seconds since the epoch.
        verdict: `approve` or `deny`.
        arguments: Arguments to go on with instead, or None.
        remember: For what it answers further calls as well.
        reason: Of a denial.
        signature: Over all of the above; base64.
    """

    digest: str
    nonce: str
    shown: str
    expires: float
    verdict: Literal["approve", "deny"]
    arguments: JSONObject | None = field(default=None, repr=False)
    remember: Literal["once", "run", "principal"] = "once"
    reason: str = ""
    signature: str = ""

    def as_json(self) -> dict[str, JSON]:
        """All of it, as it is stored."""
        return {**self._signed(), "signature": self.signature}

    @classmethod
    def from_json(cls, value: JSON) -> "SignedAnswer":
        """What was stored.

        Raises:
            Forged: If it is no answer.
        """
        if not isinstance(value, Mapping) or set(value) != _MEMBERS:
            raise Forged("out of shape")
        texts = [
            value[name] for name in ("digest", "nonce", "shown", "verdict", "remember", "reason", "signature")
        ]
        is_known = value["verdict"] in ("approve", "deny") and value["remember"] in (
            "once",
            "run",
            "principal",
        )
        if not all(isinstance(text, str) for text in texts) or not is_known:
            raise Forged("out of shape")
        if not isinstance(value["arguments"], Mapping | None) or not isinstance(
            value["expires"], int | float
        ):
            raise Forged("out of shape")
        return cls(**cast("dict[str, str]", dict(value)))  # type: ignore[arg-type]

    @property
    def body(self) -> bytes:
        """What is signed."""
        return DOMAIN + canonical(self._signed())

    def _signed(self) -> dict[str, JSON]:
        return {
            "digest": self.digest,
            "nonce": self.nonce,
            "shown": self.shown,
            "expires": self.expires,
            "verdict": self.verdict,
            "arguments": self.arguments,
            "remember": self.remember,
            "reason": self.reason,
        }


_MEMBERS: Final = frozenset(
    ("digest", "nonce", "shown", "expires", "verdict", "arguments", "remember", "reason", "signature")
)


class Keys:
    """The public keys that a policy lists.

    Args:
        keys: Each as `mcpguard approvals keygen` prints it: 32 bytes in base64.

    Raises:
        ValueError: If one is no key, none is given, or the extra `approvals` is not installed.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Collection[str]) -> None:
        if isinstance(keys, str):
            raise TypeError("keys is a list of public keys, not a single one")
        if not keys:
            raise ValueError(
                "no key is listed, and no answer could be trusted; mcpguard approvals keygen makes one"
            )
        self._keys = {name: _public(name) for name in keys}

    def signer(self, answer: SignedAnswer) -> str:
        """The beginning of the listed key that signed an answer.

        Raises:
            Forged: If none did.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra, loaded on use

        try:
            signature = base64.b64decode(answer.signature, validate=True)
        except (binascii.Error, ValueError):
            raise Forged("no signature") from None
        for name, key in self._keys.items():
            try:
                key.verify(signature, answer.body)
            except InvalidSignature:
                continue
            return f"key {name[:12]}"
        raise Forged("not signed by a listed key")


def seen(lines: Iterable[str]) -> str:
    """The digest of what a person reads."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


def sign(answer: SignedAnswer, key: "Ed25519PrivateKey") -> SignedAnswer:
    """The answer with its signature."""
    unsigned = {name: getattr(answer, name) for name in _MEMBERS - {"signature"}}
    return SignedAnswer(**unsigned, signature=base64.b64encode(key.sign(answer.body)).decode())


def make_key(passphrase: bytes) -> tuple[bytes, str]:
    """A new private key, encrypted, and its public half as a policy lists it."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra, loaded on use
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    return private, base64.b64encode(key.public_key().public_bytes_raw()).decode()


def load_key(private: bytes, passphrase: bytes) -> "Ed25519PrivateKey":
    """A private key as `make_key` made it.

    Raises:
        ValueError: If it is none, or the passphrase is wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(private, passphrase)
    except (TypeError, ValueError):
        raise ValueError("the key cannot be read, or the passphrase is wrong") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key is no Ed25519 key")
    return key


def _public(text: str) -> "Ed25519PublicKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ImportError:
        raise ValueError(
            "signed answers need cryptography: pip install 'mcpguard-inline[approvals]'"
        ) from None
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("a key is 32 bytes in base64, as mcpguard approvals keygen prints it") from None
