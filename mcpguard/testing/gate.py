"""Waiting in tests without sleeping: a gate that requests stand at, and the wake-up under it.

Everything here belongs to one event loop; events are made by whoever waits, so a gate may be built before
the loop runs.
"""

from collections.abc import Callable

import anyio

__all__ = ["Changes", "Gate"]


class Changes:
    """Wake those who wait for a condition, each time something has changed."""

    def __init__(self) -> None:
        self._waiting: list[anyio.Event] = []

    def happened(self) -> None:
        """Let everybody who waits look again."""
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()` is true."""
        while not holds():
            event = anyio.Event()
            self._waiting.append(event)
            await event.wait()


class Gate:
    """Hold scripted requests until the test opens it, and tell the test when they have arrived.

    ```python
    gate = Gate()
    server.tool("read").waits_for(gate).returns("late")
    ...
    await gate.reached()  # the request is in the server's hands
    gate.open()
    ```
    """

    def __init__(self) -> None:
        self._changes = Changes()
        self._arrived = 0
        self._is_open = False

    def open(self) -> None:
        """Let pass all who stand here and all who come."""
        self._is_open = True
        self._changes.happened()

    async def reached(self, count: int = 1) -> None:
        """Return once `count` requests, in all, have come to the gate."""
        await self._changes.until(lambda: self._arrived >= count)

    async def wait(self) -> None:
        """Stand at the gate until it is open; scripted requests do this by `waits_for`."""
        self._arrived += 1
        self._changes.happened()
        await self._changes.until(lambda: self._is_open)
