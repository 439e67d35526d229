"""mcp-haystack, as docs/integrations/haystack.md shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("haystack_integrations.tools.mcp")

from haystack_integrations.tools.mcp import MCPToolset, StdioServerInfo, StreamableHttpServerInfo
from hosts import *
from hosts import Face, Host, Server, parameters

from mcpguard import Guard
from mcpguard.integrations.haystack import guarded_server

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """A toolset's tools, invoked as a `ToolInvoker` does, while another thread runs the session."""

    def __init__(self, toolset: Any) -> None:
        self._tools = {tool.name: tool for tool in toolset}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        try:
            return str(await asyncio.to_thread(self._tools[tool].invoke, **arguments))
        except Exception as error:
            return str(error)


@pytest.fixture
def host() -> Host:
    """The toolset."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is not None:
            made = guarded_server(guard, parameters(server), name="wire")
        elif server.url is not None:
            made = StreamableHttpServerInfo(url=server.url)
        else:
            made = StdioServerInfo(command=server.command, args=server.args)
        toolset = MCPToolset(made, eager_connect=True)
        try:
            yield Tools(toolset)
        finally:
            toolset.close()

    return opened


def test_a_guarded_server_is_no_data(guard: Guard) -> None:
    """A pipeline that is written to a file must not come back without its guard."""
    with pytest.raises(TypeError, match="guard it again where the pipeline is loaded"):
        guarded_server(guard, "http://127.0.0.1:1/", name="wire").to_dict()
