"""The seam for HTTP credentials: an auth object for the client that a transport sends with.

It sees every request the transport makes: calls, streams, resumptions, notifications, answers to a server's
questions, the end of a session; and every 401. What goes with a call stands behind the number that the call
carries; all else gets the credential of whoever opened the session, or of nobody in particular where several
share it. Neither reaches another origin than the first.

One object serves `httpx` and `httpx2`, whichever is installed, so both majors of the SDK.
Beside: `interceptors.credentials`, which decides what goes where.
"""

import json
import logging
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from cachetools import LRUCache

from mcpguard.core.errors import GuardBuildError, SeamError
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.principal import Principal
from mcpguard.core.wire import LIFECYCLE
from mcpguard.interceptors.credentials import Credentials
from mcpguard.tokens.secret import TokenError
from mcpguard.tokens.voucher import VOUCHER_KEY, Carried, Voucher, headers_of

__all__ = ["HTTPAuth", "giver_of", "http_auth"]

_log = logging.getLogger("mcpguard")

MAX_SESSIONS: Final = 10_000
"""Sessions whose owner is remembered; one that is forgotten gets the credential of nobody in particular."""

MAX_MOVES: Final = 64
"""Places that a server has sent us to, within its own origin."""

_SESSION: Final = "mcp-session-id"
_UNAUTHORIZED: Final = 401

_NOBODYS_CALL: Final = LIFECYCLE | {"tools/list"}
"""Requests that a seam or the SDK makes for itself, without a voucher: others were never seen by a guard."""


class _Auth:
    """Puts on the headers of `Credentials`.

    Args:
        name: The server.
        credentials: Where they come from; None: there are none.
        url: Where the server is. None: where the first request goes.
    """

    requires_request_body = True

    def __init__(self, name: str, credentials: Credentials | None, url: str | None) -> None:
        self.name = name
        self.is_shared = False
        """Whether several principals use what is sent with this; set when a session is wrapped."""
        self._credentials = credentials
        self._former: tuple[weakref.ref[Credentials], ...] = ()
        self._origin = None if url is None else _origin(url)
        self._owners: LRUCache[str, tuple[Principal | None]] = LRUCache(MAX_SESSIONS)
        self._seen: set[Principal | None] = set()
        self._moved: LRUCache[str, Any] = LRUCache(MAX_MOVES)

    def settle(self, url: str) -> None:
        """Go by the address that is given now.

        Raises:
            ValueError: If it is another place than that to which credentials go already.
        """
        origin = _origin(url)
        if self._origin not in (None, origin):
            raise ValueError(
                f"credentials of {self.name} go to one origin, which was given or used before; this url= has "
                "another. Another server has another name"
            )
        self._origin = origin

    def follow(self, credentials: Credentials | None) -> None:
        """Take what is not a call's from other rules; a call under way keeps what its own have given it."""
        former = [one for one in self._former if one() is not None]
        if self._credentials is not None and self._credentials is not credentials:
            former.append(weakref.ref(self._credentials))
        self._former, self._credentials = tuple(former), credentials

    def sync_auth_flow(self, request: Any) -> NoReturn:
        """Refuse: an MCP session is asynchronous."""
        raise SeamError("guard.http_auth() is for an AsyncClient")

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Send a request with its headers; after a 401 once more, with others if there are any."""
        origin = _origin(str(request.url))
        self._origin = self._origin or origin
        if origin != self._origin or not (self._credentials or self._former):
            yield request
            return
        body = await request.aread()
        message = _message(body) if request.method == "POST" else {}
        credentials, voucher = self._voucher(message)
        if credentials is None:
            yield request
            return
        owner = self._owner(request.headers.get(_SESSION))
        carried = await self._carried(credentials, message, voucher, owner)
        who = owner if voucher is None else voucher.principal
        moved = self._moved.get(str(request.url))
        if moved is not None:
            request.url = moved
        _seal(request, carried)
        response = yield request
        self._learn(voucher, message, response)
        if response.status_code != _UNAUTHORIZED or not carried:
            return
        if _is_moved(request, response):
            # The client has followed a redirect and left the headers behind: nothing was executed there.
            self._moved[str(request.url)] = response.request.url
            request = _copied(request, response.request.url, body)
            _seal(request, carried)
            response = yield request
            self._learn(voucher, message, response)
            if response.status_code != _UNAUTHORIZED:
                return
        try:
            renewed = await credentials.renewed(carried, who)
        except TokenError as error:
            _log.warning("the credential of %s was not accepted, and %s", self.name, error)
            return
        if voucher is not None:
            voucher.renew(renewed)
        if headers_of(renewed) == headers_of(carried):
            return
        _seal(request, renewed)
        response = yield request
        self._learn(voucher, message, response)

    def _voucher(self, message: Mapping[str, Any]) -> tuple[Credentials | None, Voucher | None]:
        """What stands behind the number in a request's `_meta`, and which rules gave it.

        After a reload a call may still be going under the rules before. A reply or notification has none.
        """
        current = self._credentials
        method, params = message.get("method"), message.get("params")
        meta = params.get("_meta") if isinstance(params, Mapping) else None
        number = meta.get(VOUCHER_KEY) if isinstance(meta, Mapping) else None
        if not isinstance(number, str) or not isinstance(method, str) or "id" not in message:
            return current, None
        for one in (current, *(former() for former in self._former)):
            voucher = None if one is None else one.voucher(number, method)
            if voucher is not None and voucher.server == self.name:
                return one, voucher
        return current, None

    async def _carried(
        self,
        credentials: Credentials,
        message: Mapping[str, Any],
        voucher: Voucher | None,
        owner: Principal | None,
    ) -> Sequence[Carried]:
        if voucher is not None:
            voucher.was_used = True
            return [one for one in voucher.carried if one.rule.header is not None]
        if "method" in message and "id" in message and message["method"] not in _NOBODYS_CALL:
            return ()
        try:
            return await credentials.for_session(self.name, owner)
        except TokenError as error:
            _log.warning("there is no credential for the session to %s: %s", self.name, error)
            return ()

    def _owner(self, session: str | None) -> Principal | None:
        """Whose a session is: theirs who opened it, unless it is shared or that cannot be told."""
        if self.is_shared:
            return None
        known = None if session is None else self._owners.get(session)
        if known is not None:
            return known[0]
        return next(iter(self._seen)) if session is None and len(self._seen) == 1 else None

    def _learn(self, voucher: Voucher | None, message: Mapping[str, Any], response: Any) -> None:
        """Remember who opened a session. One name for the sessions of two makes it nobody's."""
        if voucher is None or self.is_shared:
            return
        if len(self._seen) < 2:
            self._seen.add(voucher.principal)
        session = response.headers.get(_SESSION)
        if session is None or message.get("method") != "initialize":
            return
        known = self._owners.get(session)
        owner = voucher.principal if known is None or known[0] == voucher.principal else None
        self._owners[session] = (owner,)

    def __repr__(self) -> str:
        return f"<HTTPAuth of {self.name!r}>"


HTTPAuth = _Auth
"""The object under its public name, for annotations."""


def giver_of(name: str, interceptors: Sequence[Interceptor]) -> Credentials | None:
    """Which of a guard's interceptors puts headers on requests to a server.

    Raises:
        GuardBuildError: If several do: which of them would decide?
    """
    givers = [one for one in interceptors if isinstance(one, Credentials) and one.has_headers(name)]
    if len(givers) > 1:
        raise GuardBuildError(f"one Credentials puts headers on requests to {name}, not several")
    return givers[0] if givers else None


def http_auth(name: str, credentials: Credentials | None, url: str | None) -> Any:
    """An auth object of every HTTP library that is installed.

    Raises:
        ValueError: If `name` is empty.
        SeamError: If the installed library would let headers follow a redirect.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("name= is what the policy calls the server; it must not be empty")
    return _auth_class()(name, credentials, url)


def must_seal(library: Any) -> None:
    """Raise `SeamError` if copies of a library's headers, as a redirect makes them, have what is sealed."""
    sealed = _sealed_class(library.Headers)(library.Headers({"a": "b"}))
    sealed.sealed = [(b"x-secret", b"s")]
    if "x-secret" in library.Headers(sealed) or (b"x-secret", b"s") not in sealed.raw:
        raise SeamError(f"{library.__name__} {library.__version__} would let headers follow a redirect")


@cache
def _auth_class() -> Any:
    libraries: list[Any] = []
    for name in ("httpx2", "httpx"):
        try:
            libraries.append(import_module(name))
        except ImportError:
            continue
    for library in libraries:
        must_seal(library)
    return type("HTTPAuth", (_Auth, *(library.Auth for library in libraries)), {})


@cache
def _sealed_class(kind: Any) -> Any:
    """Headers some of which are sent and nothing else: no copy, repr or redirect has them."""

    class Sealed(kind):  # type: ignore[misc]  # the class is known at run time only
        sealed: Sequence[tuple[bytes, bytes]] = ()

        @property
        def raw(self) -> list[tuple[bytes, bytes]]:
            return [*super().raw, *self.sealed]

    return Sealed


def _seal(request: Any, carried: Sequence[Carried]) -> None:
    """Put headers on a request, in place of any that it has by these names."""
    headers = headers_of(carried)
    kind = type(request.headers)
    plain = kind.__mro__[1] if kind.__name__ == "Sealed" else kind
    kept = _sealed_class(plain)(request.headers)
    for name in headers:
        kept.pop(name, None)
    kept.sealed = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    request.headers = kept


def _copied(request: Any, url: Any, body: bytes) -> Any:
    headers = type(request.headers).__mro__[1](request.headers)
    headers.pop("host", None)
    return type(request)(request.method, url, headers=headers, content=body, extensions=request.extensions)


def _is_moved(request: Any, response: Any) -> bool:
    """Whether an answer is another place's of the same origin."""
    last = response.request
    is_elsewhere = last.url != request.url and last.method == request.method
    return is_elsewhere and _origin(str(last.url)) == _origin(str(request.url))


def _message(body: bytes) -> Mapping[str, Any]:
    """The JSON-RPC message in a body; one that cannot be read looks like a call that nobody made."""
    try:
        message: object = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else {"id": None, "method": None}


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port
