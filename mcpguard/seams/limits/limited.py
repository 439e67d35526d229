"""A transport under limits: the same streams, which end what a server keeps waiting and stop what floods.

Transports of the SDK are replaced by ones that bound what they read before they parse it; of any other,
messages are measured when they arrive.

Above: every seam that has transports. Below: `limited_streams`; `supervised`, what makes a lost one again.
"""

from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any, cast

import anyio

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.line import Line
from mcpguard.seams.limits.limited_streams import LimitedRead, LimitedWrite
from mcpguard.seams.limits.supervised import SupervisedTransport
from mcpguard.seams.limits.watch import Tally, Watch

__all__ = ["LimitedTransport"]


class LimitedTransport:
    """A transport with its streams under limits; entering it enters the transport.

    Args:
        open_it: Makes the transport, given the watch over it; more than once where `can_return`.
        limits: What the server is held to.
        tally: Told of each limit that is hit.
        line: What is known of the line; None for nothing.
        is_parsed_here: Whether the transport parses within the limits.
        can_return: Whether a lost connection can be made again.
    """

    def __init__(
        self,
        open_it: Callable[[Watch], Any],
        limits: ConnectionLimits,
        tally: Tally,
        *,
        line: Line | None = None,
        is_parsed_here: bool = False,
        can_return: bool = False,
    ) -> None:
        self._open_it = open_it
        self._limits = limits
        self._tally = tally
        self._line = Line() if line is None else line
        self._is_parsed_here = is_parsed_here
        self._can_return = can_return
        self._entered: tuple[Any, Watch, anyio.CancelScope] | None = None

    async def __aenter__(self) -> tuple[Any, ...]:
        """What the transport yields, with its two streams under limits."""
        if self._entered is not None:
            raise RuntimeError("this transport is in use; every session needs one of its own")
        watch = Watch(self._limits, self._tally, anyio.current_time, is_parsed_here=self._is_parsed_here)
        watch.line = self._line
        scope = anyio.CancelScope(deadline=anyio.current_time() + self._limits.answer_seconds)
        can_return = self._can_return and self._limits.reconnects > 0
        transport = SupervisedTransport(self._open_it, watch) if can_return else self._open_it(watch)
        scope.__enter__()
        try:
            yielded: Any = await transport.__aenter__()
        except BaseException as error:
            if scope.__exit__(type(error), error, error.__traceback__):
                watch.hit("answer_seconds", "the connection could not be opened in time")
                raise TimeoutError("the connection could not be opened in time") from None
            raise
        scope.deadline = inf
        self._entered = transport, watch, scope
        if scope.cancel_called:  # in the last moment, by a step that could not be interrupted
            await self.__aexit__(None, None, None)
            raise TimeoutError("the connection could not be opened in time")
        if not isinstance(yielded, tuple | list) or len(yielded) < 2:
            return cast("tuple[Any, ...]", yielded)  # whoever guards it says what is wrong
        read, write, *more = yielded
        writer = LimitedWrite(write, watch)
        return (LimitedRead(read, watch, writer), writer, *more)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave the transport; what it leaves undone in time is cancelled."""
        if self._entered is None:
            raise RuntimeError("this transport was never entered")
        transport, watch, scope = self._entered
        self._entered = None
        watch.end("closed")
        scope.deadline = anyio.current_time() + self._limits.close_seconds
        raised: BaseException | None = None
        left: bool | None = None
        try:
            left = await transport.__aexit__(kind, error, trace)
        except BaseException as one:  # noqa: BLE001 - the scope must hear of it
            raised = one
        ended = raised or (None if left else error)
        is_ours = scope.__exit__(
            None if ended is None else type(ended), ended, None if ended is None else ended.__traceback__
        )
        if scope.cancelled_caught:
            watch.hit("close_seconds", "closing the connection took too long")
        if raised is not None and not is_ours:
            raise raised
        return bool(left) or (is_ours and raised is None)
