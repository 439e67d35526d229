"""Waking what waits, on whichever event loop of whichever thread it waits."""

from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["Turn"]


class Turn:
    """Wakes one waiting task, from whichever thread or event loop that is done."""

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._token = anyio.lowlevel.current_token()

    async def wait(self) -> None:
        """Wait until it has come."""
        await self._event.wait()

    def come(self) -> bool:
        """Wake it: at once, or as soon as its own event loop gets to it. False: that has ended."""
        if self._is_here():
            self._event.set()
            return True
        native: Any = self._token.native_token
        soon = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
        try:
            soon(self._event.set)
        except RuntimeError:
            return False
        return True

    def _is_here(self) -> bool:
        try:
            return anyio.lowlevel.current_token() == self._token
        except RuntimeError:  # no event loop runs here: an abandoned call is being thrown away
            return False
