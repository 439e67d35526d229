"""crewai: tools for agents, each of whose calls opens a guarded connection of its own.

`Agent(mcps=[...])` resolves servers and opens clients by itself, at a place that is private. The tools here
are made of the framework's `MCPNativeTool` and `MCPClient`, on a `BaseTransport` that is guarded. They are
for `Agent(tools=[...])`.

All of these are public but for what a transport is given its streams by: `BaseTransport._set_streams` and
`_clear_streams`, of the releases named in the documentation. Where they have moved this fails, and no tool is
made.
"""

from typing import TYPE_CHECKING, Any, Final, Self

from mcpguard.integrations.framework import framework, seam
from mcpguard.integrations.opened import guarded_session, listed, transport_to

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]

KNOWN: Final = "1.15"
"""A release that has both."""


async def guarded_tools(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> list[Any]:
    """Agents' tools for all that a server offers. They hold no connection; crews keep no result of theirs.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, or `StdioServerParameters`.
        name: What policy, stores and audit call the server, and agents put before each tool's name.
        run: Binds every call to this run.
        shared: Whether several principals may use one connection. None: as the policy says of `name`, else
            not.

    Raises:
        SeamError: If crewai is not installed, or not with the SDK 1.x it needs, or a release has moved what
            is guarded.
    """
    transports = framework("crewai.mcp.transports", extra="crewai")
    client = framework("crewai.mcp.client", extra="crewai").MCPClient
    native = framework("crewai.tools.mcp_native_tool", extra="crewai").MCPNativeTool
    schema_of = framework("crewai.utilities.pydantic_schema_utils", extra="crewai").create_model_from_schema
    kinds = transports.TransportType
    for member in ("_set_streams", "_clear_streams"):
        seam(transports.BaseTransport, member, distribution="crewai", known=KNOWN)

    class GuardedTransport(transports.BaseTransport):  # type: ignore[misc, name-defined]  # known at run time only
        """A transport whose streams are guarded."""

        transport_type = kinds.STREAMABLE_HTTP if isinstance(server, str) else kinds.STDIO

        async def connect(self) -> Self:
            """Open the connection."""
            self._opened = guard.transport(transport_to(server), name=name, run=run, shared=shared)
            read, write, *_ = await self._opened.__aenter__()
            self._set_streams(read=read, write=write)
            return self

        async def disconnect(self) -> None:
            """Close the connection."""
            if self.connected:
                self._clear_streams()
                await self._opened.__aexit__(None, None, None)

        async def __aenter__(self) -> Self:
            return await self.connect()

        async def __aexit__(self, *_: object) -> None:
            await self.disconnect()

    def tool(offered: Any) -> Any:
        model = schema_of(offered.inputSchema, model_name=f"{offered.name}Schema", enrich_descriptions=True)
        made = native(
            client_factory=lambda: client(transport=GuardedTransport()),
            tool_name=offered.name,
            tool_schema={"description": offered.description or "", "args_schema": model},
            server_name=name,
            original_tool_name=offered.name,
        )
        made.cache_function = _nothing_kept
        return made

    async with guarded_session(guard, server, name=name, run=run, shared=shared) as session:
        return [tool(offered) for offered in await listed(session)]


def _nothing_kept(_arguments: Any = None, _result: Any = None) -> bool:
    """Whether a crew may answer the next call with this result: it asks nobody who makes that."""
    return False
