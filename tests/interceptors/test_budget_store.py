"""Budget: what it keeps where, and what happens when a store is slow, gone, or failing half-way."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing
from driven import ANSWER, UNSENT, Chain, chain, code

from mcpguard import Budget, Call, Principal, Result, Run
from mcpguard.detectors.prices import shown
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Account, Amounts, Hold, Refusal
from mcpguard.testing import FakeClock, check_interceptor

ADA = Principal(tenant="acme", user="ada")
EVE = Principal(tenant="evil", user="eve")

pytestmark = pytest.mark.anyio


class Remote:
    """A store that is not in memory: it gives others a turn, and fails or waits where it is told to."""

    def __init__(self) -> None:
        self.kept = MemoryStore(clock=FakeClock())
        self.fails: dict[str, Exception] = {}
        self.waits: dict[str, anyio.Event] = {}
        self.reached: dict[str, anyio.Event] = {}
        self.reserved: list[Sequence[Account]] = []

    async def _turn(self, operation: str) -> None:
        await anyio.lowlevel.checkpoint()
        if operation in self.reached:
            self.reached[operation].set()
        if operation in self.waits:
            await self.waits[operation].wait()
        if operation in self.fails:
            raise self.fails[operation]

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        self.reserved.append(accounts)
        await self._turn(accounts[0].group if accounts[0].group in self.fails else "reserve")
        return await self.kept.reserve(accounts, amounts)

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        await self._turn("settle")
        await self.kept.settle(hold, amounts)

    async def release(self, hold: Hold) -> None:
        await self._turn("release")
        await self.kept.release(hold)

    def holds_up(self, operation: str) -> tuple[anyio.Event, anyio.Event]:
        """Let `operation` wait: when it got there, and what lets it go on."""
        self.reached[operation], self.waits[operation] = anyio.Event(), anyio.Event()
        return self.reached[operation], self.waits[operation]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)


def used(budget: Budget) -> dict[str, Any]:
    """Calls that each account has used."""
    accounts: Any = budget.status()["accounts"]
    return {account["of"]: account["calls"] for account in accounts}


def sending(made: Chain, answer: Result = ANSWER) -> tuple[Callable[..., Any], list[Call]]:
    """A function that makes a call, and the calls that got to the wire."""
    sent: list[Call] = []

    async def wire(call: Call) -> Result:
        sent.append(call)
        return answer

    async def send(run: Run | None = None, **about: Any) -> Result:
        principal = about.pop("principal", None if run is None else run.principal)
        call = Call(
            id="c",
            method="tools/call",
            params={"name": "work"},
            server="git",
            run=run,
            principal=principal,
            **about,
        )
        return await made.linked.chain("tools/call", "outbound")(call, wire)

    return send, sent


async def test_a_store_that_is_down_denies() -> None:
    """Fail closed; the other way is a named choice (LiteLLM's known failure: open on a store error)."""
    store = Remote()
    store.fails["reserve"] = ConnectionError("the password is in here")
    send, sent = sending(made := chain(Budget(store=store)))
    assert code(await send(Run())) == "interceptor_failed"
    assert not sent
    assert not any("password" in text for text in made.seen.texts)
    send, sent = sending(chain(Budget(store=store, fail_open=True)))
    assert await send(Run()) is ANSWER
    assert len(sent) == 1


@pytest.mark.parametrize(("answer", "operation"), [(ANSWER, "settle"), (UNSENT, "release")])
async def test_a_store_that_fails_after_the_answer_does_not_lose_it(answer: Result, operation: str) -> None:
    """What was held stays charged, and the record says so."""
    store = Remote()
    store.fails[operation] = ConnectionError("the password is in here")
    budget = Budget(calls=2, store=store)
    send, _ = sending(made := chain(budget), answer)
    run = Run(id="r")
    assert await send(run) is answer
    warning = made.seen.last("warning")
    assert warning.code == "budget_unsettled"
    assert warning.reason == "run 'r' stays charged: the store raised ConnectionError"
    assert used(budget) == {"run 'r'": 1}


@pytest.mark.parametrize("operation", ["settle", "reserve"])
def test_a_store_that_hangs_holds_nobody_up_for_ever(operation: str) -> None:
    """Bounded in time: before the call it is denied, after the answer the answer passes."""

    async def main() -> None:
        store = Remote()
        store.holds_up(operation)
        send, _ = sending(made := chain(Budget(store=store)))
        result = await send(Run())
        if operation == "settle":
            assert result is ANSWER
            assert made.seen.last("warning").reason.endswith("the store raised TimeoutError")
        else:
            assert code(result) == "interceptor_failed"

    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


async def test_a_settlement_is_finished_although_the_caller_is_cancelled() -> None:
    """Else holds would leak whenever an agent gives up."""
    store = Remote()
    reached, go_on = store.holds_up("release")
    budget = Budget(store=store)
    send, _ = sending(chain(budget), UNSENT)
    run = Run(id="r")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, run)
        await reached.wait()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert used(budget) == {"run 'r'": 0}


async def test_a_call_that_is_cancelled_while_it_is_reserved_holds_nothing() -> None:
    """And does not go out: nothing is charged twice or for nothing."""
    store = Remote()
    reached, go_on = store.holds_up("reserve")
    budget = Budget(store=store)
    send, sent = sending(chain(budget))
    run = Run(id="r")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, run)
        await reached.wait()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert used(budget) == {"run 'r'": 0}
    assert not sent


async def test_one_reserve_is_about_one_tenants_accounts() -> None:
    """On a Redis cluster what is taken in one step must be kept together: all runs, or one tenant's."""
    store = Remote()
    outer = Run(principal=ADA)
    inner = Run(principal=EVE, parent=outer)
    for per in ("run", "user"):
        send, _ = sending(chain(Budget(per=per, id=per, store=store)))
        await send(inner)
    by_run, by_acme, by_evil = ([account.group for account in batch] for batch in store.reserved)
    assert (by_run, by_acme, by_evil) == (["acme", "acme"], ["acme"], ["evil"])
    alone, _ = sending(chain(Budget(per="user", id="user", store=store)))
    await alone(Run(principal=EVE))
    assert store.reserved[-1][0].key == store.reserved[-2][0].key


async def test_what_one_tenant_refuses_the_other_does_not_pay() -> None:
    """From all payers or from none, whatever they are kept in."""
    budget = Budget(per="tenant", calls=1, store=Remote())
    send, sent = sending(chain(budget))
    await send(Run(principal=EVE))
    denial = (await send(Run(principal=EVE, parent=Run(principal=ADA)))).denial
    assert denial is not None
    assert denial.reason == "tenant 'evil' has used 1 of its 1 tool calls"
    assert used(budget) == {"tenant 'evil'": 1, "tenant 'acme'": 0}
    assert len(sent) == 1


async def test_if_one_tenants_reserve_fails_the_other_does_not_pay() -> None:
    """No doubled and no leaked holds."""
    store = Remote()
    store.fails["evil"] = ConnectionError()
    budget = Budget(per="tenant", calls=1, store=store)
    send, _ = sending(chain(budget))
    assert code(await send(Run(principal=EVE, parent=Run(principal=ADA)))) == "interceptor_failed"
    assert used(budget) == {"tenant 'evil'": 0, "tenant 'acme'": 0}


async def test_a_budget_keeps_its_counts_in_the_guards_store() -> None:
    """Two guards with one store and one id have one budget: N replicas are not N limits (ContextForge #3750)."""
    store = MemoryStore(clock=FakeClock())
    sends = [sending(chain(Budget(id="day", per="tenant", calls=3), store=store))[0] for _ in range(2)]
    codes = [code(await send(Run(principal=ADA))) for send in sends * 3]
    assert codes == [None, None, None, *["budget_exhausted"] * 3]
    other, _ = sending(chain(Budget(id="other", per="tenant", calls=1), store=store))
    assert code(await other(Run(principal=ADA))) is None


async def test_a_budget_that_only_audits_leaves_the_store_alone() -> None:
    """It counts in this process's memory, does not wait, and reports what it would have refused."""
    store = Remote()
    store.fails["reserve"] = AssertionError("an audited call must not be held up")
    send, sent = sending(made := chain(Budget(mode="audit", calls=1, store=store, tell=True)))
    run = Run()
    assert [await send(run) for _ in range(3)] == [ANSWER] * 3
    assert store.reserved == []
    assert [(event.mode, event.code) for event in made.seen.of("decision")] == [
        ("audit", "budget_exhausted")
    ] * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Budget(calls=100),
        lambda: Budget(per="tool", calls=2, within=60, tell=True, hide=True),
        lambda: Budget(per="user", cost="1 USD", prices={"*": "0.01 USD"}, every="month", hide=True),
        lambda: Budget(per="server", bytes=10**6, max_bytes=1000, store=Remote(), tell=True),
        lambda: Budget(tokens=9, max_tokens=2, usage={"tokens": "/content/0/text"}, store=Remote()),
    ],
    ids=["calls", "tool", "money", "bytes", "tokens"],
)
async def test_it_keeps_the_contract(make: Callable[[], Budget]) -> None:
    """Every rule of it, with ordinary and with odd calls and results."""
    calls = [
        Call(id="c", method="tools/call", params={"name": "work"}, run=Run(principal=who), principal=who)
        for who in (ADA, Principal(tenant="acme", user="ada", agent="writer"))
    ]
    await check_interceptor(make, calls=calls)


def test_threads_with_their_own_loops_never_overspend_money() -> None:
    """16 threads, four users of one tenant, holds that are larger than what is settled."""
    budget = Budget(
        per="tenant", cost="1 USD", max_cost="0.01 USD", usage={"cost": "/structuredContent/cost"}
    )
    made = chain(budget)
    answer = Result.of({"content": [], "structuredContent": {"cost": 0.005}})
    start = threading.Barrier(16)
    counts: list[int] = []

    async def work() -> None:
        send, sent = sending(made, answer)
        for number in range(50):
            await send(principal=Principal(tenant="acme", user=f"user-{number % 4}"))
        counts.append(len(sent))

    def thread() -> None:
        start.wait()
        anyio.run(work)

    threads = [threading.Thread(target=thread) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(counts) in (198, 199, 200)
    accounts: Any = budget.status()["accounts"]
    assert accounts[0]["cost"] == f"{shown(sum(counts) * 5_000)} USD"
