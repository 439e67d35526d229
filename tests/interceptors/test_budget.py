"""Budget: a run, and every run it is part of, makes no more tool calls than it may."""

import gc
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

import anyio
import pytest
from driven import ANSWER, ASKED, FAILED, LOST, UNSENT, Driven, Parked, chain, code, known
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import ClientSession

from mcpguard import (
    Access,
    AccessRule,
    Budget,
    Call,
    CallNext,
    Guard,
    Interceptor,
    Place,
    Principal,
    Result,
    Run,
)
from mcpguard.stores.memory import MemoryStore
from mcpguard.testing.fake_server import FakeServer


def _runs(budget: Budget) -> Sequence[Any]:
    accounts: Any = budget.status()["accounts"]
    assert isinstance(accounts, list)
    return accounts


def test_the_call_after_the_last_is_denied() -> None:
    """And says what to do instead."""
    run, made = Run(id="task-7"), chain(Budget(calls=2))
    assert [code(made.make(run)) for _ in range(4)] == [None, None, "budget_exhausted", "budget_exhausted"]
    denial = known(made.begin(run).result).denial
    assert denial is not None
    assert denial.reason == "run 'task-7' has used 2 of its 2 tool calls"
    assert "task-7" not in denial.message
    assert "Finish with what you have" in denial.message
    assert denial.retry_after is None


def test_every_run_has_its_own_budget() -> None:
    """Two runs of one id are two runs."""
    one, other, made = Run(id="task"), Run(id="task"), chain(Budget(calls=1))
    assert [code(made.make(run)) for run in (one, other, one)] == [None, None, "budget_exhausted"]


def test_a_call_spends_from_every_run_above_its_own() -> None:
    """Sub-agents are no way round a cap (agent-os #823)."""
    root = Run(id="root")
    left, right = Run(id="left", parent=root), Run(id="right", parent=root)
    made = chain(Budget(calls=3))
    assert [code(made.make(run)) for run in (left, left, right)] == [None, None, None]
    refused = made.make(right).denial
    assert refused is not None
    assert refused.reason == "run 'root' has used 3 of its 3 tool calls"


def test_a_refused_call_spends_from_no_run() -> None:
    """All runs are charged or none."""
    budget = Budget(calls=2)
    root = Run(id="root")
    child, made = Run(id="child", parent=root), chain(budget)
    made.make(root)
    made.make(root)
    assert code(made.make(child)) == "budget_exhausted"
    assert _runs(budget) == [{"of": "run 'child'", "calls": 0}, {"of": "run 'root'", "calls": 2}]


@pytest.mark.parametrize(
    ("answer", "costs"),
    [(ANSWER, 1), (FAILED, 1), (LOST, 1), (ASKED, 1), (UNSENT, 0)],
    ids=["answered", "tool error", "sent and lost", "input required", "not sent"],
)
def test_what_a_call_costs_follows_its_fate(answer: Result, costs: int) -> None:
    """Only what was certainly not sent is given back."""
    run, budget = Run(id="r"), Budget(calls=5)
    assert chain(budget).make(run, answer) is answer
    assert _runs(budget) == [{"of": "run 'r'", "calls": costs}]


def test_a_call_under_way_counts() -> None:
    """Reserved before, settled after: the first concurrent requests do not get past the cap."""
    run, made = Run(), chain(Budget(calls=2))
    under_way = [made.begin(run), made.begin(run)]
    assert code(made.make(run)) == "budget_exhausted"
    under_way[0].answer(UNSENT)
    assert code(made.make(run)) is None
    under_way[1].answer(ANSWER)
    assert code(made.make(run)) == "budget_exhausted"


def test_a_cancelled_call_is_charged() -> None:
    """Whether the server has it is unknown."""
    run, budget = Run(id="r"), Budget(calls=1)
    made = chain(budget)
    made.begin(run).cancel()
    assert _runs(budget) == [{"of": "run 'r'", "calls": 1}]
    assert code(made.make(run)) == "budget_exhausted"


def test_a_denied_call_costs_nothing() -> None:
    """Whoever denies it, further out or further in."""
    run, budget = Run(id="r"), Budget(calls=5)
    outside = Access(default="allow", deny=[AccessRule(tools=["outside"])])

    class Inside(Interceptor):
        handles = frozenset({("tools/call", "outbound")})
        place = Place.CREDENTIALS

        async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
            return call.denied(code="no_credential", reason="none")

    made = chain(outside, budget, Inside())
    assert code(made.make(run, name="outside")) == "access_denied"
    assert code(made.make(run)) == "no_credential"
    assert _runs(budget) == [{"of": "run 'r'", "calls": 0}]


def test_a_continuation_costs_nothing_more() -> None:
    """One logical call, whatever its rounds (MCP 2026-07-28, input_required)."""
    run, made = Run(), chain(Budget(calls=1))
    assert made.make(run, ASKED) is ASKED
    assert made.make(run, ANSWER, round=1) is ANSWER
    assert made.make(run, ANSWER, round=2) is ANSWER
    assert code(made.make(run)) == "budget_exhausted"


def test_without_a_run_nothing_can_be_charged_and_the_call_is_denied() -> None:
    """Fail closed: forgetting to open a run is not a way round the cap."""
    assert code(chain(Budget(calls=5)).make(None)) == "no_run"


def test_a_budget_may_count_some_calls_only() -> None:
    """Design: every rule may be narrowed by servers, tools, roles, tenants, agents."""
    who = Principal(tenant="acme", agent="writer", roles=frozenset({"admin"}))
    run = Run(principal=who)
    made = chain(
        Budget(calls=1, servers=["g*"], tools=["work"], roles=["admin"], tenants=["acme"], agents=["writer"])
    )
    assert code(made.make(run)) is None
    elsewhere: list[dict[str, Any]] = [
        {"name": "play"},
        {"server": "web"},
        {"principal": Principal(tenant="acme", agent="writer")},
        {"principal": Principal(tenant="other", agent="writer", roles=who.roles)},
        {"principal": Principal(tenant="acme", roles=who.roles)},
        {"run": None, "name": "play"},
    ]
    for about in elsewhere:
        assert code(made.make(**{"run": run, **about})) is None
    assert code(made.make(run)) == "budget_exhausted"
    assert code(made.make(run, principal=None)) == "no_principal"
    assert code(made.make(run, principal=None, server="web")) is None


def test_other_methods_are_free() -> None:
    """Listing and reading are how an agent finds its way."""
    made = chain(Budget(calls=1))
    for method in ("tools/list", "resources/read", "prompts/get", "ping"):
        assert made.linked.chain(method, "outbound").steps == ()
    assert made.linked.chain("sampling/createMessage", "inbound").steps == ()


def test_it_looks_before_anybody_is_asked_and_holds_only_inside() -> None:
    """Design, the order: look, then approval, then the hold."""
    budget = Budget(calls=1)

    class Person(Interceptor):
        handles = frozenset({("tools/call", "outbound")})
        place = Place.APPROVAL
        asked = 0

        async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
            self.asked += 1
            return await call_next(call)

    person, run = Person(), Run()
    made = chain(person, budget)
    made.make(run)
    assert code(made.make(run)) == "budget_exhausted"
    assert person.asked == 1


def test_what_passes_the_look_is_still_held_back_by_the_hold() -> None:
    """Two calls look at the same time; one of them gets the last place."""
    run, budget = Run(), Budget(calls=1)

    class Waiting(Interceptor):
        handles = frozenset({("tools/call", "outbound")})
        place = Place.APPROVAL

        async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
            await Parked()
            return await call_next(call)

    made = chain(Waiting(), budget)
    first, second = made.begin(run), made.begin(run)
    assert (first.result, second.result) == (None, None)
    first._go(lambda: first._steps.send(ANSWER))
    assert code(second.answer(ANSWER)) == "budget_exhausted"
    assert first.answer(ANSWER) is ANSWER


def test_in_audit_mode_it_counts_and_reports_and_stops_nothing() -> None:
    """Once a call, not once a hook."""
    run, made = Run(), chain(Budget(calls=1, mode="audit"))
    assert [made.make(run) for _ in range(3)] == [ANSWER] * 3
    denials = [event for event in made.seen.events if event.verdict == "deny"]
    assert [(event.mode, event.code) for event in denials] == [("audit", "budget_exhausted")] * 2
    made.seen.events.clear()
    assert made.make(None) is ANSWER
    assert [event.code for event in made.seen.events if event.verdict == "deny"] == ["no_run"]


def test_a_run_that_is_gone_leaves_nothing() -> None:
    """Bounded: what is kept is kept for live runs, and a run below keeps those above."""
    store = MemoryStore()
    budget = Budget(calls=5, store=store)
    made = chain(budget)
    root: Run | None = Run(id="root")
    child: Run | None = Run(id="child", parent=root)
    made.make(child)
    made.seen.events.clear()
    del root
    gc.collect()
    assert {one["of"] for one in _runs(budget)} == {"run 'root'", "run 'child'"}
    del child
    gc.collect()
    assert _runs(budget) == []
    assert len(store) == 0


def test_a_closed_run_is_not_shown() -> None:
    """Status is about what goes on."""
    run, budget = Run(), Budget()
    chain(budget).make(run)
    run.close()
    assert budget.status() == {"per": "run", "calls": 200, "accounts": []}


def test_the_status_is_bounded() -> None:
    """A host with thousands of live runs gets the newest."""
    budget = Budget()
    made, runs = chain(budget), [Run(id=f"run-{number}") for number in range(150)]
    for run in runs:
        made.make(run)
    assert [one["of"] for one in _runs(budget)] == [f"run {run.id!r}" for run in reversed(runs[50:])]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"calls": 0}, ValueError, "at least 1, not 0"),
        ({"calls": -3}, ValueError, "at least 1"),
        ({"calls": True}, TypeError, "whole number"),
        ({"calls": 2.5}, TypeError, "whole number, not 2.5"),
        ({"calls": "many"}, TypeError, "whole number"),
        ({"per": "team"}, ValueError, "per is one of run, agent, user, tenant, server, tool, not 'team'"),
        ({"tools": "git_log"}, TypeError, "single string"),
        ({"servers": [""]}, ValueError, "empty name"),
        ({"mode": "off"}, ValueError, "mode"),
    ],
)
def test_misuse_is_refused_when_it_is_built(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Messages say what was seen and what would be accepted."""
    with pytest.raises(error, match=text):
        Budget(**options)


def test_an_undeclared_server_is_pointed_out() -> None:
    """Rules that can never match."""
    budget = Budget(servers=["git", "gti"], id="cap")
    assert list(budget.warnings(["git", "web"])) == ["cap: no declared server is called 'gti'"]
    assert list(budget.warnings([])) == []


FATES = st.sampled_from([ANSWER, FAILED, LOST, UNSENT, None])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_run_is_ever_overspent(data: st.DataObject) -> None:
    """Any nesting, any interleaving of calls that begin, end, fail and are cancelled."""
    limit = data.draw(st.integers(1, 4), label="limit")
    budget = Budget(calls=limit)
    made = chain(budget)
    runs = [Run(id="0")]
    spent: dict[Run, int] = {runs[0]: 0}
    under_way: list[tuple[Run, Driven]] = []
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        step = data.draw(st.sampled_from(["open", "begin", "begin", "end"]))
        if step == "open":
            run = Run(id=str(len(runs)), parent=data.draw(st.sampled_from([None, *runs])))
            runs.append(run)
            spent[run] = 0
        elif step == "begin":
            run = data.draw(st.sampled_from(runs))
            driven = made.begin(run)
            assert driven.is_on_the_wire == all(spent[one] < limit for one in run.lineage)
            if driven.is_on_the_wire:
                under_way.append((run, driven))
                for one in run.lineage:
                    spent[one] += 1
        elif under_way:
            run, driven = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            fate = data.draw(FATES)
            if fate is None:
                driven.cancel()
            else:
                driven.answer(fate)
            if fate is UNSENT:
                for one in run.lineage:
                    spent[one] -= 1
        assert all(count <= limit for count in spent.values())
        assert all(spent[runs[int(one["of"].split("'")[1])]] == one["calls"] for one in _runs(budget))
    for _, driven in under_way:
        driven.cancel()


def test_threads_with_their_own_loops_never_overspend() -> None:
    """Hosts run sessions on background threads: sub-runs of one run on 8 of them."""
    root = Run()
    budget = Budget(calls=1_000)
    linked = chain(budget).linked
    start = threading.Barrier(8)
    sent: list[int] = []

    async def work() -> None:
        own = Run(parent=root)
        count = 0

        async def wire(_: Call) -> Result:
            nonlocal count
            count += 1
            return ANSWER

        for _ in range(300):
            call = Call(id="c", method="tools/call", params={"name": "work"}, server="git", run=own)
            await linked.chain("tools/call", "outbound")(call, wire)
        sent.append(count)

    def thread() -> None:
        start.wait()
        anyio.run(work)

    threads = [threading.Thread(target=thread) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(sent) == 1_000


def guarded(limit: int) -> tuple[Guard, FakeServer]:
    """A guard with a budget, and a server with one tool."""
    server = FakeServer()
    server.tool("work").returns("done")
    return Guard([Budget(calls=limit)]), server


async def _text(call: Awaitable[Any]) -> str:
    result = await call
    text: str = result.content[0].text
    return text


@pytest.mark.anyio
async def test_concurrent_calls_of_sub_agents_stop_at_the_cap() -> None:
    """Through the real SDK: the calls admitted are exactly the budget."""
    guard, server = guarded(5)
    texts: list[str] = []
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        guard.session(session, name="git")
        await session.initialize()

        async def sub_agent() -> None:
            async with guard.run():
                texts.append(await _text(session.call_tool("work", {})))

        async with guard.run(), anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(sub_agent)
    assert len(server.calls("work")) == 5
    assert sum(text == "done" for text in texts) == 5
    assert sum("budget_exhausted" in text for text in texts) == 7


@pytest.mark.anyio
async def test_the_session_goes_on_after_the_cap() -> None:
    """A denial never tears a session down, and a new run has a new budget."""
    guard, server = guarded(1)
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        guard.session(session, name="git")
        await session.initialize()
        async with guard.run():
            assert await _text(session.call_tool("work", {})) == "done"
            assert "budget_exhausted" in await _text(session.call_tool("work", {}))
            assert (await session.list_tools()).tools
        async with guard.run():
            assert await _text(session.call_tool("work", {})) == "done"
        assert "no_run" in await _text(session.call_tool("work", {}))
