"""Clients of a guard that is served over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import httpx
from harness import V1
from mcp import ClientSession

from mcpguard import Guard
from mcpguard.testing import RecordingSink

HTTP: Any = import_module("httpx" if V1 else "httpx2")
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


class Bearer(HTTP.Auth):  # type: ignore[misc, name-defined]
    """Puts a token on every request; it may be changed meanwhile."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def auth_flow(self, request: Any) -> Any:
        """Put it there."""
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


@dataclass
class Served:
    """Where it is, and what stands behind it."""

    origin: str
    guard: Guard | None = None
    policy: Path | None = None
    sink: RecordingSink | None = None
    servers: Mapping[str, Any] | None = None

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return f"{self.origin}/mcp"

    @asynccontextmanager
    async def client(
        self, token: str | Bearer | None = None, era: str = "legacy", **options: Any
    ) -> AsyncIterator[Any]:
        """The SDK's own client."""
        auth = token if isinstance(token, Bearer) else Bearer(token)
        streamable: Any = import_module("mcp.client.streamable_http")
        async with HTTP.AsyncClient(auth=auth, timeout=30) as http:
            transport = streamable.streamable_http_client(self.url, http_client=http)
            if era == "modern":
                mcp: Any = import_module("mcp")
                async with mcp.Client(transport, mode="2026-07-28", **options) as client:
                    yield client
                return
            async with transport as (read, write, *_):
                async with ClientSession(read, write, **options) as session:
                    await session.initialize()
                    yield session

    async def post(
        self, message: Any = INITIALIZE, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """One POST, as it is; header names with underscores."""
        given = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(timeout=30) as http:
            content = {"content": message} if isinstance(message, bytes) else {"json": message}
            return await http.post(self.url, headers=given, **content)

    async def get(self, path: str) -> httpx.Response:
        """One GET."""
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.get(f"{self.origin}{path}")

    def events(self, kind: str) -> list[Any]:
        """What was recorded."""
        assert self.sink is not None
        return [event for event in self.sink.events if event.kind == kind]

    async def is_draining(self) -> bool:
        """Whether it says that it takes no more calls."""
        return (await self.get("/readyz")).json() == {"status": "draining"}


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    """Wait for what another task brings about."""
    with anyio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110 - nobody could set an event
            await anyio.sleep(0.02)


MODERN = "2026-07-28"


def modern(
    method: str, params: Mapping[str, Any], capabilities: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """A request of MCP 2026-07-28 as it is on the wire, and its headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
    }
    headers = {"mcp_protocol_version": MODERN, "mcp_method": method}
    if "name" in params:
        headers["mcp_name"] = params["name"]
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}, headers


Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Served]]
"""Serves fake servers under a policy."""
