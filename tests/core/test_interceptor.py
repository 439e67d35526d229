"""The base class: names, modes, defaults."""

import pytest
from chains import OK, Wire, tool_call

from mcpguard import ALLOW, Interceptor, Place, Result


class HTTPGuardRail(Interceptor):
    """A name with an abbreviation in it."""


class Named(Interceptor):
    """A name of its own."""

    name = "something_else"


def test_an_interceptor_is_called_what_its_class_is_called() -> None:
    """The policy file's name: the class in snake case."""
    assert HTTPGuardRail.name == "http_guard_rail"
    assert Named.name == "something_else"
    assert HTTPGuardRail().label == "http_guard_rail"


def test_an_id_is_what_records_call_it() -> None:
    """Where a guard holds several of a kind."""
    one = Named(id="mine")
    assert one.label == "mine"
    assert repr(one) == "<Named id='mine', mode='enforce'>"
    assert repr(Named(mode="audit")) == "<Named mode='audit'>"


def test_an_interceptor_without_its_own_constructor_call_has_the_defaults() -> None:
    """Forgetting `super().__init__()` is common, and must not weaken anything."""

    class Forgetful(Interceptor):
        def __init__(self) -> None:
            self.limit = 1

    one = Forgetful()
    assert (one.mode, one.fail_open, one.label) == ("enforce", False, "forgetful")


@pytest.mark.parametrize("mode", ["Audit", "", None, "off"])
def test_a_mode_is_one_of_two_words(mode: object) -> None:
    """A misspelt mode must not enforce or audit by accident."""
    with pytest.raises(ValueError, match="mode is 'enforce' or 'audit'"):
        Named(mode=mode)  # type: ignore[arg-type]


def test_an_id_is_not_empty() -> None:
    """Stores key by it."""
    with pytest.raises(ValueError, match="id must not be empty"):
        Named(id="")


@pytest.mark.anyio
async def test_the_hooks_of_the_base_do_nothing() -> None:
    """What is not overridden is not linked, and would not matter."""
    one, wire = Named(), Wire()
    assert one.check(tool_call()) is ALLOW
    assert one.filter(tool_call(), OK) is OK
    assert await one(tool_call(), wire) is OK
    assert list(one.warnings(["a"])) == []
    assert one.status() == {}
    assert isinstance(OK, Result)


def test_places_are_in_the_order_of_the_design() -> None:
    """Design, "The order"."""
    names = [place.name for place in sorted(Place)]
    for outer, inner in [
        ("TRACING", "VIEW"),
        ("VIEW", "ACCESS"),
        ("ACCESS", "INBOUND_REQUESTS"),
        ("INBOUND_REQUESTS", "TOOL_PINNING"),
        ("TOOL_PINNING", "ARGUMENT_RULES"),
        ("ARGUMENT_RULES", "FLOW_CONTROL"),
        ("FLOW_CONTROL", "LOOP_DETECTOR"),
        ("LOOP_DETECTOR", "RESULT_CACHE"),
        ("RESULT_CACHE", "LOOK"),
        ("LOOK", "APPROVAL"),
        ("APPROVAL", "CONCURRENCY"),
        ("CONCURRENCY", "DEADLINE"),
        ("DEADLINE", "RETRY"),
        ("RETRY", "BUDGET"),
        ("BUDGET", "RATE_LIMIT"),
        ("RATE_LIMIT", "CIRCUIT_BREAKER"),
        ("CIRCUIT_BREAKER", "PLACEHOLDERS"),
        ("PLACEHOLDERS", "CREDENTIALS"),
        ("RESULT_LIMIT", "LABELS"),
        ("LABELS", "REDACTION"),
        ("REDACTION", "INJECTION_SCAN"),
        ("INJECTION_SCAN", "TEXT_HYGIENE"),
        ("TEXT_HYGIENE", "BYTE_CAP"),
    ]:
        assert names.index(outer) < names.index(inner), (outer, inner)


def test_what_an_interceptor_leaves_out_changes_nothing() -> None:
    """The defaults of the optional methods."""
    one, call = Named(), tool_call("read")
    one.take_over(Named())
    assert one.check(call) is ALLOW
    assert one.filter(call, OK) is OK
    assert one.aim(call) == "read"
    assert list(one.warnings(["files"])) == []
    assert one.status() == {}
