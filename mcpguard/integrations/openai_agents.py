"""openai-agents: any of its MCP servers, guarded at the streams it makes.

The framework opens a session of its own, and on HTTP another one to repeat a call that failed. Both are made
on what the server's public `create_streams()` returns, so the guard stands there: a `tool_filter` hides tools
and refuses nothing, and whatever replaces `server.session` is gone round by the repeated call.
"""

from typing import TYPE_CHECKING, Any, TypeVar

from mcpguard.core.errors import SeamError
from mcpguard.integrations.framework import framework, seam
from mcpguard.integrations.kept import refuse_kept_list

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_server"]

_Server = TypeVar("_Server")

_MARK = "_mcpguard_streams"


def guarded_server(
    guard: "Guard", server: _Server, *, name: str, run: "Run | None" = None, shared: bool | None = None
) -> _Server:
    """Guard an `MCPServerStdio`, `MCPServerSse` or `MCPServerStreamableHttp` in place, before it connects.

    Args:
        guard: The guard.
        server: The server.
        name: What policy, stores and audit call it.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.

    Raises:
        SeamError: If it is no such server, is guarded already, or has connected; if it keeps its list of
            tools (`cache_tools_list`) and is shared.
    """
    base = framework("agents.mcp", extra="openai-agents").MCPServer
    if not isinstance(server, base):
        raise SeamError(f"guarded_server() takes an MCPServer of openai-agents, not {type(server).__name__}")
    members: dict[str, Any] = server.__dict__
    if _MARK in members:
        raise SeamError("this server is guarded already; put all interceptors into one guard")
    if members.get("session") is not None:
        raise SeamError("this server has connected already; guard it before `connect()` or `async with`")
    if getattr(server, "cache_tools_list", False):
        refuse_kept_list(guard, "cache_tools_list=", name=name, run=run, shared=shared)
    streams = seam(server, "create_streams", distribution="openai-agents", known="0.24")

    def create_streams() -> Any:
        return guard.transport(streams(), name=name, run=run, shared=shared)

    members.update({_MARK: streams, "create_streams": create_streams})
    return server
