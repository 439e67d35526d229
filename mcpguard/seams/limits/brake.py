"""Reading on from a server that sends without end what nobody wants: the event loop gets its turn, and more.

What is read without waiting holds the loop: a pipe that is full makes nobody wait. And a server
that is read as fast as it writes takes a whole processor. So whoever drops what it reads brakes: first it
lets others run, then it pauses, until the pipe is full and the server waits itself.

Above: whatever reads and drops.
"""

from typing import Final

import anyio

__all__ = ["Brake"]

TURN: Final = 64
"""Messages in a row that are dropped before others get their turn."""

PATIENCE: Final = 2**14
"""Messages in a row that are dropped before reading pauses: the answer may stand behind a storm."""

PAUSE: Final = 0.01
"""Seconds of a pause, one for each turn: some 6,000 messages a second are dropped at most."""


class Brake:
    """Slows down whoever reads what nobody wants."""

    __slots__ = ("_dropped",)

    def __init__(self) -> None:
        self._dropped = 0

    def release(self) -> None:
        """What was read is wanted."""
        self._dropped = 0

    async def slow(self) -> None:
        """What was read is dropped."""
        self._dropped += 1
        if self._dropped % TURN == 0:
            await anyio.sleep(PAUSE if self._dropped > PATIENCE else 0)
