"""crewai: tools for agents, each of whose calls opens a guarded connection of its own.

`Agent(mcps=[...])` resolves servers and opens clients by itself, at a place that is private. The tools here
are made of the framework's public parts: its `MCPNativeTool` and `MCPClient`, on a `BaseTransport` that is
guarded. They are for `Agent(tools=[...])`.
"""

from typing import TYPE_CHECKING, Any, Self

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_session, listed, transport_to

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]


async def guarded_tools(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> list[Any]:
    """Agents' tools for all that a server offers. They hold no connection.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, or `StdioServerParameters`.
        name: What policy, stores and audit call the server, and agents put before each tool's name.
        run: Binds every call to this run.
        shared: Whether several principals may use one connection. None: as the policy says of `name`, else
            not.

    Raises:
        SeamError: If crewai is not installed, or not with the SDK 1.x it needs.
    """
    transports = framework("crewai.mcp.transports", extra="crewai")
    client = framework("crewai.mcp.client", extra="crewai").MCPClient
    native = framework("crewai.tools.mcp_native_tool", extra="crewai").MCPNativeTool
    schema_of = framework("crewai.utilities.pydantic_schema_utils", extra="crewai").create_model_from_schema
    kinds = transports.TransportType

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
        return native(
            client_factory=lambda: client(transport=GuardedTransport()),
            tool_name=offered.name,
            tool_schema={"description": offered.description or "", "args_schema": model},
            server_name=name,
            original_tool_name=offered.name,
        )

    async with guarded_session(guard, server, name=name, run=run, shared=shared) as session:
        return [tool(offered) for offered in await listed(session)]
