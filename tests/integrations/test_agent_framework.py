"""agent-framework, as docs/integrations/agent_framework.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("agent_framework")

from agent_framework import MCPStdioTool, MCPStreamableHTTPTool
from hosts import *
from hosts import Face, Host, Server, parameters

from mcpguard import Guard
from mcpguard.integrations.agent_framework import guarded_tool

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """A tool's functions, called as an agent calls them; what one raises is told to the model."""

    def __init__(self, tool: Any) -> None:
        self._tool = tool

    async def tools(self) -> list[str]:
        return [function.name for function in self._tool.functions]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        function = next(one for one in self._tool.functions if one.name == tool)
        try:
            return str([one.text for one in await function.invoke(arguments=arguments)])
        except Exception as error:
            return str(error)


@pytest.fixture
def host() -> Host:
    """The tool."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is not None:
            async with guarded_tool(guard, parameters(server), name="wire", load_prompts=False) as tool:
                yield Tools(tool)
        elif server.url is not None:
            async with MCPStreamableHTTPTool(name="wire", url=server.url, load_prompts=False) as tool:
                yield Tools(tool)
        else:
            async with MCPStdioTool(
                name="wire", command=server.command, args=server.args, load_prompts=False
            ) as tool:
                yield Tools(tool)

    return opened
