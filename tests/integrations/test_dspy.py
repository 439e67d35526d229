"""dspy, as docs/integrations/dspy.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("dspy")

import dspy
from hosts import *
from hosts import Face, Host, Server, bare_session, parameters

from mcpguard import Guard
from mcpguard.integrations.dspy import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """dspy's tools, called as its agents call them; what a tool raises, `dspy.ReAct` tells its model."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        try:
            return str(await self._tools[tool].acall(**arguments))
        except Exception as error:
            return str(error)


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            async with bare_session(server) as session:
                listed = (await session.list_tools()).tools
                yield Tools([dspy.Tool.from_mcp_tool(session, tool) for tool in listed])
        else:
            async with guarded_tools(guard, parameters(server), name="wire") as tools:
                yield Tools(tools)

    return opened
