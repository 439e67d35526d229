"""A policy that is served over HTTP, and its clients on either major of the SDK."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from issuer import principals
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from served import Serve, Served

from mcpguard import Guard, Principal
from mcpguard.serving.listening import Address, listening
from mcpguard.testing import FakeServer, RecordingSink

if "max_sessions" not in signature(StreamableHTTPSessionManager).parameters:
    collect_ignore_glob = ["test_*.py"]  # serving needs what bounds sessions

LOCAL = Address("127.0.0.1", 0)


@pytest.fixture
def anyio_backend() -> str:
    """What uvicorn runs on."""
    return "asyncio"


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves fake servers under a policy."""

    @asynccontextmanager
    async def serving(
        interceptors: str = "access: {default: allow}",
        servers: Mapping[str, Any] | None = None,
        *,
        http: str = "{}",
        tokens: bool = True,
        principal: Principal | None = None,
        address: Address = LOCAL,
        **options: Any,
    ) -> AsyncIterator[Served]:
        policy = tmp_path / "policy.yaml"
        said = principals() if tokens else ""
        policy.write_text(f"version: 1\ninterceptors:\n  {interceptors}\nhttp: {http}\n{said}")
        sink = RecordingSink()
        guard = Guard.from_policy(policy, sinks=[sink])
        if servers is None:
            git = FakeServer()
            git.tool("log").returns("a commit")
            git.tool("reset").returns("gone")
            servers = {"git": git}
        async with guard, guard.hub(servers, retry_after=60) as hub:
            async with listening(guard, hub, address, principal=principal, **options) as bound:
                yield Served(f"http://127.0.0.1:{bound.port}", guard, policy, sink, servers)

    return serving
