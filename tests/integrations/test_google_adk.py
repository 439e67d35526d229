"""google-adk, as docs/integrations/google_adk.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
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

from mcpguard import Guard, Principal, SeamError
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


async def test_a_toolset_that_is_shared_offers_everybody_what_is_theirs(guard: Guard, server: Server) -> None:
    """One that is not belongs to whom it was first used for."""
    bo = Principal(user="bo", tenant="acme")
    for shared in (True, False):
        toolset = guarded_toolset(guard, params(server), name="wire", shared=shared)
        async with guard.run(principal=ANA):
            assert [tool.name for tool in await toolset.get_tools()] == ["count", "echo", "wipe"]
        async with guard.run(principal=bo):
            if shared:
                assert await toolset.get_tools() == []
            else:
                with pytest.raises(ConnectionError, match="session_not_shared"):
                    await toolset.get_tools()
        await toolset.close()


async def test_a_list_that_is_kept_is_for_one_principal(guard: Guard, server: Server, tmp_path: Path) -> None:
    """The framework asks nobody whose it is: a server that is shared would offer one's tools to the next."""
    path = tmp_path / "shared.yaml"
    path.write_text("version: 1\nservers:\n  wire: {shared: true}\n")
    declared = Guard.from_policy(path)
    kept: dict[str, Any] = {"name": "wire", "tool_list_cache_ttl_seconds": 60}
    match = "tool_list_cache_ttl_seconds= offers one principal's tools to all who share wire"
    with pytest.raises(SeamError, match=match):
        guarded_toolset(guard, params(server), shared=True, **kept)
    with pytest.raises(SeamError, match=match):
        guarded_toolset(declared, params(server), **kept)
    own = guarded_toolset(declared, params(server), shared=False, **kept)
    async with declared.run(principal=ANA):
        listed = [await own.get_tools() for _ in range(2)]
    await own.close()
    assert [len(tools) for tools in listed] == [4, 4]
    assert [one["method"] for one in server.got()].count("tools/list") == 1
