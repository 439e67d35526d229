"""Token endpoints: OAuth 2.1 client credentials, and RFC 8693 token exchange.

An endpoint is believed as little as any server: it has a time, a size, no redirects, and says a bearer token
or nothing. What it says is in no message.
"""

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote_plus, urlsplit

from mcpguard.core.principal import Principal
from mcpguard.core.wire import JSON
from mcpguard.tokens.endpoint import exchange
from mcpguard.tokens.secret import Secret, Token, TokenError, sendable
from mcpguard.tokens.source import Environment, File

__all__ = ["ClientCredentials", "TokenExchange"]

MAX_ANSWER: Final = 262_144
"""Bytes of an endpoint's answer."""

UNSAID_LIFETIME: Final = 300.0
"""Seconds a token is kept whose endpoint does not say how long it is good."""

MAX_LIFETIME: Final = 86_400.0
"""Seconds a token is kept at most, whatever its endpoint says."""

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693, section 3


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A token for the program itself (OAuth 2.1, client credentials grant).

    Args:
        token_url: The endpoint; https, or loopback.
        client_id: The client's identifier.
        client_secret_environment: Environment variable that holds the client's secret.
        client_secret_file: File that holds it.
        client_secret: The secret itself; in Python only.
        authentication: How the client says who it is: `basic` by header, `post` in the body.
        scope: Scopes, separated by blanks. None: the endpoint's default.
        audience: For whom the token is, where the endpoint wants that. None: not said.
        resource: The server the token is for (RFC 8707). None: not said.
        timeout: Seconds for a request to the endpoint, in all.

    Raises:
        ValueError: If the URL is neither https nor loopback, or the secret is given twice or not at all.
    """

    token_url: str
    _: KW_ONLY
    client_id: str
    client_secret_environment: str | None = None
    client_secret_file: Path | None = None
    client_secret: Secret | None = None
    authentication: Literal["basic", "post"] = "basic"
    scope: str | None = None
    audience: str | None = None
    resource: str | None = None
    timeout: float = 10.0

    def __post_init__(self) -> None:
        _check_url(self.token_url)
        _check_secret(self, required=True)

    @property
    def is_personal(self) -> bool:
        """Whether each principal has its own."""
        return False

    async def fetch(self, principal: Principal | None) -> Token:
        """A new token."""
        del principal
        form = {"grant_type": "client_credentials"}
        return await _requested(self, form)


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """A token for one server in exchange for whoever calls' own (RFC 8693).

    Args:
        token_url: The endpoint; https, or loopback.
        client_id: The client's identifier. None: the endpoint asks for none.
        client_secret_environment: Environment variable that holds the client's secret.
        client_secret_file: File that holds it.
        client_secret: The secret itself; in Python only.
        authentication: How the client says who it is: `basic` by header, `post` in the body.
        subject_claim: The principal's claim that holds their own token.
        subject_token_type: What kind of token that is.
        scope: Scopes, separated by blanks. None: the endpoint's default.
        audience: For whom the token is. None: not said.
        resource: The server the token is for. None: not said.
        timeout: Seconds for a request to the endpoint, in all.

    Raises:
        ValueError: If the URL is neither https nor loopback, or a secret is given without a client or twice.
    """

    token_url: str
    _: KW_ONLY
    client_id: str | None = None
    client_secret_environment: str | None = None
    client_secret_file: Path | None = None
    client_secret: Secret | None = None
    authentication: Literal["basic", "post"] = "basic"
    subject_claim: str = "access_token"
    subject_token_type: str = _ACCESS_TOKEN
    scope: str | None = None
    audience: str | None = None
    resource: str | None = None
    timeout: float = 10.0
    is_personal: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _check_url(self.token_url)
        _check_secret(self, required=False)

    def subject(self, principal: Principal | None) -> Secret:
        """The principal's own token.

        Raises:
            TokenError: If nobody is known, or the claim holds none.
        """
        if principal is None:
            raise TokenError("a token is exchanged for somebody's own, and nobody is known")
        return sendable(principal.claims.get(self.subject_claim), f"the claim {self.subject_claim}")

    async def fetch(self, principal: Principal | None) -> Token:
        """A new token in exchange for the principal's."""
        form = {
            "grant_type": _EXCHANGE,
            "subject_token": self.subject(principal).reveal(),
            "subject_token_type": self.subject_token_type,
        }
        return await _requested(self, form)


async def _requested(asked: ClientCredentials | TokenExchange, form: dict[str, str]) -> Token:
    """Ask the endpoint.

    Raises:
        TokenError: If it does not give a bearer token in time.
    """
    wanted = {"scope": asked.scope, "audience": asked.audience, "resource": asked.resource}
    form.update({name: value for name, value in wanted.items() if value is not None})
    headers = {"Accept": "application/json"}
    secret = await _client_secret(asked)
    if asked.client_id is not None and (secret is None or asked.authentication == "post"):
        form["client_id"] = asked.client_id
        if secret is not None:
            form["client_secret"] = secret.reveal()
    elif asked.client_id is not None and secret is not None:
        pair = f"{quote_plus(asked.client_id)}:{quote_plus(secret.reveal())}"
        headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    status, body = await exchange(
        asked.token_url, seconds=asked.timeout, limit=MAX_ANSWER, form=form, headers=headers
    )
    if status != 200:
        raise TokenError(f"the token endpoint answered with status {status}")
    return _token(body)


def _token(body: bytes) -> Token:
    """The bearer token in an endpoint's answer (RFC 6749, section 5.1)."""
    try:
        told: JSON = json.loads(body)
    except (ValueError, RecursionError):
        raise TokenError("the token endpoint's answer is no JSON") from None
    if not isinstance(told, Mapping):
        raise TokenError("the token endpoint's answer is no JSON object")
    kind: object = told.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenError("the token endpoint gave a token that is no bearer token")
    secret = sendable(told.get("access_token"), "the token endpoint's token")
    lifetime: object = told.get("expires_in", UNSAID_LIFETIME)
    if isinstance(lifetime, str) and lifetime.isascii() and lifetime.isdigit() and len(lifetime) < 12:
        lifetime = int(lifetime)
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not math.isfinite(lifetime):
        raise TokenError("the token endpoint does not say how long its token is good")
    return Token(secret, lifetime=min(max(float(lifetime), 0.0), MAX_LIFETIME))


async def _client_secret(asked: ClientCredentials | TokenExchange) -> Secret | None:
    if asked.client_secret is not None:
        return asked.client_secret
    if asked.client_secret_environment is not None:
        return (await Environment(asked.client_secret_environment).fetch(None)).secret
    if asked.client_secret_file is not None:
        return (await File(asked.client_secret_file).fetch(None)).secret
    return None


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ValueError("token_url is an https URL, or one of this machine's loopback")
    if parts.username is not None or parts.fragment or not parts.hostname:
        raise ValueError("token_url has a host, and no user or fragment")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_secret(asked: ClientCredentials | TokenExchange, *, required: bool) -> None:
    ways = (asked.client_secret, asked.client_secret_environment, asked.client_secret_file)
    given = sum(way is not None for way in ways)
    if given > 1 or (required and not given):
        raise ValueError("the client's secret is given in one way: environment, file or client_secret")
    if given and asked.client_id is None:
        raise ValueError("a client's secret needs its client_id")
    if not 0 < asked.timeout < 1e9:
        raise ValueError(f"timeout is seconds, above 0, not {asked.timeout}")
    if asked.authentication not in ("basic", "post"):
        raise ValueError(f"authentication is 'basic' or 'post', not {asked.authentication!r}")
