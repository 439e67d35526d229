"""ResultCache: answers are kept for whoever got them, for a while, until something changes."""

import gc
import math
import tracemalloc
from typing import Any

import pytest
from chains import FAILED, OK, Around, Checking, Wire, linked, tool_call
from harness import opened, text
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import Ask, Call, CallNext, Fate, Guard, Outcome, Place, Principal, Result, ResultCache
from mcpguard.core.views import explained
from mcpguard.testing import FakeClock, FakeServer

pytestmark = pytest.mark.anyio

ANA = Principal(tenant="acme", user="ana")
BOB = Principal(tenant="acme", user="bob")
EVE = Principal(tenant="other", user="ana")


def says(answer: str) -> Result:
    """An answer."""
    return Result.of({"content": [{"type": "text", "text": answer}]})


class Tried:
    """A cache in a chain whose server numbers its answers."""

    def __init__(self, *, fail: Result | None = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.cache = ResultCache(**{"tools": ["read*"], **options})
        self.linked = linked(self.cache, clock=self.clock)
        self.sent = 0
        self._fail = fail

    async def wire(self, call: Call) -> Result:
        """Answer with a number."""
        self.sent += 1
        return self._fail or says(str(self.sent))

    async def call(
        self, tool: str = "read", who: Principal | None = ANA, server: str = "files", **arguments: Any
    ) -> Any:
        """Call a tool; what it says."""
        params = {"name": tool, "arguments": arguments}
        call = Call(id="1", method="tools/call", params=params, server=server, principal=who)
        result = await self.linked.chain("tools/call", "outbound")(call, self.wire)
        value: Any = result.value
        return None if value is None else value["content"][0]["text"]


async def test_the_same_question_is_answered_from_memory_for_a_while() -> None:
    """Same server, tool and arguments, whatever their order."""
    one = Tried(seconds=60)
    assert await one.call(a=1, b=2) == "1"
    assert await one.call(b=2, a=1) == "1"
    assert await one.call(a=1, b=3) == "2"
    assert await one.call("read_all", a=1, b=2) == "3"
    assert await one.call(a=1, b=2, server="mail") == "4"
    one.clock.advance(61)
    assert await one.call(a=1, b=2) == "5"
    assert one.cache.status()["hits"] == 1


async def test_tools_that_are_not_named_are_always_asked() -> None:
    """Only a person can say that a tool only reads."""
    one = Tried()
    assert [await one.call("write") for _ in range(3)] == ["1", "2", "3"]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["x", "y", None])), max_size=20))
async def test_nobody_is_given_what_another_was_answered(people: list[tuple[str | None, str | None]]) -> None:
    """Never across tenants; within one only where the policy says so."""
    for per in ("principal", "tenant"):
        one, first = Tried(per=per), dict[Any, str]()
        for tenant, user in people:
            said = await one.call(who=Principal(tenant=tenant, user=user))
            is_shared = per == "tenant" and tenant is not None
            key = tenant if is_shared else (tenant, user) if tenant or user else object()
            assert said == first.setdefault(key, said)
        assert len(set(first.values())) == len(first)


async def test_per_tenant_everybody_in_it_shares() -> None:
    """And nobody else; a call without a principal is nobody's."""
    one = Tried(per="tenant")
    assert [await one.call(who=who) for who in (ANA, BOB, EVE, None)] == ["1", "1", "2", "3"]


async def test_where_nobody_is_known_an_answer_stays_in_its_task() -> None:
    """Two people's sessions to one server, and no word of whose they are."""
    guard = Guard([ResultCache(tools=["read"])])
    for whose in ("ana's", "bob's"):
        server = FakeServer()
        server.tool("read").returns(whose)
        async with opened(guard, server, "session") as peer:
            assert text(await peer.call("read")) == whose
            async with guard.run() as run, guard.run(parent=run):
                assert [text(await peer.call("read")) for _ in range(2)] == [whose, whose]
            async with guard.run():
                await peer.call("read")
        assert len(server.calls("read")) == 3


async def test_a_call_that_a_person_must_approve_is_put_to_them_every_time() -> None:
    """The cache stands before `Approval`; what it knows answers no question."""

    async def approve(call: Call, call_next: CallNext) -> Result:
        approved.append(call)
        return await call_next(call.replace(asks=(), approved=call.asks))

    approved: list[Call] = []
    asking = Checking(lambda call: Ask("sensitive", reason="the test says so"), can_ask=True)
    approval = Around(approve, resolves_asks=True, place=Place.APPROVAL)
    cached = linked(asking, ResultCache(tools=["read"]), approval).chain("tools/call", "outbound")
    wire = Wire(OK)
    for _ in range(3):
        await cached(tool_call(), wire)
    assert len(approved) == len(wire.calls) == 3


async def test_roles_narrow_who_is_answered_from_memory_and_not_whose_writes_count() -> None:
    """A write by anybody in the tenant makes an answer old."""
    reader = Principal(tenant="acme", user="eva", roles={"reader"})
    one = Tried(roles=["reader"], invalidated_by=["write"])
    assert [await one.call(who=who) for who in (reader, reader, ANA, ANA, reader)] == [
        "1",
        "1",
        "2",
        "3",
        "1",
    ]
    await one.call("write", who=ANA)
    assert await one.call(who=reader) == "5"


async def test_a_write_drops_what_was_read_for_its_tenant() -> None:
    """Before it and after it: what was read meanwhile may be either."""
    one = Tried(invalidated_by=["write*"])
    assert await one.call() == "1"
    assert await one.call(who=EVE) == "2"
    await one.call("write_file")
    assert await one.call() == "4"
    assert await one.call(who=EVE) == "2"


async def test_an_answer_that_was_under_way_during_a_write_is_not_kept() -> None:
    """It may tell what was there before."""
    one = Tried(invalidated_by=["write"])
    chain = one.linked.chain("tools/call", "outbound")

    async def overtaken(call: Call) -> Result:
        await one.call("write")
        return says("before")

    read = Call(
        id="1", method="tools/call", params={"name": "read", "arguments": {}}, server="files", principal=ANA
    )
    await chain(read, overtaken)
    assert await one.call() == "2"


async def test_a_change_of_the_servers_tools_drops_what_it_said() -> None:
    """Only what that server said."""
    one = Tried()
    await one.call()
    await one.call(server="mail")
    gate = one.linked.gate("notifications/tools/list_changed", "inbound")
    assert gate is not None
    gate.admit(Call(id="2", method="notifications/tools/list_changed", direction="inbound", server="files"))
    assert await one.call() == "3"
    assert await one.call(server="mail") == "2"


async def test_to_explain_a_change_of_the_servers_tools_drops_nothing() -> None:
    """Nobody has changed them."""
    one = Tried()
    assert await one.call() == "1"
    changed = Call(id="2", method="notifications/tools/list_changed", direction="inbound", server="files")
    explained(changed, one.linked.steps, FakeClock(), None)
    assert await one.call() == "1"


@pytest.mark.parametrize(
    "answer",
    [
        FAILED,
        Result.of({"content": [{"type": "text", "text": "no"}], "isError": True}),
        Result.of({"content": [{"type": "text", "text": "?"}], "resultType": "input_required"}),
        Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT),
    ],
)
async def test_only_complete_answers_that_are_no_errors_are_kept(answer: Result) -> None:
    """An error may pass."""
    one = Tried(fail=answer)
    await one.call()
    await one.call()
    assert one.sent == 2


async def test_what_is_kept_cannot_be_changed_from_outside() -> None:
    """Each gets a copy."""
    one = Tried()
    chain = one.linked.chain("tools/call", "outbound")
    read = Call(
        id="1", method="tools/call", params={"name": "read", "arguments": {}}, server="files", principal=ANA
    )
    for _ in range(3):
        value: Any = (await chain(read, one.wire)).value
        assert value["content"][0]["text"] == "1"
        value["content"][0]["text"] = "changed"


async def test_it_is_bounded_by_bytes() -> None:
    """The oldest go; what is larger than all of it is not kept."""
    one = Tried(max_bytes=6_000)
    for number in range(100):
        await one.call(n=number)
    status: Any = one.cache.status()
    assert status["bytes"] <= 6_000
    assert 0 < status["answers"] < 100
    huge = Tried(max_bytes=100, fail=says("x" * 1000))
    await huge.call()
    assert huge.cache.status()["answers"] == 0


async def test_an_answer_that_is_small_on_the_wire_and_large_in_memory_is_kept_as_small() -> None:
    """A list of empty objects takes twenty times its text, once it is read."""
    one = Tried(fail=Result.of({"content": [], "structuredContent": {"a": [{}] * 50_000}}))
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20):
            await one.linked.chain("tools/call", "outbound")(tool_call(n=number), one.wire)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept: Any = one.cache.status()["bytes"]
    assert kept > 20 * 50_000
    assert taken < 1.5 * kept


@pytest.mark.parametrize("number", [math.nan, math.inf, -0.0, 10**30, 1.5])
async def test_numbers_come_back_as_they_were(number: float) -> None:
    """Also those that JSON has no word for."""
    answer = Result.of({"content": [], "structuredContent": {"n": number, "s": "\ud800\u2028"}})
    one = Tried(fail=answer)
    chain = one.linked.chain("tools/call", "outbound")
    first, second = await chain(tool_call(), one.wire), await chain(tool_call(), one.wire)
    assert one.sent == 1
    assert repr(second.value) == repr(first.value)


async def test_an_answer_nested_too_deep_to_copy_is_given_and_not_kept() -> None:
    """What has been carried out is answered."""
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    one = Tried(fail=Result.of({"content": [], "structuredContent": {"a": deep}}))
    chain = one.linked.chain("tools/call", "outbound")
    for _ in range(2):
        assert (await chain(tool_call(), one.wire)).outcome is Outcome.OK
    assert one.sent == 2


async def test_in_mode_audit_every_call_is_made() -> None:
    """A hit would be a changed result."""
    one = Tried(mode="audit")
    assert [await one.call() for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "options",
    [
        {"tools": []},
        {"seconds": 0},
        {"max_bytes": 0},
        {"per": "x"},
        {"seconds": math.nan},
        {"max_bytes": math.nan},
    ],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        ResultCache(**{"tools": ["read"], **options})


async def test_two_tenants_on_one_session_are_told_apart() -> None:
    """Through a real session."""
    server = FakeServer()
    server.tool("read").returns("for A").returns("for B")
    guard = Guard([ResultCache(tools=["read"])])
    async with opened(guard, server, "session", shared=True) as peer:
        for principal, said in ((ANA, "for A"), (EVE, "for B"), (ANA, "for A")):
            async with guard.run(principal=principal):
                assert text(await peer.call("read")) == said
    assert len(server.calls("read")) == 2
