"""uvicorn's HTTP protocol with bounds: connections that never finish a request, and clients that never read.

uvicorn closes what is idle between two requests, and waits for ever where a request has begun, or an answer
is not taken. Above: `listening`. Below: uvicorn and h11, whose names are used here are pinned by a test.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mcpguard.core.http_limits import HTTPLimits

__all__ = ["BoundedProtocol"]


class BoundedProtocol(H11Protocol):
    """One connection.

    Args:
        args: uvicorn's.
        limits: How many there may be, and how long each may take.
        options: uvicorn's.
    """

    def __init__(self, *args: object, limits: HTTPLimits, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._limits = limits
        self._unread: asyncio.TimerHandle | None = None
        """Ends the connection unless a request is there whole in time."""
        self._untaken: asyncio.TimerHandle | None = None
        """Ends the connection unless the client takes what was written in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One more, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            transport.set_write_buffer_limits(0)  # whatever is not taken at once is waited for
            self._expect()

    def handle_events(self) -> None:
        """A piece of a request, or the next one, which has come already."""
        super().handle_events()
        if self._is_awaited():
            self._expect()
        elif self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        super().pause_writing()
        self._untaken = self.loop.call_later(self._limits.writing, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        if self._untaken is not None:
            self._untaken.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        for timer in (self._unread, self._untaken):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _is_awaited(self) -> bool:
        """Whether the rest of a request is; uvicorn's keep-alive is for those that have not begun."""
        if self.conn.their_state is not h11.IDLE:
            return self.conn.their_state is h11.SEND_BODY
        return self.timeout_keep_alive_task is None or bool(self.conn.trailing_data[0])

    def _expect(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.reading, self.transport.abort)
