"""The way of events to the sinks: which failures cost a call, and how a stream ends."""

import logging

import anyio
import pytest
from chains import ADA, OK, Around, Wire, linked, tool_call

from mcpguard import Call, Event, Fate, Outcome, Result, Run
from mcpguard.core.emitter import Emitter
from mcpguard.core.interceptor import CallNext
from mcpguard.core.timer import Timer
from mcpguard.testing import FakeClock, RecordingSink

pytestmark = pytest.mark.anyio


class Slow:
    """A sink that is waited for."""

    waits = True

    def __init__(self, *, strict: bool, fails: bool, order: list[str]) -> None:
        self.strict, self.fails, self.order = strict, fails, order

    def emit(self, event: Event) -> None:
        self.order.append(event.kind)

    async def settle(self) -> None:
        self.order.append("settled")
        if self.fails:
            raise OSError("full")

    async def aclose(self) -> None: ...


async def test_a_sink_that_fails_keeps_nothing_from_the_others_and_nothing_from_the_agent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The promise of `Sink`; what it raised may hold anything, so only its type is logged."""
    failing, working = RecordingSink(fails_with=OSError("canary")), RecordingSink()
    chains = linked(sinks=[failing, working])
    with caplog.at_level(logging.WARNING, "mcpguard"):
        assert await chains.chain("tools/call", "outbound")(tool_call(), Wire()) is OK
    assert len(working.events) == 3
    assert chains.emitter.delivery.failures == {"RecordingSink": 3}
    assert "sink RecordingSink failed with OSError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
async def test_a_strict_sink_that_fails_denies_the_call(order: slice) -> None:
    """Design: in strict mode the dispatch waits for the record."""
    sinks = [RecordingSink(strict=True, fails_with=OSError("full"), fails_on=["dispatched"]), RecordingSink()]
    wire = Wire()
    result = await linked(sinks=sinks[order]).chain("tools/call", "outbound")(tool_call(), wire)
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("audit_unavailable", "guard")
    assert (result.fate, wire.calls) == (Fate.NOT_SENT, [])
    assert sinks[1].last("completed").code == "audit_unavailable"


async def test_a_strict_sink_that_misses_another_event_does_not_deny() -> None:
    """The dispatch is what waits for the record."""
    sink = RecordingSink(strict=True, fails_with=OSError("full"), fails_on=["received", "completed"])
    wire = Wire()
    assert await linked(sinks=[sink]).chain("tools/call", "outbound")(tool_call(), wire) is OK


async def test_nothing_is_emitted_after_closing() -> None:
    """The promise of `Sink.aclose`."""
    sink, wire = RecordingSink(), Wire()
    chains = linked(sinks=[sink])
    await chains.emitter.delivery.aclose()
    assert await chains.chain("tools/call", "outbound")(tool_call(), wire) is OK
    assert (sink.events, chains.emitter.delivery.failures) == ([], {})


async def test_a_closed_strict_sink_denies_every_call() -> None:
    """It cannot record any more, so nothing may go out that it should have recorded."""
    chains, wire = linked(sinks=[RecordingSink(strict=True)]), Wire()
    await chains.emitter.delivery.aclose()
    result = await chains.chain("tools/call", "outbound")(tool_call(), wire)
    assert result.outcome is Outcome.DENIED
    assert wire.calls == []


async def test_every_sink_is_closed_and_once_even_if_one_fails() -> None:
    """All of them get their chance to flush; the first failure is the caller's to see."""
    first, second = RecordingSink(fails_with=OSError("first")), RecordingSink(fails_with=OSError("second"))
    third = RecordingSink()
    emitter = Emitter([first, second, third], clock=FakeClock())
    with pytest.raises(OSError, match="first"):
        await emitter.delivery.aclose()
    assert (first.is_closed, second.is_closed, third.is_closed) == (True, True, True)
    await emitter.delivery.aclose()


async def test_a_closing_that_is_cancelled_reaches_every_sink() -> None:
    """Whoever gives up waiting loses what has not been flushed, and nothing else."""

    class Endless(RecordingSink):
        async def aclose(self) -> None:
            await super().aclose()
            await anyio.sleep_forever()

    sinks = [Endless(), Endless(), RecordingSink()]
    with anyio.move_on_after(0.01) as scope:
        await Emitter(sinks, clock=FakeClock()).delivery.aclose()
    assert scope.cancelled_caught
    assert [sink.is_closed for sink in sinks] == [True] * 3


async def test_what_a_strict_sink_has_not_recorded_is_nobodys_intent() -> None:
    """Of a call that is sent again, the outcome names the attempt that went out."""
    strict = RecordingSink(strict=True)
    wire = Wire()

    async def twice(call: Call, call_next: CallNext) -> Result:
        await call_next(call)
        strict.fails_with, strict.fails_on = OSError("full"), frozenset({"dispatched"})
        return await call_next(call)

    other = RecordingSink()
    layer = Around(twice, repeats=True)
    chain = linked(layer, sinks=[strict, other]).chain("tools/call", "outbound")
    await chain(tool_call(), wire)
    assert len(wire.calls) == 1
    assert other.last("completed").intent == strict.last("dispatched").seq
    await linked(sinks=[strict, other]).chain("tools/call", "outbound")(tool_call(), wire)
    assert other.last("completed").code == "audit_unavailable"
    assert other.last("completed").intent is None


async def test_what_was_not_settled_is_nobodys_intent() -> None:
    """The event may be there, and the call has not gone out all the same."""
    sink = RecordingSink()
    sinks = [Slow(strict=True, fails=True, order=[]), sink]
    await linked(sinks=sinks).chain("tools/call", "outbound")(tool_call(), Wire())
    assert sink.kinds.count("dispatched") == 1
    assert sink.last("completed").intent is None


@pytest.mark.parametrize(("strict", "fails"), [(True, False), (True, True), (False, True)])
async def test_a_call_goes_out_once_its_intent_is_settled(strict: bool, fails: bool) -> None:
    """Intent, then the sink, then the wire; where a strict sink cannot, no wire."""
    order: list[str] = []
    chain = linked(sinks=[Slow(strict=strict, fails=fails, order=order)]).chain("tools/call", "outbound")
    assert chain.suspends

    async def wire(call: Call) -> Result:
        order.append("wire")
        return OK

    result = await chain(tool_call(), wire)
    denied = strict and fails
    assert order == ["received", "dispatched", "settled", *([] if denied else ["wire"]), "completed"]
    assert (None if result.denial is None else result.denial.code) == (
        "audit_unavailable" if denied else None
    )


async def test_a_call_whose_intent_is_settled_is_counted_as_sent() -> None:
    """Whoever times it must know that it has left."""
    timer, wire = Timer(), Wire()
    chain = linked(sinks=[Slow(strict=True, fails=False, order=[])]).chain("tools/call", "outbound")
    await chain(tool_call().with_timer(timer), wire)
    assert (timer.sent, len(wire.calls)) == (1, 1)


async def test_a_run_that_ends_while_its_intent_is_written_sends_nothing() -> None:
    """The kill switch holds to the last moment."""
    run = Run(id="job", principal=ADA)

    class Stopping(Slow):
        async def settle(self) -> None:
            run.stop()

    wire = Wire()
    chain = linked(sinks=[Stopping(strict=True, fails=False, order=[])]).chain("tools/call", "outbound")
    result = await chain(tool_call(run=run), wire)
    assert result.denial is not None
    assert result.denial.code == "run_stopped"
    assert wire.calls == []
