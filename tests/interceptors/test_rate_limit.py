"""RateLimit: never more in any time than the rate and its burst, for whoever's rate it is."""

from typing import Any

import anyio
import pytest
from chains import OK, Checking, Wire, linked, tool_call
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import Ask, Call, Guard, Principal, RateLimit, Result, Run
from mcpguard.core.chain import Chain
from mcpguard.core.errors import StoreError
from mcpguard.stores.memory import MemoryStore
from mcpguard.testing import FakeClock, RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio

ACME = Principal(tenant="acme", user="ana", agent="writer")
OTHER = Principal(tenant="other", user="ana", agent="writer")


class Tried:
    """A rate in a chain, its clock, and the waits it asked for."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.sink, self.waits = FakeClock(), RecordingSink(), list[float]()
        self.limit = RateLimit(sleep=self.sleep, **options)
        self._chain: Chain = linked(self.limit, clock=self.clock, sinks=[self.sink]).chain(
            "tools/call", "outbound"
        )

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def call(self, **about: Any) -> Result:
        """Make one call."""
        members = {
            "id": "1",
            "method": "tools/call",
            "params": {"name": "read"},
            "server": "files",
            "principal": ACME,
        }
        return await self._chain(Call(**{**members, **about}), Wire(OK))

    async def codes(self, count: int, **about: Any) -> list[str | None]:
        """Make several; the codes they were refused with."""
        results = [await self.call(**about) for _ in range(count)]
        return [None if result.denial is None else result.denial.code for result in results]


async def test_a_burst_passes_and_the_next_is_told_when_to_come_back() -> None:
    """One in six seconds, three at once."""
    one = Tried(calls=10, seconds=60, burst=3)
    assert await one.codes(4) == [None, None, None, "rate_limited"]
    refused = (await one.call()).denial
    assert refused is not None
    assert refused.retry_after == pytest.approx(6.0)
    one.clock.advance(5.9)
    assert await one.codes(1) == ["rate_limited"]
    one.clock.advance(0.1)
    assert await one.codes(2) == [None, "rate_limited"]
    one.clock.advance(600)
    assert await one.codes(4) == [None, None, None, "rate_limited"]


@given(
    calls=st.integers(1, 5),
    burst=st.integers(1, 5),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=40),
)
def test_in_no_time_is_more_admitted_than_the_rate_and_its_burst(
    calls: int, burst: int, gaps: list[float]
) -> None:
    """GCRA's promise, in every interval."""

    async def run() -> list[float]:
        clock, admitted, store = FakeClock(), list[float](), None
        store = MemoryStore(clock=clock)
        for gap in gaps:
            clock.advance(gap)
            pace = await store.pace("k", interval=1.0 / calls, burst=burst)
            if pace.is_admitted:
                admitted.append(clock.now())
        return admitted

    admitted = anyio.run(run)
    for start in range(len(admitted)):
        for end in range(start, len(admitted)):
            time = admitted[end] - admitted[start]
            assert end - start + 1 <= burst + time * calls + 1e-6


@given(
    burst=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 15.0])), min_size=1, max_size=30),
)
def test_a_look_at_a_rate_says_what_a_step_would(burst: int, steps: list[tuple[int, float]]) -> None:
    """As long as nobody comes in between."""

    async def run() -> None:
        clock = FakeClock()
        store = MemoryStore(clock=clock)
        for gap, max_wait in steps:
            clock.advance(gap)
            wait = store.ahead("k") - (burst - 1) * 10.0
            pace = await store.pace("k", interval=10.0, burst=burst, max_wait=max_wait)
            assert pace.is_admitted == (wait <= max_wait)
            assert pace.wait == max(wait, 0.0)

    anyio.run(run)


async def test_nobody_is_asked_about_a_call_that_comes_too_fast() -> None:
    """It would be refused after the answer; and a question refused takes no place in the rate."""
    asking = Checking(lambda call: Ask("sensitive", reason="r"), can_ask=True)
    person, clock = ScriptedApprover().approves(), FakeClock()
    limit = RateLimit(calls=1, seconds=60, burst=1)
    chain = linked(asking, person, limit, clock=clock).chain("tools/call", "outbound")
    assert await chain(tool_call(), Wire()) is OK
    denial = (await chain(tool_call(), Wire())).denial
    assert denial is not None
    assert (denial.code, denial.retry_after) == ("rate_limited", pytest.approx(60.0))
    assert len(person.asked) == 1
    clock.advance(60)
    assert await chain(tool_call(), Wire()) is OK


@pytest.mark.parametrize("max_wait", [0.0, 60.0])
async def test_to_explain_a_call_says_what_would_become_of_it_and_takes_no_place(max_wait: float) -> None:
    """Where a call may wait its turn, that is allowed."""
    clock = FakeClock()
    limit = RateLimit(calls=1, seconds=60, burst=2, max_wait=max_wait, tenants=["acme"])
    guard = Guard([limit], clock=clock)
    layer = linked(limit, clock=clock).chain("tools/call", "outbound")
    asked = Call.tool_call("read", server="files", principal=ACME)
    for _ in range(5):
        assert guard.explain(asked).verdict == "allow"
    for _ in range(3 if max_wait else 2):
        with anyio.move_on_after(0):
            await layer(asked, Wire())
    denial = guard.explain(asked).denial
    assert denial is not None
    assert denial.code == "rate_limited"
    clock.advance(60)
    assert guard.explain(asked).verdict == "allow"
    assert guard.explain(Call.tool_call("read", server="files", principal=OTHER)).verdict == "allow"
    nobody = guard.explain(Call.tool_call("read", server="files")).denial
    assert nobody is not None
    assert nobody.code == "no_principal"


async def test_calls_wait_for_their_turn_where_they_may() -> None:
    """Up to a bound; who would wait longer is refused, and takes no place."""
    one = Tried(calls=1, seconds=2.0, burst=1, max_wait=5.0)
    assert await one.codes(3) == [None, None, None]
    assert one.waits == [pytest.approx(2.0), pytest.approx(2.0)]
    assert one.limit.waits
    still = Tried(calls=1, seconds=10.0, burst=1, max_wait=5.0)
    assert await still.codes(2) == [None, "rate_limited"]


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ("tenant", {"server": "mail"}, {"principal": OTHER}),
        ("user", {"server": "mail"}, {"principal": Principal(tenant="acme", user="bob")}),
        (
            "agent",
            {"principal": Principal(tenant="acme", user="bob", agent="writer")},
            {"principal": Principal(tenant="acme", agent="x")},
        ),
        ("server", {"params": {"name": "write"}}, {"server": "mail"}),
        ("server", {"params": {"name": "write"}}, {"principal": OTHER}),
        ("tool", {"principal": Principal(tenant="acme", user="bob")}, {"params": {"name": "write"}}),
    ],
)
async def test_each_has_a_rate_of_its_own(per: Any, same: dict[str, Any], other: dict[str, Any]) -> None:
    """And within a tenant always."""
    one = Tried(calls=1, burst=1, per=per)
    assert await one.codes(1) == [None]
    assert await one.codes(1, **same) == ["rate_limited"]
    assert await one.codes(1, **other) == [None]


async def test_a_run_and_the_runs_inside_it_have_one_rate() -> None:
    """A sub-agent is no way round it."""
    one, outer = Tried(calls=1, burst=1, per="run"), Run()
    assert await one.codes(1, run=outer) == [None]
    assert await one.codes(1, run=Run(parent=outer)) == ["rate_limited"]
    assert await one.codes(1, run=Run()) == [None]
    assert await one.codes(1) == ["no_run"]


async def test_a_sub_agent_with_a_name_of_its_own_is_no_way_round_the_rate_above() -> None:
    """It counts for those on whose behalf the runs above it are made, too."""
    one, outer = Tried(calls=1, burst=1, per="agent"), Run(principal=ACME)
    assert await one.codes(1, run=outer) == [None]
    for name in ("one", "two"):
        who = Principal(tenant="acme", user="ana", agent=name)
        inner = Run(parent=outer, principal=who)
        assert await one.codes(1, run=inner, principal=who) == ["rate_limited"]


async def test_two_limits_without_an_id_in_one_store_do_not_count_for_each_other() -> None:
    """A slow rate and a fast one beside it; and the same rate for other tools."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    fast, slow = RateLimit(calls=10, seconds=1, store=store), RateLimit(calls=5, seconds=3600, store=store)
    other = RateLimit(calls=5, seconds=3600, store=store, tools=["write"])
    chain = linked(fast, slow, other, clock=clock).chain("tools/call", "outbound")
    results = [await chain(tool_call(), Wire(OK)) for _ in range(6)]
    assert [result.denial is None for result in results] == [True] * 5 + [False]
    assert (await chain(tool_call("write"), Wire(OK))).denial is not None
    assert len(store) == 2


async def test_limits_with_one_id_in_one_store_share_a_rate() -> None:
    """As the processes of a fleet do, and a policy that is read again."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    before, after = (
        linked(RateLimit(id="r", calls=calls, seconds=60, burst=1, store=store), clock=clock)
        for calls in (1, 2)
    )
    assert (await before.chain("tools/call", "outbound")(tool_call(), Wire(OK))).denial is None
    assert (await after.chain("tools/call", "outbound")(tool_call(), Wire(OK))).denial is not None


async def test_a_tools_name_of_any_length_takes_no_more_room_in_the_store() -> None:
    """Names come from the model."""
    store = MemoryStore()
    one = Tried(calls=1, per="tool", store=store)
    await one.codes(1, params={"name": "x" * 1_000_000})
    assert len(store) == 1
    assert max(len(key) for _, key in store._rates) == 64


@pytest.mark.parametrize(("seconds", "said"), [(3600.0, "3600"), (0.25, "0.3"), (7200.5, "7201")])
async def test_the_model_is_told_a_time_after_which_it_really_passes(seconds: float, said: str) -> None:
    """In plain numbers, rounded up."""
    one = Tried(calls=1, seconds=seconds, burst=1)
    assert await one.codes(1) == [None]
    denial = (await one.call()).denial
    assert denial is not None
    assert f"Try again in {said} seconds." in denial.message


async def test_without_anybody_to_limit_a_call_is_denied() -> None:
    """Fail closed."""
    assert await Tried(calls=1).codes(1, principal=None) == ["no_principal"]
    assert await Tried(calls=1, per="user").codes(1, principal=Principal(tenant="a")) == ["no_principal"]
    assert await Tried(calls=1, per="server", roles=["x"]).codes(1, principal=None) == ["no_principal"]
    assert await Tried(calls=1, per="server").codes(1, principal=None) == [None]


async def test_a_scope_leaves_the_rest_alone() -> None:
    """Only the tools that are named."""
    one = Tried(calls=1, burst=1, tools=["search_*"])
    assert await one.codes(5) == [None] * 5
    assert await one.codes(2, params={"name": "search_web"}) == [None, "rate_limited"]


async def test_a_store_that_is_gone_denies() -> None:
    """Fail closed, unless the policy says otherwise."""
    store = MemoryStore()
    await store.aclose()
    assert await Tried(calls=1, store=store).codes(1) == ["interceptor_failed"]
    assert await Tried(calls=1, store=store, fail_open=True).codes(1) == [None]
    with pytest.raises(StoreError):
        await store.pace("k", interval=1.0, burst=1)


async def test_in_mode_audit_nothing_is_refused_nothing_waits_and_the_store_is_left_alone() -> None:
    """What would have been refused is in the record."""
    store = MemoryStore()
    one = Tried(calls=1, burst=1, max_wait=5.0, mode="audit", store=store)
    assert await one.codes(3) == [None] * 3
    assert one.waits == []
    assert len(store) == 0
    assert "rate_limited" in [event.code for event in one.sink.events]


async def test_a_clock_that_is_put_back_stalls_nothing_and_gives_nothing() -> None:
    """The store's time is monotonic."""
    one = Tried(calls=1, burst=1)
    await one.codes(1)
    one.clock.epoch -= 1e6
    assert await one.codes(1) == ["rate_limited"]
    one.clock.advance(60)
    assert await one.codes(1) == [None]


@pytest.mark.parametrize(
    "options",
    [
        {"calls": 0},
        {"calls": 1, "seconds": 0},
        {"calls": 1, "burst": 0},
        {"calls": 1, "max_wait": -1},
        {"calls": 1, "per": "x"},
        {"calls": float("nan")},
        {"calls": 10**400},
        {"calls": 1, "seconds": float("nan")},
        {"calls": 1, "burst": float("nan")},
    ],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        RateLimit(**options)


def test_a_tool_call_needs_nothing_else() -> None:
    """The shape of a call in these tests is that of a real one."""
    assert tool_call().target == "read"
