"""mcp-haystack: server parameters whose clients are guarded, for `MCPTool` and `MCPToolset`.

The framework runs its clients on a thread of its own, so a run is given here, or bound around each use. A
client that lost its connection is not connected again; make the tool anew.
"""

from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_session, listed

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_server"]


def guarded_server(
    guard: "Guard", server: Any, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> Any:
    """An `MCPServerInfo` whose every client is guarded. It cannot be serialised with a pipeline.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, or `StdioServerParameters`.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.

    Raises:
        SeamError: If mcp-haystack is not installed.
    """
    mcp = framework("haystack_integrations.tools.mcp", extra="haystack")

    class GuardedClient(mcp.MCPClient):  # type: ignore[misc, name-defined]  # known at run time only
        """A client whose session is guarded."""

        async def connect(self) -> list[Any]:
            """Open the session, and list its tools."""
            opened = guarded_session(guard, server, name=name, run=run, shared=shared)
            self.session = await self.exit_stack.enter_async_context(opened)
            return await listed(self.session)

    class GuardedServerInfo(mcp.MCPServerInfo):  # type: ignore[misc, name-defined]  # known at run time only
        """Makes guarded clients."""

        def create_client(self) -> Any:
            """A client that is not connected yet."""
            return GuardedClient()

        def to_dict(self) -> dict[str, Any]:
            """A guard is no data.

            Raises:
                TypeError: Always.
            """
            raise TypeError(
                "a guarded server cannot be serialised: guard it again where the pipeline is loaded"
            )

    return GuardedServerInfo()
