"""llama-index, as docs/integrations/llama_index.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("llama_index.tools.mcp")

from hosts import *
from hosts import Face, Host, Server, bare_session, parameters
from llama_index.tools.mcp import McpToolSpec

from mcpguard import Guard
from mcpguard.integrations.llama_index import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """The tools of a spec, called as an agent's workflow calls them."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    async def _all(self) -> dict[str, Any]:
        return {tool.metadata.name: tool for tool in await self._spec.to_tool_list_async()}

    async def tools(self) -> list[str]:
        return list(await self._all())

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        return str(await (await self._all())[tool].acall(**arguments))


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            async with bare_session(server) as session:
                yield Tools(McpToolSpec(client=session))
        else:
            async with guarded_tools(guard, parameters(server), name="wire") as spec:
                yield Tools(spec)

    return opened
