"""LoopDetector: warned, refused, stopped; and left alone where there is no loop."""

import gc
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio
import pytest
from chains import Wire, chain, tool_call
from harness import code, opened, text

from mcpguard import Call, Event, Fate, Guard, LoopDetector, LoopThresholds, Outcome, Principal, Result, Run
from mcpguard.core.chain import Chain
from mcpguard.core.result import WireError
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio


def says(answer: str, *, is_error: bool = False) -> Result:
    """A tool's answer."""
    value: dict[str, Any] = {"content": [{"type": "text", "text": answer}]}
    return Result.of({**value, "isError": True} if is_error else value)


class Task:
    """A run that calls tools through a chain; answers come from a function of tool and arguments."""

    def __init__(
        self, chain: Chain, answer: Callable[[str, Mapping[str, Any]], Any], run: Run | None = None
    ) -> None:
        self.run = run or Run()
        self.sent: list[str] = []
        self._chain = chain
        self._answer = answer

    async def wire(self, call: Any) -> Result:
        """Answer one call."""
        self.sent.append(call.target)
        answer = self._answer(call.target, call.arguments)
        return answer if isinstance(answer, Result) else says(str(answer))

    async def call(self, tool: str, **arguments: Any) -> Result:
        """Call a tool in the run."""
        return await self._chain(tool_call(tool, run=self.run, **arguments), self.wire)

    async def codes(self, *tools: str, **arguments: Any) -> list[str | None]:
        """Call tools one after the other; the codes they were refused with."""
        results = [await self.call(tool, **arguments) for tool in tools]
        return [None if result.denial is None else result.denial.code for result in results]


def task(answer: Callable[[str, Mapping[str, Any]], Any], *, sink: Any = None, **options: Any) -> Task:
    """A run under a loop detector."""
    return Task(chain(LoopDetector(**options), sinks=[] if sink is None else [sink]), answer)


def always(answer: Any) -> Callable[[str, Mapping[str, Any]], Any]:
    """The same answer to everything."""
    return lambda tool, arguments: answer


def notes(result: Result) -> list[str]:
    """The texts after the tool's own."""
    assert result.value is not None
    blocks: Any = result.value["content"]
    return [block["text"] for block in blocks[1:]]


async def test_the_third_time_is_warned_of_and_the_fifth_refused() -> None:
    """The ladder: the answer passes with a note, then the call does not go out."""
    sink = RecordingSink()
    one = task(always("nothing"), sink=sink)
    results = [await one.call("search", q="x") for _ in range(6)]
    assert [notes(result) if result.value else None for result in results[:2]] == [[], []]
    assert "3 times in a row" in notes(results[2])[0]
    assert "4 times in a row" in notes(results[3])[0]
    for refused in results[4:]:
        assert refused.denial is not None
        assert refused.denial.code == "loop_detected"
        assert "5 times in a row" in refused.denial.message
        assert "The answer was: nothing" in refused.denial.message
        assert "nothing" not in refused.denial.reason
    assert len(one.sent) == 4
    assert [event.code for event in sink.events if event.kind == "warning"] == ["loop_suspected"] * 2


async def test_a_refusal_is_no_step_and_resets_nothing() -> None:
    """What was refused stays refused; something else goes through and starts anew."""
    one = task(always("nothing"))
    await one.codes(*["search"] * 4)
    assert await one.codes("search", "search", "read", "search") == [
        "loop_detected",
        "loop_detected",
        None,
        None,
    ]


@pytest.mark.parametrize("period", range(1, 13))
async def test_a_block_of_calls_that_repeats_is_refused(period: int) -> None:
    """Periods of 1 to 12 calls; nothing new is weaker evidence, and refuses a longer block sooner."""
    one = task(lambda tool, arguments: f"answer of {tool}")
    codes = await one.codes(*[f"tool{number}" for number in range(period)] * 6)
    first = codes.index("loop_detected")
    assert first <= max(4 * period, period + 5)
    assert codes[: max(2 * period, 4)] == [None] * max(2 * period, 4) or period > 4


async def test_a_walk_in_a_closed_set_of_states_is_refused() -> None:
    """A third of the stuck runs have no period at all."""
    one = task(lambda tool, arguments: f"answer of {tool}")
    codes = await one.codes(*"abcbaccbabcabca")
    assert "loop_detected" in codes


async def test_polling_is_no_loop() -> None:
    """Same question, other answers: fifty legitimate calls (Roo-Code #9502)."""
    progress = iter(range(100))
    one = task(lambda tool, arguments: f"{next(progress)} % done")
    assert await one.codes(*["status"] * 50) == [None] * 50


async def test_paging_and_fanning_out_over_files_is_no_loop() -> None:
    """Other questions, whatever they are answered."""
    one = task(always("ok"))
    for number in range(30):
        assert await one.codes("read", path=f"{number}.py") == [None]
        assert await one.codes("edit", path=f"{number}.py") == [None]
        assert await one.codes("write", path=f"{number}.py") == [None]


async def test_a_retry_after_being_told_to_wait_is_no_loop() -> None:
    """Two errors, then it works."""
    answers = iter([says("429", is_error=True), says("429", is_error=True), says("done")])
    one = task(lambda tool, arguments: next(answers))
    assert await one.codes(*["send"] * 3) == [None] * 3


@pytest.mark.parametrize(
    "field", ["2026-11-20T10:{0:02}:00Z", "id {0:032x}", '"elapsed": {0}', "17636000{0:02}"]
)
async def test_an_answer_with_a_time_or_an_id_of_its_own_is_the_same_answer(field: str) -> None:
    """One volatile field takes recall to 3 %."""
    numbers = iter(range(10, 90))
    one = task(lambda tool, arguments: f"nothing found, {field.format(next(numbers))}")
    assert "loop_detected" in await one.codes(*["search"] * 6)


async def test_pointers_name_what_one_tool_changes_by_itself() -> None:
    """What no mask knows, the policy says."""
    numbers = iter(range(100))

    def answer(tool: str, arguments: Mapping[str, Any]) -> Result:
        return Result.of({"content": [], "structuredContent": {"serial": next(numbers), "rows": []}})

    assert await task(answer).codes(*["query"] * 6) == [None] * 6
    told = task(answer, volatile={"que*": ["/serial"]})
    assert "loop_detected" in await told.codes(*["query"] * 6)


async def test_one_tool_that_fails_in_one_way_is_refused_whatever_it_is_given() -> None:
    """277 calls, each slightly different, all failing (opencode #31942)."""
    one = task(always(says("no such table", is_error=True)))
    codes = [(await one.codes("query", sql=str(number)))[0] for number in range(6)]
    assert codes == [None] * 4 + ["loop_detected"] * 2
    failing = task(
        always(Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32603, "no")))
    )
    assert [(await failing.codes("query", sql=str(number)))[0] for number in range(5)][-1] == "loop_detected"


@pytest.mark.parametrize("width", range(1, 7))
async def test_calls_under_way_together_are_one_step(width: int) -> None:
    """A batch that is sent once is no repeat, however alike its calls; sent again and again it is."""
    arrived: list[anyio.Event] = []

    async def wire(call: Any) -> Result:
        arrived.append(anyio.Event())
        if len(arrived) % width == 0:
            for event in arrived:
                event.set()
        await arrived[-1].wait()
        return says("ok")

    detector, run = chain(LoopDetector()), Run()
    refused: list[str] = []

    async def call(number: int) -> None:
        result = await detector(tool_call("read", run=run, n=number % 2), wire)
        if result.denial is not None:
            refused.append(result.denial.code)

    for batch in range(6):
        async with anyio.create_task_group() as tasks:
            for number in range(width):
                tasks.start_soon(call, number)
        assert bool(refused) is (batch >= 4), batch


async def test_each_run_is_watched_for_itself_and_counts_as_one_step_of_the_run_around_it() -> None:
    """Sub-agents that read the same file do not add up; the same sub-agent again and again does."""
    detector, outer = chain(LoopDetector()), Run()
    for number in range(6):
        inner = Task(detector, always("readme"), Run(parent=outer))
        assert await inner.codes("read_readme") == [None]
        assert await inner.codes("work", part=number) == [None]
        inner.run.close()
    codes: list[str | None] = []
    outer = Run()
    for _ in range(6):
        inner = Task(detector, always("readme"), Run(parent=outer))
        codes += await inner.codes("read_readme")
        inner.run.close()
    assert codes == [None] * 4 + ["loop_detected"] * 2


async def test_two_runs_do_not_add_up() -> None:
    """What one task does says nothing about another."""
    detector = chain(LoopDetector())
    one, other = Task(detector, always("x")), Task(detector, always("x"))
    for _ in range(4):
        assert await one.codes("read") == [None]
        assert await other.codes("read") == [None]


async def test_a_run_that_will_not_be_told_is_stopped() -> None:
    """The last step of the ladder, where the policy wants it."""
    sink = RecordingSink()
    one = task(always("nothing"), stop_after=3, sink=sink)
    await one.codes(*["search"] * 7)
    assert one.run.ended == "run_stopped"
    assert "loop_stopped_run" in [event.code for event in sink.events]


async def test_a_stopped_run_is_reported_when_nothing_is_held_any_more() -> None:
    """Whoever listens may look at the state, and from another thread."""

    class Curious(RecordingSink):
        """A sink that looks at the detector for every event."""

        def emit(self, event: Event) -> None:
            looking = threading.Thread(target=detector.status, daemon=True)
            looking.start()
            looking.join(10)
            if looking.is_alive():
                stalled.append(event.kind)
            super().emit(event)

    stalled: list[str] = []
    detector, sink = LoopDetector(stop_after=1), Curious()
    one = Task(chain(detector, sinks=[sink]), always("x"))
    await one.codes(*["read"] * 5)
    assert one.run.ended == "run_stopped"
    assert "loop_stopped_run" in [event.code for event in sink.events]
    assert stalled == []


async def test_where_it_depends_on_who_calls_and_nobody_said_a_call_is_denied() -> None:
    """Nobody is everybody, until they say who they are; in no run there is nothing to watch."""
    detector = chain(LoopDetector(tenants=["acme"]))
    params = {"name": "read", "arguments": {}}
    for principal, refused in [(None, "no_principal"), (Principal(), None), (Principal(tenant="acme"), None)]:
        call = Call(
            id="1", method="tools/call", params=params, server="files", principal=principal, run=Run()
        )
        denial = (await detector(call, Wire())).denial
        assert (None if denial is None else denial.code) == refused


async def test_in_mode_audit_nothing_is_refused_and_no_run_is_stopped() -> None:
    """What would have been done is in the record."""
    sink = RecordingSink()
    one = task(always("nothing"), stop_after=1, mode="audit", sink=sink)
    results = [await one.call("search") for _ in range(8)]
    assert [notes(result) for result in results] == [[]] * 8
    assert one.run.ended is None
    assert ("deny", "loop_detected") in [(event.verdict, event.code) for event in sink.events]


async def test_a_cancelled_call_is_no_step_and_leaves_nothing_behind() -> None:
    """A batch whose calls are cancelled ends with them."""
    detector, run = chain(LoopDetector()), Run()

    async def hang(call: Any) -> Result:
        await anyio.sleep_forever()
        raise AssertionError

    for _ in range(10):
        with anyio.move_on_after(0):
            await detector(tool_call("read", run=run), hang)
    one = Task(detector, always("x"), run)
    assert await one.codes(*["read"] * 5) == [None] * 4 + ["loop_detected"]


def test_a_call_that_is_thrown_away_while_its_thread_holds_the_lock_does_not_stall_it() -> None:
    """Garbage is collected wherever a thread happens to be; and it is no step of its run."""

    class Watched(Run):
        """A run that the garbage goes when it is looked at."""

        __slots__ = ()

        @property
        def parent(self) -> Run | None:
            while abandoned:
                abandoned.pop().close()
            return None

        @parent.setter
        def parent(self, _parent: Run | None) -> None: ...

    async def main() -> None:
        async def hang(call: Any) -> Result:
            await anyio.sleep_forever()
            raise AssertionError

        detector, run = chain(LoopDetector()), Run()
        left = detector(tool_call("read", run=run), hang)
        left.send(None)
        other = Task(detector, always("x"), Watched())
        abandoned.append(left)
        done.extend(await other.codes("read"))
        done.extend(await Task(detector, always("x"), run).codes(*["read"] * 5))

    abandoned: list[Coroutine[Any, Any, Result]] = []
    done: list[str | None] = []
    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    thread.join(10)
    assert done == [None, *[None] * 4, "loop_detected"]


async def test_some_tools_have_more_patience_and_some_are_not_watched() -> None:
    """Thresholds by tool; a scope leaves the rest alone."""
    patient = task(
        always("x"),
        thresholds={
            "wait_*": LoopThresholds(warn_after=8, block_after=9),
            "never": LoopThresholds(block_after=0),
        },
    )
    assert await patient.codes(*["wait_for"] * 9) == [None] * 8 + ["loop_detected"]
    assert await patient.codes(*["never"] * 20) == [None] * 20
    scoped = task(always("x"), tools=["search"])
    assert await scoped.codes(*["read"] * 20) == [None] * 20


async def test_calls_outside_any_run_are_not_watched() -> None:
    """There is no telling where such a task began."""
    detector = chain(LoopDetector())
    results = [await detector(tool_call("read"), Wire(says("x"))) for _ in range(10)]
    assert all(result.denial is None for result in results)


async def test_what_is_known_of_a_run_goes_with_it() -> None:
    """Nothing outlives the run, and nothing keeps it alive."""
    detector = LoopDetector()
    one = Task(chain(detector), always("x"))
    await one.codes(*["read"] * 4)
    assert [run["rule"] for run in detector.status()["runs"]] == ["period"]  # type: ignore[union-attr,index,call-overload]
    del one
    gc.collect()
    assert detector.status()["runs"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"warn_after": 1},
        {"warn_after": 5, "block_after": 4},
        {"stop_after": 0},
        {"volatile": {"query": ["serial"]}},
        {"thresholds": {"": LoopThresholds()}},
    ],
)
def test_impossible_options_are_refused_when_it_is_built(options: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        LoopDetector(**options)
    with pytest.raises(TypeError):
        LoopDetector(volatile={"query": "/serial"})


@pytest.mark.parametrize("value", [float("nan"), {"a": [[[]]] * 50}, None])
async def test_odd_answers_are_compared_like_any_other(value: Any) -> None:
    """NaN, depth, nothing at all."""
    one = task(always(Result.of({"content": [], "structuredContent": {"v": value}})))
    assert (await one.codes(*["odd"] * 5))[-1] == "loop_detected"


async def test_an_agent_is_warned_then_refused_then_goes_on() -> None:
    """Through a real session."""
    server = FakeServer()
    server.tool("search").returns("nothing found")
    server.tool("read").returns("data")
    guard = Guard([LoopDetector()])
    async with opened(guard, server, "session") as peer, guard.run(principal=Principal(user="ana")):
        for _ in range(2):
            assert len((await peer.call("search"))["content"]) == 1
        assert "Note: " in (await peer.call("search"))["content"][1]["text"]
        await peer.call("search")
        assert code(await peer.call("search")) == "loop_detected"
        assert text(await peer.call("read")) == "data"
