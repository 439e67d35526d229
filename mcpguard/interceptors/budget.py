"""Cap how many tool calls one run may make, the runs it is part of included.

Only tool calls cost: they are what does the work and runs up the bill, while listing and reading are how an
agent finds its way. A call the server answers with an error costs one like any other; one that was
certainly not sent is given back. Calls per second are not this interceptor's business, nor is what a single
call costs.
"""

import threading
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Final, Literal, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Fate, Result
from mcpguard.core.run import Run
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.core.verdict import ALLOW, Deny, Verdict
from mcpguard.core.wire import JSON, canonical
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Account, Amounts, Limits, Refusal, Store

__all__ = ["Budget"]

MAX_SHOWN: Final = 100
"""Runs that `status()` lists, the newest first; more would not be read."""

ONE: Final = Amounts(calls=1)

_NOT_SENT: Final = Fate.NOT_SENT

_EXHAUSTED: Final = (
    "This task's budget of tool calls is used up. Finish with what you have and say what is missing; "
    "further calls will be refused."
)
_NO_RUN: Final = Deny(
    "no_run",
    reason="no run is bound to this call, so there is no budget to charge it to",
    message="Tools can only be called as part of a task, and none is open. Do not repeat this call.",
)
_NO_PRINCIPAL: Final = Deny(
    "no_principal",
    reason="the budget depends on who calls, and nobody said",
    message="Tools can only be called on somebody's behalf, and nobody is known. Do not repeat this call.",
)


class Budget(Interceptor):
    """Deny tool calls once a run, or a run it is part of, has used up its budget.

    A call spends from its own run and from every run above it: from all of them, or it is denied and spends
    nothing. Concurrent calls never overspend. Without a run there is nothing to charge, so the call is
    denied (`no_run`). Rounds that continue a call, and calls denied further out or in, cost nothing.

    A call that is cancelled while it is under way is charged: whether the server has it is then unknown.

    Args:
        per: What has the budget. `run`: every run, for as long as it lives.
        calls: Tool calls each run may make, those of the runs inside it included. At least 1.
        servers: Count only calls of these servers; names or globs. Empty: all.
        tools: Count only calls of these tools, by the server's names; names or globs. Empty: all.
        roles: Count only calls of principals with one of these roles. Empty: all.
        tenants: Count only calls of these tenants; names or globs. Empty: all.
        agents: Count only calls of these agents; names or globs. Empty: all.
        store: Where what has been used is kept. None: in memory, this budget's own.

    Raises:
        TypeError: If `calls` is not a whole number, or names are not a list of strings.
        ValueError: If `calls` is below 1, `per` is another word, or a name is empty.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.BUDGET
    check_place = Place.LOOK

    def __init__(
        self,
        *,
        per: Literal["run"] = "run",
        calls: int = 200,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        store: Store | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if per != "run":
            raise ValueError(f"per is 'run', not {per!r}")
        if not isinstance(calls, int) or isinstance(calls, bool):
            raise TypeError(f"calls is a whole number, not {calls!r}")
        if calls < 1:
            raise ValueError(f"calls is at least 1, not {calls}; `access` forbids tools altogether")
        self.calls = calls
        self.scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self.store: Store = MemoryStore() if store is None else store
        self._counts_all = not (servers or tools or self.scope.needs_principal)
        self._limits = Limits(calls=calls)
        self._seats: dict[int, _Seat] = {}
        self._serials = count(1)
        self._opening = threading.Lock()

    def check(self, call: Call) -> Verdict:
        """Look, without holding anything, so that nobody is asked about a call there is no budget for."""
        if not call.enforced:
            return ALLOW
        accounts = self._accounts(call)
        if isinstance(accounts, Deny):
            return accounts
        refusal = self.store.look(accounts, ONE)
        return ALLOW if refusal is None else _exhausted(refusal)

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Reserve one call from every run concerned; give it back if nothing was sent."""
        accounts = self._accounts(call)
        if isinstance(accounts, Deny):
            return _denied(call, accounts)
        if not accounts:
            return await call_next(call)
        hold = await self.store.reserve(accounts, ONE)
        if isinstance(hold, Refusal):
            return _denied(call, _exhausted(hold))
        result = await call_next(call)
        if result.fate is _NOT_SENT:
            await self.store.release(hold)
        else:
            await self.store.settle(hold, ONE)
        return result

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Servers that are named and were not declared."""
        for pattern in self.scope.servers:
            if servers and not any(map(matcher([pattern]), servers)):
                yield f"{self.label}: no declared server is called {pattern!r}"

    def status(self) -> Mapping[str, JSON]:
        """The limit, and what open runs have used of it."""
        open_runs: list[JSON] = []
        seats = list(self._seats.copy().values())
        for seat in reversed(seats):
            run = seat()
            if run is not None and run.ended is None and len(open_runs) < MAX_SHOWN:
                open_runs.append({"run": run.id, "calls": self.store.peek(seat.accounts[0]).calls})
        return {"per": "run", "calls": self.calls, "runs": open_runs}

    def _accounts(self, call: Call) -> Sequence[Account] | Deny:
        """What `call` spends from; nothing if it is free."""
        if call.round > 0:
            return ()
        if not self._counts_all:
            match = self.scope.match(call)
            if match is Match.NO:
                return ()
            if match is Match.NO_PRINCIPAL:
                return _NO_PRINCIPAL
        if call.run is None:
            return _NO_RUN
        seat = self._seats.get(id(call.run))
        return self._open(call.run) if seat is None else seat.accounts

    def _open(self, run: Run) -> Sequence[Account]:
        """Accounts for `run` and all above it that have none yet."""
        accounts: tuple[Account, ...] = ()
        with self._opening:
            for one in reversed(run.lineage):
                seat = self._seats.get(id(one))
                if seat is None:
                    seat = _Seat(one, self._leave)
                    seat.place = id(one)
                    seat.accounts = (self._account(one), *accounts)
                    self._seats[seat.place] = seat
                accounts = seat.accounts
        return accounts

    def _account(self, run: Run) -> Account:
        """A run's account; two runs of one id are two runs."""
        tenant = None if run.principal is None else run.principal.tenant
        key = canonical([self.label, tenant, run.id, next(self._serials)])
        return Account(key.decode(), label=f"run {run.id!r}", limits=self._limits)

    def _leave(self, seat: "_Seat") -> None:
        """A run is gone. Called while garbage is collected, so without a lock."""
        self._seats.pop(seat.place, None)
        self.store.forget(seat.accounts[0])


class _Seat(weakref.ref[Run]):
    """A run that has spent something, and its accounts: its own first, then those of the runs above."""

    __slots__ = ("accounts", "place")
    accounts: tuple[Account, ...]
    place: int


def _exhausted(refusal: Refusal) -> Deny:
    account, used = refusal.account, refusal.used
    return Deny(
        "budget_exhausted",
        reason=f"{account.label} has used {used.calls} of its {account.limits.calls} tool calls",
        message=_EXHAUSTED,
    )


def _denied(call: Call, verdict: Deny) -> Result:
    return call.denied(code=verdict.code, reason=verdict.reason, message=verdict.message)
