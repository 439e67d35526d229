"""A call that goes on while its client is asked: the client has an answer that asks for input meanwhile.

A modern client (MCP 2026-07-28) is asked inside results and asks again with what was wanted; a server behind
a hub, or the guard in front, waits for its answer in the middle of a call. So the call runs in a task of
the hub's, and is picked up by the message that continues it: the same request of the same principal, under a
state that holds once and for a bounded time.

Above: `sdk2.server`.
"""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

__all__ = ["MAX_PARKED", "Ask", "Lot", "Parked"]

MAX_PARKED: Final = 256
"""Calls of one hub that may wait; a server's question in a further one is refused."""

MAX_OF_ONE: Final = 64
"""Of these, calls of one principal; and never more than half of what is free: some is left for others."""

_STATE: Final = "mcpguard-hub-"


@dataclass(slots=True)
class Ask:
    """What a server, or a guard, wants to know.

    Args:
        method: What it asks.
        params: The SDK's parameters.
    """

    method: str
    params: Any
    answer: Any = None
    is_answered: anyio.Event = field(default_factory=anyio.Event)


class Parked:
    """One call in a task of its own.

    Args:
        key: What a message must be to continue it.
        wait_for: Seconds it waits for the message that continues it.
        owner: On whose behalf it is made.
    """

    def __init__(self, key: bytes, wait_for: float, owner: Hashable = None) -> None:
        self.key = key
        self.owner = owner
        self._wait_for = wait_for
        self.asks: dict[str, Ask] = {}
        """What the server waits for, by a key that is told to the client."""
        self.result: Any = None
        self.error: Exception | None = None
        self.is_done = False
        self.scope = anyio.CancelScope()
        self._news = anyio.Event()
        self._numbers = 0

    async def run(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Make the call; whatever comes of it is kept."""
        try:
            with self.scope:
                self.result = await work()
                return
            self.error = TimeoutError("nobody answered what the server asked")
        except Exception as error:  # noqa: BLE001 - raised to whoever waits
            self.error = error
        finally:
            self.is_done = True
            for ask in self.asks.values():
                ask.is_answered.set()
            self._news.set()

    async def ask(self, method: str, params: Any) -> Any:
        """What the client answers to a question of the server's, in a message to come; None if none."""
        self._numbers += 1
        key, ask = f"hub-{self._numbers}", Ask(method, params)
        self.asks[key] = ask
        self._news.set()
        try:
            with anyio.move_on_after(self._wait_for):
                await ask.is_answered.wait()
                return ask.answer
        finally:
            self.asks.pop(key, None)
        self.scope.cancel()
        return None

    def answer(self, given: Mapping[str, Any]) -> None:
        """Hand on what the client has answered."""
        for key in list(self.asks):
            if key in given:
                ask = self.asks.pop(key)
                ask.answer = given[key]
                ask.is_answered.set()

    async def news(self) -> None:
        """Wait until the call is done, or the server wants to know something."""
        while not (self.is_done or self.asks):
            self._news = anyio.Event()
            await self._news.wait()


class Lot:
    """The calls of one hub that wait for the message that continues them."""

    def __init__(self) -> None:
        self._parked: OrderedDict[str, Parked] = OrderedDict()

    def park(self, parked: Parked) -> str | None:
        """The state under which it is taken again; None if there is no room."""
        for state, one in list(self._parked.items()):
            if one.is_done:
                del self._parked[state]
        owned = sum(one.owner == parked.owner for one in self._parked.values())
        free = MAX_PARKED - len(self._parked)
        if owned >= min(MAX_OF_ONE, free // 2):
            return None
        state = _STATE + secrets.token_hex(16)
        self._parked[state] = parked
        return state

    def has(self, state: str) -> bool:
        """Whether a call waits under `state`."""
        parked = self._parked.get(state)
        return parked is not None and not parked.is_done

    def take(self, state: str, key: bytes) -> Parked | None:
        """The call that waits under `state` for this very message; once."""
        parked = self._parked.get(state)
        if parked is None or parked.key != key:
            return None
        return self._parked.pop(state)
