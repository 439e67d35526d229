"""The streams of a transport that is made again: they stay, while its connections come and go.

Above: `supervised`, which makes them. Below: the streams of the connection of the moment.
"""

from contextvars import Context
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from mcpguard.seams.streams.exchanges import GONE

if TYPE_CHECKING:
    from mcpguard.seams.limits.supervised import SupervisedTransport

__all__ = ["LastingRead", "LastingWrite"]


class LastingRead:
    """The read stream that stays."""

    last_context: Context | None = None

    def __init__(self, transport: "SupervisedTransport") -> None:
        self._transport = transport
        self._is_closed = False

    async def receive(self) -> Any:
        """The next message of whatever connection there is.

        Raises:
            EndOfStream: If there will be no connection any more.
        """
        while True:
            if self._is_closed:
                raise anyio.ClosedResourceError
            read, _ = self._transport.streams or await self._transport.current()
            if self._transport.early:  # without a pause, in which they could be lost
                self.last_context = None
                return self._transport.early.popleft()
            try:
                item = await read.receive()
            except (anyio.EndOfStream, *GONE):
                if self._transport.is_current(read):
                    self._transport.lost("ended")
                await anyio.lowlevel.checkpoint()
                continue
            self.last_context = getattr(read, "last_context", None)
            return item

    def close(self) -> None:
        """The client reads no more."""
        self._is_closed = True

    async def aclose(self) -> None:
        """The client reads no more."""
        self._is_closed = True


class LastingWrite:
    """The write stream that stays."""

    def __init__(self, transport: "SupervisedTransport") -> None:
        self._transport = transport
        self._is_closed = False

    async def send(self, item: Any) -> None:
        """Send a message on the connection of the moment.

        Raises:
            BrokenResourceError: If there is none.
            ClosedResourceError: If this end is closed.
        """
        await self._current().send(item)

    def send_nowait(self, item: Any) -> None:
        """Send a message at once, where somebody waits for it.

        Raises:
            WouldBlock: If nobody does, or the connection of the moment cannot tell.
            BrokenResourceError: If there is no connection.
            ClosedResourceError: If this end is closed.
        """
        put = getattr(self._current(), "send_nowait", None)
        if put is None:
            raise anyio.WouldBlock
        put(item)

    def _current(self) -> Any:
        if self._is_closed:
            raise anyio.ClosedResourceError
        streams = self._transport.streams
        if streams is None:
            raise anyio.BrokenResourceError
        return streams[1]

    def close(self) -> None:
        """The client writes no more."""
        self._is_closed = True

    async def aclose(self) -> None:
        """The client writes no more."""
        self._is_closed = True
