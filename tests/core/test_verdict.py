"""Verdicts: what cannot be told of a refusal is refused where it is made."""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest
from chains import OK, Checking, Filtering, Wire, chain, linked, tool_call

from mcpguard import Ask, Call, Denial, Deny, Outcome, Result
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio

ODD: list[dict[str, Any]] = [
    {"reason": 7},
    {"reason": "r", "message": 7},
    {"reason": "r", "retry_after": "soon"},
    {"reason": "r", "retry_after": True},
]
IMPOSSIBLE: list[dict[str, Any]] = [{"reason": "r", "retry_after": seconds} for seconds in (-1, nan, inf)]


@pytest.mark.parametrize("members", ODD)
def test_a_refusal_of_the_wrong_types_is_a_type_error(members: dict[str, Any]) -> None:
    """Whoever made it up is at fault, and fails there."""
    with pytest.raises(TypeError):
        Deny("no", **members)
    with pytest.raises(TypeError):
        Denial("no", **{"message": "m", **members})


@pytest.mark.parametrize("members", IMPOSSIBLE)
def test_a_refusal_that_never_lapses_or_has_lapsed_before_is_a_value_error(members: dict[str, Any]) -> None:
    """Seconds to wait are finite and not negative."""
    with pytest.raises(ValueError, match="retry_after"):
        Deny("no", **members)


def test_a_refusal_and_a_question_have_a_code() -> None:
    """The code is what programs go by."""
    with pytest.raises(ValueError, match="code"):
        Deny("", reason="r")
    with pytest.raises(ValueError, match="code"):
        Ask("", reason="r")
    with pytest.raises(TypeError):
        Ask("no", reason=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("members", [*ODD, *IMPOSSIBLE])
async def test_a_check_that_makes_up_such_a_refusal_denies_and_is_recorded(members: dict[str, Any]) -> None:
    """Fail closed: a check that raises denies, and the record has an end."""
    sink = RecordingSink()
    result = await chain(Checking(lambda call: Deny("no", **members)), sinks=[sink])(tool_call(), Wire(OK))
    assert result.denial is not None
    assert result.denial.code == "interceptor_failed"
    assert [event.kind for event in sink.events][-1] == "completed"


@pytest.mark.parametrize("members", ODD)
def test_a_notification_is_dropped_by_a_check_that_makes_up_such_a_refusal(members: dict[str, Any]) -> None:
    """On the receive path an exception would end the session, or let the message pass."""
    handles: Any = {("notifications/message", "inbound")}
    gate = linked(Checking(lambda call: Deny("no", **members), handles)).gate(
        "notifications/message", "inbound"
    )
    assert gate is not None
    assert isinstance(gate.admit(Call(id="1", method="notifications/message", direction="inbound")), Denial)


def odd_filter(call: Call, result: Result) -> Result:
    """A filter whose refusal is garbage."""
    garbage: Any = "nope"
    return Result(outcome=Outcome.OK, fate=result.fate, value={}, denial=garbage)


@pytest.mark.parametrize("look", [odd_filter])
async def test_a_result_with_garbage_for_a_refusal_is_no_result(
    look: Callable[[Call, Result], Result],
) -> None:
    """The tool has run; what comes back cannot be told from a refusal, so it is withheld."""
    result = await chain(Filtering(look))(tool_call(), Wire(OK))
    assert result.denial is not None
    assert result.denial.code == "interceptor_failed"
