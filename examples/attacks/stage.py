"""What the attacks share: an agent that does what its texts tell it, and the servers it talks to.

The agent is a script in place of a model that falls for everything: it obeys every order it reads, unless
the text says that it is data. So an attack that fails here fails by what the guard did.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from mcp import ClientSession
from mcp.types import TextContent

from mcpguard import Guard
from mcpguard.testing import FakeServer

__all__ = ["PLAN", "Agent", "connected"]

PLAN = "what was planned"
"""What the attacks are after; of no value."""


class Agent:
    """Calls tools, and believes what it reads.

    Args:
        sessions: A session with each server, by name.
    """

    def __init__(self, sessions: dict[str, ClientSession]) -> None:
        self.sessions = sessions
        self.shown: list[str] = []
        """What the person at the screen sees, links and pictures loaded."""

    async def tools(self, server: str) -> dict[str, str]:
        """The tools of a server, with their descriptions."""
        listed = await self.sessions[server].list_tools()
        return {tool.name: tool.description or "" for tool in listed.tools}

    async def call(self, server: str, tool: str, **arguments: str) -> str:
        """Call a tool; the text it answers with."""
        result = await self.sessions[server].call_tool(tool, arguments)
        return "\n".join(block.text for block in result.content if isinstance(block, TextContent))

    def believes(self, text: str) -> bool:
        """Whether it obeys orders in a text: it does, unless it is told that the text is data."""
        return "untrusted data" not in text

    def orders(self, text: str) -> list[tuple[str, str, str]]:
        """Orders in a text, written `SERVER.TOOL(ARGUMENT)`: what to call, and with what."""
        found: list[tuple[str, str, str]] = re.findall(r"(\w+)\.(\w+)\(([^)]*)\)", text)
        return found if self.believes(text) else []


@asynccontextmanager
async def connected(servers: dict[str, FakeServer], guard: Guard | None) -> AsyncGenerator[Agent]:
    """An agent with a session to each server, guarded if there is a guard."""
    async with AsyncExitStack() as stack:
        sessions: dict[str, ClientSession] = {}
        if guard is not None:
            await stack.enter_async_context(guard.run())
        for name, server in servers.items():
            read, write = await stack.enter_async_context(server.connect())
            session = ClientSession(read, write)
            if guard is not None:
                session = guard.session(session, name=name)
            sessions[name] = await stack.enter_async_context(session)
            await session.initialize()
        yield Agent(sessions)
