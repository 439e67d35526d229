"""The way of an event to the sinks: each gets it, whatever becomes of the others, and what fails is counted.

A sink never fails a call, unless it is strict. Above: `emitter`, which makes the events. Below: sinks.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Protocol, cast

from mcpguard.core.events import Event, Sink

__all__ = ["Delivery"]

_log = logging.getLogger("mcpguard")


class _Waiting(Protocol):
    async def settle(self) -> None: ...


class Delivery:
    """Hand events to sinks.

    Args:
        sinks: Where every event goes.
        before: The delivery whose place this one takes. What failed is counted together with it, and what
            closes one of them is the end of both.
    """

    def __init__(self, sinks: Sequence[Sink], before: "Delivery | None" = None) -> None:
        self.sinks = tuple(sinks)
        self.failures: dict[str, int] = {} if before is None else before.failures
        """Events and flushes that failed, by the sink's class."""
        self._lock: AbstractContextManager[object] = threading.RLock() if before is None else before._lock
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._closed: threading.Event = threading.Event() if before is None else before._closed
        self._awaited: tuple[tuple[Sink, _Waiting], ...] = tuple(
            (sink, cast("_Waiting", sink)) for sink in self.sinks if getattr(sink, "waits", False)
        )
        self.waits = bool(self._awaited)
        """Whether `settled` has anything to wait for before a call goes out."""

    def send(self, event: Event) -> bool:
        """Give `event` to every sink. False if a strict one did not take it, so that nothing may go out."""
        if self._closed.is_set():
            return not any(getattr(sink, "strict", False) for sink in self.sinks)
        recorded = True
        for sink in self.sinks:
            try:
                sink.emit(event)
            except Exception as error:  # noqa: BLE001 - a sink never fails a call, unless it is strict
                recorded = self._failed(sink, error) and recorded
        return recorded

    async def settled(self) -> bool:
        """Wait for the sinks that ask for it. False if a strict one cannot say that it holds everything."""
        settled = True
        for sink, waiting in self._awaited:
            try:
                await waiting.settle()
            except Exception as error:  # noqa: BLE001 - a sink never fails a call, unless it is strict
                settled = self._failed(sink, error) and settled
        return settled

    async def aclose(self) -> None:
        """Flush and close every sink, once; the first failure is raised after all have been tried."""
        if self._closed.is_set():
            return
        self._closed.set()
        failure = await self.close(self.sinks)
        if failure is not None:
            raise failure

    async def close(self, sinks: Iterable[Sink]) -> Exception | None:
        """Close `sinks`, each of them whatever becomes of the others; the first failure, if there is one."""
        failures: list[Exception] = []

        async def close(sink: Sink) -> None:
            try:
                await sink.aclose()
            except Exception as error:  # noqa: BLE001 - counted, and for the caller to raise
                self._failed(sink, error)
                failures.append(error)

        async with AsyncExitStack() as closing:
            for sink in reversed(tuple(sinks)):
                closing.push_async_callback(close, sink)
        return failures[0] if failures else None

    def _failed(self, sink: Sink, error: Exception) -> bool:
        """Count a failure; whether the call may go on all the same."""
        name = type(sink).__name__
        with self._lock:
            self.failures[name] = self.failures.get(name, 0) + 1
        _log.warning("sink %s failed with %s", name, type(error).__name__)
        return not getattr(sink, "strict", False)
