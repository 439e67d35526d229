"""The logging sink: one line an event, whoever named the things in it."""

import io
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import Event, Fate, Logging, Outcome

pytestmark = pytest.mark.anyio

EVIL = 'a\nINFO fake\r\x1b[2J\x1b]0;t\x07 verdict=allow \u202e\u2028\u200b\ud800\x85\x00"\\'


def event(**members: Any) -> Event:
    """Something that happened."""
    return Event(**{"kind": "received", "seq": 1, "time": 1.5, **members})


def test_an_event_is_a_line_for_people(caplog: pytest.LogCaptureFixture) -> None:
    """What happened, to what, and who decided."""
    caplog.set_level(logging.INFO)
    Logging().emit(
        event(
            kind="completed",
            method="tools/call",
            target="git_reset",
            server="git",
            run_id="ab12",
            interceptor="access",
            code="access_denied",
            reason="access.deny[0] covers it",
            outcome=Outcome.DENIED,
            fate=Fate.NOT_SENT,
            duration=0.0123,
            arguments_digest="0" * 32,
        )
    )
    assert caplog.messages == [
        "completed method=tools/call target=git_reset server=git run_id=ab12 interceptor=access "
        'code=access_denied reason="access.deny[0] covers it" outcome=denied duration=12.3ms'
    ]


def test_a_record_carries_the_whole_event(caplog: pytest.LogCaptureFixture) -> None:
    """For formatters that write JSON."""
    caplog.set_level(logging.INFO)
    seen = event(target="a", payload={"x": 1})
    Logging().emit(seen)
    (record,) = caplog.records
    assert record.__dict__["mcpguard"] == seen.as_dict()
    assert record.name == "mcpguard.audit"
    assert "payload" not in record.getMessage()


@pytest.mark.parametrize(
    ("members", "level"),
    [
        ({}, logging.INFO),
        ({"kind": "completed", "outcome": Outcome.OK}, logging.INFO),
        ({"kind": "decision", "verdict": "rewrite"}, logging.INFO),
        ({"kind": "decision", "verdict": "deny"}, logging.WARNING),
        ({"kind": "decision", "verdict": "deny", "mode": "audit"}, logging.WARNING),
        ({"kind": "notification", "verdict": "drop"}, logging.WARNING),
        ({"kind": "completed", "outcome": Outcome.DENIED}, logging.WARNING),
        ({"kind": "interceptor_failed"}, logging.WARNING),
        ({"kind": "stopped"}, logging.WARNING),
    ],
)
def test_denials_and_failures_have_a_level_of_their_own(
    caplog: pytest.LogCaptureFixture, members: dict[str, Any], level: int
) -> None:
    """So that they can be told from the rest without reading."""
    caplog.set_level(logging.DEBUG)
    Logging().emit(event(**members))
    Logging(level="debug", denial_level="Error").emit(event(**members))
    other = logging.DEBUG if level == logging.INFO else logging.ERROR
    assert [record.levelno for record in caplog.records] == [level, other]


def test_an_event_below_the_loggers_level_is_not_made_into_text(caplog: pytest.LogCaptureFixture) -> None:
    """A silent logger costs a comparison."""
    caplog.set_level(logging.ERROR)
    Logging().emit(event())
    assert caplog.records == []


def test_hostile_names_stay_in_their_quotes(caplog: pytest.LogCaptureFixture) -> None:
    """No line, member or terminal command can be forged from a tool's name."""
    caplog.set_level(logging.INFO)
    Logging().emit(event(method=EVIL, target=EVIL, server="x y", tenant="日本語"))
    (line,) = caplog.messages
    shown = r'"a\nINFO fake\r\x1b[2J\x1b]0;t\x07 verdict=allow \u202e\u2028\u200b\ud800\x85\x00\"\\"'
    assert line == f'received method={shown} target={shown} server="x y" tenant="日本語"'
    assert line.isprintable()


@settings(deadline=None)
@given(st.text(st.characters()))
def test_every_name_makes_one_printable_line(name: str) -> None:
    """Through a real handler and formatter, and back."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.one_line")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers = [handler]
    Logging("tests.one_line").emit(event(target=name, server="git"))
    text = stream.getvalue()
    assert text.endswith(" server=git\n")
    assert text[:-1].isprintable()
    text.encode("utf-8")


async def test_closing_leaves_handlers_alone(caplog: pytest.LogCaptureFixture) -> None:
    """They belong to whoever configured them."""
    caplog.set_level(logging.INFO)
    sink = Logging("somewhere")
    await sink.aclose()
    sink.emit(event())
    assert len(caplog.records) == 1
    assert repr(sink) == "Logging('somewhere')"


@pytest.mark.parametrize(
    ("options", "error"),
    [({"level": "loud"}, ValueError), ({"denial_level": 1.5}, TypeError), ({"level": True}, TypeError)],
)
def test_a_level_is_a_number_or_a_name(options: dict[str, Any], error: type[Exception]) -> None:
    """Found when the sink is built."""
    with pytest.raises(error, match="level"):
        Logging(**options)
