"""On whose behalf an HTTP request is made: its bearer token, verified for each request anew.

RFC 6750 and RFC 9728, as MCP's authorization asks for; a token in a query string or a form is none. Nothing
of a token is logged or answered. Above: `endpoint`. Below: the guard's policy.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final, TypeAlias

from mcpguard.core.errors import GuardBuildError, TokenRefused
from mcpguard.core.principal import Principal
from mcpguard.core.wire import canonical

__all__ = ["KNOWN", "Refused", "Verify", "bearer", "fingerprint", "verified"]

Verify: TypeAlias = Callable[[str], Awaitable[Principal]]
"""Says on whose behalf a token speaks, or raises `TokenRefused`."""

KNOWN: Final = 4096
"""Principals whose fingerprints are kept rather than made for each request."""

UNAVAILABLE: Final = "token_keys_unavailable"
"""The issuer's keys cannot be had: not the token's fault, and no reason to fetch another."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered without being looked at.

    Args:
        status: HTTP's.
        code: What is wrong, in one word.
        headers: For the answer.
    """

    def __init__(self, status: int, code: str, *headers: tuple[str, str]) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers

    @property
    def body(self) -> bytes:
        """The answer."""
        return json.dumps({"error": self.code}).encode()


async def verified(headers: list[tuple[bytes, bytes]], verify: Verify, metadata: str | None) -> Principal:
    """On whose behalf a request with these headers is made.

    Args:
        headers: As ASGI has them: names in small letters.
        verify: Verifies the token.
        metadata: Where clients learn who issues tokens. None: nowhere.

    Raises:
        Refused: If there is no token, more than one, or it is not to be trusted.
    """
    token = bearer(headers)
    where = "" if metadata is None else f'resource_metadata="{metadata}"'
    if token is None:
        raise Refused(401, "token_missing", ("www-authenticate", f"Bearer {where}".rstrip()))
    try:
        return await verify(token)
    except GuardBuildError:  # a reload took `principals` away
        raise Refused(503, "no_principals") from None
    except TokenRefused as refused:
        if refused.code == UNAVAILABLE:
            raise Refused(503, refused.code, ("retry-after", "30")) from None
        said = ", ".join(
            filter(None, ('error="invalid_token"', f'error_description="{refused.code}"', where))
        )
        raise Refused(401, refused.code, ("www-authenticate", f"Bearer {said}")) from None


def bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The one bearer token of a request; None if there is none, or it is not clear which."""
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1:
        return None
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None


def fingerprint(principal: Principal | None) -> str:
    """What tells one principal's sessions from another's: who it is, whatever it may do at the moment."""
    if principal is None:
        return _fingerprint(None)
    return _fingerprint((principal.tenant, principal.user, principal.agent))


@lru_cache(maxsize=KNOWN)
def _fingerprint(who: tuple[str | None, str | None, str | None] | None) -> str:
    return hashlib.sha256(canonical(None if who is None else list(who))).hexdigest()
