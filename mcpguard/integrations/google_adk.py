"""google-adk: an `McpToolset` whose session manager connects through guarded transports.

There is no public place for this: `McpToolset._mcp_session_manager` and its `_create_client` are private, of
the releases named in the documentation. Where they have moved this fails, and no toolset is made.
"""

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from mcpguard.integrations.framework import framework, seam
from mcpguard.integrations.kept import refuse_kept_list

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_toolset"]

KNOWN: Final = "2.13"
"""A release that has both."""


def guarded_toolset(
    guard: "Guard",
    connection_params: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> Any:
    """An `McpToolset` whose every session is guarded.

    Args:
        guard: The guard.
        connection_params: As for `McpToolset`.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `McpToolset`.

    Raises:
        SeamError: If google-adk is not installed, or a release has moved what is guarded; if the list of
            tools is kept (`tool_list_cache_ttl_seconds`) and the server is shared.
    """
    if options.get("tool_list_cache_ttl_seconds") is not None:
        refuse_kept_list(guard, "tool_list_cache_ttl_seconds=", name=name, run=run, shared=shared)
    toolset = framework("google.adk.tools.mcp_tool", extra="google-adk").McpToolset(
        connection_params=connection_params, **options
    )
    sessions = seam(toolset, "_mcp_session_manager", distribution="google-adk", known=KNOWN)
    create = seam(sessions, "_create_client", distribution="google-adk", known=KNOWN)

    @wraps(create)
    def create_client(*args: Any, **kwargs: Any) -> Any:
        return guard.transport(create(*args, **kwargs), name=name, run=run, shared=shared)

    sessions._create_client = create_client
    return toolset
