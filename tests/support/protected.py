"""A protected MCP server and a token endpoint, real ones on loopback, and what they saw."""

import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from harness import V1
from mcp import ClientSession

from mcpguard import Guard, Run

http: Any = import_module("httpx" if V1 else "httpx2")


@dataclass
class Seen:
    """One request that the protected server let in or turned away."""

    method: str
    authorization: str | None
    key: str | None
    message: dict[str, Any]
    status: int


@dataclass
class Site:
    """One process of uvicorn: `/mcp` is protected, `/token` gives tokens, `/elsewhere` and `/moved` redirect."""

    tokens: dict[str, str] = field(default_factory=dict)
    """Token -> whose it is."""
    seen: list[Seen] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    """What the token endpoint was sent."""
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    """What the token endpoint answers next, in place of a token: status and body, or an event to wait for."""
    expires_in: Any = 3600
    elsewhere: str = ""
    port: int = 0
    revoked: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def token_url(self) -> str:
        """Where tokens are."""
        return f"http://127.0.0.1:{self.port}/token"

    def issue(self, owner: str) -> str:
        """A token that is accepted from now on."""
        token = f"{owner}-{secrets.token_hex(12)}"
        self.tokens[token] = owner
        return token

    def calls(self) -> list[tuple[str | None, dict[str, Any]]]:
        """Whose token each tool call had, and its arguments."""
        return [
            (
                self.tokens.get((one.authorization or "").removeprefix("Bearer ")),
                one.message["params"]["arguments"],
            )
            for one in self.seen
            if one.message.get("method") == "tools/call"
        ]


class _App:
    """The ASGI application."""

    def __init__(self, site: Site) -> None:
        self.site = site
        app: Any = import_module("mcp.server.fastmcp" if V1 else "mcp.server.mcpserver")
        server: Any = (app.FastMCP if V1 else app.MCPServer)("protected")

        @server.tool()  # type: ignore[untyped-decorator]
        def note(tenant: str, number: int) -> str:
            return f"{tenant} {number}"

        @server.tool()  # type: ignore[untyped-decorator]
        def repeat() -> str:
            return "Bearer " + " ".join(site.tokens)

        self.inner = server.streamable_http_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = b""
        more = True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        if scope["path"] == "/token":
            status, answer = self.token(
                headers, {name: one[0] for name, one in parse_qs(body.decode()).items()}
            )
            await reply(send, status, answer)
        elif scope["path"] in ("/elsewhere", "/moved"):
            self.record(scope, headers, body, 307)
            where = self.site.elsewhere if scope["path"] == "/elsewhere" else self.site.url
            await reply(send, 307, b"", [(b"location", where.encode())])
        else:
            token = headers.get("authorization", "").removeprefix("Bearer ")
            status = 200 if token in self.site.tokens and token not in self.site.revoked else 401
            self.record(scope, headers, body, status)
            if status == 401:
                await reply(send, 401, b"{}")
                return
            sent = False

            async def replay() -> Any:
                nonlocal sent
                if sent:
                    return await receive()
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}

            await self.inner(scope, replay, send)

    def record(self, scope: Any, headers: dict[str, str], body: bytes, status: int) -> None:
        """Remember a request."""
        message = json.loads(body) if body else {}
        self.site.seen.append(
            Seen(scope["method"], headers.get("authorization"), headers.get("x-api-key"), message, status)
        )

    def token(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, bytes]:
        """Give a token, or what the test says."""
        self.site.forms.append(form)
        self.site.headers.append(headers)
        if self.site.answers:
            status, answer = self.site.answers.pop(0)
            return status, answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        owner = self.site.tokens.get(form.get("subject_token", ""), form.get("client_id", "program"))
        told = {
            "access_token": self.site.issue(owner),
            "token_type": "Bearer",
            "expires_in": self.site.expires_in,
        }
        return 200, json.dumps(told).encode()


async def reply(send: Any, status: int, body: bytes, headers: Any = ()) -> None:
    """Answer a request."""
    more = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*more, *headers]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(after: Site | None = None) -> Iterator[Site]:
    """Serve in a thread of its own: on a free port, or where one was served before, with the same tokens."""
    site = Site() if after is None else Site(tokens=after.tokens)
    listening = socket.create_server(("127.0.0.1", 0 if after is None else after.port))
    site.port = listening.getsockname()[1]
    made = partial(_App, site)  # in the thread that serves: the SDK's locks belong to where they are made
    config = uvicorn.Config(made, factory=True, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


@asynccontextmanager
async def connected(
    guard: Guard, url: str, *, name: str = "crm", shared: bool | None = None, run: Run | None = None
) -> AsyncIterator[ClientSession]:
    """A guarded session over HTTP."""
    streamable: Any = import_module("mcp.client.streamable_http")
    auth = guard.http_auth(name=name)
    async with (
        http.AsyncClient(auth=auth, timeout=60, follow_redirects=V1) as client,
        streamable.streamable_http_client(url, http_client=client) as streams,
    ):
        session = guard.session(ClientSession(streams[0], streams[1]), name=name, shared=shared, run=run)
        async with session:
            await session.initialize()
            yield session
