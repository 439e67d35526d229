"""The log levels that clients of a hub's server object ask for, and the one its servers are told.

Servers are shared, so that they are told the most detailed level of the clients that are there; each client
is told what it asked for and no more. A client that has asked for none counts as `info` for what servers are
told. That is a choice of ours: the protocol leaves to a server what it sends by itself (MCP 2025-11-25,
server/utilities/logging).

Above: `sdk1.server` and `sdk2.server`.
"""

from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import Final

import anyio

from mcpguard.core.errors import HubError
from mcpguard.core.run import Run, current_run
from mcpguard.seams.serving import Hub, in_run

__all__ = ["Levels"]

_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""From the most detailed on."""

_BY_ITSELF: Final = "info"
"""The most detailed level that servers are supposed to send a client that has asked for none."""

TELLING_SECONDS: Final = 10.0
"""How long servers may take to answer that they have been told a level."""


class Levels:
    """The levels of one server object's clients.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asked: dict[Hashable, str | None] = {}
        self._told: str | None = None
        self._run: Run | None = None
        self._is_telling = False
        self._round = anyio.Event()
        """Set when servers have been told what is asked for before that begins."""

    def meet(self, client: Hashable) -> None:
        """A client is there, which may not ask for any level."""
        if client not in self._asked:
            self._asked[client] = None
            self._retell()

    async def set(self, client: Hashable, level: str) -> None:
        """A client asks for a level; servers are told again, also of the same."""
        self._asked[client] = level
        self._told = None
        done = self._round
        self._retell()
        if self._is_telling:
            await done.wait()

    def leave(self, client: Hashable) -> None:
        """A client has gone; servers are told of it if it has asked for a level."""
        if self._asked.pop(client, None) is not None:
            self._retell()

    def wants(self, client: Hashable, level: str) -> bool:
        """Whether a client wants messages of this level."""
        return _LEVELS.index(level) >= _LEVELS.index(self._asked.get(client) or _LEVELS[0])

    def _least(self) -> str | None:
        """What servers are to be told; None if nobody has ever asked for a level."""
        if self._told is None and not any(self._asked.values()):
            return None
        asked = (level or _BY_ITSELF for level in self._asked.values())
        return min(asked, key=_LEVELS.index, default=self._told)

    def _retell(self) -> None:
        """Tell servers if they have to know anything else, on behalf of whoever brought that about last."""
        self._run = current_run() or self._run
        if not self._is_telling and self._least() != self._told:
            with suppress(HubError):  # the hub was left
                self._hub.start(self._tell)
                self._is_telling = True

    async def _tell(self) -> None:
        done = self._round
        try:
            while (level := self._least()) is not None and level != self._told:
                self._told = level
                done, self._round = self._round, anyio.Event()
                with anyio.move_on_after(TELLING_SECONDS):
                    await in_run(self._run, partial(self._hub.set_level, level))
                done.set()
        finally:
            self._is_telling = False
            done.set()
            self._round.set()
            self._round = anyio.Event()
