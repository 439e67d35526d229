"""smolagents: tools on a guarded session that runs on a thread of its own.

The framework's `MCPClient` opens its session inside mcpadapt, which has no place for a guard. mcpadapt's
adapter for the framework is public, however, and makes a tool of a function that carries out a call: here
one that asks the guarded session.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from mcpguard.integrations.framework import framework
from mcpguard.integrations.opened import guarded_session, listed

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["guarded_tools"]


@contextmanager
def guarded_tools(
    guard: "Guard",
    server: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    structured_output: bool = False,
) -> Generator[list[Any]]:
    """Agents' tools for all that a server offers, until the block is left.

    Args:
        guard: The guard.
        server: A URL for Streamable HTTP, `StdioServerParameters`, or a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run. None: each belongs to the run of whoever makes it.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        structured_output: As for `smolagents.MCPClient`.

    Raises:
        SeamError: If smolagents is not installed with its extra `mcp`, or not with the SDK 1.x it needs.
    """
    adapters = framework("mcpadapt.smolagents_adapter", extra="smolagents")
    adapter = adapters.SmolAgentsAdapter(structured_output=structured_output)
    with start_blocking_portal() as portal:
        opened = guarded_session(guard, server, name=name, run=run, shared=shared)
        with portal.wrap_async_context_manager(opened) as session:
            tools = portal.call(listed, session)
            yield [
                adapter.adapt(partial(portal.call, session.call_tool, tool.name), _with_properties(tool))
                for tool in tools
            ]


def _with_properties(tool: Any) -> Any:
    """The tool, whose schema says what its properties are: the adapter needs that, also of none."""
    return tool.model_copy(update={"inputSchema": {"properties": {}, **tool.inputSchema}})
