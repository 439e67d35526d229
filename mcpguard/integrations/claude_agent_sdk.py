"""claude-agent-sdk: servers in this process, each a hub on one guarded server.

The command that the SDK starts connects to servers itself, where nothing here could guard them; to a server
object in this process it talks through the SDK. So it is told of those alone: `strict_mcp_config` keeps out
what settings, plugins and files name, and arguments that bring servers in spite of it are an error.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from mcpguard.core.errors import SeamError
from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_options"]

BRINGING: Final = frozenset({"agents", "chrome", "ide", "mcp-config"})
"""Arguments of the command that bring servers in spite of `strict_mcp_config`: by configuration, with agents,
and those of Claude's own for a browser and an editor."""


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
    if any(not isinstance(named, str) for one in agents.values() for named in one.mcpServers or ()):
        raise SeamError("servers of agents= are opened by Claude itself; name guarded ones")
    for argument in _bringing(options.get("extra_args") or {}):
        raise SeamError(
            f"{argument} in extra_args= makes Claude open servers that nothing guards; leave it out"
        )
    async with AsyncExitStack() as stack:
        configured: dict[str, Any] = {}
        for name, source in servers.items():
            hub = await stack.enter_async_context(guard.hub({name: source}, naming="refuse"))
            configured[name] = {"type": "sdk", "name": name, "instance": hub.server(name=name, run=run)}
        yield make(mcp_servers=configured, strict_mcp_config=True, **options)


def _bringing(extra: Mapping[str, object]) -> Iterator[str]:
    """Which arguments bring servers: by name, or as a value, which early releases hand on by itself."""
    for name, value in extra.items():
        for argument in (f"--{name}", str(value)):
            found = argument.partition("=")[0]
            if found.startswith("-") and found.strip("-") in BRINGING:
                yield found
