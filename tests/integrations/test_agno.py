"""agno, as docs/integrations/agno.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("agno.tools.mcp")

from agno.tools.function import FunctionCall
from agno.tools.mcp import MCPTools
from hosts import *
from hosts import Face, Host, Server, bare_session, parameters

from mcpguard import Guard, SeamError
from mcpguard.integrations.agno import guarded_tools

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


class Tools:
    """A toolkit's functions, called as an agent calls them."""

    def __init__(self, toolkit: Any) -> None:
        self._toolkit = toolkit

    async def tools(self) -> list[str]:
        return list(self._toolkit.functions)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        function = self._toolkit.functions[tool]
        done = await FunctionCall(function=function, arguments=arguments, call_id="1").aexecute()
        return f"{done.result} {done.error}"


@pytest.fixture
def host() -> Host:
    """The tools."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        if guard is None:
            async with bare_session(server) as session, MCPTools(session=session) as toolkit:
                yield Tools(toolkit)
        else:
            async with guarded_tools(guard, parameters(server), name="wire") as toolkit:
                yield Tools(toolkit)

    return opened


@pytest.mark.parametrize("option", ["refresh_connection", "header_provider", "url", "session"])
async def test_what_would_open_a_session_that_nothing_guards_is_refused(
    guard: Guard, server: Server, option: str
) -> None:
    """Loudly, before anything is connected."""
    options: dict[str, Any] = {option: True}
    with pytest.raises(SeamError, match=f"{option}= makes agno open sessions"):
        async with guarded_tools(guard, parameters(server), name="wire", **options):
            raise AssertionError
    assert server.got() == []
