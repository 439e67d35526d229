"""Tokens kept until shortly before they expire, and fetched by one task at a time for each key.

Whoever comes while a token is being fetched waits for it, on whatever thread or event loop. Where the one
that fetches is cancelled, the next in line takes over; where it fails, all that waited are told.
"""

import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeAlias

from cachetools import TLRUCache

from mcpguard.core.clock import Clock
from mcpguard.stores.turn import Turn
from mcpguard.tokens.secret import Token, TokenError

__all__ = ["Purse"]

MAX_TOKENS: Final = 4096
"""Tokens that are kept; the one used longest ago goes first."""

LEEWAY: Final = 30.0
"""Seconds before its end at which a token is no longer used, or a tenth of its lifetime if that is less."""

Fetch: TypeAlias = Callable[[], Awaitable[Token]]


class _Flight:
    """One token being fetched, and who waits for it."""

    __slots__ = ("failure", "token", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Turn] = []
        self.token: Token | None = None
        self.failure: str | None = None


class Purse:
    """Tokens by key, safe across threads and event loops.

    Args:
        clock: Tells when they expire.
    """

    def __init__(self, clock: Clock) -> None:
        self._tokens: TLRUCache[Hashable, Token] = TLRUCache(MAX_TOKENS, _until, timer=clock.now)
        self._near: dict[Hashable, tuple[Token, float]] = {}
        """The same tokens with the time until which they are good, for the path that every call takes."""
        self._clock = clock
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.RLock()

    def known(self, key: Hashable) -> Token | None:
        """The token under `key`, if it is good for a while."""
        near = self._near.get(key)
        return near[0] if near is not None and self._clock.now() < near[1] else None

    def drop(self, key: Hashable, stale: Token) -> None:
        """Forget a token that was not accepted, unless there is another already."""
        with self._lock:
            if self._tokens.get(key) is stale:
                del self._tokens[key]
                self._near.pop(key, None)

    async def get(self, key: Hashable, fetch: Fetch) -> Token:
        """The token under `key`, fetched if there is none.

        Raises:
            TokenError: If it cannot be had.
        """
        while True:
            with self._lock:
                token = self._tokens.get(key)
                if token is not None:
                    return token
                flight = self._flights.get(key)
                turn = None
                if flight is None:
                    flight = self._flights[key] = _Flight()
                else:
                    turn = Turn()
                    flight.waiting.append(turn)
            if turn is None:
                return await self._fetched(key, flight, fetch)
            await turn.wait()
            if flight.token is not None:
                return flight.token
            if flight.failure is not None:
                raise TokenError(flight.failure)

    async def _fetched(self, key: Hashable, flight: _Flight, fetch: Fetch) -> Token:
        try:
            token = await fetch()
            flight.token = token
            if token.lifetime > 0:
                with self._lock:
                    self._tokens[key] = token
                    if len(self._near) >= MAX_TOKENS:
                        self._near.clear()
                    self._near[key] = token, _until(key, token, self._clock.now())
            return token
        except TokenError as error:
            flight.failure = str(error)
            raise
        except Exception as error:  # noqa: BLE001 - its text may hold a secret
            flight.failure = f"its source failed with {type(error).__name__}"
            raise TokenError(flight.failure) from None
        finally:
            with self._lock:
                del self._flights[key]
            for turn in flight.waiting:
                turn.come()


def _until(_key: Hashable, token: Token, now: float) -> float:
    return now + token.lifetime - min(LEEWAY, token.lifetime / 10)
