"""What a guard lends its interceptors: its clock, its store, and reports that reach the sinks."""

import pytest

from mcpguard import ALLOW, Call, Guard, Interceptor
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.host import Host
from mcpguard.core.interceptor import Mode
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeClock, RecordingSink


class Watching(Interceptor):
    """An interceptor that handles tool calls."""

    handles = frozenset({("tools/call", "outbound")})

    def check(self, call: Call) -> Verdict:
        return ALLOW


def test_an_interceptor_that_no_guard_has_taken_has_the_machines_clock_and_no_store() -> None:
    """It can be tried alone; nobody listens to its reports."""
    alone = Watching()
    alone.host.warn(alone, Call.tool_call("read", server="files"), code="low", reason="nearly used up")
    alone.host.changed(alone, state="open", reason="five failures")
    assert alone.host.clock is SYSTEM_CLOCK
    assert alone.host.store is None


def test_an_interceptor_has_the_clock_of_the_guard_that_links_it() -> None:
    """The guard's time is everybody's."""
    clock = FakeClock()
    watching = Watching()
    Guard([watching], clock=clock)
    assert watching.host.clock is clock


def test_a_host_lends_the_store_it_was_given() -> None:
    """Where the guard keeps state is for its interceptors to use."""
    store = object()
    assert Host(Emitter((), clock=SYSTEM_CLOCK), store).store is store


@pytest.mark.parametrize(("mode", "told"), [("enforce", None), ("audit", "audit")])
def test_a_warning_is_an_event_of_its_call(mode: Mode, told: str | None) -> None:
    """What is about to go wrong is recorded beside the call it is about."""
    sink = RecordingSink()
    watching = Watching(id="calls", mode=mode)
    Guard([watching], sinks=[sink])
    call = Call.tool_call("read", server="files")
    watching.host.warn(watching, call, code="budget_low", reason="80 % of the calls are used")
    (event,) = sink.events
    assert event.kind == "warning"
    assert (event.call_id, event.server, event.target) == (call.id, "files", "read")
    assert (event.interceptor, event.code, event.mode) == ("calls", "budget_low", told)


def test_a_change_of_state_is_an_event_without_a_call() -> None:
    """A breaker opens for a server and a tenant, not for one call; names from outside are cut."""
    sink = RecordingSink()
    watching = Watching(id="breaker")
    Guard([watching], sinks=[sink])
    watching.host.changed(
        watching, state="open", reason="5 of 5 failed", server="files", target="r" * 1000, tenant="acme"
    )
    (event,) = sink.events
    assert event.kind == "state_changed"
    assert (event.interceptor, event.state, event.tenant) == ("breaker", "open", "acme")
    assert event.target == "r" * 256
    assert event.call_id is None
