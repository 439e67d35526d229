"""Leave a server alone that is failing: refuse calls for a while, then let one try.

Each tenant has breakers of its own, for each server, or each tool where that is asked for: one tenant's
trouble is not another's. Breakers are this process's; each process of a fleet finds out for itself. A tool
that says it failed, invalid parameters, refusals by other interceptors and cancelled calls open nothing.
"""

import random
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from math import ceil, isinf
from typing import Final, Literal, Self, TypeAlias, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Outcome, Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.wire import JSON
from mcpguard.detectors.breaker import Breaker, Seen, Terms, Ticket
from mcpguard.detectors.health import health

__all__ = ["CircuitBreaker"]

MAX_BREAKERS: Final = 4096
"""Breakers that are remembered; a closed one that was not used for longest goes first."""

MAX_SHOWN: Final = 100
"""Breakers that `status()` lists; those that are not closed come first."""

_Key: TypeAlias = tuple[str | None, str, str | None]

_DOWN: Final = "This tool's server is failing and is left alone for a while. Go on without it"


class CircuitBreaker(Interceptor):
    """Refuse calls to a server that keeps failing, and let one call at a time try whether it is back.

    A breaker opens when, of the latest calls, a share has failed or was slow. What fails: a connection that
    is lost or cannot be made, an answer that does not come in time, and an internal error (-32603). After
    `open_for` seconds one call goes through: if it succeeds the breaker closes, if it fails the time doubles.

    Args:
        per: `server`, or `tool` for a breaker for each tool of a server.
        window: Latest calls that count. At least 1.
        within: Seconds for which a call counts.
        min_calls: Calls seen before the breaker may open. At least 1.
        failure_ratio: Share of failures that opens it; above 0, at most 1.
        slow_after: Seconds from which a call is slow. None: none is.
        slow_ratio: Share of slow calls that opens it; above 0, at most 1.
        open_for: Seconds it is open at first; up to a quarter more, at random.
        open_at_most: Seconds it is open at most.
        probe_for: Seconds after which a call that tries no longer holds up the next that would.
        tool_errors: Whether a tool's own errors (`isError`) count as failures; only with `per="tool"`.
        servers: Watch only these servers; names or globs. Empty: all.
        tools: Watch only calls of these tools; names or globs. Empty: all.
        tenants: Watch only calls of these tenants; names or globs. Empty: all.

    Raises:
        ValueError: If a number is out of range, or `tool_errors` is asked for a whole server.
    """

    handles = frozenset(
        {("tools/call", "outbound"), ("resources/read", "outbound"), ("prompts/get", "outbound")}
    )
    place = Place.CIRCUIT_BREAKER

    def __init__(
        self,
        *,
        per: Literal["server", "tool"] = "server",
        window: int = 20,
        within: float = 60.0,
        min_calls: int = 5,
        failure_ratio: float = 0.5,
        slow_after: float | None = None,
        slow_ratio: float = 0.8,
        open_for: float = 5.0,
        open_at_most: float = 60.0,
        probe_for: float = 30.0,
        tool_errors: bool = False,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        tenants: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if per not in ("server", "tool"):
            raise ValueError(f"per is 'server' or 'tool', not {per!r}")
        if tool_errors and per != "tool":
            raise ValueError("tool_errors needs per='tool': one tool's errors say nothing of its server")
        for name, number in (("window", window), ("min_calls", min_calls)):
            if number < 1:
                raise ValueError(f"{name} is at least 1, not {number}")
        if min_calls > window:
            raise ValueError(f"min_calls is at most window ({window}), not {min_calls}")
        for name, share in (("failure_ratio", failure_ratio), ("slow_ratio", slow_ratio)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} is above 0 and at most 1, not {share}")
        spans = {"within": within, "open_for": open_for, "open_at_most": open_at_most, "probe_for": probe_for}
        for name, seconds in (spans if slow_after is None else {**spans, "slow_after": slow_after}).items():
            if not 0 < seconds < 1e9:
                raise ValueError(f"{name} is seconds, above 0, not {seconds}")
        self._terms = Terms(
            window=window,
            within=within,
            at_least=min_calls,
            failure_ratio=failure_ratio,
            slow_ratio=slow_ratio,
            open_for=open_for,
            open_at_most=max(open_for, open_at_most),
            probe_for=probe_for,
        )
        self._is_per_tool = per == "tool"
        self._slow_after = slow_after
        self._tool_errors = tool_errors
        self._scope = Scope(servers=servers, tools=tools, tenants=tenants)
        self._watches_all = not (servers or tools or tenants)
        self._breakers: OrderedDict[_Key, Breaker] = OrderedDict()
        self._lock = threading.Lock()

    def take_over(self, before: Self) -> None:
        """Go on with the same breakers, where they are those of the same things."""
        if self._is_per_tool == before._is_per_tool:
            self._breakers, self._lock = before._breakers, before._lock

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Refuse the call while the breaker is open; else take note of what comes of it."""
        if not (self._watches_all or self._scope.match(call) is Match.YES):
            return await call_next(call)
        key = self._key(call)
        began = self.host.clock.now()
        with self._lock:
            breaker = self._breakers.get(key) or self._made(key)
            breaker.terms = self._terms
            before = breaker.state
            ticket = breaker.admit(began)
        if not isinstance(ticket, Ticket):
            return self._refused(call, None if isinf(ticket) else ticket)
        if before != "closed":
            self._report(key, breaker, "one call tries whether it is back")
        seen: Seen = "nothing"
        try:
            result = await call_next(call)
            seen = self._seen(result)
        finally:
            now = self.host.clock.now()
            slow = self._slow_after is not None and now - began >= self._slow_after
            with self._lock:
                before, counted = breaker.state, breaker.counted
                breaker.settle(ticket, seen, now, slow=slow)
                is_changed = breaker.state != before
            if is_changed:
                calls, failures, slow_ones = counted
                self._report(
                    key, breaker, f"of {calls} calls before this {failures} failed, {slow_ones} were slow"
                )
        return result

    def isolate(self, server: str, *, tool: str | None = None, tenant: str | None = None) -> None:
        """Refuse every call to a server, or a tool, until `close`."""
        self._by_hand((tenant, server, tool if self._is_per_tool else None), "isolate")

    def close(self, server: str, *, tool: str | None = None, tenant: str | None = None) -> None:
        """Let calls through again, whatever was seen before."""
        self._by_hand((tenant, server, tool if self._is_per_tool else None), "close")

    def status(self) -> Mapping[str, JSON]:
        """The breakers and what counts in each; those that are not closed first."""
        with self._lock:
            known = list(self._breakers.items())
        known.sort(key=lambda item: item[1].state == "closed")
        breakers: list[JSON] = []
        for (tenant, server, tool), breaker in known[:MAX_SHOWN]:
            calls, failures, slow = breaker.counted
            of: dict[str, JSON] = {"server": server, "state": breaker.state}
            if tenant is not None:
                of["tenant"] = tenant
            if tool is not None:
                of["tool"] = tool
            breakers.append({**of, "calls": calls, "failures": failures, "slow": slow})
        return {"breakers": breakers}

    def _key(self, call: Call) -> _Key:
        tenant = None if call.principal is None else call.principal.tenant
        return tenant, call.server, call.target if self._is_per_tool else None

    def _made(self, key: _Key) -> Breaker:
        if len(self._breakers) >= MAX_BREAKERS:
            idle = next((one for one, breaker in self._breakers.items() if breaker.state == "closed"), None)
            self._breakers.pop(idle if idle is not None else next(iter(self._breakers)))
        breaker = self._breakers[key] = Breaker(self._terms, random.random)
        return breaker

    def _by_hand(self, key: _Key, what: Literal["isolate", "close"]) -> None:
        with self._lock:
            breaker = self._breakers.get(key) or self._made(key)
            breaker.isolate() if what == "isolate" else breaker.close()
        self._report(key, breaker, "by hand")

    def _seen(self, result: Result) -> Seen:
        if self._tool_errors and result.outcome is Outcome.TOOL_ERROR:
            return "failure"
        match health(result):
            case "alive":
                return "success"
            case "failing":
                return "failure"
            case "throttled" | "neutral":
                return "nothing"

    def _refused(self, call: Call, wait: float | None) -> Result:
        what = f"{call.server} {call.target}" if self._is_per_tool else call.server
        return call.denied(
            code="circuit_open",
            reason=f"the breaker of {what[:256]} is {'isolated' if wait is None else 'open'}",
            message=f"{_DOWN}." if wait is None else f"{_DOWN}, or try again in {ceil(wait)} seconds.",
            retry_after=wait,
        )

    def _report(self, key: _Key, breaker: Breaker, reason: str) -> None:
        tenant, server, tool = key
        self.host.changed(self, state=breaker.state, reason=reason, server=server, target=tool, tenant=tenant)
