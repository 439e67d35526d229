"""Who can be asked about a call while it is under way: the client that it is forwarded for.

By context alone, as runs are: only what is done for a client can ask it. Above: `approvers.client`, which
asks, and the servers of a hub, which say whom. Nothing of this is on the wire.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from mcpguard.core.wire import JSONObject

__all__ = ["Elicit", "asker", "client_asked"]

Elicit: TypeAlias = Callable[[JSONObject], Awaitable[JSONObject]]
"""Sends the parameters of an `elicitation/create`, and returns its result; raises if there is none."""

_client: ContextVar[Elicit | None] = ContextVar("mcpguard_client_asked", default=None)


@contextmanager
def client_asked(by: Elicit | None) -> Generator[None]:
    """What is done inside is done for a client that is asked by this; None: for one that cannot be."""
    before = _client.set(by)
    try:
        yield
    finally:
        _client.reset(before)


def asker() -> Elicit | None:
    """How the client is asked that the call here and now is made for; None if there is none."""
    return _client.get()
