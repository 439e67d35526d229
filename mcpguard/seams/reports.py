"""Errors that the guard makes up in the place of an answer; they know how far the call got.

A server cannot write one: a report is told by its class, which nothing that was parsed has. What an HTTP
answer is replaced with has to pass through the SDK's parser; it carries a mark of this process, and becomes a
report where it comes out.

Above: whatever reads errors of the SDK. Below: `core.result`.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from mcpguard.core.result import Fate, Outcome, Result, WireError

__all__ = ["MARK", "Report", "Said", "Why", "reported"]

MARK: Final = "mcpguard/mark"
"""The member that carries the mark; removed, whoever wrote it, before anybody sees the error."""

_SECRET: Final = secrets.token_hex(16)

Why: TypeAlias = Literal["answer_timeout", "connection_lost", "not_sent", "http_status", "refused_answer"]

_OUTCOMES: Final[Mapping[Why, Outcome]] = {
    "answer_timeout": Outcome.TIMEOUT,
    "connection_lost": Outcome.TRANSPORT_ERROR,
    "not_sent": Outcome.TRANSPORT_ERROR,
    "http_status": Outcome.PROTOCOL_ERROR,
    "refused_answer": Outcome.PROTOCOL_ERROR,
}
_FATES: Final[Mapping[Why, Fate]] = {
    "answer_timeout": Fate.SENT,
    "connection_lost": Fate.SENT,
    "not_sent": Fate.NOT_SENT,
    "http_status": Fate.ANSWERED,
    "refused_answer": Fate.ANSWERED,
}
_SAID: Final[Mapping[Fate, str]] = {
    Fate.NOT_SENT: "It was not sent.",
    Fate.SENT: "It was sent; whether it was carried out is unknown.",
    Fate.ANSWERED: "The server has answered it.",
}


class Said(str):
    """The message of an error that a server wrote, told from one that the SDK makes up in its place."""

    __slots__ = ()


_CODES: Final[Mapping[Why, int]] = {
    "answer_timeout": -32001,
    "connection_lost": -32000,
    "not_sent": -32000,
    "http_status": -32603,
    "refused_answer": -32700,
}


class Report(dict[str, Any]):
    """The `data` of an error that the guard made up: `why`, `fate`, and what else is known.

    Members beside those: `limit`, the name of the limit that was broken; `status`, `retryAfter` and
    `wwwAuthenticate` of an HTTP answer; `data`, the server's own.
    """

    @classmethod
    def of(cls, why: Why, *, fate: Fate | None = None, **more: object) -> Self:
        """A report; the fate is what `why` implies, unless it is given."""
        known = {name: value for name, value in more.items() if value is not None}
        return cls(why=why, fate=str(fate or _FATES[why]), **known)

    @classmethod
    def taken(cls, data: object) -> Any:
        """The data of an error that was parsed: as a report if this process wrote it, else without a mark."""
        if not isinstance(data, Mapping) or MARK not in data:
            return data
        rest = {name: value for name, value in data.items() if name != MARK}
        is_ours = isinstance(data[MARK], str) and secrets.compare_digest(
            data[MARK].encode("utf-8", "replace"), _SECRET.encode()
        )
        return cls(rest) if is_ours else rest

    @property
    def marked(self) -> dict[str, Any]:
        """As plain data that `taken` knows again."""
        return {**self, MARK: _SECRET}

    @property
    def code(self) -> int:
        """The JSON-RPC code that tells it best; an HTTP status below 500 is the request's fault."""
        if self["why"] == "http_status" and self.get("status", 500) < 500:
            return -32600
        return _CODES[self["why"]]

    def error(self, sentence: str) -> WireError:
        """The error that says `sentence` and how far the call got."""
        return WireError(self.code, f"{sentence} {_SAID[Fate(self['fate'])]}", self)


def reported(told: WireError, cause: Exception | None = None) -> Result | None:
    """The result that an error of the guard's own stands for; None for an error of the server's."""
    data = told.data
    if not isinstance(data, Report):
        return None
    why: Why = data["why"]
    outcome, fate = _OUTCOMES[why], Fate(data["fate"])
    if why == "http_status" and data.get("status", 0) >= 500:
        outcome = Outcome.TRANSPORT_ERROR
    return Result(outcome=outcome, fate=fate, error=told, cause=cause)
