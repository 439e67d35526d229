"""autogen-ext, as docs/integrations/autogen.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("autogen_ext.tools.mcp")

from autogen_core import CancellationToken
from autogen_ext.tools.mcp import StdioServerParams, StreamableHttpServerParams, mcp_server_tools
from hosts import *
from hosts import Face, Host, Server

from mcpguard import Guard
from mcpguard.integrations.autogen import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def params(server: Server) -> Any:
    """The framework's own."""
    if server.url is not None:
        return StreamableHttpServerParams(url=server.url)
    return StdioServerParams(command=server.command, args=server.args)


class Tools:
    """Tools, called as a workbench calls them for its agent: what is raised becomes an error result."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        one = self._tools[tool]
        try:
            return str(one.return_value_as_string(await one.run_json(arguments, CancellationToken())))
        except Exception as error:
            return str(error)


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            yield Tools(await mcp_server_tools(params(server)))
        else:
            async with guarded_tools(guard, params(server), name="wire") as tools:
                yield Tools(tools)

    return opened
