"""The seam for FastMCP 3 and 4: a `ClientTransport` whose sessions are guarded.

A FastMCP transport builds and enters the session itself. On 4 it asks which class to build, so the session
is guarded before it is entered; a transport that does not ask, and every one of 3 (which runs on SDK 1.x,
where it makes no difference), has its session guarded as soon as it is there. `fastmcp.Client` is not
touched: frameworks go past it and use its session.

A configuration of several servers is one server to the guard: FastMCP puts them behind one session, and the
name of each before the names of its tools.

Above: `guard.fastmcp_transport()`. Below: `session`, which guards a session.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from importlib import import_module
from inspect import signature
from typing import Any, Final
from weakref import WeakSet

from mcpguard.core.errors import SeamError
from mcpguard.seams.callers import Binding
from mcpguard.seams.lines import line_of, line_to
from mcpguard.seams.session import guard_session

__all__ = ["guarded_fastmcp_transport"]

_MARK: Final = "_mcpguard_sessions"


def guarded_fastmcp_transport(transport: Any, binding: Binding) -> Any:
    """Guard a FastMCP transport in place, or the one that FastMCP infers from what is given.

    Raises:
        SeamError: If FastMCP is not installed, or the transport is guarded already.
        ValueError: If FastMCP infers no transport.
    """
    try:
        transports = import_module("fastmcp.client.transports")
    except ImportError as error:
        raise SeamError(
            "guard.fastmcp_transport() needs FastMCP 3 or 4: pip install 'mcpguard-inline[fastmcp]'"
        ) from error
    inferred = transports.infer_transport(transport)
    if _MARK in inferred.__dict__:
        raise SeamError("this transport is guarded already; put all interceptors into one guard")
    url = getattr(inferred, "url", None)
    binding = replace(binding, line=line_of(inferred) if url is None else line_to(str(url)))
    sessions = _Sessions(inferred.connect_session, binding)
    inferred.__dict__.update({_MARK: sessions, "connect_session": sessions.connect})
    return inferred


class _Sessions:
    """Guards each session of one transport, once.

    Args:
        connect: The transport's own `connect_session`.
        binding: What the user said when wrapping.
    """

    def __init__(self, connect: Callable[..., AbstractAsyncContextManager[Any]], binding: Binding) -> None:
        self._connect = connect
        self._binding = binding
        self._guarded: WeakSet[Any] = WeakSet()
        self._classes: dict[type, type] = {}

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncGenerator[Any]:
        """What the transport's `connect_session` does, with the session guarded."""
        if "transport_options" in signature(self._connect).parameters:
            defaults = import_module("fastmcp.client.transports.base").TransportOptions
            asked = options.get("transport_options") or defaults()
            session_class = self._guarding(asked.session_class)
            options["transport_options"] = replace(asked, session_class=session_class)
        async with self._connect(**options) as session:
            self._guard(session)
            yield session

    def _guard(self, session: Any) -> None:
        """A transport that keeps its connection alive yields the same session again."""
        if session not in self._guarded:
            guard_session(session, self._binding, seam="fastmcp_transport")
            self._guarded.add(session)

    def _guarding(self, session_class: Any) -> Any:
        """A subclass whose sessions guard themselves; one per class, as transports compare their options."""
        known = self._classes.get(session_class)
        if known is None:
            guard = self._guard

            class GuardedSession(session_class):  # type: ignore[misc]  # the class is known at run time only
                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    super().__init__(*args, **kwargs)
                    guard(self)

            known = self._classes[session_class] = GuardedSession
        return known
