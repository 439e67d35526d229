"""One logical call that passes two guards: one around a client of a hub, one around a server behind it.

The guard further out leaves word of its call where it sends it; the hub's server takes it up when it forwards
that very call, and the guard further in then gives its own the same id, by which rules that count know it.
Everything is by context: nothing of this is on the wire, so that nobody outside can claim to be nested. What
is left is taken once, and what is taken up counts for one call: what a tool calls by itself is its own.

Above: `seams.connection` and the servers of a hub.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from mcpguard.core.call import Call
from mcpguard.core.interceptor import Wire
from mcpguard.core.result import Result
from mcpguard.core.wire import JSONObject

__all__ = ["Nesting", "announced", "continued", "taken_up"]


@dataclass(slots=True)
class _Word:
    """Of a call that is being sent."""

    id: str
    method: str
    target: str | None
    arguments: JSONObject
    is_taken: bool = False


class Nesting:
    """Whether anything in this process forwards calls, so that others pay nothing for it."""

    is_possible = False


_sent: ContextVar[_Word | None] = ContextVar("mcpguard_sent", default=None)
_forwarded: ContextVar[_Word | None] = ContextVar("mcpguard_forwarded", default=None)


def announced(wire: Wire) -> Wire:
    """`wire`, with word left of each call that is sent."""

    async def sent(call: Call) -> Result:
        before = _sent.get()
        _sent.set(_Word(call.id, call.method, call.target, call.arguments))
        try:
            return await wire(call)
        finally:
            _sent.set(before)

    return sent


@contextmanager
def taken_up(method: str, target: str, arguments: JSONObject) -> Generator[None]:
    """Forward, inside, the call that was just sent, if this is the one."""
    word = _sent.get()
    if (
        word is None
        or word.is_taken
        or (word.method, word.target) != (method, target)
        or dict(word.arguments) != dict(arguments)
    ):
        word = None
    else:
        word.is_taken = True
    before = _forwarded.get(), _sent.get()
    _forwarded.set(None if word is None else _Word(word.id, method, target, arguments))
    _sent.set(None)
    try:
        yield
    finally:
        _forwarded.set(before[0])
        _sent.set(before[1])


def continued(method: str) -> str | None:
    """The id of the call that is forwarded here and now; once."""
    word = _forwarded.get()
    if word is None or word.is_taken or word.method != method:
        return None
    word.is_taken = True
    return word.id
