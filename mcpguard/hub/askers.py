"""On whose behalf a server may speak: what is under way at it, and what was given up before it answered.

Giving a call up asks a server to stop, and does not make it: what it says or asks later may still be about
that call, and is nobody else's.

Above: `member`. Beside: `desk`, which asks them.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import anyio

from mcpguard.core.clock import Clock
from mcpguard.core.principal import Principal
from mcpguard.core.run import current_run
from mcpguard.hub.desk import GONE, Client
from mcpguard.seams.serving import LISTING, UNASKED

__all__ = ["Askers"]

GIVEN_UP_SECONDS: Final = 60.0
"""How long after a call was given up what its server says may be about it."""

MAX_GIVEN_UP: Final = 1024
"""Principals of which it is remembered that they gave up a call; with more, the server speaks to nobody."""


class _Asker(NamedTuple):
    client: Any
    principal: Principal | None

    @property
    def key(self) -> object:
        """What tells one client from another; None for who calls the hub itself."""
        return None if self.client is None else self.client.key


class Askers:
    """Those of one start of a server.

    Args:
        clock: Tells how long ago a call was given up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[anyio.CancelScope, _Asker] = {}
        self._given_up: dict[object, float] = {}

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def add(self, scope: anyio.CancelScope, client: Any) -> None:
        """Something begins, in the run of whoever is calling.

        Args:
            scope: Around it.
            client: A `desk.Client`; None for who calls the hub itself; `LISTING` or `UNASKED`.
        """
        run = current_run()
        self._under_way[scope] = _Asker(client, None if run is None else run.principal)

    def remove(self, scope: anyio.CancelScope) -> None:
        """It is over."""
        del self._under_way[scope]

    def gave_up(self, scope: anyio.CancelScope) -> None:
        """Nobody waits for it any more, and the server may still be at it."""
        asker = self._under_way[scope]
        if asker.client is UNASKED or asker.client is LISTING:
            return
        who = asker.principal if len(self._given_up) < MAX_GIVEN_UP else GONE
        self._given_up.pop(who, None)
        self._given_up[who] = self._clock.now() + GIVEN_UP_SECONDS

    def cancel(self) -> None:
        """End all that is under way."""
        for scope in list(self._under_way):
            scope.cancel()

    def speaking(self, *, lists: bool) -> Mapping[object, Client | None]:
        """To whom the server may be speaking, by what tells one client from another.

        What a principal gave up, or lists, may be told to any client of the same principal.

        Args:
            lists: Whether it may speak of a list, which is no reason to ask anything.
        """
        now = self._clock.now()
        while self._given_up and next(iter(self._given_up.values())) <= now:
            del self._given_up[next(iter(self._given_up))]
        callers = [one for one in self._under_way.values() if one.client not in (UNASKED, LISTING)]
        found = {one.key: one.client for one in callers}
        others = set(self._given_up)
        if lists:
            others |= {one.principal for one in self._under_way.values() if one.client is LISTING}
        if found and not others <= {one.principal for one in callers}:
            found[GONE] = GONE
        return found
