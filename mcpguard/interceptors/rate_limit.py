"""Limit how fast calls are made: so many in a time, a few at once after a rest.

By the generic cell rate algorithm: one number for each key, exact waiting times, and no moment at which a
window begins anew. How many calls may be made in all is `Budget`'s business, and how many at the same time
is `Concurrency`'s.
"""

import hashlib
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Unpack

import anyio

from mcpguard.core.call import Call
from mcpguard.core.host import Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.verdict import ALLOW, Deny, Verdict
from mcpguard.core.wire import JSON, canonical
from mcpguard.detectors.payers import PER, Payer, Per, of_run, payers
from mcpguard.stores.lent import lent
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import PRECISION, Store

__all__ = ["RateLimit"]

MAX_KEYS: Final = 4096
"""Keys that are remembered so as not to be made again; who comes back gets an equal one."""

_SLOWER: Final = "Too many calls in a short time."
_NO_PRINCIPAL: Final = Deny("no_principal", reason="whose rate it is depends on who calls")


class RateLimit(Interceptor):
    """Deny tool calls that come too fast, or let them wait.

    A call takes its place when it is about to be made, each attempt of a `Retry` one. What `per` names is
    always within a tenant: two tenants never slow each other down. A call counts for whoever makes it and for
    those on whose behalf the runs above are made; where one of them refuses it, the places of the others are
    lost.

    Args:
        calls: Calls in `seconds`. At least 1.
        seconds: The time for `calls`, in seconds.
        burst: Calls that may be made at once after a rest. None: `calls`.
        per: Whose rate it is: each run's (the outermost's), agent's, user's, tenant's, server's, or that of
            each tool of a server. Without a run or principal where one is needed, a call is denied.
        max_wait: Seconds a call may be held until its turn. 0: none is held; a denial says when to come back.
        servers: Limit only calls to these servers; names or globs. Empty: all.
        tools: Limit only calls of these tools; names or globs. Empty: all.
        roles: Limit only calls of principals with one of these roles. Empty: all.
        tenants: Limit only calls of these tenants; names or globs. Empty: all.
        agents: Limit only calls of these agents; names or globs. Empty: all.
        store: Where the rate is kept. None: the guard's store, or this process's memory. What shares a store
            shares its rates by `id`; without one, by all the options that say what is limited.
        sleep: Waits a number of seconds; in Python only.

    Raises:
        ValueError: If a number is out of range, or `per` is another word.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.RATE_LIMIT
    check_place = Place.LOOK

    def __init__(
        self,
        *,
        calls: int,
        seconds: float = 60.0,
        burst: int | None = None,
        per: Per = "tenant",
        max_wait: float = 0.0,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        store: Store | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not 1 <= calls < 1e9:
            raise ValueError(f"calls is at least 1 and below 1e9, not {calls}")
        if not 0 < seconds < 1e9:
            raise ValueError(f"seconds is above 0, not {seconds}")
        if burst is not None and not 1 <= burst < 1e9:
            raise ValueError(f"burst is at least 1 and below 1e9, not {burst}")
        if not 0 <= max_wait < 1e9:
            raise ValueError(f"max_wait is seconds, at least 0, not {max_wait}")
        if per not in PER:
            raise ValueError(f"per is one of {', '.join(PER)}, not {per!r}")
        self._interval = seconds / calls
        self._burst = calls if burst is None else burst
        self._per: Per = per
        self._nobody = Deny(
            "no_run" if per == "run" else "no_principal",
            reason=f"the rate is that of each {per}, and none is known",
        )
        self._max_wait = max_wait
        self.waits = max_wait > 0
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        narrowed = [sorted(names) for names in (servers, tools, roles, tenants, agents)]
        self._rate = self.id or _digest([self.name, self._interval, self._burst, narrowed])
        self._keys: dict[Payer, str] = {}
        self._under_way: set[str] = set()
        self._sleep = sleep
        self._own = store
        self._store: Store = MemoryStore() if store is None else store

    def join(self, host: Host) -> None:
        """Take what the guard lends. An auditing one counts in memory of its own: it must not wait."""
        super().join(host)
        self._store = MemoryStore(clock=host.clock) if self.mode == "audit" else lent(host, self._own)

    def take_over(self, before: Interceptor, /) -> None:
        """Go on from the same rates, where they are in this process's memory."""
        if not isinstance(before, RateLimit):
            return
        if self._own is None and self.host.store is None and self.mode == before.mode:
            self._store = before._store

    def check(self, call: Call) -> Verdict:
        """Look, without taking a place, so that nobody is asked about a call that comes too fast."""
        if not call.enforced or self._has_paid(call):
            return ALLOW
        paying = self._paying(call)
        if isinstance(paying, Deny):
            return paying
        for payer in paying or ():
            ahead = self._store.ahead(self._keys.get(payer) or self._key(payer), group=payer[0] or "")
            wait = ahead - (self._burst - 1) * self._interval
            if wait > self._max_wait + PRECISION:
                return self._too_fast(wait)
        return ALLOW

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Take the next place in the rate, if it is near enough."""
        if self._has_paid(call):
            return await call_next(call)
        paying = self._paying(call)
        if paying is None:
            return await call_next(call)
        if isinstance(paying, Deny):
            return call.denied(code=paying.code, reason=paying.reason)
        wait = 0.0
        for payer in paying:
            pace = await self._store.pace(
                self._keys.get(payer) or self._key(payer),
                interval=self._interval,
                burst=self._burst,
                max_wait=self._max_wait if call.enforced else 0.0,
                group=payer[0] or "",
            )
            if not pace.is_admitted:
                said = self._too_fast(pace.wait)
                return call.denied(
                    code=said.code, reason=said.reason, message=said.message, retry_after=said.retry_after
                )
            wait = max(wait, pace.wait)
        if wait > 0:
            await self._sleep(wait)
        self._under_way.add(call.id)
        try:
            return await call_next(call)
        finally:
            self._under_way.discard(call.id)

    def _has_paid(self, call: Call) -> bool:
        """Whether a guard further out, which has it under way, has taken a place for it."""
        return call.is_nested and call.id in self._under_way

    def _paying(self, call: Call) -> Sequence[Payer] | Deny | None:
        """Whose rate it is, or why that cannot be told; None if the call is not limited."""
        if not self._scope.matches_all:
            match = self._scope.match(call)
            if match is Match.NO:
                return None
            if match is Match.NO_PRINCIPAL:
                return _NO_PRINCIPAL
        return self._payers(call) or self._nobody

    def _payers(self, call: Call) -> Sequence[Payer]:
        """Whose rate it is; nobody's if that is not known."""
        if self._per != "run":
            return payers(self._per, call)
        if call.run is None:
            return ()
        outermost = call.run.lineage[-1]
        return (of_run(outermost, outermost.key),)

    def _key(self, payer: Payer) -> str:
        """What the store knows the rate by: of one length, whatever the names."""
        if len(self._keys) >= MAX_KEYS:
            self._keys.clear()
        key = self._keys[payer] = _digest([self._rate, self._per, *payer])
        return key

    def _too_fast(self, wait: float) -> Deny:
        seconds = math.ceil(wait) if wait >= 10 else math.ceil(wait * 10) / 10
        return Deny(
            "rate_limited",
            reason=f"over {self._burst} calls at once and one in {self._interval:g} s per {self._per}",
            message=f"{_SLOWER} Try again in {seconds:g} seconds.",
            retry_after=wait,
        )


def _digest(value: JSON) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()
