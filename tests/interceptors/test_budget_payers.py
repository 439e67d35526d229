"""Budget: who pays, over what time, and when there is a warning."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from driven import ANSWER, UNSENT, Driven, chain, code
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import Access, Budget, Principal, Run
from mcpguard.core.linked import ANONYMOUS
from mcpguard.detectors.prices import Price
from mcpguard.testing import FakeClock

ADA = Principal(tenant="acme", user="ada", agent="writer")
BOB = Principal(tenant="acme", user="bob", agent="writer")
EVE = Principal(tenant="evil", user="ada", agent="writer")

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> float:
    """Seconds since the epoch of a time in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def accounts(budget: Budget) -> dict[str, Any]:
    """Calls that each account has used."""
    shown: Any = budget.status()["accounts"]
    return {account["of"]: account["calls"] for account in shown}


@pytest.mark.parametrize(
    ("per", "spared"),
    [
        ("agent", [{"principal": EVE}]),
        ("user", [{"principal": EVE}, {"principal": BOB}]),
        ("tenant", [{"principal": EVE}]),
        ("server", [{"principal": EVE}, {"server": "web"}]),
        ("tool", [{"principal": EVE}, {"server": "web"}, {"name": "play"}]),
    ],
)
def test_each_payer_has_its_own_budget(per: Any, spared: list[dict[str, Any]]) -> None:
    """Per tenant, always; never by a bare tool name (wpmgr #634)."""
    made = chain(Budget(per=per, calls=1))
    assert code(made.make(None, principal=ADA)) is None
    assert code(made.make(Run(principal=ADA), principal=ADA)) == "budget_exhausted"
    for other in spared:
        assert code(made.make(None, **{"principal": ADA, **other})) is None


@pytest.mark.parametrize(
    ("per", "who", "expected"),
    [
        ("agent", None, "no_principal"),
        ("user", None, "no_principal"),
        ("tenant", None, "no_principal"),
        ("server", None, None),
        ("tool", None, None),
        ("agent", Principal(tenant="acme", user="ada"), "no_principal"),
        ("user", Principal(tenant="acme", agent="writer"), "no_principal"),
        ("user", Principal(user="ada"), None),
        ("tenant", Principal(user="ada"), None),
    ],
)
def test_where_nobody_can_be_charged_the_call_is_denied(
    per: Any, who: Principal | None, expected: Any
) -> None:
    """A principal without tenant is one of a single tenant; one without the name in question is nobody."""
    made = chain(Budget(per=per, calls=1))
    assert code(made.make(None, principal=who)) == expected
    if expected is None:
        assert code(made.make(None, principal=who)) == "budget_exhausted"


@pytest.mark.parametrize("per", ["agent", "user", "tenant", "server", "tool"])
def test_anonymous_callers_share_one_budget(per: Any) -> None:
    """A guard that lets calls be made on nobody's behalf does not lift their limits."""
    made = chain(Budget(per=per, calls=2))
    codes = [code(made.make(None, principal=ANONYMOUS)) for _ in range(3)]
    assert codes == [None, None, "budget_exhausted"]


def test_sub_agents_of_other_principals_spend_from_those_above_too() -> None:
    """Delegating to somebody else is no way round one's own budget."""
    budget = Budget(per="tenant", calls=2)
    made, outer = chain(budget), Run(principal=ADA)
    inner = Run(principal=EVE, parent=outer)
    assert code(made.make(inner)) is None
    assert accounts(budget) == {"tenant 'acme'": 1, "tenant 'evil'": 1}
    assert code(made.make(outer)) is None
    denial = made.make(inner).denial
    assert denial is not None
    assert denial.reason == "tenant 'acme' has used 2 of its 2 tool calls"
    assert code(made.make(Run(principal=EVE))) is None
    assert accounts(budget) == {"tenant 'acme'": 2, "tenant 'evil'": 2}


def test_a_payer_that_is_met_twice_is_charged_once() -> None:
    """Three runs of one user, one inside the other."""
    budget = Budget(per="user", calls=5)
    run = Run(parent=Run(parent=Run(principal=ADA)))
    chain(budget).make(run)
    assert accounts(budget) == {"user 'ada' of tenant 'acme'": 1}


def test_runs_above_of_nobody_are_no_hindrance() -> None:
    """Only who makes the call must be known."""
    budget = Budget(per="user", calls=5)
    made = chain(budget)
    made.make(Run(principal=ADA, parent=Run()))
    made.make(Run(principal=ADA, parent=Run(principal=Principal(tenant="acme"))))
    assert accounts(budget) == {"user 'ada' of tenant 'acme'": 2}


def test_several_budgets_in_one_guard_keep_apart() -> None:
    """By their ids, also in one store; a call is refused by the first that has not enough, and spends from none."""
    cap = Budget(id="cap", calls=9)
    mail = Budget(id="mail", calls=1, tools=["send"])
    run, made = Run(id="r"), chain(Access(default="allow"), cap, mail)
    assert [code(made.make(run, name="send")) for _ in range(2)] == [None, "budget_exhausted"]
    assert code(made.make(run)) is None
    assert (accounts(cap), accounts(mail)) == ({"run 'r'": 2}, {"run 'r'": 1})


def test_a_calendar_budget_begins_anew_with_each_period() -> None:
    """By the calendar of its time zone: Berlin's midnight is not UTC's."""
    clock = FakeClock(epoch=moment("2026-11-21T23:59:50"))
    budget = Budget(per="tenant", calls=1, every="day", timezone="Europe/Berlin")
    made = chain(budget, clock=clock)
    assert code(made.make(None, principal=ADA)) is None
    denial = made.make(None, principal=ADA).denial
    assert denial is not None
    assert denial.retry_after == pytest.approx(10)
    assert "there is more in 10 seconds" in denial.message
    clock.advance(9)
    assert code(made.make(None, principal=ADA)) == "budget_exhausted"
    clock.advance(1)
    assert code(made.make(None, principal=ADA)) is None
    assert accounts(budget) == {"tenant 'acme'": 1}


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clocks_change_is_a_day(day: str, hours: int) -> None:
    """23 or 25 hours in Berlin."""
    clock = FakeClock(epoch=moment(f"{day}T00:00"))
    made = chain(Budget(per="tenant", calls=1, every="day", timezone="Europe/Berlin"), clock=clock)
    made.make(None, principal=ADA)
    clock.advance(hours * 3600 - 1)
    denial = made.make(None, principal=ADA).denial
    assert denial is not None
    assert denial.retry_after == 1
    clock.advance(1)
    assert code(made.make(None, principal=ADA)) is None


def test_a_clock_that_is_put_back_gives_nothing_back() -> None:
    """Neither within a period nor over the end of one."""
    clock = FakeClock(epoch=moment("2026-11-22T00:00"))
    made = chain(Budget(per="tenant", calls=1, every="day", timezone="Europe/Berlin"), clock=clock)
    made.make(None, principal=ADA)
    for back in (1, 3600, 43_200, 39_599):
        clock.epoch -= back
        assert code(made.make(None, principal=ADA)) == "budget_exhausted"


def test_a_run_may_have_a_calendar_budget() -> None:
    """A run that goes on for days has one for each, and those inside it spend from it."""
    clock = FakeClock(epoch=moment("2026-11-21T12:00"))
    root = Run()
    run = Run(parent=root)
    made = chain(Budget(calls=1, every="day", timezone="Europe/Berlin"), clock=clock)
    assert [code(made.make(one)) for one in (run, root)] == [None, "budget_exhausted"]
    clock.advance(43_200)
    assert [code(made.make(one)) for one in (root, run)] == [None, "budget_exhausted"]


def test_a_rolling_budget_comes_back_bit_by_bit() -> None:
    """In no interval of that length is more used."""
    made = chain(Budget(per="user", calls=2, within=60))
    assert code(made.make(None, principal=ADA)) is None
    made.clock.advance(30)
    assert code(made.make(None, principal=ADA)) is None
    assert code(made.make(None, principal=ADA)) == "budget_exhausted"
    made.clock.advance(32)
    assert code(made.make(None, principal=ADA)) is None
    denial = made.make(None, principal=ADA).denial
    assert denial is not None
    assert denial.retry_after is not None
    assert 0 < denial.retry_after <= 32


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=40), st.integers(1, 3))
def test_no_window_has_more_than_the_limit(steps: list[tuple[float, bool]], limit: int) -> None:
    """Wherever a window is put: what was given back was not sent."""
    made = chain(Budget(per="user", calls=limit, within=60))
    admitted: list[float] = []
    for wait, is_sent in steps:
        made.clock.advance(wait)
        driven = made.begin(None, principal=ADA)
        if driven.is_on_the_wire:
            driven.answer(ANSWER if is_sent else UNSENT)
            if is_sent:
                admitted.append(made.clock.now())
    for position, first in enumerate(admitted):
        assert sum(first <= one < first + 60 for one in admitted[position:]) <= limit


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_payer_is_ever_overspent(data: st.DataObject) -> None:
    """Any nesting of runs of any principals, any interleaving."""
    per: Any = data.draw(st.sampled_from(["agent", "user", "tenant", "server", "tool"]))
    limit = data.draw(st.integers(1, 4))
    made = chain(Budget(per=per, calls=limit))
    runs = [Run(principal=who) for who in (ADA, BOB, EVE)]
    spent: dict[Any, int] = {}
    under_way: list[tuple[set[Any], Driven]] = []
    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(["open", "begin", "begin", "end"]))
        if step == "open":
            runs.append(
                Run(
                    principal=data.draw(st.sampled_from([ADA, BOB, EVE])),
                    parent=data.draw(st.sampled_from(runs)),
                )
            )
        elif step == "begin":
            run = data.draw(st.sampled_from(runs))
            server, tool = data.draw(st.sampled_from(["git", "web"])), data.draw(st.sampled_from(["a", "b"]))
            keys = {
                "agent": {
                    (one.principal.tenant, one.principal.agent) for one in run.lineage if one.principal
                },
                "user": {(one.principal.tenant, one.principal.user) for one in run.lineage if one.principal},
                "tenant": {one.principal.tenant for one in run.lineage if one.principal},
                "server": {(one.principal.tenant, server) for one in run.lineage if one.principal},
                "tool": {(one.principal.tenant, server, tool) for one in run.lineage if one.principal},
            }[per]
            driven = made.begin(run, tool, server=server)
            assert driven.is_on_the_wire == all(spent.get(key, 0) < limit for key in keys)
            if driven.is_on_the_wire:
                under_way.append((keys, driven))
                for key in keys:
                    spent[key] = spent.get(key, 0) + 1
        elif under_way:
            keys, driven = under_way.pop()
            is_sent = data.draw(st.booleans())
            driven.answer(ANSWER if is_sent else UNSENT)
            if not is_sent:
                for key in keys:
                    spent[key] -= 1
        assert all(count <= limit for count in spent.values())
    for _, driven in under_way:
        driven.cancel()


def test_a_warning_comes_once_for_each_account_and_period() -> None:
    """From the share that was chosen; it is about what is held as well."""
    clock = FakeClock(epoch=moment("2026-11-21T12:00"))
    made = chain(Budget(per="user", calls=5, every="day", timezone="Europe/Berlin"), clock=clock)
    for _ in range(6):
        made.make(None, principal=ADA)
    made.make(None, principal=BOB)
    (warning,) = made.seen.of("warning")
    assert (warning.code, warning.interceptor, warning.mode) == ("budget_low", "budget", None)
    assert warning.reason == "user 'ada' of tenant 'acme' has used 4 of its 5 tool calls"
    clock.advance(86_400)
    for _ in range(5):
        made.make(None, principal=ADA)
    assert len(made.seen.of("warning")) == 2


def test_a_rolling_budget_warns_once_a_window() -> None:
    """Not with every call that is made near the limit."""
    made = chain(Budget(per="user", calls=2, within=60, warn_at=0.5))
    for _ in range(10):
        made.make(None, principal=ADA)
        made.clock.advance(30)
    assert 3 <= len(made.seen.of("warning")) <= 5


def test_the_run_above_is_warned_of_by_name() -> None:
    """Which account is low, not which run made the call; the share is of each limit."""
    root = Run(id="root")
    left, right = Run(id="left", parent=root), Run(id="right", parent=root)
    made = chain(Budget(cost="1 USD", prices=[Price("0.25 USD")], warn_at=0.7))
    for run in (left, right, left):
        made.make(run)
    assert [one.reason for one in made.seen.of("warning")] == ["run 'root' has used 0.75 of its 1.00 USD"]


def test_without_a_share_there_is_no_warning() -> None:
    """None: never."""
    made = chain(Budget(calls=1, warn_at=None))
    made.make(Run())
    assert made.seen.of("warning") == []


def test_names_from_outside_are_cut_and_do_not_collide() -> None:
    """A model may call a tool of any name; two long ones are two."""
    budget = Budget(per="tool", calls=1)
    made = chain(budget)
    names = ["x" * 100_000 + end for end in "ab"]
    assert [code(made.make(None, name=name)) for name in (*names, *names)] == [
        None,
        None,
        "budget_exhausted",
        "budget_exhausted",
    ]
    assert all(len(label) < 200 for label in accounts(budget))


def test_keys_that_look_alike_are_two() -> None:
    """A tenant cannot be named so that it is charged to another."""
    made = chain(Budget(per="user", calls=1))
    for tenant, user in (("a", 'b","c'), ('a","b', "c"), ("a", "b"), (None, "b"), ("null", "b")):
        assert code(made.make(None, principal=Principal(tenant=tenant, user=user))) is None


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"within": 0}, ValueError, "within is more than 0"),
        ({"within": -1.5}, ValueError, "within"),
        ({"within": float("inf")}, ValueError, "finite"),
        ({"within": float("nan")}, ValueError, "within"),
        ({"within": "1h"}, TypeError, "within is a number"),
        ({"within": 60, "every": "day"}, ValueError, "not both"),
        ({"timezone": "Europe/Berlin"}, ValueError, "without every"),
        ({"every": "year"}, ValueError, "hour, day, week, month"),
        ({"every": "day", "timezone": "Berlin"}, ValueError, "IANA name"),
    ],
)
def test_misuse_is_refused_when_it_is_built(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Messages say what would be accepted."""
    with pytest.raises(error, match=text):
        Budget(**options)
