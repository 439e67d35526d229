"""The ASGI application: what is checked before the SDK's HTTP server sees a request, and answered here.

`/mcp` is the hub; `/healthz` and `/readyz` are for whoever runs it. In this order: can it be read in one way
only, are host and origin ours, on whose behalf is it, has it a place, is it draining; then the SDK's session
manager, which bounds body and sessions, and keeps one principal's session from another. Above: `listening`.
Below: the hub's server object.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, MutableMapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final, TypeAlias

import anyio

from mcpguard.core.http_limits import HTTPLimits
from mcpguard.core.principal import Principal
from mcpguard.serving.answers import Answers
from mcpguard.serving.clarity import is_clear
from mcpguard.serving.draining import belongs
from mcpguard.serving.identity import Refused, Verify, verified
from mcpguard.serving.refusals import Refusals
from mcpguard.serving.runs import PRINCIPAL, Runs
from mcpguard.serving.sdk import bounded, is_modern, security, session_manager, user
from mcpguard.serving.shares import Shares

__all__ = ["PATH", "Endpoint"]

PATH: Final = "/mcp"
"""Where the hub is; what the SDK's own servers use."""

METADATA: Final = f"/.well-known/oauth-protected-resource{PATH}"
"""Where RFC 9728 has the metadata of a resource with this path."""

RESUMED: Final = b"last-event-id"
"""Nothing is kept to be sent again; a stream that is resumed is opened, and the SDK would not answer."""

SESSION: Final = b"mcp-session-id"

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Endpoint:
    """Serve one server object over Streamable HTTP.

    Args:
        server: The hub's.
        limits: Who may reach it, and how much they may take.
        runs: The clients that are known.
        verify: Verifies tokens.
        issuer: Who issues tokens, by the policy that is enforced now; None where it asks for none. Where it
            asked for none when this was made, and does not now, everybody is `principal`.
        principal: On whose behalf requests are made where there are no tokens.
        is_local: Whether it listens on the loopback, whose names are then among its hosts.

    Raises:
        SeamError: If this release of the SDK does not bound sessions and bodies.
    """

    def __init__(
        self,
        server: Any,
        limits: HTTPLimits,
        *,
        runs: Runs,
        verify: Verify,
        issuer: Callable[[], str | None],
        principal: Principal | None = None,
        is_local: bool = True,
    ) -> None:
        self._limits = limits
        self._runs = runs
        self._verify = verify
        self._principal = principal
        self._issuer = issuer
        self._is_open = issuer() is None
        self._manager = session_manager(server, limits)
        self._shares = Shares(self._manager, limits)
        self._answers = Answers(self._manager)
        self._late = bounded(self._belonging, limits)
        self._awaits: Callable[[str], bool] = getattr(server, "awaits", _never)
        self._refusals = Refusals()
        self._request: Any = import_module("starlette.requests").Request
        self._security = security(limits, LOOPBACK if is_local else ())
        self.is_ready = False
        """Whether every server behind it was tried."""
        self.is_draining = False
        """Whether it takes no more calls."""
        self._under_way = 0
        self._idle = anyio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Have sessions; leaving ends them."""
        async with self._manager.run():
            yield

    async def drained(self) -> None:
        """Take no more calls, and wait for those under way."""
        self.is_draining = True
        while self._under_way:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._answer(scope, receive, send)
        except Refused as refused:
            self._refusals.add(refused.code)
            await _send(send, refused.status, refused.body, *refused.headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not is_clear(scope["headers"]):
            raise Refused(400, "ambiguous", ("connection", "close"))
        if path == PATH:
            await self._mcp(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(404, "not_found")
        if path == "/healthz":
            await _send(send, 200, b'{"status": "alive"}')
        elif path == "/readyz":
            is_ready = self.is_ready and not self.is_draining
            state = "draining" if self.is_draining else "ready" if is_ready else "starting"
            await _send(send, 200 if is_ready else 503, json.dumps({"status": state}).encode())
        elif path == METADATA and self._metadata() is not None:
            told = {
                "resource": self._limits.resource,
                "authorization_servers": [self._issuer()],
                "bearer_methods_supported": ["header"],
            }
            await _send(send, 200, json.dumps(told).encode())
        else:
            raise Refused(404, "not_found")

    async def _mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["method"] == "POST"
        answer = await self._security.validate_request(self._request(scope), is_post=is_post)
        if answer is not None:
            raise Refused(answer.status_code, _WRONG.get(answer.status_code, "refused"))
        if self._is_open and self._issuer() is None:
            await self._handed(self._principal, scope, receive, send)
            return
        principal = await verified(scope["headers"], self._verify, self._metadata())
        with self._shares.taken(principal):
            await self._handed(principal, scope, receive, send)

    async def _handed(self, principal: Principal | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer on somebody's behalf."""
        scope[PRINCIPAL] = principal
        scope["user"] = user(principal)
        scope["headers"] = [one for one in scope["headers"] if one[0] != RESUMED]
        for name, value in scope["headers"]:
            if name == SESSION:
                self._answers.shorten(value.decode("latin-1"))
        is_post = scope["method"] == "POST"
        is_alone = self._limits.stateless or is_modern(scope["headers"])
        if is_post and self.is_draining:
            await self._late(scope, receive, send)
        elif is_post and is_alone and not self._runs.has_room(principal):
            raise Refused(503, "too_many_clients", ("retry-after", "30"))
        else:
            await self._sent(scope, receive, send)

    async def _sent(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the SDK answer a request, which is under way meanwhile."""
        is_call = scope["method"] == "POST" and not _is_listening(scope["headers"])
        self._under_way += is_call
        try:
            await self._manager.handle_request(scope, receive, send)
        finally:
            self._under_way -= is_call
            if not self._under_way:
                self._idle.set()

    async def _belonging(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have what belongs to a call that is under way answered, and nothing else."""
        whole = await receive()
        has_session = any(name == SESSION for name, _ in scope["headers"])
        if not belongs(
            whole.get("body", b""),
            is_modern=is_modern(scope["headers"]),
            has_session=has_session and not self._limits.stateless,
            awaits=self._awaits,
        ):
            raise Refused(503, "draining", ("retry-after", "1"), ("connection", "close"))
        unread = [whole]

        async def again() -> MutableMapping[str, Any]:
            return unread.pop() if unread else await receive()

        await self._sent(scope, again, send)

    def _metadata(self) -> str | None:
        """Where clients learn who issues tokens."""
        resource = self._limits.resource
        if resource is None or self._issuer() is None:
            return None
        origin = resource.removesuffix("/").removesuffix(PATH)
        return f"{origin}{METADATA}"


_WRONG: Final = {400: "content_type", 403: "origin", 421: "host"}


def _never(_state: str) -> bool:
    """For servers whose calls do not wait between two messages."""
    return False


def _is_listening(headers: Collection[tuple[bytes, bytes]]) -> bool:
    """Whether a client of MCP 2026-07-28 says that it wants to be told of changes, which has no end."""
    return (b"mcp-method", b"subscriptions/listen") in headers


async def _send(send: Send, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    shown = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode("latin-1")) for name, value in headers),
    ]
    await send({"type": "http.response.start", "status": status, "headers": shown})
    await send({"type": "http.response.body", "body": body})
