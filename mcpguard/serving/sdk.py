"""What is taken of the SDK's HTTP server: sessions, checks of host, origin and body, who a request is from.

Above: `endpoint`. Below: the SDK, both majors.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib import import_module
from inspect import signature
from typing import Any, Final

from mcpguard.core.errors import SeamError
from mcpguard.core.http_limits import HTTPLimits
from mcpguard.core.principal import Principal
from mcpguard.seams.session import sdk_major
from mcpguard.serving.identity import KNOWN, fingerprint

__all__ = ["bounded", "is_modern", "security", "session_manager", "user"]

_VERSION: Final = b"mcp-protocol-version"


def session_manager(server: Any, limits: HTTPLimits) -> Any:
    """What has the sessions of a server object.

    Raises:
        SeamError: If this release of the SDK does not bound them.
    """
    http: Any = import_module("mcp.server.streamable_http_manager")
    manager = http.StreamableHTTPSessionManager
    if not {"max_sessions", "max_request_body_size"} <= set(signature(manager).parameters):
        raise SeamError(
            "this release of the SDK does not bound sessions: serving needs mcp 1.30, or 2.3, or later"
        )
    return manager(
        server,
        stateless=limits.stateless,
        session_idle_timeout=None if limits.stateless else limits.idle,
        max_request_body_size=limits.body,
        max_sessions=limits.sessions,
    )


def bounded(app: Any, limits: HTTPLimits) -> Any:
    """An ASGI application that is given each body whole, and none that is too large."""
    module: Any = import_module("mcp.server.transport_security")
    return module.RequestBodyLimitMiddleware(app, limits.body)


def is_modern(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the SDK answers a request with these headers as one of MCP 2026-07-28: without a session."""
    if sdk_major() < 2:
        return False
    versions: Any = import_module("mcp_types.version")
    given = next((value.decode("latin-1") for name, value in headers if name == _VERSION), None)
    return given is not None and given not in versions.HANDSHAKE_PROTOCOL_VERSIONS


def security(limits: HTTPLimits, own: Collection[str]) -> Any:
    """The check of host and origin; `own` are hosts on any port."""
    module: Any = import_module("mcp.server.transport_security")
    hosts = [*limits.hosts, *own, *(f"{name}:*" for name in own)]
    settings = module.TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=list(limits.origins))
    return module.TransportSecurityMiddleware(settings)


def user(principal: Principal | None) -> Any:
    """The principal as the SDK's session manager tells one from another."""
    return _user(fingerprint(principal))


@lru_cache(maxsize=KNOWN)
def _user(client_id: str) -> Any:
    auth: Any = import_module("mcp.server.auth.middleware.bearer_auth")
    provider: Any = import_module("mcp.server.auth.provider")
    return auth.AuthenticatedUser(provider.AccessToken(token="", client_id=client_id, scopes=[]))
