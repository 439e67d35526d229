"""What an answer says of whoever gave it: alive, failing, asking for less; and whether to ask again.

Read from outcome, fate and error code alone, once, here; breakers and retries go by it.
"""

from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final, Literal, TypeAlias, cast

from mcpguard.core.result import Fate, Outcome, Result

__all__ = ["Health", "asked_to_wait", "health", "was_turned_away"]

Health: TypeAlias = Literal["alive", "failing", "throttled", "neutral"]
"""`throttled`: it is up and wants fewer calls. `neutral`: nothing is known, since it was not really asked."""

INTERNAL_ERROR: Final = -32603
"""JSON-RPC 2.0: the server failed, rather than the request."""

TOO_MANY_REQUESTS: Final = 429
"""RFC 6585, 4: the request was not let in."""

_THROTTLES: Final = frozenset({TOO_MANY_REQUESTS, 503})
_RETRY_AFTER: Final = ("retry_after", "retryAfter", "retry-after")

MAX_CAUSES: Final = 8
"""Exceptions of a chain that are looked at."""


def health(result: Result) -> Health:
    """What `result` says of the server.

    A tool's own error, invalid parameters and unknown methods come from a server that is up.
    """
    match result.outcome:
        case Outcome.OK | Outcome.TOOL_ERROR | Outcome.INPUT_REQUIRED:
            return "alive"
        case Outcome.DENIED:
            return "neutral"
        case Outcome.TIMEOUT:
            return "neutral" if result.fate is Fate.NOT_SENT else "failing"
        case Outcome.TRANSPORT_ERROR:
            return "throttled" if _status(result) in _THROTTLES else "failing"
        case Outcome.PROTOCOL_ERROR:
            if _status(result) in _THROTTLES:
                return "throttled"
            return "failing" if result.error is not None and result.error.code == INTERNAL_ERROR else "alive"


def was_turned_away(result: Result) -> bool:
    """Whether the server says that it did not begin with what it was asked.

    A 503 does not say so: a proxy answers it also for a server that is at work (RFC 9110, 15.6.4).
    """
    return _status(result) == TOO_MANY_REQUESTS


def asked_to_wait(result: Result, now: float) -> float | None:
    """Seconds that the server asked to be left alone for, if it said; `now` is seconds since the epoch.

    From `Retry-After` (RFC 9110, 10.2.3) where the HTTP answer can be reached, else from the error's data.
    """
    data = None if result.error is None else result.error.data
    given: object = None
    if isinstance(data, Mapping):
        given = next((data[name] for name in _RETRY_AFTER if name in data), None)
    for response in _responses(result):
        headers: object = getattr(response, "headers", None)
        if isinstance(headers, Mapping):
            given = cast("Mapping[str, object]", headers).get("retry-after", given)
    return _seconds(given, now)


def _status(result: Result) -> int | None:
    """The HTTP status, where the error says or leads to it."""
    for response in _responses(result):
        status = getattr(response, "status_code", None)
        if isinstance(status, int):
            return status
    error = result.error
    if error is None:
        return None
    if error.code in _THROTTLES:
        return error.code
    data = error.data
    status = data.get("status", data.get("statusCode")) if isinstance(data, Mapping) else None
    return status if isinstance(status, int) else None


def _responses(result: Result) -> Iterator[object]:
    """The HTTP answers in the chain of exceptions behind a result."""
    cause: BaseException | None = result.cause
    for _ in range(MAX_CAUSES):
        if cause is None:
            return
        response = getattr(cause, "response", None)
        if response is not None:
            yield response
        cause = cause.__cause__ or cause.__context__


def _seconds(given: object, now: float) -> float | None:
    if isinstance(given, str):
        try:
            given = (
                float(given) if given.strip().isdecimal() else parsedate_to_datetime(given).timestamp() - now
            )
        except (TypeError, ValueError, OverflowError):
            return None
    if not isinstance(given, int | float) or isinstance(given, bool) or not isfinite(given):
        return None
    return max(0.0, float(given))
