"""Limit how many calls a server, or a tool, is asked at the same time; the rest wait in line, not for long.

Slots are this process's. A place in the line is taken in the order of arrival, and given back by whoever
leaves it, also by being cancelled. How fast calls are made is `RateLimit`'s business.
"""

import threading
from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias, Unpack

import anyio

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.wire import JSON
from mcpguard.detectors.slots import Place as Slot
from mcpguard.detectors.slots import Slots
from mcpguard.stores.turn import Turn

__all__ = ["Concurrency"]

_Key: TypeAlias = tuple[str | None, str, str | None]
"""Tenant, server, and the tool where each has slots of its own."""

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
        roles: Limit only calls of principals with one of these roles. Empty: all.
        tenants: Limit only calls of these tenants; names or globs. Empty: all.
        agents: Limit only calls of these agents; names or globs. Empty: all.

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
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not slots >= 1:
            raise ValueError(f"slots is at least 1, not {slots}")
        if not queue >= 0:
            raise ValueError(f"queue is at least 0, not {queue}")
        if not 0 < max_wait < 1e9:
            raise ValueError(f"max_wait is seconds, above 0, not {max_wait}")
        if per not in ("server", "tool"):
            raise ValueError(f"per is 'server' or 'tool', not {per!r}")
        self._limit = slots
        self._is_per_tool = per == "tool"
        self._max_wait = max_wait
        self.waits = queue > 0
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._slots: Slots[_Key, Turn] = Slots(slots, queue)
        self._under_way: set[str] = set()
        self._lock = threading.RLock()
        """One that its owner may take again: a call that nobody awaits any more leaves while garbage is
        collected, wherever the collecting thread then is."""

    def take_over(self, before: Interceptor, /) -> None:
        """Go on with the slots that are taken and the line, where the slots are those of the same things."""
        if isinstance(before, Concurrency) and self._is_per_tool == before._is_per_tool:
            self._slots.take_over(before._slots)
            self._lock = before._lock

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Take a slot, or wait for one; give it to the next in line."""
        if call.is_nested and call.id in self._under_way:  # it has a slot, at a guard further out
            return await call_next(call)
        if not self._scope.matches_all:
            match = self._scope.match(call)
            if match is Match.NO:
                return await call_next(call)
            if match is Match.NO_PRINCIPAL:
                return call.denied(code="no_principal", reason="whose slots these are depends on who calls")
        tenant = None if call.principal is None else call.principal.tenant
        key = (tenant, call.server, call.target if self._is_per_tool else None)
        with self._lock:
            admitted = self._slots.admit(key)
            slot = self._slots.enter(key, may_wait=call.enforced)
            if slot is not None and not slot.has_slot:
                slot.turn = Turn()
        for one in admitted:
            self._wake(one)
        if slot is None:
            return self._denied(call, "every slot is taken, and so is every place in the line")
        try:
            if slot.has_slot or (slot.turn is not None and await self._waited(slot, slot.turn)):
                self._under_way.add(call.id)
                return await call_next(call)
        finally:
            self._under_way.discard(call.id)
            self._leave(slot)
        return self._denied(call, f"no slot came free in {self._max_wait:g} s")

    def status(self) -> Mapping[str, JSON]:
        """Slots in use and calls in line."""
        with self._lock:
            known = list(self._slots.lines())
        lines: list[JSON] = [
            {"server": server, "tool": tool, "tenant": tenant, "in_use": in_use, "waiting": waiting}
            for (tenant, server, tool), in_use, waiting in known
        ]
        return {"slots": self._limit, "lines": lines}

    async def _waited(self, slot: "Slot[_Key, Turn]", turn: Turn) -> bool:
        """Whether the slot came in time."""
        with anyio.move_on_after(self._max_wait):
            await turn.wait()
        with self._lock:
            return slot.has_slot

    def _leave(self, slot: "Slot[_Key, Turn]") -> None:
        """Hand the slot to the next in line who is still there, or leave the line."""
        with self._lock:
            following = self._slots.leave(slot)
        if following is not None:
            self._wake(following)

    def _wake(self, slot: "Slot[_Key, Turn] | None") -> None:
        """Tell one who waits of the slot it has; if nobody is there any more, the next."""
        while slot is not None and slot.turn is not None and not slot.turn.come():
            with self._lock:
                slot = self._slots.leave(slot)

    def _denied(self, call: Call, reason: str) -> Result:
        return call.denied(
            code="too_many_calls",
            reason=f"{self._limit} calls are under way: {reason}",
            message=f"{_BUSY} Try again when other calls have ended.",
        )
