"""pydantic-ai: an `MCPToolset` on a guarded FastMCP transport.

`process_tool_call` would see the calls of the model's tools only; here the toolset's lists, resources and
prompts, and the calls of its apps, are guarded too. A refusal reaches the model as a retry.
"""

from typing import TYPE_CHECKING, Any

from mcpguard.integrations.framework import framework

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_toolset"]


def guarded_toolset(
    guard: "Guard",
    transport: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> Any:
    """An `MCPToolset` whose every session is guarded.

    Args:
        guard: The guard.
        transport: A FastMCP transport, or anything FastMCP infers one from. Its credentials are its own:
            pydantic-ai refuses `headers` and `auth` beside a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `MCPToolset`.

    Raises:
        SeamError: If pydantic-ai is not installed with its extra `mcp`, or the transport is guarded already.
    """
    toolset = framework("pydantic_ai.mcp", extra="pydantic-ai").MCPToolset
    return toolset(guard.fastmcp_transport(transport, name=name, run=run, shared=shared), **options)
