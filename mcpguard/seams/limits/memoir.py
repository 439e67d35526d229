"""What a client has told a connection that a new one in its place must be told too.

Bounded, and without the tools that were called: nothing is done a second time. Above: `watch`, which shows it
what passes; `supervised`, which tells it again.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.seams import messages

__all__ = ["Memoir"]

MAX_SUBSCRIPTIONS: Final = 1_000
"""Subscriptions that are restored."""

_ANSWERED: Final = ("initialize", "server/discover")
"""What a server answers with what it is: the second where the client speaks MCP 2026-07-28."""

_SERVER: Final = "io.modelcontextprotocol/serverInfo"
"""The member of `_meta` in which it says so then."""

_LISTS: Final[Mapping[str, str]] = {
    "tools": "notifications/tools/list_changed",
    "prompts": "notifications/prompts/list_changed",
    "resources": "notifications/resources/list_changed",
}


class Memoir:
    """The handshake of one client, and what it has set since."""

    def __init__(self) -> None:
        self._initialize: Any = None
        self._discover: Any = None
        self._initialized: Any = None
        self._server: JSONObject = EMPTY
        self._level: Any = None
        self._subscriptions: dict[str, Any] = {}
        self._numbers = count(1)

    def asked(self, item: Any, body: Any) -> None:
        """The client sends a request."""
        if body.method == "initialize":
            self._initialize = item
        elif body.method == "server/discover":
            self._discover = item
        elif body.method == "logging/setLevel":
            self._level = item
        elif body.method in ("resources/subscribe", "resources/unsubscribe"):
            uri = str((body.params or EMPTY).get("uri"))
            self._subscriptions.pop(uri, None)
            if body.method == "resources/subscribe" and len(self._subscriptions) < MAX_SUBSCRIPTIONS:
                self._subscriptions[uri] = item

    def notified(self, item: Any, body: Any) -> None:
        """The client sends a notification."""
        if body.method == "notifications/initialized":
            self._initialized = item

    def answered(self, method: str, result: JSONObject) -> None:
        """The server answers."""
        if method in _ANSWERED:
            self._server = result

    def handshake(self) -> Iterator[Any]:
        """What to send on a new connection, in order, each request under an id of its own."""
        if self._initialize is None or self._initialized is None:
            if self._discover is not None and self._server is not EMPTY:
                yield self._again(self._discover)
            return
        yield self._again(self._initialize)
        yield self._initialized
        if self._level is not None:
            yield self._again(self._level)
        for item in list(self._subscriptions.values()):
            yield self._again(item)

    def is_same_server(self, body: Any) -> bool:
        """Whether the answer to the new handshake is that of the server the client knows."""
        result: JSONObject = getattr(body, "result", None) or EMPTY
        return _identity(result) == _identity(self._server)

    def changes(self) -> Iterator[Any]:
        """Notifications that let the client list anew what it may have listed."""
        capabilities = self._server.get("capabilities")
        for name, method in _LISTS.items():
            if isinstance(capabilities, Mapping) and name in capabilities:
                yield messages.notification(method, None)

    def _again(self, item: Any) -> Any:
        body = messages.body_of(item)
        return messages.request(f"mcpguard-{next(self._numbers)}", body.method, body.params, item.metadata)


def _identity(result: JSONObject) -> tuple[JSON, ...]:
    """What a server says that it is."""
    meta = result.get("_meta")
    named = meta.get(_SERVER) if isinstance(meta, Mapping) else None
    told = ("protocolVersion", "supportedVersions", "serverInfo", "capabilities")
    return (named, *(result.get(member) for member in told))
