"""Which answers' event streams have been resumed, and how often.

Above: `http`, which resumes, and `events`, which sees what can be resumed from.
"""

from collections import OrderedDict
from typing import Final

from mcpguard.seams.messages import Key

__all__ = ["MAX_TOKENS", "Resumptions"]

MAX_TOKENS: Final = 4096
"""Event ids remembered, to tell which answer a resumption is for."""


class Resumptions:
    """The resumptions of one connection.

    Args:
        most: How often one answer's stream may be resumed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._origins: OrderedDict[str, Key] = OrderedDict()
        self._counts: OrderedDict[Key, int] = OrderedDict()

    def seen(self, token: str, id: Key) -> None:
        """An event of the stream that answers `id` can be resumed from."""
        self._origins[token] = id
        if len(self._origins) > MAX_TOKENS:
            self._origins.popitem(last=False)

    def begin(self, token: str | None) -> Key | None:
        """A stream is resumed after `token`: the request it answers, if that is known."""
        origin = None if token is None else self._origins.get(token)
        if origin is not None:
            self._counts[origin] = self._counts.get(origin, 0) + 1
            self._counts.move_to_end(origin)
            if len(self._counts) > MAX_TOKENS:
                self._counts.popitem(last=False)
        return origin

    def is_exhausted(self, id: Key | None) -> bool:
        """Whether that was once too often."""
        return id is not None and self._counts.get(id, 0) > self._most
