"""langchain.mcp, as docs/integrations/langchain.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("langchain.mcp")

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from hosts import *
from hosts import ANA, Face, Host, Server
from langchain.mcp import MCPAdapter

from mcpguard import Guard
from mcpguard.integrations.langchain import guarded_adapter

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def transport(server: Server) -> Any:
    """FastMCP's own."""
    if server.url is not None:
        return StreamableHttpTransport(server.url)
    return StdioTransport(server.command, server.args)


class Tools:
    """An adapter's tools, called as LangChain's agent calls them."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    async def _all(self) -> dict[str, Any]:
        return {tool.name: tool for tool in await self._adapter.list_tools()}

    async def tools(self) -> list[str]:
        return list(await self._all())

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        call = {"type": "tool_call", "id": "1", "name": tool, "args": arguments}
        return str((await (await self._all())[tool].ainvoke(call)).content)


@pytest.fixture
def host() -> Host:
    """The adapter."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = transport(server)
        async with (
            MCPAdapter(made) if guard is None else guarded_adapter(guard, made, name="wire") as adapter
        ):
            yield Tools(adapter)

    return opened


async def test_the_session_under_the_adapter_is_guarded(guard: Guard, server: Server) -> None:
    """The adapter itself uses it past its client's methods."""
    async with guard.run(principal=ANA), guarded_adapter(guard, transport(server), name="wire") as adapter:
        result = await adapter.client.session.call_tool("delete", {"text": "all"})
    assert "access_denied" in result.content[0].text
    assert server.called() == []
