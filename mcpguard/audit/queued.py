"""What sinks have in common that only queue events, for a thread of their own to keep or to send.

Above: sinks, `kept`. Below: `writer` and `courier`, which have such a thread.
"""

import weakref
from typing import Final, Protocol

from anyio import CancelScope, to_thread

from mcpguard.core.events import Event

__all__ = ["Queued"]


class _Queue(Protocol):
    @property
    def dropped(self) -> int: ...

    def put(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Queued:
    """A sink that queues events.

    Args:
        queue: Takes them. It is closed with the sink, or when nobody holds the sink any more.
    """

    def __init__(self, queue: _Queue) -> None:
        self._queue: Final = queue
        self._close: Final = weakref.finalize(self, queue.close)

    @property
    def dropped(self) -> int:
        """Events that were lost, so far."""
        return self._queue.dropped

    def emit(self, event: Event) -> None:
        """Queue one event.

        Raises:
            BufferError: If the queue is full.
            ValueError: If the sink is closed.
        """
        self._queue.put(event)

    async def aclose(self) -> None:
        """Keep or send what is queued, and let go. Closing twice is closing once."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)
