"""Callers who wait until what they have queued is kept, each in its own event loop.

Above: `writer`, whose one thread tells them.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import anyio
from anyio.lowlevel import current_token

__all__ = ["Waiter", "tell"]

_log: Final = logging.getLogger("mcpguard")


class Waiter:
    """Somebody who waits until all that was emitted before is kept; on asyncio or trio, in any thread."""

    __slots__ = ("_event", "error", "wake")

    def __init__(self) -> None:
        native = current_token().native_token
        self.wake: Callable[[Callable[[], object]], object] = (
            getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon  # type: ignore[attr-defined,unused-ignore]
        )
        self._event = anyio.Event()
        self.error: Exception | None = None

    def done(self) -> None:
        """Let it go on; in its own event loop."""
        self._event.set()

    async def wait(self) -> None:
        """Wait.

        Raises:
            OSError: If it could not be kept.
        """
        await self._event.wait()
        if self.error is not None:
            raise OSError(f"the trail could not be written: {type(self.error).__name__}") from self.error


def tell(waiters: Iterable[Waiter], error: Exception | None) -> None:
    """Wake who waits, each event loop once."""
    loops: dict[int, list[Waiter]] = {}
    for waiter in waiters:
        waiter.error = error
        loops.setdefault(id(getattr(waiter.wake, "__self__", waiter.wake)), []).append(waiter)
    for group in loops.values():
        try:
            group[0].wake(lambda group=group: [one.done() for one in group])  # type: ignore[misc]
        except Exception:  # noqa: BLE001 - a loop that is gone has nobody who waits
            _log.debug("an event loop ended while its call waited for the audit trail")
