"""Which revision of the protocol each connection speaks, as far as its own messages say.

Up to 2025-11-25 the answer to `initialize` says it for all that follows; from 2026-07-28 every request says
it in `_meta`. Where neither passed the guard, nobody knows.
"""

from collections.abc import Mapping
from typing import Final

from cachetools import LRUCache

from mcpguard.core.call import Call
from mcpguard.core.result import Result

__all__ = ["Revisions"]

MAX_CONNECTIONS: Final = 1_000
"""Connections that are remembered: of more, those that were quiet longest are forgotten."""

MAX_LENGTH: Final = 32
"""Characters of a revision; it comes from the other side."""

_META: Final = "io.modelcontextprotocol/protocolVersion"
"""MCP 2026-07-28, basic."""


class Revisions:
    """Learns from answers, and tells of calls."""

    def __init__(self) -> None:
        self._agreed: LRUCache[str, str] = LRUCache(MAX_CONNECTIONS)

    def of(self, call: Call) -> str | None:
        """The revision that a call is made in."""
        meta = call.params.get("_meta")
        said = meta.get(_META) if isinstance(meta, Mapping) else None
        if isinstance(said, str):
            return said[:MAX_LENGTH]
        return self._agreed.get(_connection(call))

    def learn(self, call: Call, result: Result | None) -> None:
        """What a call was answered."""
        if call.method != "initialize" or result is None or result.value is None:
            return
        agreed = result.value.get("protocolVersion")
        if isinstance(agreed, str):
            self._agreed[_connection(call)] = agreed[:MAX_LENGTH]


def _connection(call: Call) -> str:
    """What the ids of all calls of a connection begin with."""
    return call.id.rpartition("-")[0]
