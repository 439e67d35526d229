"""The credentials that one server was sent last: what is looked for in all that it says."""

import threading
from collections.abc import Sequence
from typing import Final

from mcpguard.tokens.secret import Secret
from mcpguard.tokens.voucher import Carried

__all__ = ["Sent"]

MAX_SENT: Final = 32
"""Credentials per server that are looked for in all it says: those it was sent last."""

MIN_LENGTH: Final = 6
"""Characters of a secret that is looked for; a shorter one would be found where it is not meant."""


class Sent:
    """What one server was sent, safe across threads."""

    __slots__ = ("_last", "_lock", "_secrets", "_sought")

    def __init__(self) -> None:
        self._secrets: dict[Secret, None] = {}
        self._last: list[Secret] = []
        self._sought: tuple[str, ...] = ()
        self._lock = threading.Lock()

    @property
    def sought(self) -> Sequence[str]:
        """The texts to look for."""
        return self._sought

    def note(self, carried: Sequence[Carried]) -> Sequence[str]:
        """Remember what is sent now, forget what was sent longest ago, and give the texts to look for."""
        secrets = [one.token.secret for one in carried]
        if secrets == self._last:
            return self._sought
        with self._lock:
            is_new = False
            for secret in secrets:
                is_new = is_new or secret not in self._secrets
                self._secrets.pop(secret, None)
                self._secrets[secret] = None
            if is_new:
                for secret in list(self._secrets)[:-MAX_SENT]:
                    del self._secrets[secret]
                texts = (secret.reveal() for secret in self._secrets)
                self._sought = tuple(text for text in texts if len(text) >= MIN_LENGTH)
            self._last = secrets
            return self._sought
