"""One chain per method and direction, whatever methods come from outside."""

import pytest
from chains import ADA, EVERY_REQUEST, EVERYTHING, OK, TOOLS, Wire, allowing, denying, linked, passing

from mcpguard import Call, Denial, Principal, Run
from mcpguard.core.linked import Handle
from mcpguard.core.run import Stops
from mcpguard.testing import FakeClock, RecordingSink

pytestmark = pytest.mark.anyio


def test_a_method_nobody_handles_meets_nothing() -> None:
    """What handles nothing costs nothing."""
    chains = linked(denying(handles=TOOLS))
    assert chains.chain("prompts/get", "outbound").is_empty
    assert chains.chain("tools/call", "inbound").is_empty
    assert not chains.chain("tools/call", "outbound").is_empty
    assert chains.gate("notifications/message", "inbound") is None


def test_a_listener_alone_makes_a_chain_worth_running() -> None:
    """Events are for every call."""
    assert not linked(sinks=[RecordingSink()]).chain("tools/call", "outbound").is_empty


def test_methods_from_outside_share_one_chain() -> None:
    """A peer that makes up methods must not make us build chains."""
    chains = linked(allowing(handles=EVERY_REQUEST))
    unknown = chains.chain("vendor/1", "outbound")
    assert unknown is chains.chain("vendor/2", "outbound")
    assert len(unknown.steps) == 1
    assert chains.chain("ping", "outbound").is_empty
    assert chains.gate("notifications/vendor/1", "inbound") is None


async def test_an_unknown_method_is_guarded_like_any_other() -> None:
    """Deny by default would be worth little otherwise."""
    chains, wire = linked(denying(handles=EVERY_REQUEST)), Wire()
    result = await chains.chain("vendor/delete-everything", "outbound")(Call(id="1", method="vendor/x"), wire)
    assert result.denial is not None
    assert wire.calls == []


def test_an_unknown_notification_is_guarded_like_any_other() -> None:
    """The same for one-way messages."""
    chains = linked(denying(handles=EVERYTHING))
    gate = chains.gate("notifications/vendor/x", "inbound")
    assert gate is not None
    assert isinstance(gate.admit(Call(id="1", method="notifications/vendor/x")), Denial)


def test_a_notification_that_comes_a_second_way_is_judged_in_silence() -> None:
    """It has been recorded already."""
    sink = RecordingSink()
    chains = linked(denying(handles=EVERYTHING), sinks=[sink])
    for method in ("notifications/message", "notifications/cancelled"):
        call = Call(id="1", method=method, direction="inbound")
        gate = chains.silent_gate(method)
        expected = method != "notifications/cancelled"
        assert (gate is not None and isinstance(gate.admit(call), Denial)) is expected
    assert sink.events == []


def test_it_is_known_whether_anything_looks_at_what_servers_send() -> None:
    """Then outbound calls must be attributed even where nothing handles them."""
    assert not linked(denying()).listens
    assert linked(denying(handles={("roots/list", "inbound")})).listens
    assert linked(denying(handles={("notifications/message", "inbound")})).listens


def test_the_chains_of_outbound_requests_are_at_hand() -> None:
    """Seams look them up for every message."""
    chains = linked(denying())
    assert chains.outbound["tools/call"] is chains.chain("tools/call", "outbound")
    assert chains.any_outbound is chains.chain("vendor/unheard-of", "outbound")


@pytest.mark.parametrize("waits", [True, False])
def test_a_chain_knows_what_stands_in_it(waits: bool) -> None:
    """Seams decide about timeouts and listings by it."""
    chain = linked(passing(waits=waits), allowing(needs_tool=True)).chain("tools/call", "outbound")
    assert (chain.has_layers, chain.has_waiting_layers, chain.needs_tool) == (True, waits, True)
    bare = linked(allowing()).chain("tools/call", "outbound")
    assert (bare.has_layers, bare.has_waiting_layers, bare.needs_tool) == (False, False, False)


def test_an_auditing_layer_does_not_wait() -> None:
    """It must not, so the caller's timeout stays as it is."""
    chain = linked(passing(waits=True, mode="audit")).chain("tools/call", "outbound")
    assert (chain.has_layers, chain.has_waiting_layers) == (True, False)


def handle() -> Handle:
    """What seams hold."""
    return Handle(linked(), stops=Stops(), clock=FakeClock(), on_deny="result", anonymous=False)


def test_a_run_that_ended_may_make_no_calls() -> None:
    """Closed and stopped are told apart."""
    run = Run()
    assert handle().refusal_code(run) is None
    run.close()
    assert handle().refusal_code(run) == "run_closed"
    run.stop()
    assert handle().refusal_code(run) == "run_stopped"


@pytest.mark.parametrize("principal", [None, Principal(), Principal(user="ada"), Principal(tenant="other")])
def test_a_stopped_tenant_is_stopped_in_every_run_below_its_own(principal: Principal | None) -> None:
    """A sub-agent's run with a principal of its own must not leave the tenant that is stopped."""
    one = handle()
    one.stops.tenants.add("acme")
    outer = Run(principal=ADA)
    assert one.refusal_code(outer) == "tenant_stopped"
    assert one.refusal_code(Run(parent=outer, principal=principal)) == "tenant_stopped"
    assert one.refusal_code(Run(principal=principal)) is None
    assert OK.denial is None
