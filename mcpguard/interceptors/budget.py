"""Cap what tool calls use: how many there are, what they cost, and the tokens and bytes that come back.

What a call may use is held before it goes out and corrected when its answer is there, so that calls under
way count and nothing is overspent; what was certainly not sent is given back. Only tool calls cost: they do
the work and run up the bill, while listing and reading are how an agent finds its way. Calls per second are
`RateLimit`'s business, and that no result is longer than it may be `ResultLimit`'s.

Below: `detectors` has the terms, the tariff and the ledger (how much, what a call takes, who pays), `stores`
has what was used.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, Unpack

from mcpguard.core.call import Call
from mcpguard.core.host import Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.core.verdict import ALLOW, Deny, Verdict
from mcpguard.core.wire import JSON
from mcpguard.detectors.ledger import Ledger
from mcpguard.detectors.payers import Payer, Per, label
from mcpguard.detectors.periods import Every, Period
from mcpguard.detectors.prices import Price
from mcpguard.detectors.tariff import Expense, Tariff
from mcpguard.detectors.terms import COST_UNKNOWN, EXHAUSTED, NO_PRINCIPAL, NO_RUN, Terms
from mcpguard.detectors.usage import Unreadable, Usage
from mcpguard.stores.lent import lent
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal, Store
from mcpguard.stores.till import Till
from mcpguard.stores.watched import NOTHING, Batch, Watch, WatchedAccount

__all__ = ["Budget", "Price", "Usage"]

MAX_KEPT: Final = 4096
"""Calls between two rounds that are remembered before all are forgotten, and amounts of different calls."""

MAX_SHOWN: Final = 100
"""Accounts that `status()` lists, the newest first; more would not be read."""


class Budget(Interceptor):
    """Deny tool calls once a run, an agent, a user, a tenant, a server or a tool has used up its budget.

    A call spends from whoever makes it and from those on whose behalf the runs above are made: from all of
    them, or it is denied and spends nothing. Rounds that continue a call, calls denied further out or in, and
    a guard further in with the same budget, cost nothing. A call that is cancelled while it is under way is
    charged what was held for it.

    Without a run or principal there is nobody to charge, so the call is denied (`no_run`, `no_principal`).

    Args:
        per: What has the budget. `run`: every run, for as long as it lives, and the runs inside it spend from
            it too. `agent`, `user`, `server` and `tool`: within a tenant; two tenants share none.
        calls: Tool calls. At least 1. None: not limited; 200 where nothing else is limited either.
        cost: Money, such as `2.00 USD`. None: not limited.
        tokens: Tokens, as results tell. None: not limited.
        bytes: Bytes of results in canonical JSON. None: not limited.
        within: Seconds of a rolling window: in no interval of this length is more used. None: not rolling.
        every: A calendar period, at whose end the budget begins anew. None: it never does.
        timezone: IANA name of the zone whose calendar counts. None: UTC.
        prices: What calls cost, by tool: the first price that covers a tool is the tool's. A mapping from
            names or globs to money, or a list of prices.
        usage: Where a result tells what was really used: JSON pointers into the result, for `cost` (money, or
            a number in the currency's units) and `tokens`. In Python also a function from call and result
            to `Usage`, or to None.
        max_cost: Money held for a call that has no price, or whose result tells its cost. None: calls without
            a price are denied (`cost_unknown`).
        max_tokens: Tokens held for each call until its result tells them.
        max_bytes: Bytes held for each call until its result is there.
        warn_at: Share of a budget from which a warning is reported, once for each account and period. None:
            never.
        tell: Whether each result gets a line of text that says what is left.
        hide: Whether tools that have no budget left are taken out of lists.
        servers: Count only calls of these servers; names or globs. Empty: all.
        tools: Count only calls of these tools, by the server's names; names or globs. Empty: all.
        roles: Count only calls of principals with one of these roles. Empty: all.
        tenants: Count only calls of these tenants; names or globs. Empty: all.
        agents: Count only calls of these agents; names or globs. Empty: all.
        store: Where what has been used is kept. None: the guard's store, or this process's memory. In
            `mode="audit"` always this process's memory: an audited call does not wait.

    Raises:
        TypeError: If an option has another type.
        ValueError: If a limit is below 1, currencies differ, or nothing says what calls cost, or use at most.
    """

    handles = frozenset({("tools/call", "outbound")})
    filters = frozenset({("tools/list", "outbound")})
    place = Place.BUDGET
    check_place = Place.LOOK
    filter_place = Place.LOOK

    def __init__(
        self,
        *,
        per: Per = "run",
        calls: int | None = None,
        cost: str | None = None,
        tokens: int | None = None,
        bytes: int | None = None,
        within: float | None = None,
        every: Every | None = None,
        timezone: str | None = None,
        prices: Mapping[str, str] | Sequence[Price] = (),
        usage: Mapping[str, str] | Callable[[Call, Result], Usage | None] | None = None,
        max_cost: str | None = None,
        max_tokens: int | None = None,
        max_bytes: int | None = None,
        warn_at: float | None = 0.8,
        tell: bool = False,
        hide: bool = False,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        store: Store | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self._terms = Terms(
            per,
            calls=calls,
            cost=cost,
            tokens=tokens,
            bytes=bytes,
            within=within,
            every=every,
            timezone=timezone,
            warn_at=warn_at,
        )
        self._tariff = Tariff(
            cost=self._terms.money,
            tokens=tokens,
            bytes=bytes,
            prices=prices,
            usage=usage,
            max_cost=max_cost,
            max_tokens=max_tokens,
            max_bytes=max_bytes,
        )
        self.per: Per = per
        self.calls = self._terms.limits.get("calls")
        self.tell = tell
        self.filters = self.filters if hide else frozenset()
        self.scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._nobody = NO_RUN if per == "run" else NO_PRINCIPAL
        self._limits = Limits(**self._terms.limits)
        self._unwarned = Limits(**self._terms.unwarned)
        self._warns = warn_at is not None
        self._fixed = None if self._tariff.fixed is None else _amounts(self._tariff.fixed)
        self._ledger = Ledger(per, self._terms.calendar, make=self._account, bind=Batch.of, drop=self._forget)
        self._find = self._ledger.batches if self.scope.matches_all and every is None else self._counted
        self._unfinished: dict[str, tuple[Sequence[Hold], int]] = {}
        self._under_way: set[str] = set()
        self._watch = Watch()
        self._given = store
        self._keep_in(MemoryStore() if store is None else store)

    def join(self, host: Host) -> None:
        """Take the guard's store, unless this budget has its own or only audits."""
        super().join(host)
        if self.mode == "audit":
            self._keep_in(MemoryStore(clock=host.clock))
        elif self._given is None:
            self._keep_in(lent(host))

    def take_over(self, before: Interceptor, /) -> None:
        """Go on from the same accounts, where this process's memory has them; know calls between rounds."""
        if not isinstance(before, Budget):
            return
        if self._given is None and self.host.store is None and self.mode == before.mode:
            self._keep_in(before.store)
        self._unfinished, self._watch = before._unfinished, before._watch
        self._under_way = before._under_way

    def check(self, call: Call) -> Verdict:
        """Look, without holding anything, so that nobody is asked about a call there is no budget for."""
        if call.round > 0 or not call.enforced or self._has_paid(call):
            return ALLOW
        batches = self._find(call)
        if isinstance(batches, Deny):
            return batches
        if not batches:
            return ALLOW if batches is None else self._nobody
        amounts = self._fixed or self._amounts(call)
        if amounts is None:
            return COST_UNKNOWN
        for batch in batches:
            refusal = self.store.look(batch, amounts)
            if refusal is not None:
                return self._exhausted(refusal, amounts)
        return ALLOW

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Hold what the call may use, let it go on, and settle what it has used."""
        if call.round > 0:
            return await self._continued(call, call_next)
        if self._has_paid(call):
            return await call_next(call)
        batches = self._find(call)
        if isinstance(batches, Deny):
            return _denied(call, batches)
        if not batches:
            return await call_next(call) if batches is None else _denied(call, self._nobody)
        amounts = self._fixed or self._amounts(call)
        if amounts is None:
            return _denied(call, COST_UNKNOWN)
        if self._till.is_quick and len(batches) == 1:
            hold = await self.store.reserve(batches[0], amounts)
            taken: Sequence[Hold] | Refusal = hold if isinstance(hold, Refusal) else (hold,)
        else:
            taken = await self._till.take(batches, amounts)
        if isinstance(taken, Refusal):
            return _denied(call, self._exhausted(taken, amounts))
        if self._warns:
            for batch in batches:
                if self.store.look(batch.lows, NOTHING) is not None:
                    self._warn(call, batch)
        self._under_way.add(call.id)
        try:
            result = await call_next(call)
        finally:
            self._under_way.discard(call.id)
        if result.fate is Fate.NOT_SENT:
            await self._close(call, taken, None)
            return result
        if not self._till.is_quick or self._tariff.is_corrected or self.tell:
            return await self._settled(call, result, taken)
        for hold in taken:
            await self.store.settle(hold, amounts)
        self._record(call, amounts)
        return result

    def filter(self, call: Call, result: Result) -> Result:
        """Take out of a list of tools those that have no budget left."""
        listed = None if result.value is None else result.value.get("tools")
        if result.value is None or not isinstance(listed, list | tuple):
            return result
        tools = [tool for tool in listed if not self._is_exhausted(call, tool)]
        return result if len(tools) == len(listed) else result.replace(value={**result.value, "tools": tools})

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Servers that are named and were not declared."""
        for pattern in self.scope.servers:
            if servers and not any(map(matcher([pattern]), servers)):
                yield f"{self.label}: no declared server is called {pattern!r}"

    def status(self) -> Mapping[str, JSON]:
        """The limits, and what the open accounts have used of them."""
        accounts: list[JSON] = []
        for name, account in islice(self._ledger.open(self.host.clock.time()), MAX_SHOWN):
            accounts.append({"of": name, **self._plain(self.store.peek(account))})
        return {"per": self.per, **self._plain(self._limits), "accounts": accounts}

    def _counted(self, call: Call) -> Sequence[Batch] | Deny | None:
        """What `call` spends from; nothing if nobody is known to pay; None if it is free."""
        if not self.scope.matches_all:
            match = self.scope.match(call)
            if match is Match.NO:
                return None
            if match is Match.NO_PRINCIPAL:
                return NO_PRINCIPAL
        return self._ledger.batches(call, self.host.clock.time())

    def _has_paid(self, call: Call) -> bool:
        """Whether it was charged at a guard further out, which has it under way."""
        return call.is_nested and call.id in self._under_way

    def _amounts(self, call: Call) -> Amounts | None:
        expense = self._tariff.before(call)
        return None if expense is None else _amounts(expense)

    async def _continued(self, call: Call, call_next: CallNext) -> Result:
        """A further round of a call: its first has paid, and what it held is settled by the last."""
        unfinished = self._unfinished.pop(call.id, None)
        result = await call_next(call)
        if unfinished is None:
            return result
        if result.fate is Fate.NOT_SENT:
            self._unfinished[call.id] = unfinished
            return result
        return await self._settled(call, result, *unfinished)

    async def _settled(self, call: Call, result: Result, holds: Sequence[Hold], before: int = 0) -> Result:
        """Settle what `call` has used; `before` are the bytes of its earlier rounds."""
        used = holds[0].amounts
        if self._tariff.is_corrected:
            used = self._used(call, result, used, before)
            if result.outcome is Outcome.INPUT_REQUIRED:
                if len(self._unfinished) >= MAX_KEPT:
                    self._unfinished.clear()
                self._unfinished[call.id] = (holds, used.bytes)
                return result
        await self._close(call, holds, used)
        self._record(call, used)
        return self._telling(result, holds) if self.tell and call.enforced else result

    def _used(self, call: Call, result: Result, held: Amounts, before: int) -> Amounts:
        expense = Expense(held.cost, held.tokens, held.bytes)
        try:
            expense = self._tariff.after(call, result, expense)
        except Exception as error:  # noqa: BLE001 - an answer is not lost over what it says of its usage
            what = str(error) if isinstance(error, Unreadable) else f"usage raised {type(error).__name__}"
            self.host.warn(self, call, code="usage_unreadable", reason=f"what was held stays charged: {what}")
        return _amounts(expense._replace(bytes=before + expense.bytes))

    def _record(self, call: Call, used: Amounts) -> None:
        """Say in the record what a call has cost."""
        money = self._terms.money
        if used.cost and money is not None and call.enforced:
            self.host.spent(self, call, cost=used.cost, currency=money.currency)

    async def _close(self, call: Call, holds: Sequence[Hold], used: Amounts | None) -> None:
        """Settle holds, or release them. If the store fails they stay charged, and the answer is not lost."""
        for hold, error in await self._till.close(holds, used):
            what = f"{hold.accounts[0].label} stays charged: the store raised {type(error).__name__}"
            self.host.warn(self, call, code="budget_unsettled", reason=what)

    def _warn(self, call: Call, batch: Batch) -> None:
        """Report accounts that have little left."""
        for low in self._watch.low(self.store, batch, self.host.clock.now()):
            reason = self._terms.warning(low.account.label, low.what, getattr(low.used, low.what))
            self.host.warn(self, call, code="budget_low", reason=reason)

    def _telling(self, result: Result, holds: Sequence[Hold]) -> Result:
        """The result, with a line that says what is left."""
        content = None if result.value is None else result.value.get("content")
        if result.value is None or not isinstance(content, list | tuple):
            return result
        known = [self.store.peek(account) for hold in holds for account in hold.accounts]
        used = {what: max(getattr(one, what) for one in known) for what in self._terms.limits}
        line: JSON = {"type": "text", "text": self._terms.left(used)}
        return result.replace(value={**result.value, "content": [*content, line]})

    def _is_exhausted(self, call: Call, tool: JSON) -> bool:
        name = tool.get("name") if isinstance(tool, Mapping) else None
        used = Call.outgoing(call.id, "tools/call", {"name": name}, call.server, call.principal, call.run, 0)
        verdict = self.check(used)
        return isinstance(verdict, Deny) and verdict.code == EXHAUSTED

    def _exhausted(self, refusal: Refusal, amounts: Amounts) -> Deny:
        what, wait, calendar = refusal.what, refusal.refills_in, self._terms.calendar
        if calendar is not None:
            now = self.host.clock.time()
            wait = max(calendar.current(now).end - now, 0.0)
        used, taken = getattr(refusal.used, what), getattr(amounts, what)
        return self._terms.refused(refusal.account.label, what, used=used, taken=taken, wait=wait)

    def _plain(self, amounts: Amounts | Limits) -> Mapping[str, JSON]:
        return {what: self._terms.plain(what, getattr(amounts, what)) for what in self._terms.limits}

    def _account(self, payer: Payer, period: Period | None) -> WatchedAccount:
        return WatchedAccount.of(
            [self.label, self.per, *payer, None if period is None else period.start],
            label=label(self.per, payer),
            limits=self._limits,
            unwarned=self._unwarned,
            group=payer[0] or "",
            window=self._terms.within,
            ends_at=None if period is None else period.kept_until,
        )

    def _forget(self, account: Account) -> None:
        self._watch.forget(account)
        self.store.forget(account)

    def _keep_in(self, store: Store) -> None:
        self.store = store
        self._till = Till(store)


@lru_cache(maxsize=MAX_KEPT)
def _amounts(expense: Expense) -> Amounts:
    return Amounts(calls=1, cost=expense.cost, tokens=expense.tokens, bytes=expense.bytes)


def _denied(call: Call, verdict: Deny) -> Result:
    return call.denied(
        code=verdict.code, reason=verdict.reason, message=verdict.message, retry_after=verdict.retry_after
    )
