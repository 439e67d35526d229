"""google-adk, as docs/integrations/google_adk.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("google.adk.tools.mcp_tool")

from google.adk.agents import Agent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools import ToolContext
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from hosts import *
from hosts import ANA, Face, Host, Server, parameters

from mcpguard import Guard, SeamError
from mcpguard.integrations.google_adk import guarded_toolset

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


def params(server: Server) -> Any:
    """The framework's own."""
    if server.url is not None:
        return StreamableHTTPConnectionParams(url=server.url)
    return StdioConnectionParams(server_params=parameters(server))


class Tools:
    """A toolset's tools, called as the flow of an agent calls them."""

    def __init__(self, toolset: Any) -> None:
        self._toolset = toolset

    async def _all(self) -> dict[str, Any]:
        return {tool.name: tool for tool in await self._toolset.get_tools()}

    async def tools(self) -> list[str]:
        return list(await self._all())

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        session = await InMemorySessionService().create_session(app_name="app", user_id="ana")
        context = InvocationContext(
            invocation_id="1",
            agent=Agent(name="clerk"),
            session=session,
            session_service=InMemorySessionService(),
        )
        one = (await self._all())[tool]
        return str(await one.run_async(args=arguments, tool_context=ToolContext(context)))


@pytest.fixture
def host() -> Host:
    """The toolset."""

    @asynccontextmanager
    async def opened(guard: Guard | None, server: Server) -> AsyncIterator[Face]:
        made = params(server)
        if guard is None:
            toolset = McpToolset(connection_params=made)
        else:
            toolset = guarded_toolset(guard, made, name="wire")
        try:
            yield Tools(toolset)
        finally:
            await toolset.close()

    return opened


async def test_progress_reaches_who_asked_for_it(guard: Guard, server: Server) -> None:
    """By the toolset's own callback."""
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    toolset = guarded_toolset(guard, params(server), name="wire", progress_callback=progress)
    async with guard.run(principal=ANA):
        await Tools(toolset).call("count", {})
        await toolset.close()
    assert set(told) <= {1, 2, 3}
    assert told


@pytest.mark.parametrize("moved", ["_mcp_session_manager", "_create_client"])
def test_a_release_that_moved_the_seam_makes_no_toolset(
    guard: Guard, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is private: when it is gone, nothing may come of it that looks guarded."""
    if moved == "_create_client":
        monkeypatch.setattr(
            "google.adk.tools.mcp_tool.mcp_session_manager.MCPSessionManager._create_client", None
        )
    else:
        monkeypatch.setattr("google.adk.tools.mcp_tool.McpToolset", lambda **options: object())
    with pytest.raises(SeamError, match=f"has no .*{moved}, which google-adk 2.13 has"):
        guarded_toolset(guard, StreamableHTTPConnectionParams(url="http://127.0.0.1:1/"), name="wire")
