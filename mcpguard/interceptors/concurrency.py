"""Limit how many calls a server, or a tool, is asked at the same time; the rest wait in line, not for long.

Slots are this process's. A place in the line is taken in the order of arrival, and given back by whoever
leaves it, also by being cancelled. How fast calls are made is `RateLimit`'s business.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, Unpack

import anyio
import anyio.lowlevel

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.wire import JSON

__all__ = ["Concurrency"]

MAX_LINES: Final = 4096
"""Servers or tools whose slots are remembered while none is in use."""

_BUSY: Final = "This tool is busy with other calls."


class Concurrency(Interceptor):
    """Let only so many calls be under way at once; let some wait, and deny the others.

    Args:
        slots: Calls under way at once. At least 1.
        per: `server`, or `tool` for slots for each tool of a server; each tenant has its own.
        queue: Calls that may wait for a slot. 0: none waits.
        max_wait: Seconds a call may wait for a slot.
        servers: Limit only calls to these servers; names or globs. Empty: all.
        tools: Limit only calls of these tools; names or globs. Empty: all.

    Raises:
        ValueError: If a number is out of range, or `per` is another word.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.CONCURRENCY
    waits = True

    def __init__(
        self,
        *,
        slots: int,
        per: Literal["server", "tool"] = "server",
        queue: int = 100,
        max_wait: float = 30.0,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if slots < 1:
            raise ValueError(f"slots is at least 1, not {slots}")
        if queue < 0:
            raise ValueError(f"queue is at least 0, not {queue}")
        if not 0 < max_wait < 1e9:
            raise ValueError(f"max_wait is seconds, above 0, not {max_wait}")
        if per not in ("server", "tool"):
            raise ValueError(f"per is 'server' or 'tool', not {per!r}")
        self._slots = slots
        self._is_per_tool = per == "tool"
        self._queue = queue
        self._max_wait = max_wait
        self.waits = queue > 0
        self._scope = Scope(servers=servers, tools=tools)
        self._limits_all = not (servers or tools)
        self._lines: OrderedDict[tuple[str | None, str, str | None], _Line] = OrderedDict()
        self._lock = threading.Lock()

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Take a slot, or wait for one; give it to the next in line."""
        if not (self._limits_all or self._scope.match(call) is Match.YES):
            return await call_next(call)
        line = self._line(call)
        with self._lock:
            place = self._enter(line, may_wait=call.enforced)
        if place is None:
            return self._denied(call, "every slot is taken, and so is every place in the line")
        try:
            if place.is_first or await self._waited(line, place):
                return await call_next(call)
        finally:
            self._leave(line, place)
        return self._denied(call, f"no slot came free in {self._max_wait:g} s")

    def status(self) -> Mapping[str, JSON]:
        """Slots in use and calls in line."""
        with self._lock:
            lines: list[JSON] = [
                {
                    "server": server,
                    "tool": tool,
                    "tenant": tenant,
                    "in_use": line.in_use,
                    "waiting": len(line.waiting),
                }
                for (tenant, server, tool), line in self._lines.items()
                if line.in_use
            ]
        return {"slots": self._slots, "lines": lines}

    def _line(self, call: Call) -> "_Line":
        tenant = None if call.principal is None else call.principal.tenant
        key = (tenant, call.server, call.target if self._is_per_tool else None)
        with self._lock:
            line = self._lines.get(key)
            if line is None:
                if len(self._lines) >= MAX_LINES:
                    for other in [one for one, idle in self._lines.items() if not idle.in_use]:
                        del self._lines[other]
                line = self._lines[key] = _Line()
        return line

    def _enter(self, line: "_Line", *, may_wait: bool) -> "_Place | None":
        """A slot, or a place in the line, or None if there is neither. The lock is held."""
        place = _Place()
        if line.in_use < self._slots:
            line.in_use += 1
            place.is_first = True
            return place
        if not may_wait or len(line.waiting) >= self._queue:
            return None
        place.turn = _Turn()
        line.waiting.append(place)
        return place

    async def _waited(self, line: "_Line", place: "_Place") -> bool:
        """Whether a slot came in time."""
        turn = place.turn
        if turn is None:
            return True
        with anyio.move_on_after(self._max_wait):
            await turn.wait()
        with self._lock:
            return place.is_first

    def _leave(self, line: "_Line", place: "_Place") -> None:
        """Hand the slot to the next in line, or leave the line."""
        with self._lock:
            if not place.is_first:
                line.waiting.remove(place)
                return
            if not line.waiting:
                line.in_use -= 1
                return
            following = line.waiting.popleft()
            following.is_first = True
        if following.turn is not None:
            following.turn.come()

    def _denied(self, call: Call, reason: str) -> Result:
        return call.denied(
            code="too_many_calls",
            reason=f"{self._slots} calls are under way: {reason}",
            message=f"{_BUSY} Try again when other calls have ended.",
        )


class _Line:
    """The slots of one server or tool."""

    __slots__ = ("in_use", "waiting")

    def __init__(self) -> None:
        self.in_use = 0
        self.waiting: deque[_Place] = deque()


class _Place:
    """One call in a line."""

    __slots__ = ("is_first", "turn")

    def __init__(self) -> None:
        self.is_first = False
        """Whether it has a slot."""
        self.turn: _Turn | None = None


class _Turn:
    """Wakes one waiting call, from whichever thread or event loop the slot comes."""

    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._token = anyio.lowlevel.current_token()

    async def wait(self) -> None:
        await self._event.wait()

    def come(self) -> None:
        """Wake it; at once, or as soon as its own event loop gets to it."""
        if anyio.lowlevel.current_token() == self._token:
            self._event.set()
            return
        native: Any = self._token.native_token
        soon = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
        with suppress(RuntimeError):  # its event loop has ended, and with it whoever waited
            soon(self._event.set)
