"""Watchers: interceptors that see calls come and go, and take no part in them.

A watcher stands outside the record, so that what it binds (a span) is there when the first event is made. It
is told of a call, of each attempt to send it, and at once of what is decided meanwhile, also where nothing is
recorded. It cannot change, hold or refuse anything; one that fails is logged, and the call goes on. While it
is not awake, a call does not meet it at all.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Protocol, TypeVar

from mcpguard.core.call import Call
from mcpguard.core.events import Kind
from mcpguard.core.interceptor import Frame, Interceptor, Wire
from mcpguard.core.line import Line
from mcpguard.core.result import Result
from mcpguard.core.wire import JSONObject

__all__ = ["Watch", "Watcher", "watched"]

T = TypeVar("T")

_log: Final = logging.getLogger("mcpguard")


class Watch(Protocol):
    """What a watcher keeps of one call. All is called in the task of the call, and must be quick."""

    def sends(self, call: Call, /) -> JSONObject:
        """The call goes out, once for each attempt.

        Returns:
            Members that go into its `_meta`; one that is None is taken out of it.
        """
        ...

    def went(self, request_id: str | int | None, line: Line, /) -> None:
        """The attempt is a request on a line now; a seam that does not know its id says None."""
        ...

    def returned(self, result: Result | None, /) -> None:
        """What came of the attempt; None if it was cancelled."""
        ...

    def ended(self, result: Result | None, /) -> None:
        """What the caller gets; None if it was cancelled."""
        ...


class Watcher(Interceptor):
    """The base of what watches calls. Override `watch`, and `heard` or `changed` if they matter."""

    is_awake: Callable[[], bool] = staticmethod(lambda: True)
    """Whether there is anything to do at the moment; asked for every call, so it must be very quick."""

    def watch(self, call: Call, asked: str | None) -> Watch:
        """A call begins.

        Args:
            call: As records show it: aimed at what the server itself calls it.
            asked: The target by the name that the agent used.
        """
        raise NotImplementedError

    def heard(self, kind: Kind, call: Call, details: Mapping[str, object]) -> None:
        """Something was decided or seen about a call.

        Args:
            kind: As of an event, but none of those that frame a request.
            call: Which call.
            details: Members of the event.
        """

    def changed(self, details: Mapping[str, object]) -> None:
        """What an interceptor keeps has changed: the members of a `state_changed` event."""


def watched(watcher: Watcher, inner: Frame, aimed: Callable[[Call], Call]) -> Frame:
    """The outermost link of a chain, with a watcher at it.

    Args:
        watcher: Is told.
        inner: What it watches.
        aimed: The call as records show it.
    """
    is_awake = watcher.is_awake

    async def watching(call: Call, wire: Wire) -> Result:
        watch = _told(lambda: watcher.watch(aimed(call), call.target))
        if watch is None:
            return await inner(call, wire)
        result: Result | None = None
        try:
            result = await inner(call, _attempting(watch, wire))
            return result
        finally:
            _told(lambda: watch.ended(result))

    def run(call: Call, wire: Wire) -> Coroutine[None, None, Result]:
        """A plain function: a watcher that sleeps costs one call, and adds no frame to what is awaited."""
        return watching(call, wire) if is_awake() else inner(call, wire)

    return run


def _attempting(watch: Watch, wire: Wire) -> Wire:
    """`wire`, with `watch` told of each attempt."""

    async def attempt(call: Call) -> Result:
        def went(request_id: str | int | None, line: Line) -> None:
            _told(lambda: watch.went(request_id, line))

        carried = _told(lambda: watch.sends(call))
        result: Result | None = None
        try:
            sent = call.carrying(carried) if carried else call
            result = await wire(sent.telling(went))
            return result
        finally:
            _told(lambda: watch.returned(result))

    return attempt


def _told(tell: Callable[[], T]) -> T | None:
    """What a watcher says; None where it fails, which never fails the call."""
    try:
        return tell()
    except Exception as error:  # noqa: BLE001 - who only watches decides nothing, by failing neither
        _log.warning("a watcher failed with %s", type(error).__name__)
        return None
