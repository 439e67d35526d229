"""`mcp.Client` of SDK 2.x, with its session guarded before it is entered.

All the client does goes through that session, whatever connects it: streams or an in-process server.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client
from mcp.client.session import ClientSession

from mcpguard.seams.session import connection_of

__all__ = ["GuardedClient"]


class GuardedClient(Client):
    """A client that guards each session it builds."""

    guard_it: Callable[[Any], None]

    async def _build_session(self, exit_stack: AsyncExitStack) -> ClientSession:
        session = await super()._build_session(exit_stack)
        self.guard_it(session)
        return session

    async def _relist_tool(self, name: str) -> None:
        """List again after a header mismatch; the call that follows is the same one, sent again."""
        await super()._relist_tool(name)
        connection_of(self.session).expect_resend(name)
