"""Concurrency: never more calls under way than slots, first come first served, no slot ever lost."""

import asyncio
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any

import anyio
import pytest
from chains import OK, linked, tool_call

from mcpguard import Call, Concurrency, Principal, Result
from mcpguard.core.chain import Chain

pytestmark = pytest.mark.anyio


class Tried:
    """Slots in a chain whose calls stay on the wire until they are let go."""

    def __init__(self, **options: Any) -> None:
        self.concurrency = Concurrency(**options)
        self.chain: Chain = linked(self.concurrency).chain("tools/call", "outbound")
        self.under_way: list[tuple[str, anyio.Event]] = []
        self.most = 0
        self.codes: dict[str, str | None] = {}

    async def wire(self, call: Call) -> Result:
        """Stay until let go."""
        gate = anyio.Event()
        self.under_way.append((call.id, gate))
        self.most = max(self.most, len(self.under_way))
        try:
            await gate.wait()
        finally:
            self.under_way.remove((call.id, gate))
        return OK

    async def call(self, id: str, **about: Any) -> None:
        """Make one call, and note the code it was refused with."""
        members = {"method": "tools/call", "params": {"name": "read"}, "server": "files"}
        result = await self.chain(Call(id=id, **{**members, **about}), self.wire)
        self.codes[id] = None if result.denial is None else result.denial.code

    def ids(self) -> list[str]:
        """What is on the wire."""
        return [id for id, _ in self.under_way]

    async def let_go(self, id: str) -> None:
        """End one call, and let the others get as far as they can."""
        next(gate for one, gate in self.under_way if one == id).set()
        await anyio.wait_all_tasks_blocked()


async def test_calls_beyond_the_slots_wait_in_the_order_they_came() -> None:
    """And beyond the line they are denied."""
    one = Tried(slots=2, queue=2)
    async with anyio.create_task_group() as tasks:
        for id in "abcde":
            tasks.start_soon(one.call, id)
            await anyio.wait_all_tasks_blocked()
        assert one.ids() == ["a", "b"]
        assert one.codes == {"e": "too_many_calls"}
        status: Any = one.concurrency.status()
        assert status["lines"] == [
            {"server": "files", "tool": None, "tenant": None, "in_use": 2, "waiting": 2}
        ]
        await one.let_go("b")
        assert one.ids() == ["a", "c"]
        await one.let_go("a")
        assert one.ids() == ["c", "d"]
        await one.let_go("c")
        await one.let_go("d")
    assert one.most == 2
    assert one.codes == {"a": None, "b": None, "c": None, "d": None, "e": "too_many_calls"}
    assert one.concurrency.status()["lines"] == []


@pytest.mark.parametrize(
    ("slots", "queue", "on_the_wire", "after_one_has_ended"),
    [(2, 9, "ab", "bc"), (3, 9, "abc", "bcd"), (4, 9, "abcd", "bcd"), (2, 0, "ab", "bc"), (1, 9, "a", "b")],
)
async def test_who_waits_is_let_in_first_when_a_reload_gives_more_slots(
    slots: int, queue: int, on_the_wire: str, after_one_has_ended: str
) -> None:
    """Whoever comes after it takes what those before have left, or a place behind them."""
    before, after = Tried(slots=1, queue=9), Tried(slots=slots, queue=queue)
    after.under_way = before.under_way
    async with anyio.create_task_group() as tasks:
        for id in "abc":
            tasks.start_soon(before.call, id)
            await anyio.wait_all_tasks_blocked()
        assert before.ids() == ["a"]
        after.concurrency.take_over(before.concurrency)
        tasks.start_soon(after.call, "d")
        await anyio.wait_all_tasks_blocked()
        assert sorted(after.ids()) == list(on_the_wire)
        await before.let_go("a")
        assert sorted(after.ids()) == list(after_one_has_ended)
        while after.under_way:
            await after.let_go(after.ids()[0])
    assert {**before.codes, **after.codes} == {
        **dict.fromkeys("abc"),
        "d": "too_many_calls" if queue == 0 else None,
    }
    assert after.concurrency.status()["lines"] == []


async def test_who_is_cancelled_in_the_line_leaves_it() -> None:
    """The next takes the place; no slot goes to somebody who has gone."""
    one = Tried(slots=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.call, "a")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(one.call, "b")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(one.call, "c")
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        await one.let_go("a")
        assert one.ids() == ["c"]
        await one.let_go("c")
    assert "b" not in one.codes


async def test_a_slot_that_comes_as_its_waiter_is_cancelled_goes_to_the_next() -> None:
    """Handed over and given up in the same moment."""
    one = Tried(slots=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.call, "a")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(one.call, "b")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(one.call, "c")
            await anyio.wait_all_tasks_blocked()
            one.under_way[0][1].set()
            leaving.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert one.ids() == ["c"]
        await one.let_go("c")


async def test_a_call_that_fails_gives_its_slot_back() -> None:
    """Whatever it fails with."""
    chain = linked(Concurrency(slots=1)).chain("tools/call", "outbound")

    async def broken(call: Call) -> Result:
        raise RuntimeError("bug")

    async def fine(call: Call) -> Result:
        return OK

    for _ in range(3):
        await chain(tool_call(), broken)
    assert await chain(tool_call(), fine) is OK


async def test_who_waits_too_long_is_denied_and_holds_no_place() -> None:
    """A bound on the wait."""
    one = Tried(slots=1, max_wait=0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.call, "a")
        await anyio.wait_all_tasks_blocked()
        await one.call("b")
        assert one.codes == {"b": "too_many_calls"}
        await one.let_go("a")


async def test_each_tenant_and_server_has_slots_of_its_own_and_each_tool_where_that_is_asked_for() -> None:
    """One tenant's slow calls do not hold up another's."""
    one, per_tool = Tried(slots=1, queue=0), Tried(slots=1, queue=0, per="tool")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.call, "a")
        tasks.start_soon(per_tool.call, "a")
        await anyio.wait_all_tasks_blocked()
        for id, about in (
            ("b", {"principal": Principal(tenant="acme")}),
            ("c", {"server": "mail"}),
            ("d", {"params": {"name": "write"}}),
        ):
            tasks.start_soon(partial(one.call, id, **about))
            tasks.start_soon(partial(per_tool.call, id, **about))
        await anyio.wait_all_tasks_blocked()
        assert one.codes == {"d": "too_many_calls"}
        assert per_tool.codes == {}
        for tried in (one, per_tool):
            for id in tried.ids():
                await tried.let_go(id)


def test_slots_are_shared_by_threads_with_event_loops_of_their_own() -> None:
    """Hosts run sessions on background threads; a slot wakes whoever waits, wherever that is."""
    chain = linked(Concurrency(slots=2)).chain("tools/call", "outbound")
    under_way, most, lock = [0], [0], threading.Lock()

    async def wire(call: Call) -> Result:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        await anyio.lowlevel.checkpoint()
        with lock:
            under_way[0] -= 1
        return OK

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(chain, tool_call(), wire)

    threads = [
        threading.Thread(target=anyio.run, args=(many,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio", "asyncio", "trio")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most[0] <= 2


def test_a_slot_is_not_lost_with_an_event_loop_that_ends_while_one_waits() -> None:
    """Closed without a word to its tasks, as hosts do that are in a hurry."""
    one = Tried(slots=1)
    gone = asyncio.new_event_loop()
    waiting: list[asyncio.Task[None]] = []

    async def stand_in_line() -> None:
        waiting.append(asyncio.ensure_future(one.call("gone")))
        await asyncio.sleep(0)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.call, "a")
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(gone.run_until_complete, stand_in_line())
            gone.close()
            tasks.start_soon(one.call, "b")
            await anyio.wait_all_tasks_blocked()
            await one.let_go("a")
            assert one.ids() == ["b"]
            await one.let_go("b")

    anyio.run(main)
    assert one.codes == {"a": None, "b": None}
    waiting[0].get_coro().close()
    waiting[0]._log_destroy_pending = False
    assert one.concurrency.status()["lines"] == []


def test_a_call_that_is_thrown_away_while_its_thread_holds_the_lock_does_not_stall_it() -> None:
    """Garbage is collected wherever a thread happens to be; here, while a key is looked up."""

    class Server(str):
        """A name whose look-up is when the garbage goes."""

        __slots__ = ()

        def __hash__(self) -> int:
            while abandoned:
                abandoned.pop().close()
            return super().__hash__()

    async def main() -> None:
        async def never(call: Call) -> Result:
            await anyio.sleep_forever()
            return OK

        left = chain(tool_call(), never)
        left.send(None)
        abandoned.append(left)
        done.append(await chain(Call(**{**vars(tool_call()), "server": Server("mail")}), never_mind))

    async def never_mind(call: Call) -> Result:
        return OK

    abandoned: list[Coroutine[Any, Any, Result]] = []
    done: list[Result] = []
    concurrency = Concurrency(slots=1)
    chain = linked(concurrency).chain("tools/call", "outbound")
    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [OK]
    assert concurrency.status()["lines"] == []


async def test_a_scope_leaves_the_rest_alone_and_asks_who_calls() -> None:
    """Only what is named; where that depends on who calls and nobody said, a call is denied."""
    one = Tried(slots=1, queue=0, tenants=["acme"], tools=["read"])
    async with anyio.create_task_group() as tasks:
        acme, other = Principal(tenant="acme"), Principal(tenant="other")
        for id, about in (
            ("a", {"principal": acme}),
            ("b", {"principal": acme}),
            ("c", {"principal": other}),
            ("d", {"principal": other}),
            ("e", {}),
            ("f", {"params": {"name": "write"}}),
        ):
            tasks.start_soon(partial(one.call, id, **about))
            await anyio.wait_all_tasks_blocked()
        assert one.codes == {"b": "too_many_calls", "e": "no_principal"}
        for id in one.ids():
            await one.let_go(id)


async def test_in_mode_audit_nothing_waits_and_nothing_is_refused() -> None:
    """An audited call does not stand in line."""
    one = Tried(slots=1, mode="audit")
    async with anyio.create_task_group() as tasks:
        for id in "abc":
            tasks.start_soon(one.call, id)
        await anyio.wait_all_tasks_blocked()
        assert sorted(one.ids()) == ["a", "b", "c"]
        for id in "abc":
            await one.let_go(id)


@pytest.mark.parametrize(
    "options",
    [{"slots": 0}, {"slots": 1, "queue": -1}, {"slots": 1, "max_wait": 0}, {"slots": 1, "per": "x"}],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        Concurrency(**options)
