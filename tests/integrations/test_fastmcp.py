"""FastMCP 3 and 4, as docs/integrations/fastmcp.md shows it; the seam's own tests are `tests/seams/test_fastmcp.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("fastmcp.client")

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from hosts import *
from hosts import ANA, Face, Host, Server

from mcpguard import Guard
from mcpguard.integrations.fastmcp import guarded_client

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def transport(server: Server) -> Any:
    """FastMCP's own."""
    if server.url is not None:
        return StreamableHttpTransport(server.url)
    return StdioTransport(server.command, server.args)


class Tools:
    """A client, used by its own methods."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self._client.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        result = await self._client.call_tool(tool, arguments, raise_on_error=False)
        return str(result.content[0].text)


@pytest.fixture
def host() -> Host:
    """The client."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = transport(server)
        async with Client(made) if guard is None else guarded_client(guard, made, name="wire") as client:
            yield Tools(client)

    return opened


async def test_progress_reaches_who_asked_for_it(guard: Guard, server: Server) -> None:
    """What streams keeps streaming."""
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    async with guard.run(principal=ANA), guarded_client(guard, transport(server), name="wire") as client:
        await client.call_tool("count", {}, progress_handler=progress)
    assert set(told) <= {1, 2, 3}
    assert told


async def test_the_session_under_the_client_is_guarded(guard: Guard, server: Server) -> None:
    """Frameworks use it past the client's own methods."""
    async with guard.run(principal=ANA), guarded_client(guard, transport(server), name="wire") as client:
        result = await client.session.call_tool("delete", {"text": "all"})
    assert "access_denied" in result.content[0].text
    assert server.called() == []
