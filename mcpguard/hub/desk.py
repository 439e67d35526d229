"""Who answers what a server of a hub asks, and who is told what it says.

A server asks during a call: whoever made that call is asked. Where a question may be about calls of several
clients it cannot be told whose it is, and it is refused. Calls that come through no server of the hub's are
answered by the callbacks that the hub was given, or not at all.

Beside: `askers`, on whose behalf it may speak.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Final, Protocol

__all__ = ["GONE", "Client", "Desk"]

_log = logging.getLogger("mcpguard")

INVALID_REQUEST: Final = -32600
"""What the SDKs answer with where a client has no callback."""


class Client(Protocol):
    """One request of one client of a hub's server, during which that client may be asked."""

    @property
    def key(self) -> object:
        """The same for all requests of one client; one of its own where each request is asked apart."""
        ...

    async def ask(self, method: str, params: Any) -> Any:
        """What the client answers: the SDK's result, or its `ErrorData`."""
        ...

    async def tell(self, params: Any) -> None:
        """Hand on a log message."""
        ...


GONE: Final[Any] = object()
"""Stands for a client to which a server may be speaking, and that does not listen."""


class Speaking(Protocol):
    """Says to whom a server may be speaking."""

    def __call__(self, *, lists: bool) -> Mapping[object, Client | None]: ...


class Desk:
    """One server's.

    Args:
        name: What the hub calls the server.
        speaking: To whom it may be speaking, by what tells one client from another: `Askers.speaking`.
        heard: Told of each message of the server's.
        callbacks: What answers calls that come through no server of the hub's.
    """

    def __init__(
        self,
        name: str,
        speaking: Speaking,
        heard: Callable[[Any], None],
        callbacks: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._speaking = speaking
        self._heard = heard
        self._callbacks = callbacks
        self.is_served = False
        """Whether the hub has clients that may be asked."""

    def callbacks(self) -> dict[str, Any]:
        """The callbacks of a session with the server; only those that somebody may answer are there."""
        made: dict[str, Any] = {"message_handler": self._hear, "logging_callback": self._tell}
        for name, method in _METHODS.items():
            if self.is_served or name in self._callbacks:
                made[name] = self._answering(name, method)
        return made

    def _answering(self, name: str, method: str) -> Callable[..., Awaitable[Any]]:
        async def answer(context: Any, params: Any = None) -> Any:
            clients = self._speaking(lists=False)
            if GONE in clients:
                return _refusal(f"it may be about a call of another client of {self._name} that was given up")
            if len(clients) > 1:
                return _refusal(f"calls of several clients of {self._name} are under way")
            client = next(iter(clients.values()), None)
            if client is not None:
                return await client.ask(method, params)
            given = self._callbacks.get(name)
            if given is None:
                return _refusal(f"nobody is there to answer {method}")
            return await (given(context) if params is None else given(context, params))

        return answer

    async def _tell(self, params: Any) -> None:
        clients = self._speaking(lists=True)
        if len(clients) > 1:
            _log.debug("dropped a log message of %s: whose it is cannot be told", self._name)
            return
        client = next(iter(clients.values()), None)
        given = self._callbacks.get("logging_callback")
        if client is not None:
            await client.tell(params)
        elif given is not None:
            await given(params)

    async def _hear(self, message: Any) -> None:
        self._heard(message)
        given = self._callbacks.get("message_handler")
        if given is not None:
            await given(message)


_METHODS: Final[Mapping[str, str]] = {
    "sampling_callback": "sampling/createMessage",
    "elicitation_callback": "elicitation/create",
    "list_roots_callback": "roots/list",
}


def _refusal(reason: str) -> Any:
    types: Any = import_module("mcp.types")
    return types.ErrorData(code=INVALID_REQUEST, message=reason)
