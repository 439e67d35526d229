"""Requests under way at a transport, and who waits for which answer.

An answer is handed over once. A second one to the same request, and one that comes when nobody wants it any
more, is dropped: it would reach the other side past the filters.

Above: `outgoing` and `incoming`.
"""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Generic, TypeVar

import anyio

from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.wire import JSONObject
from mcpguard.seams.messages import Key, error, id_key

__all__ = ["GONE", "LOST", "MAX_UNDER_WAY", "Answers", "Exchange", "Exchanges", "failed"]

_log = logging.getLogger("mcpguard")

MAX_UNDER_WAY: Final = 10_000
"""Requests of one connection and direction that may be under way; 1.x tells nobody when it gives one up."""

MAX_SETTLED: Final = 1024
"""Ids remembered after their answer has come or is no longer wanted."""

GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a stream raises whose other end is closed; what was to be sent was not taken."""

LOST: Final = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT)
"""What came of a request whose answer can no longer come."""

_FAILED: Final = WireError(-32603, "The guard failed")

_Waiter = TypeVar("_Waiter")


class Exchange:
    """One request that runs through a chain, from its arrival to its answer.

    Args:
        id: The id under which it came.
        method: Its method.
    """

    __slots__ = ("id", "is_abandoned", "method", "stop", "was_sent", "wire_id")

    def __init__(self, id: Key, method: str) -> None:
        self.id = id
        self.method = method
        self.stop: Callable[[], object] | None = None
        """Ends its chain where that stands."""
        self.is_abandoned = False
        self.was_sent = False
        self.wire_id: Key | None = None
        """Its id on the other side, while an answer is awaited from there."""

    def abandon(self) -> None:
        """End it unanswered."""
        self.is_abandoned = True
        if self.stop is not None:
            self.stop()


class Exchanges:
    """The requests under way in one direction, by the id under which they came."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: OrderedDict[Key | None, Exchange] = OrderedDict()

    def __contains__(self, id: object) -> bool:
        return id_key(id) in self._by_key

    def add(self, exchange: Exchange) -> Exchange | None:
        """Keep track of `exchange`; the one that had to make room for it, which ends unanswered."""
        key = id_key(exchange.id)
        out = self._by_key.pop(key, None)
        if out is None and len(self._by_key) >= MAX_UNDER_WAY:
            out = self._by_key.popitem(last=False)[1]
            _log.warning("more than %d requests under way; the oldest, %s, ends", MAX_UNDER_WAY, out.method)
        self._by_key[key] = exchange
        if out is not None:
            out.abandon()
        return out

    def cancel(self, params: JSONObject) -> JSONObject | None:
        """End the request that a `notifications/cancelled` names.

        Returns:
            The notification's parameters as they go on; None if the other side does not know the request.
        """
        exchange = self._by_key.pop(id_key(params.get("requestId")), None)
        if exchange is None:
            return params
        wire_id = exchange.wire_id
        exchange.abandon()
        if wire_id is None or wire_id == params["requestId"]:
            return None if wire_id is None else params
        return {**params, "requestId": wire_id}

    def remove(self, exchange: Exchange) -> None:
        """It is over."""
        key = id_key(exchange.id)
        if self._by_key.get(key) is exchange:
            del self._by_key[key]

    def end(self) -> None:
        """End all of them unanswered."""
        while self._by_key:
            self._by_key.popitem()[1].abandon()


class Answers(Generic[_Waiter]):
    """Who waits for the answers from one side."""

    __slots__ = ("_numbers", "_prefix", "_settled", "_waiters")

    def __init__(self) -> None:
        self._prefix = f"mcpguard-{secrets.token_hex(8)}-"
        self._numbers = count(1)
        self._waiters: dict[Key | None, _Waiter] = {}
        self._settled: OrderedDict[Key | None, None] = OrderedDict()

    def new_id(self) -> str:
        """An id that the other side cannot have used before."""
        return f"{self._prefix}{next(self._numbers)}"

    def expect(self, id: Key, waiter: _Waiter) -> None:
        """Let `waiter` have the answer to `id`."""
        self._waiters[id_key(id)] = waiter

    def claim(self, id: Key | None) -> _Waiter | None:
        """Whoever waits for the answer to `id`, which has come; they do not wait any more."""
        key = id_key(id)
        waiter = self._waiters.pop(key, None)
        if waiter is not None:
            self._settle(key)
        return waiter

    def forget(self, id: Key, waiter: _Waiter) -> None:
        """`waiter` does not want the answer to `id` any more."""
        key = id_key(id)
        if self._waiters.get(key) is waiter:
            del self._waiters[key]
            self._settle(key)

    def is_stale(self, id: Key | None) -> bool:
        """Whether an answer to `id` is one too many, or too late."""
        key = id_key(id)
        return key in self._settled or (isinstance(key, str) and key.startswith(self._prefix))

    def give_up(self) -> list[_Waiter]:
        """Whoever waits for any answer; none will come."""
        waiters = list(self._waiters.values())
        self._waiters.clear()
        return waiters

    def _settle(self, key: Key | None) -> None:
        self._settled[key] = None
        if len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)


def failed(exchange: Exchange, cause: Exception) -> Any:
    """The answer to a request that could not be carried out, for a fault of our own."""
    _log.error("%s could not be carried out: %s", exchange.method, type(cause).__name__)
    return error(exchange.id, _FAILED)
