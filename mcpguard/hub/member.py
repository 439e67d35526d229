"""One server of a hub: started when it is first wanted, held by a task of the hub, started again if it died.

Below: whatever connects it. Above: the hub, which knows the others.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Final, TypeAlias

import anyio
from cachetools import TTLCache

from mcpguard.core.clock import Clock
from mcpguard.core.errors import HubError
from mcpguard.core.principal import Principal
from mcpguard.core.wire import JSONObject

__all__ = ["Connect", "Member", "MessageHandler"]

_log = logging.getLogger("mcpguard")

MAX_LISTS: Final = 256
"""Principals whose list is kept per server."""

MAX_PAGES: Final = 100
"""Pages of a list; a server that pages for ever shows no tools."""

_CLOSED: Final = "Connection closed"
"""What both SDKs say where the connection has ended; servers use the code for errors of their own."""

MessageHandler: TypeAlias = Callable[[Any], Awaitable[None]]
Connect: TypeAlias = Callable[[MessageHandler], AbstractAsyncContextManager[Any]]
"""Opens a guarded, initialized session that tells its messages to the given handler."""


class Member:
    """One server.

    Args:
        name: What the hub calls it.
        connect: Opens its session.
        clock: Tells when it may be started again, and when a list is old.
        start_timeout: Seconds it may take to start.
        retry_after: Seconds it is left alone after it failed to start or died.
        list_for: Seconds a list is kept.
        changed: Called when its list may be another.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        clock: Clock,
        start_timeout: float,
        retry_after: float,
        list_for: float,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._connect = connect
        self._clock = clock
        self._start_timeout = start_timeout
        self._retry_after = retry_after
        self._changed = changed
        self._lists: TTLCache[Principal | None, Sequence[JSONObject]] = TTLCache(
            MAX_LISTS, list_for, timer=clock.now
        )
        self._session: Any = None
        self._settled: anyio.Event | None = None
        self._ending = anyio.Event()
        self._starting: anyio.CancelScope | None = None
        self._down_until = -inf

    @property
    def state(self) -> str:
        """`idle`, `starting`, `up` or `down`."""
        if self._session is not None:
            return "up"
        if self._settled is not None:
            return "starting"
        return "down" if self._clock.now() < self._down_until else "idle"

    async def session(self, start: Callable[[Callable[[], Awaitable[None]]], None]) -> Any:
        """Its session, started if it has none.

        Args:
            start: Runs a function in a task of the hub's.

        Raises:
            HubError: If it does not start, or did not a short while ago.
        """
        if self._session is None:
            if self._settled is None:
                if self._clock.now() < self._down_until:
                    raise HubError(f"the server {self.name} is down")
                self._settled = anyio.Event()
                self._ending = anyio.Event()
                start(self._keep)
            await self._settled.wait()
        if self._session is None:
            raise HubError(f"the server {self.name} did not start")
        return self._session

    def known(self, principal: Principal | None) -> Sequence[JSONObject] | None:
        """The list that was shown to `principal`, if it still holds."""
        return self._lists.get(principal) if self._session is not None else None

    async def tools(self, session: Any, principal: Principal | None) -> Sequence[JSONObject]:
        """Fetch the list for `principal`, who is the caller.

        Raises:
            HubError: If it has no end.
        """
        lists = self._lists
        found: list[JSONObject] = []
        page = await session.list_tools()
        for _ in range(MAX_PAGES):
            told: JSONObject = page.model_dump(by_alias=True, mode="json", exclude_none=True)
            tools, cursor = told.get("tools"), told.get("nextCursor")
            found += [one for one in tools if isinstance(one, dict)] if isinstance(tools, list) else []
            if cursor is None:
                whole = tuple(found)
                if lists is self._lists:
                    lists[principal] = whole
                return whole
            page = await session.list_tools(params=_paginated(cursor))
        raise HubError(f"the list of {self.name} has more than {MAX_PAGES} pages")

    def failed(self, session: Any, error: Exception) -> None:
        """Note what a session failed with: where its connection has ended, the server is down for a while."""
        ended = isinstance(error, OSError | anyio.ClosedResourceError | anyio.BrokenResourceError)
        if session is None or session is not self._session or not (ended or str(error) == _CLOSED):
            return
        self._session = None
        self._down_until = self._clock.now() + self._retry_after
        self._ending.set()
        self._forget()

    def close(self) -> None:
        """End the session, or its start."""
        self._ending.set()
        if self._session is None and self._starting is not None:
            self._starting.cancel()

    async def _keep(self) -> None:
        """Hold the session open; whatever goes wrong stays in here."""
        settled, ending = self._settled, self._ending
        session = None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self._start_timeout) as scope:
                self._starting = scope
                async with self._connect(self._heard) as session:
                    scope.deadline = inf
                    self._session = session
                    self._settle(settled)
                    await ending.wait()
        except Exception as error:  # noqa: BLE001 - one server's end is nobody else's
            _log.warning("the server %s ended with %s", self.name, type(error).__name__)
        finally:
            if self._session is session:
                self._session = None
                self._down_until = max(self._down_until, self._clock.now() + self._retry_after)
            self._settle(settled)
            self._forget()

    def _settle(self, settled: anyio.Event | None) -> None:
        if settled is not None:
            settled.set()
        if self._settled is settled:
            self._settled = None

    async def _heard(self, message: Any) -> None:
        """Take note of a list that changed."""
        method = getattr(getattr(message, "root", message), "method", None)
        if method == "notifications/tools/list_changed":
            self._forget()

    def _forget(self) -> None:
        self._lists = TTLCache(MAX_LISTS, self._lists.ttl, timer=self._clock.now)
        self._changed()


def _paginated(cursor: object) -> Any:
    from importlib import import_module

    types: Any = import_module("mcp.types")
    return types.PaginatedRequestParams(cursor=cursor)
