"""What an answer says of the server, and how long it asks to be left alone."""

from typing import Any

import pytest

from mcpguard import Denial, Fate, Outcome, Result, WireError
from mcpguard.detectors.health import asked_to_wait, health, was_turned_away


class Response:
    """What an HTTP client's exception carries."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HTTPError(Exception):
    """An exception of an HTTP client."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__("http")


def behind(response: Response) -> Exception:
    """An exception of the SDK's that an HTTP one caused."""
    error = ConnectionError("lost")
    error.__cause__ = HTTPError(response)
    return error


def failed(code: int, data: Any = None) -> Result:
    """An error of the server's."""
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(code, "no", data))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Result.of({"content": []}), "alive"),
        (Result.of({"content": [], "isError": True}), "alive"),
        (Result.of({"resultType": "input_required"}), "alive"),
        (failed(-32602), "alive"),
        (failed(-32601), "alive"),
        (failed(-32603), "failing"),
        (failed(429), "throttled"),
        (failed(-32000, {"status": 503}), "throttled"),
        (failed(-32000, "busy"), "alive"),
        (Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT), "failing"),
        (Result(outcome=Outcome.TIMEOUT, fate=Fate.NOT_SENT), "neutral"),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT), "failing"),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(503))), "throttled"),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(500))), "failing"),
        (Result.denied(Denial("no", reason="r", message="m")), "neutral"),
    ],
)
def test_what_each_outcome_says_of_the_server(result: Result, said: str) -> None:
    """The table of outcomes."""
    assert health(result) == said


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        (failed(429, {"retryAfter": 2.5}), 2.5),
        (failed(429, {"retry_after": "7"}), 7.0),
        (failed(429, {"retry_after": -3}), 0.0),
        (failed(429, {"retry_after": "soon"}), None),
        (failed(429, {"retry_after": True}), None),
        (failed(429, {"retry_after": float("nan")}), None),
        (failed(429), None),
        (
            Result(
                outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(503, retry_after="9"))
            ),
            9.0,
        ),
        (
            Result(
                outcome=Outcome.TRANSPORT_ERROR,
                fate=Fate.SENT,
                cause=behind(Response(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")),
            ),
            59.0,
        ),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(503))), None),
    ],
)
def test_how_long_it_asked_to_be_left_alone(result: Result, seconds: float | None) -> None:
    """RFC 9110, 10.2.3: seconds or a date; whatever else is there says nothing."""
    assert asked_to_wait(result, 946684740.0) == (None if seconds is None else pytest.approx(seconds))


def test_a_chain_of_causes_that_never_ends_is_followed_no_further_than_a_bound() -> None:
    """Exceptions may lead back to themselves."""
    error = ValueError("loop")
    error.__cause__ = error
    assert health(Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=error)) == "failing"


@pytest.mark.parametrize(
    ("result", "is_certain"),
    [
        (failed(429), True),
        (failed(-32000, {"status": 429}), True),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(429))), True),
        (failed(503), False),
        (failed(-32000, {"status": 503}), False),
        (Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=behind(Response(503))), False),
        (failed(-32603), False),
    ],
)
def test_only_too_many_requests_says_that_nothing_was_carried_out(result: Result, is_certain: bool) -> None:
    """RFC 9110, 15.6.4: a 503 may come from a proxy whose server was already at work."""
    assert was_turned_away(result) is is_certain
