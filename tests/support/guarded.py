"""One call of a tool through a guard, by somebody with a principal."""

from typing import Any

from mcp import ClientSession

from mcpguard import Guard, Principal
from mcpguard.testing import FakeServer


async def answer(guard: Guard, server: FakeServer, tool: str = "work") -> str:
    """The text that a call of `tool` comes back with."""
    async with (
        guard.transport(server.connect(), name="files") as streams,
        ClientSession(*streams) as session,
        guard.run(principal=Principal(tenant="acme", user="ada")),
    ):
        await session.initialize()
        result: Any = await session.call_tool(tool, {})
        return str(result.content[0].text)
