"""A secret that does not show itself, and a credential with the time it is good for."""

import hmac
import re
from dataclasses import KW_ONLY, dataclass
from typing import Final, NoReturn

__all__ = ["Secret", "Token", "TokenError", "sendable"]

MAX_LENGTH: Final = 65_536
"""Characters of a credential; what is longer is none."""

_SENDABLE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What may stand in a header field's value (RFC 9110, 5.5), without the bytes beyond ASCII."""


class TokenError(Exception):
    """No credential is to be had. The text says why, without values."""


class Secret:
    """A text that is in no repr, log, traceback or pickle. `reveal` gives it to whoever sends it.

    Args:
        value: The text. Not empty.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is empty.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is text, not {type(value).__name__}")
        if not value:
            raise ValueError("a secret must not be empty")
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"), other._value.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or pickled")


@dataclass(frozen=True, slots=True)
class Token:
    """A credential as its source gave it.

    Args:
        secret: What is sent.
        lifetime: Seconds from now for which it may be used. 0: this once.
    """

    secret: Secret
    _: KW_ONLY
    lifetime: float


def sendable(value: object, what: str) -> Secret:
    """A credential that can be sent as it is.

    Raises:
        TokenError: If it is no text, empty, too long, or holds what cannot stand in a header.
    """
    if not isinstance(value, str):
        raise TokenError(f"{what} is no text")
    if len(value) > MAX_LENGTH or _SENDABLE.fullmatch(value) is None:
        raise TokenError(f"{what} is empty, too long, or holds characters that cannot be sent")
    return Secret(value)
