"""Past the SDK's own parser: large messages that were parsed within the limits already.

The SDK's HTTP transports parse on the event loop, and write the whole of each event into a line for a log. A
large message is handed to whoever reads the connection as it is; what the transport gets to parse is a token
in the place of an answer, so that it knows the exchange is over, and nothing for anything else.

Above: `http` and `events`, which hand in; `limited`, which takes out.
"""

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

import anyio

from mcpguard.seams import messages
from mcpguard.seams.messages import Key, Response

__all__ = ["HANDED_BYTES", "Hatch"]

HANDED_BYTES: Final = 2**16
"""Messages from this size on go this way; parsing a smaller one twice takes less than a millisecond."""

_TOKEN: Final = "mcpguard/token"  # noqa: S105 - a member's name


class Hatch:
    """One message at a time, from whoever parsed it to whoever reads.

    Args:
        wake: Lets the reader look.
    """

    __slots__ = ("_secret", "_turn", "_wake", "item", "taken")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._secret = secrets.token_hex(16)
        self._turn: anyio.Lock | None = None
        self.item: Any = None
        """The message that is to be read."""
        self.taken: anyio.Event | None = None

    async def hand_in(self, item: Any) -> None:
        """Wait until `item` is taken, so that no more than one of each exchange is kept."""
        if self._turn is None:
            self._turn = anyio.Lock()
        async with self._turn:
            self.item, self.taken = item, anyio.Event()
            self._wake()
            try:
                await self.taken.wait()
            finally:
                self.item = None

    def take(self) -> Any:
        """The message that is to be read, which there is one of."""
        item, self.item = self.item, None
        assert self.taken is not None  # noqa: S101 - it comes with the message
        self.taken.set()
        return item

    def token(self, id: Key) -> bytes:
        """What stands for the answer to `id`, which was handed in."""
        result = {_TOKEN: self._secret}
        return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()

    def is_token(self, item: Any) -> bool:
        """Whether a message stands for one that was handed in."""
        body = messages.body_of(item)
        return type(body) is Response and body.result.get(_TOKEN) == self._secret
