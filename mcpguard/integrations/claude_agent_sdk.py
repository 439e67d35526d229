"""claude-agent-sdk: servers in this process, each a hub on one guarded server.

The command that the SDK starts connects to servers itself, where nothing here could guard them; to a server
object in this process it talks through the SDK. So it is told of those alone: `strict_mcp_config` keeps out
what configuration files name.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcpguard.core.errors import SeamError
from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_options"]


@asynccontextmanager
async def guarded_options(
    guard: "Guard", servers: Mapping[str, Any], *, run: "Run | None" = None, **options: Any
) -> AsyncGenerator[Any]:
    """`ClaudeAgentOptions` with which a client reaches these servers alone, until the block is left.

    Args:
        guard: The guard.
        servers: What each server is reached by, as for `guard.hub()`, under what policy, stores and audit
            call it.
        run: Binds every call to this run. None: to that in which the client was connected.
        options: Further arguments of `ClaudeAgentOptions`.

    Raises:
        SeamError: If claude-agent-sdk is not installed, or an option would let the model's command open
            servers by itself.
    """
    make = framework("claude_agent_sdk", extra="claude-agent-sdk").ClaudeAgentOptions
    for option in sorted({"mcp_servers", "strict_mcp_config"} & options.keys()):
        raise SeamError(f"{option}= makes Claude open servers that nothing guards; leave it out")
    agents: Mapping[str, Any] = options.get("agents") or {}
    inline = [one for one in agents.values() for named in one.mcpServers or () if not isinstance(named, str)]
    if inline or "mcp-config" in (options.get("extra_args") or {}):
        raise SeamError("servers of agents= and extra_args= are opened by Claude itself; name guarded ones")
    async with AsyncExitStack() as stack:
        configured: dict[str, Any] = {}
        for name, source in servers.items():
            hub = await stack.enter_async_context(guard.hub({name: source}, naming="refuse"))
            configured[name] = {"type": "sdk", "name": name, "instance": hub.server(name=name, run=run)}
        yield make(mcp_servers=configured, strict_mcp_config=True, **options)
