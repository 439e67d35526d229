"""Results: outcome, fate, and what a changed one says."""

import pytest

from mcpguard import Denial, Fate, Outcome, Result, WireError

DENIAL = Denial("not_here", reason="operator", message="model", retry_after=3.0)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ({"content": []}, Outcome.OK),
        ({"content": [], "isError": True}, Outcome.TOOL_ERROR),
        ({"content": [], "isError": "yes"}, Outcome.OK),
        ({"resultType": "input_required"}, Outcome.INPUT_REQUIRED),
        ({"resultType": "complete"}, Outcome.OK),
    ],
)
def test_the_outcome_of_an_answer_is_read_from_it(value: dict[str, object], outcome: Outcome) -> None:
    """MCP: `isError` of a tool's result; 2026-07-28: `resultType`."""
    result = Result.of(value)  # type: ignore[arg-type]
    assert (result.outcome, result.fate) == (outcome, Fate.ANSWERED)


def test_a_refusal_was_not_sent_unless_it_says_so() -> None:
    """Budgets give back what was not sent."""
    assert Result.denied(DENIAL).fate is Fate.NOT_SENT
    assert Result.denied(DENIAL, fate=Fate.ANSWERED).fate is Fate.ANSWERED
    assert Result.denied(DENIAL).retry_after == 3.0
    assert Result.of({}).retry_after is None


def test_a_new_value_has_the_outcome_it_states() -> None:
    """A filter that replaces a value does not have to think of the outcome."""
    assert Result.of({}).replace(value={"isError": True}).outcome is Outcome.TOOL_ERROR
    kept = Result.of({}).replace(value={}, outcome=Outcome.TOOL_ERROR)
    assert kept.outcome is Outcome.TOOL_ERROR


def test_a_new_value_takes_the_place_of_an_error_or_a_refusal() -> None:
    """Else a seam would raise the error of a result that says it is fine."""
    failed = Result(
        outcome=Outcome.PROTOCOL_ERROR,
        fate=Fate.ANSWERED,
        error=WireError(-32603, "no"),
        cause=RuntimeError("no"),
    )
    mended = failed.replace(value={"content": []})
    assert (mended.outcome, mended.error, mended.cause) == (Outcome.OK, None, None)
    assert Result.denied(DENIAL).replace(value={}).denial is None


def test_a_new_error_is_no_longer_the_one_the_sdk_raised() -> None:
    """Else the caller would get the text that a filter has just removed."""
    failed = Result(
        outcome=Outcome.PROTOCOL_ERROR,
        fate=Fate.ANSWERED,
        error=WireError(-32603, "secret"),
        cause=RuntimeError("secret"),
    )
    assert failed.replace(error=WireError(-32603, "removed")).cause is None
    assert failed.replace(fate=Fate.SENT).cause is failed.cause


@pytest.mark.parametrize(
    ("result", "is_whole"),
    [
        (Result.of({}), True),
        (Result(outcome=Outcome.OK, fate=Fate.ANSWERED), False),
        (Result(outcome=Outcome.INPUT_REQUIRED, fate=Fate.ANSWERED), False),
        (Result.denied(DENIAL), True),
        (Result(outcome=Outcome.DENIED, fate=Fate.NOT_SENT), False),
        (Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED), False),
        (Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(1, "x")), True),
        (Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT), True),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT), True),
    ],
)
def test_a_result_is_whole_if_it_holds_what_its_outcome_says(result: Result, is_whole: bool) -> None:
    """What an interceptor makes up must be something a seam can deliver."""
    assert result.is_whole is is_whole


def test_a_copy_shares_nothing_mutable() -> None:
    """Auditing interceptors look at copies."""
    value = {"content": [{"text": "a"}]}
    copy = Result.of(value).copy()
    assert copy == Result.of(value)
    assert copy.value is not value
    assert Result.denied(DENIAL).copy() == Result.denied(DENIAL)


def test_no_value_and_no_message_of_a_server_is_in_a_repr() -> None:
    """Reprs end up in logs and tracebacks."""
    error = WireError(-32603, "canary", {"canary": 1})
    texts = [
        repr(Result.of({"content": "canary"})),
        repr(Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.SENT, error=error, cause=OSError("canary"))),
    ]
    assert not any("canary" in text for text in texts)
