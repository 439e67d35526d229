"""Principals from JSON Web Tokens: verified, and mapped as the policy says.

Public keys alone: what a token's own header says of algorithm and key only chooses among what is allowed.
The library (PyJWT, extra `jwt`) is imported on use.
"""

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import anyio.to_thread

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import TokenRefused
from mcpguard.core.principal import Principal
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.token_claims import ClaimMap, Unmapped
from mcpguard.stores.workers import Workers
from mcpguard.tokens.endpoint import exchange
from mcpguard.tokens.secret import TokenError

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = ["ClaimMap", "TokenRefused", "Tokens"]

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key (RFC 7518, RFC 8037); secrets that both sides know are none."""

TYPES: Final = frozenset({"jwt", "at+jwt"})
"""What a token may be (RFC 7519, 5.1; RFC 9068): one that ends a session is none for calls."""

MAX_TOKEN: Final = 16_384
"""Characters of a token; HTTP servers take no longer header."""

MAX_KEYS: Final = 1_048_576
"""Bytes of an answer with keys."""

WORKERS: Final = 2
"""Threads of an event loop that fetch keys: who sends tokens of keys that nobody knows uses up no others."""

_workers: Final = Workers("key")


class Tokens:
    """Verify tokens of one issuer, and say on whose behalf they speak.

    Args:
        issuer: The `iss` a token must have.
        audience: The `aud` a token must have, or one of several.
        keys: Public keys as JWK (RFC 7517), each with `alg` or a type that has one. Or give `jwks_url`.
        jwks_url: Where the issuer publishes its keys: `https`, or `http` on this machine. Not redirected.
        algorithms: Which signatures are accepted.
        claims: Which claim says what. None: `sub` is the user.
        leeway: Seconds that clocks may differ.
        lifetime: Seconds for which published keys are kept.
        cooldown: Seconds between two looks for keys that are not known, or could not be fetched.
        timeout: Seconds for fetching keys.
        clock: Time of the cache.

    Raises:
        ValueError: If keys are given twice or not at all, an algorithm is none of these, or the extra
            `jwt` is not installed.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Sequence[str],
        keys: Sequence[Mapping[str, object]] = (),
        jwks_url: str | None = None,
        algorithms: Collection[str] = ("RS256", "ES256", "EdDSA"),
        claims: ClaimMap | None = None,
        leeway: float = 30.0,
        lifetime: float = 300.0,
        cooldown: float = 30.0,
        timeout: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if bool(keys) == (jwks_url is not None):
            raise ValueError("give keys or jwks_url, one of the two")
        if not issuer or not audience:
            raise ValueError("issuer and audience are not empty: a token for others would be accepted")
        unknown = set(algorithms) - set(ALGORITHMS)
        if isinstance(algorithms, str) or unknown or not algorithms:
            raise ValueError(f"algorithms is a list out of {', '.join(ALGORITHMS)}")
        if jwks_url is not None:
            parts = urlsplit(jwks_url)
            is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
            if parts.scheme != "https" and not is_here:
                raise ValueError("jwks_url is https, or http on this machine")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._claims = claims or ClaimMap()
        self._leeway = leeway
        self._url = jwks_url
        self._lifetime = lifetime
        self._cooldown = cooldown
        self._timeout = timeout
        self._clock = clock
        self._keys = [] if jwks_url is not None else _read(cast("JSON", {"keys": list(keys)}))
        if jwks_url is None and len(self._keys) != len(keys):
            raise ValueError("keys holds a key that is no public JWK of a known type")
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._lock = threading.Lock()

    async def principal(self, token: str) -> Principal:
        """On whose behalf a token speaks.

        Raises:
            TokenRefused: If it is not to be trusted; its code says why.
        """
        kid, algorithm = _chosen(token)
        if algorithm not in self._algorithms:
            raise TokenRefused("token_algorithm")
        if self._url is not None and not self._matching(kid, algorithm):
            await anyio.to_thread.run_sync(
                self._fetch, self._url, abandon_on_cancel=True, limiter=_workers.limited_to(WORKERS)
            )
        found = self._matching(kid, algorithm)
        if len(found) != 1:
            raise TokenRefused("token_key")
        return self._verified(token, found[0], algorithm)

    def _verified(self, token: str, key: "PyJWK", algorithm: str) -> Principal:
        """What a token says, verified by one key, which is used with its own algorithm alone."""
        import jwt

        try:
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
            if "cnf" in claims:
                raise Unmapped("it is bound to a key, whose possession is not proven here")
            return self._claims.principal(cast("JSONObject", claims))
        except jwt.ExpiredSignatureError:
            raise TokenRefused("token_expired") from None
        except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError):
            raise TokenRefused("token_not_yet_valid") from None
        except jwt.InvalidIssuerError:
            raise TokenRefused("token_issuer") from None
        except jwt.InvalidAudienceError:
            raise TokenRefused("token_audience") from None
        except (jwt.MissingRequiredClaimError, Unmapped):
            raise TokenRefused("token_claims") from None
        except jwt.InvalidSignatureError:
            raise TokenRefused("token_signature") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise TokenRefused("token_malformed") from None

    def _matching(self, kid: object, algorithm: str) -> "list[PyJWK]":
        if self._url is not None and self._clock.now() - self._fetched >= self._lifetime:
            return []
        return [key for key in self._keys if key.algorithm_name == algorithm and kid in (None, key.key_id)]

    def _fetch(self, url: str) -> None:
        """Fetch the published keys, unless somebody just did. What is there stays if that fails."""
        with self._lock:
            now = self._clock.now()
            if now - self._tried < self._cooldown:
                if now - self._fetched >= self._lifetime:
                    raise TokenRefused("token_keys_unavailable")
                return
            self._tried = now
            try:
                self._keys = _read(anyio.run(_downloaded, url, self._timeout))
            except (TokenError, ValueError, RecursionError):
                raise TokenRefused("token_keys_unavailable") from None
            self._fetched = now


def _chosen(token: str) -> tuple[object, str]:
    """Key id and algorithm as a token's header has them: they choose among what is allowed."""
    import jwt

    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
        raise TokenRefused("token_malformed")
    try:
        header: Mapping[str, object] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRefused("token_malformed") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm.lower() == "none":
        raise TokenRefused("token_unsigned")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
        raise TokenRefused("token_type")
    if "crit" in header:
        raise TokenRefused("token_malformed")  # what has to be understood is not (RFC 7515, 4.1.11)
    return header.get("kid"), algorithm


async def _downloaded(url: str, seconds: float) -> JSON:
    status, body = await exchange(
        url, seconds=seconds, limit=MAX_KEYS, headers={"Accept": "application/json"}
    )
    if status != 200:
        raise TokenError(f"the issuer answered {status}")
    read: JSON = json.loads(body)
    return read


def _read(published: JSON) -> "list[PyJWK]":
    """The public keys of a JWK set; others, and what is none, are left out."""
    try:
        from jwt import PyJWK, PyJWTError
    except ImportError:
        raise ValueError("tokens need PyJWT: pip install 'mcpguard-inline[jwt]'") from None
    keys = published.get("keys") if isinstance(published, Mapping) else None
    if not isinstance(keys, list):
        raise ValueError("no JWK set")
    found: list[PyJWK] = []
    for key in keys:
        if (
            not isinstance(key, Mapping)
            or key.get("kty") not in ("RSA", "EC", "OKP")
            or key.get("use") == "enc"
        ):
            continue
        if "d" in key:
            continue
        try:
            found.append(PyJWK.from_dict(dict(key)))
        except (PyJWTError, ValueError, TypeError):
            continue
    return [key for key in found if key.algorithm_name in ALGORITHMS]
