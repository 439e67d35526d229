"""smolagents, as docs/integrations/smolagents.md shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcpadapt.smolagents_adapter")

from hosts import *
from hosts import ANA, Face, Host, Server, parameters
from smolagents import MCPClient

from mcpguard import Guard
from mcpguard.integrations.smolagents import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """Agents' tools, called as an agent calls them, while another thread runs the session."""

    def __init__(self, tools: list[Any]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        return str(await asyncio.to_thread(self._tools[tool], **arguments))


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = parameters(server)
        if guard is None:
            made = {"url": made, "transport": "streamable-http"} if isinstance(made, str) else made
            context: Any = MCPClient(made, structured_output=False)
        else:
            context = guarded_tools(guard, made, name="wire")
        tools = await asyncio.to_thread(context.__enter__)
        try:
            yield Tools(tools)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    return opened


async def test_a_call_belongs_to_the_run_it_is_made_in_or_to_none(guard: Guard, server: Server) -> None:
    """The session's thread has no run of its own: a call that brings none is refused."""
    with guarded_tools(guard, parameters(server), name="wire") as bare:
        assert bare == []
    async with guard.run(principal=ANA) as run:
        with guarded_tools(guard, parameters(server), name="wire", run=run) as tools:
            echo = next(tool for tool in tools if tool.name == "echo")
            assert await asyncio.to_thread(echo, text="bound") == "echo: bound"
    assert server.called() == ["echo"]
