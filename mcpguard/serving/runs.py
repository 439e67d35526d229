"""Which run a request that comes over HTTP belongs to, by the principal that the request itself has proved.

A session of a legacy client is one run. A client of MCP 2026-07-28, and every client where there are no
sessions, has one run for all requests of its principal, until none was under way for a while. A token that
says something new of the same session (other roles, other claims) goes on in a run inside that one, so that
what was used up stays used up.

Above: `endpoint`, which has verified the token. Below: the guard.
"""

import math
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import HubError
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run
from mcpguard.guard import Guard

__all__ = ["PRINCIPAL", "Runs"]

PRINCIPAL: Final = "mcpguard.principal"
"""Key of an ASGI scope: on whose behalf the request is made, once that has been verified; None for nobody."""

SWEEP: Final = 10.0
"""Seconds between two looks for runs that have ended, at most."""


@dataclass(slots=True)
class _Known:
    """One client.

    Args:
        first: Its run.
        latest: The same, or one inside of it with what its newest token says.
        used: When its last request came, or ended.
    """

    first: Run
    latest: Run
    used: float


class Runs:
    """The runs of everybody who is served.

    Args:
        guard: Opens and closes them.
        limit: Clients without a session that are known at a time.
        idle: Seconds after which an unused one of those is forgotten.
        has_sessions: Whether a connection stands for more than one request.
        clock: Time.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        limit: int,
        idle: float,
        has_sessions: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._guard = guard
        self._limit = limit
        self._idle = idle
        self._has_sessions = has_sessions
        self._clock = clock
        self._sessions: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()
        self._clients: OrderedDict[Hashable, _Known] = OrderedDict()
        self._left: deque[_Known] = deque()
        self._in_use: Counter[Run] = Counter()

    def __call__(self, request: Any, connection: Any) -> Run:
        """The run of a request.

        Args:
            request: Starlette's.
            connection: The client's, weakly referenced; None for one that has none.

        Raises:
            HubError: If the request has not been verified, its session is somebody else's, or too many
                clients are known.
        """
        scope: Any = getattr(request, "scope", ())
        if PRINCIPAL not in scope:
            raise HubError("on whose behalf this request is made is not known")
        principal: Principal | None = scope[PRINCIPAL]
        known = self._client(principal) if connection is None or not self._has_sessions else None
        if known is None:
            known = self._session(connection, principal)
        if not _is_same(known.latest.principal, principal):
            known.latest = self._guard.open_run(principal=principal, parent=known.first)
        return known.latest

    @contextmanager
    def kept(self, run: Run) -> Generator[None]:
        """Have a run be in use while inside: a request, or a call that waits for its client, is under way."""
        first = run.lineage[-1]
        self._in_use[first] += 1
        try:
            yield
        finally:
            self._in_use[first] -= 1
            if not self._in_use[first]:
                del self._in_use[first]
            known = self._clients.get(_who(first.principal))
            if known is not None and known.first is first:
                self._use(known)

    def has_room(self, principal: Principal | None) -> bool:
        """Whether a client without a session is known, or may be one more."""
        if _who(principal) in self._clients:
            return True
        if len(self._clients) >= self._limit:
            self.close_idle()
        return len(self._clients) < self._limit

    async def sweep(self) -> None:
        """Close the runs of those who have left, for ever."""
        while True:
            await anyio.sleep(min(SWEEP, self._idle))
            self.close_idle()

    def close_idle(self, *, every: bool = False) -> None:
        """Close the runs of sessions that have ended, and of clients that were idle for long.

        Args:
            every: Whether those that are in use are closed too.
        """
        while self._left:
            self._close(self._left.popleft())
        since = math.inf if every else self._clock.now() - self._idle
        for who, known in list(self._clients.items()):
            if known.used > since:
                break
            if every or known.first not in self._in_use:
                self._close(self._clients.pop(who))
        if every:
            for known in list(self._sessions.values()):
                self._close(known)

    def _session(self, connection: Any, principal: Principal | None) -> _Known:
        known = self._sessions.get(connection)
        if known is None:
            known = self._sessions[connection] = self._opened(principal)
            # Whoever collects garbage may hold any lock: the run is closed later.
            weakref.finalize(connection, partial(self._left.append, known)).atexit = False
        elif _who(known.first.principal) != _who(principal):
            raise HubError("this session belongs to somebody else")
        return known

    def _client(self, principal: Principal | None) -> _Known:
        who = _who(principal)
        known = self._clients.get(who)
        if known is None:
            if not self.has_room(principal):
                raise HubError("too many clients are served at the moment; try again later")
            known = self._clients[who] = self._opened(principal)
        self._use(known)
        return known

    def _use(self, known: _Known) -> None:
        """A client is the last that may be forgotten."""
        known.used = self._clock.now()
        self._clients.move_to_end(_who(known.first.principal))

    def _opened(self, principal: Principal | None) -> _Known:
        run = self._guard.open_run(principal=principal)
        return _Known(run, run, self._clock.now())

    def _close(self, known: _Known) -> None:
        if known.latest is not known.first:
            self._guard.close_run(known.latest)
        if known.first.ended is None:
            self._guard.close_run(known.first)


def _who(principal: Principal | None) -> Hashable:
    """Who it is, whatever it may do at the moment."""
    return None if principal is None else (principal.tenant, principal.user, principal.agent)


def _is_same(one: Principal | None, other: Principal | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other and one.claims == other.claims
