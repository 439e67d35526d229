"""Guarding a session or building a guarded client, on whichever major of the SDK is installed.

The major is read from the installed distribution, not from what can be imported: parts of 2.x survive a
downgrade.
"""

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.errors import SeamError
from mcpguard.seams.callers import Binding

if TYPE_CHECKING:
    from mcpguard.seams.connection import Connection

__all__ = ["CACHE_BLIND_SPOT", "connection_of", "guard_session", "guarded_client", "sdk_major"]

_MARK = "_mcpguard_connection"

CACHE_BLIND_SPOT: Final = (
    "a client may answer lists and resource reads from a cache above this seam; cache=None turns it off"
)


@cache
def sdk_major() -> int:
    """1 or 2: the major of the installed `mcp`."""
    return int(version("mcp").split(".", 1)[0])


def connection_of(session: Any) -> "Connection":
    """What the guard knows of a session that it guards."""
    connection: Connection = session.__dict__[_MARK].connection
    return connection


def guard_session(session: Any, binding: Binding, *, seam: str = "session") -> None:
    """Guard `session` in place.

    Raises:
        SeamError: If it is guarded already, or is not a `ClientSession`.
    """
    from mcp import ClientSession

    if not isinstance(session, ClientSession):
        hint = "; guard.transport() takes transports" if hasattr(session, "__aenter__") else ""
        raise SeamError(f"guard.session() takes an mcp.ClientSession, not {type(session).__name__}{hint}")
    if _MARK in session.__dict__:
        raise SeamError("this session is guarded already; put all interceptors into one guard")
    if binding.limits is not None:
        _limit_streams(session, binding, binding.limits)
    major = import_module(f"mcpguard.seams.sdk{min(sdk_major(), 2)}.session")
    session.__dict__[_MARK] = major.guard_in_place(session, binding, seam)
    if seam == "fastmcp_transport" and sdk_major() > 1:
        connection = connection_of(session)
        connection.blind_spots = (*connection.blind_spots, CACHE_BLIND_SPOT)


def _limit_streams(session: Any, binding: Binding, limits: ConnectionLimits) -> None:
    """Put a session's streams under limits, where it has some and has not begun to read them."""
    from mcpguard.seams.limits.hits import Hits
    from mcpguard.seams.limits.limited_streams import limit_streams

    holder = session if sdk_major() < 2 else session._dispatcher
    read = getattr(holder, "_read_stream", None)
    if read is None or getattr(session, "_task_group", None) is not None:
        return
    tally = Hits(binding.handle, binding.name)
    holder._read_stream, holder._write_stream = limit_streams(read, holder._write_stream, limits, tally)


def _limited_server(server: Any, binding: Binding, limits: ConnectionLimits) -> Any:
    """What `mcp.Client` connects to, within limits; an in-process server has no connection."""
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client

    from mcpguard.seams.limits.hits import Hits
    from mcpguard.seams.limits.sources import limited

    if isinstance(server, str):
        server = streamable_http_client(server)
    elif isinstance(server, StdioServerParameters):
        server = stdio_client(server)
    elif not hasattr(server, "__aenter__"):
        return server
    return limited(server, limits, Hits(binding.handle, binding.name), binding.line)


def guarded_client(server: Any, binding: Binding, options: dict[str, Any]) -> Any:
    """A `mcp.Client` whose session is guarded.

    Raises:
        SeamError: On SDK 1.x, or if a response cache is asked for beside interceptors.
    """
    if sdk_major() < 2:
        raise SeamError("mcp 1.x has no Client; use guard.session() or guard.transport()")
    from mcpguard.seams.lines import line_of
    from mcpguard.seams.sdk2.client import GuardedClient

    linked = binding.handle.linked
    if options.get("cache") is not None and (
        linked.steps or linked.emitter.is_active or binding.shared or binding.handle.is_reloadable
    ):
        raise SeamError("cache= would answer one principal with what another was given; leave it out")
    options = {"cache": None, **options}
    if binding.line.transport is None:
        binding = replace(binding, line=line_of(server))
    if binding.limits is not None:
        server = _limited_server(server, binding, binding.limits)
        binding = replace(binding, limits=None)
    client = GuardedClient(server, **options)
    client.guard_it = lambda session: guard_session(session, binding, seam="client")
    return client
