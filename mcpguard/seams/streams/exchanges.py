"""Requests under way at a transport, and who waits for which answer.

An answer is handed over once. A second one to the same request, and one that comes when nobody wants it any
more, is dropped: it would reach the other side past the filters.

Above: `outgoing` and `incoming`.
"""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any, Final, Generic, TypeVar

import anyio

from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.seams.course import Course
from mcpguard.seams.messages import Key, error, id_key, result_of
from mcpguard.seams.streams.listings import Called

__all__ = [
    "GONE",
    "LOST",
    "MAX_UNDER_WAY",
    "Answers",
    "Asked",
    "Exchange",
    "Exchanges",
    "failed",
    "untaken",
]

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

_E = TypeVar("_E", bound="Exchange")


class Exchange:
    """One request that runs through a chain, from its arrival to its answer.

    Args:
        item: The message that brought it.
        body: The request in it.
    """

    __slots__ = (
        "answer",
        "arrived",
        "context",
        "course",
        "given",
        "id",
        "is_abandoned",
        "item",
        "method",
        "result",
        "scope",
        "waits_in",
        "wire_id",
    )

    def __init__(self, item: Any, body: Any) -> None:
        self.item = item
        self.id: Key = body.id
        self.method: str = body.method
        self.given: JSONObject = EMPTY if body.params is None else body.params
        self.is_abandoned = False
        self.course: Course | None = None
        """Its chain, if that runs in steps."""
        self.scope: anyio.CancelScope | None = None
        """Around the task it has otherwise."""
        self.waits_in: Answers[Any] | None = None
        """Where an answer from the other side is awaited, if it is."""
        self.wire_id: Key | None = None
        """Its id on the other side, as long as it waits."""
        self.arrived: Callable[[], object] = _nobody_waits
        """Tells the task that waits for the answer that it has come."""
        self.answer: Any = None
        """The message that brought the answer."""
        self.context: Context | None = None
        """The context of whoever sent the answer, where the transport tells."""
        self.result = LOST
        """What came of it on the other side."""

    def abandon(self) -> None:
        """End it unanswered."""
        self.is_abandoned = True
        if self.waits_in is not None:
            self.waits_in.forget(self)
        if self.course is not None:
            self.course.close()
        if self.scope is not None:
            self.scope.cancel()


class Asked(Exchange):
    """A request of the client's."""

    __slots__ = ("called", "is_sdks_own", "was_sent")

    def __init__(self, item: Any, body: Any) -> None:
        super().__init__(item, body)
        self.was_sent = False
        self.called: Called | None = None
        """Set where it calls a tool."""
        self.is_sdks_own = False
        """Whether it lists tools for the SDK itself."""


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
            _log.warning(
                "more than %d requests under way; the oldest, %.64r, ends", MAX_UNDER_WAY, out.method
            )
        self._by_key[key] = exchange
        if out is not None:
            out.abandon()
        return out

    def cancel(self, params: JSONObject) -> tuple[Exchange | None, JSONObject | None]:
        """End the request that a `notifications/cancelled` names.

        Returns:
            The request, if it was under way; and the notification's parameters as they go on, or None if the
            other side does not know the request.
        """
        exchange = self._by_key.pop(id_key(params.get("requestId")), None)
        if exchange is None:
            return None, params
        wire_id = exchange.wire_id
        exchange.abandon()
        if wire_id is None or wire_id == params["requestId"]:
            return exchange, None if wire_id is None else params
        return exchange, {**params, "requestId": wire_id}

    def remove(self, exchange: Exchange) -> None:
        """It is over."""
        key = id_key(exchange.id)
        if self._by_key.get(key) is exchange:
            del self._by_key[key]

    def end(self) -> None:
        """End all of them unanswered."""
        while self._by_key:
            self._by_key.popitem()[1].abandon()


class Answers(Generic[_E]):
    """Which requests wait for an answer from one side, by the ids they were sent with."""

    __slots__ = ("_numbers", "_prefix", "_settled", "_waiting")

    def __init__(self) -> None:
        self._prefix = f"mcpguard-{secrets.token_hex(8)}-"
        self._numbers = count(1)
        self._waiting: dict[Key | None, _E] = {}
        self._settled: OrderedDict[Key | None, None] = OrderedDict()

    def new_id(self) -> str:
        """An id that the other side cannot have used before."""
        return f"{self._prefix}{next(self._numbers)}"

    def expect(self, exchange: _E, wire_id: Key) -> None:
        """`exchange` is sent with `wire_id`, and waits for the answer."""
        exchange.waits_in, exchange.wire_id = self, wire_id
        exchange.answer = exchange.context = None
        exchange.result = LOST
        self._waiting[id_key(wire_id)] = exchange

    def take(self, item: Any, body: Any, context: Context | None) -> _E | None:
        """The request to which this is the answer; it waits no longer."""
        exchange = self._waiting.get(id_key(body.id))
        if exchange is not None:
            self.forget(exchange)
            exchange.answer, exchange.context, exchange.result = item, context, result_of(body)
        return exchange

    def is_stale(self, id: Key | None) -> bool:
        """Whether an answer to `id` is one too many, or too late."""
        key = id_key(id)
        return key in self._settled or (isinstance(key, str) and key.startswith(self._prefix))

    def let_pass(self, id: Key) -> None:
        """A request that meets no chain is sent with `id`: its answer is not one too many."""
        self._settled.pop(id_key(id), None)

    def forget(self, exchange: _E) -> None:
        """`exchange` waits no longer."""
        key = id_key(exchange.wire_id)
        exchange.waits_in = exchange.wire_id = None
        if self._waiting.get(key) is exchange:
            del self._waiting[key]
            self._settled[key] = None
            if len(self._settled) > MAX_SETTLED:
                self._settled.popitem(last=False)

    def lose(self) -> list[_E]:
        """Whatever waits; there will be no more answers."""
        lost = list(self._waiting.values())
        for exchange in lost:
            self.forget(exchange)
        return lost


def untaken(error: Exception) -> Result:
    """What came of a request that the transport did not take."""
    fate = Fate.NOT_SENT if isinstance(error, GONE) else Fate.SENT
    return Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=error)


def _nobody_waits() -> None: ...


def failed(exchange: Exchange, cause: Exception) -> Any:
    """The answer to a request that could not be carried out, for a fault of our own."""
    _log.error("%s could not be carried out: %s", exchange.method, type(cause).__name__)
    return error(exchange.id, _FAILED)
