"""anthropic, as docs/integrations/anthropic.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("anthropic.lib.tools.mcp")

from anthropic.lib.tools import ToolError
from anthropic.lib.tools.mcp import async_mcp_tool
from hosts import *
from hosts import Face, Host, Server, bare_session, parameters

from mcpguard import Guard
from mcpguard.integrations.anthropic import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """Runnable tools, called as the tool runner calls them."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        try:
            return str(await self._tools[tool].call(arguments))
        except ToolError as error:
            return str(error.content)


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            async with bare_session(server) as session:
                yield Tools([async_mcp_tool(tool, session) for tool in (await session.list_tools()).tools])
        else:
            async with guarded_tools(guard, parameters(server), name="wire") as tools:
                yield Tools(tools)

    return opened
