"""Who is told of what changes at the servers of a hub.

What changes again before it was told is told once. Above: `hub`. Below: the server objects, which listen.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio.lowlevel

from mcpguard.seams.serving import Listener

__all__ = ["News"]

MAX_NEWS: Final = 1024
"""Changes that wait to be told; further ones are dropped, as a list is fetched again after a while."""


class News:
    """What waits to be told.

    Args:
        start: Runs something in a task of the hub's.
    """

    def __init__(self, start: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self.listeners: list[Listener] = []
        self._start = start
        self._waiting: dict[tuple[str, str, str | None], None] = {}
        self._is_telling = False

    def add(self, server: str, method: str, uri: str | None) -> None:
        """A server has told of a change."""
        if not self.listeners or len(self._waiting) >= MAX_NEWS:
            return
        self._waiting[server, method, uri] = None
        if not self._is_telling:
            self._is_telling = True
            self._start(self._tell)

    def clear(self) -> None:
        """Nothing is to be told any more."""
        self._waiting.clear()

    async def _tell(self) -> None:
        try:
            await anyio.lowlevel.checkpoint()
            while self._waiting:
                news = next(iter(self._waiting))
                del self._waiting[news]
                for listener in self.listeners:
                    await listener(*news)
        finally:
            self._is_telling = False
