"""The answer to a call, wire-shaped, with what kind of answer it is and how far the call got.

Breakers, retries, budgets, metrics and audit read `outcome` and `fate`; nobody derives them again from
exceptions or error codes. Seams alone turn a result into what the SDK's caller expects.
"""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from typing import Final, Self, TypedDict, Unpack

from mcpguard.core.plain import plain
from mcpguard.core.wire import JSON, JSONObject, mutable_copy

__all__ = ["DENIED_CODE", "Denial", "Fate", "Outcome", "Result", "WireError", "check_texts"]

DENIED_CODE = -31403
"""JSON-RPC code of a denial that is answered with an error; outside the range JSON-RPC 2.0 reserves."""


@plain
class Outcome(StrEnum):
    """What kind of answer a result is."""

    OK = "ok"
    TOOL_ERROR = "tool_error"
    """The tool ran and said `isError`."""
    DENIED = "denied"
    """An interceptor, or the guard itself, refused."""
    PROTOCOL_ERROR = "protocol_error"
    """The server answered with a JSON-RPC error; `error.code` tells which."""
    TIMEOUT = "timeout"
    """The caller's time for the answer ran out."""
    TRANSPORT_ERROR = "transport_error"
    """The connection failed."""
    INPUT_REQUIRED = "input_required"
    """The server wants input before it goes on (MCP 2026-07-28); a further round follows."""


@plain
class Fate(StrEnum):
    """How far the message got."""

    NOT_SENT = "not_sent"
    SENT = "sent"
    """It left; whether it was executed is unknown."""
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class WireError:
    """A JSON-RPC error object."""

    code: int
    message: str = field(repr=False)
    data: JSON = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a call was refused: one text for the operator, one for the model.

    Args:
        code: Stable snake_case code.
        reason: For the operator.
        message: For the model.
        retry_after: Seconds, or None.
        source: Name of the interceptor, or `guard` for the guard itself.
    """

    code: str
    _: KW_ONLY
    reason: str
    message: str
    retry_after: float | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        check_texts(self.code, self.reason, self.message, self.retry_after)


def check_texts(code: str, reason: str, message: str | None, retry_after: float | None) -> None:
    """Refuse what cannot be told of a refusal: whoever made it up is at fault, and fails there.

    Raises:
        TypeError: If something is no text, or `retry_after` is no number.
        ValueError: If `code` is empty, or `retry_after` is negative or not finite.
    """
    if not (isinstance(code, str) and isinstance(reason, str) and isinstance(message, str | None)):
        raise TypeError("a refusal's code, reason and message are text")
    if not code:
        raise ValueError("a refusal's code must not be empty")
    if retry_after is None:
        return
    if not isinstance(retry_after, int | float) or isinstance(retry_after, bool):
        raise TypeError(f"retry_after is seconds, not a {type(retry_after).__name__}")
    if not math.isfinite(retry_after) or retry_after < 0:
        raise ValueError("retry_after is a finite number of seconds, at least 0")


class _Changes(TypedDict, total=False):
    outcome: Outcome
    fate: Fate
    value: JSONObject | None
    error: WireError | None
    denial: Denial | None
    cause: Exception | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One answer.

    Args:
        outcome: What kind of answer this is.
        fate: How far the message got.
        value: The wire-shaped result, for `ok`, `tool_error` and `input_required`.
        error: The server's JSON-RPC error, for `protocol_error`; for `transport_error` where a transport
            reports it as one, which a server can do, too.
        denial: Why, for `denied`.
        cause: The exception the SDK raised, kept so that a seam can raise the very same one again.
    """

    outcome: Outcome
    fate: Fate
    value: JSONObject | None = field(default=None, repr=False)
    error: WireError | None = None
    denial: Denial | None = None
    cause: Exception | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, value: JSONObject) -> Self:
        """The result a server answered with `value`; its outcome is read from the value."""
        outcome = Outcome.OK
        if value.get("isError") is True:
            outcome = Outcome.TOOL_ERROR
        elif value.get("resultType") == "input_required":
            outcome = Outcome.INPUT_REQUIRED
        result = _new(cls)
        _fill(result, {"outcome": outcome, "fate": Fate.ANSWERED, "value": value})
        return result

    @classmethod
    def denied(cls, denial: Denial, *, fate: Fate = Fate.NOT_SENT) -> Self:
        """A refusal. `fate` says how far the call had got when it was refused."""
        return cls(outcome=Outcome.DENIED, fate=fate, denial=denial)

    @property
    def is_whole(self) -> bool:
        """Whether it holds what its outcome says: the value, the error or the denial."""
        if not isinstance(self.denial, Denial | None):
            return False
        if self.outcome is Outcome.DENIED:
            return self.denial is not None
        if self.outcome is Outcome.PROTOCOL_ERROR:
            return isinstance(self.error, WireError)
        if self.outcome in (Outcome.TIMEOUT, Outcome.TRANSPORT_ERROR):
            return True
        return isinstance(self.value, Mapping)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the refusal may lapse, if it said so."""
        return None if self.denial is None else self.denial.retry_after

    def replace(self, **changes: Unpack[_Changes]) -> "Result":
        """A copy with some members changed.

        A new `value` gets the outcome it states, and takes the place of an error or a refusal; a new `error`
        is no longer the one the SDK raised.
        """
        value = changes.get("value")
        if value is not None and "outcome" not in changes:
            changes["outcome"] = Result.of(value).outcome
            changes = {"error": None, "denial": None, **changes}
        if "error" in changes:
            changes.setdefault("cause", None)
        return replace(self, **changes)

    def copy(self) -> "Result":
        """A copy that shares nothing mutable with this one; the SDK's exception stays with the original."""
        value = mutable_copy(self.value)
        error = self.error
        copy = _new(Result)
        _fill(
            copy,
            {
                "outcome": self.outcome,
                "fate": self.fate,
                "value": value if isinstance(value, Mapping) else None,
                "error": None if error is None else replace(error, data=mutable_copy(error.data)),
                "denial": self.denial,
            },
        )
        return copy


_new: Final = object.__new__
_fill: Final = Result.__dict__["__dict__"].__set__
"""Fills a result in one step: its class refuses to be set member by member, and going round that is slow."""
