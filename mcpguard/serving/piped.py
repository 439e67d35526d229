"""A hub on stdio: several servers as one, for the client that started this process.

That client is one principal, and its connection one run. Above: the command line. Below: the hub's server.
"""

from typing import Any

from mcpguard.core.principal import Principal
from mcpguard.guard import Guard
from mcpguard.hub.hub import Hub
from mcpguard.serving.bridge import Stdin

__all__ = ["piped"]


async def piped(guard: Guard, hub: Hub, principal: Principal | None) -> None:
    """Serve a hub on stdio until its client leaves, or this is cancelled.

    Args:
        guard: The guard, entered.
        hub: Its hub, entered.
        principal: On whose behalf the client calls.
    """
    from mcp.server.stdio import stdio_server

    async with guard.run(principal=principal) as run:
        server: Any = hub.server(name="mcpguard", run=run)
        async with stdio_server(stdin=Stdin()) as streams:  # type: ignore[arg-type]
            await server.run(*streams, server.create_initialization_options())
