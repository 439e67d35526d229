"""Calendar periods: every moment is in exactly one, whatever the clocks of the zone do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.periods import Calendar, Every, Period

BERLIN = "Europe/Berlin"

ZONES = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "America/Havana",
        "Africa/Cairo",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ]
)
MOMENTS = st.floats(0, 2_000_000_000, allow_nan=False)
LENGTHS = st.sampled_from(["hour", "day", "week", "month"])


def moment(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """Seconds since the epoch of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def span(every: Every, text: str, zone: str = BERLIN, fold: int = 0) -> tuple[str, str, float]:
    """Start and end of a period in local time, and its hours."""
    calendar = Calendar(every, zone)
    found = calendar.at(moment(text, zone, fold))
    start, end = (
        datetime.fromtimestamp(one, ZoneInfo(zone)).isoformat(timespec="minutes")
        for one in (found.start, found.end)
    )
    return start, end, (found.end - found.start) / 3600


@pytest.mark.parametrize(
    ("every", "text", "expected"),
    [
        ("hour", "2026-11-21T10:59:59", ("2026-11-21T10:00+01:00", "2026-11-21T11:00+01:00", 1)),
        ("hour", "2026-11-21T11:00", ("2026-11-21T11:00+01:00", "2026-11-21T12:00+01:00", 1)),
        ("day", "2026-11-21T00:00", ("2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00", 24)),
        ("day", "2026-11-21T23:59:59", ("2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00", 24)),
        ("week", "2026-11-21T12:00", ("2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00", 168)),
        ("week", "2026-11-23T00:00", ("2026-11-23T00:00+01:00", "2026-11-30T00:00+01:00", 168)),
        ("week", "2027-01-01T12:00", ("2026-12-28T00:00+01:00", "2027-01-04T00:00+01:00", 168)),
        ("month", "2026-12-31T23:59", ("2026-12-01T00:00+01:00", "2027-01-01T00:00+01:00", 744)),
        ("month", "2028-02-29T12:00", ("2028-02-01T00:00+01:00", "2028-03-01T00:00+01:00", 696)),
    ],
)
def test_periods_follow_the_calendar(every: Every, text: str, expected: tuple[str, str, float]) -> None:
    """Weeks begin on Monday (ISO 8601); months are as long as they are."""
    assert span(every, text) == expected


@pytest.mark.parametrize(
    ("every", "text", "fold", "hours"),
    [
        ("day", "2026-03-29T12:00", 0, 23),
        ("day", "2026-10-25T01:00", 0, 25),
        ("day", "2026-10-25T02:30", 1, 25),
        ("week", "2026-03-29T23:00", 0, 167),
        ("month", "2026-03-31T23:00", 0, 743),
        ("month", "2026-10-01T00:00", 0, 745),
    ],
)
def test_a_period_is_as_long_as_the_clocks_make_it(every: Every, text: str, fold: int, hours: float) -> None:
    """Berlin puts its clocks forward on 2026-03-29 and back on 2026-10-25."""
    assert span(every, text, fold=fold)[2] == hours


def test_an_hour_that_is_repeated_is_two() -> None:
    """2:00-3:00 comes twice on 2026-10-25."""
    calendar = Calendar("hour", BERLIN)
    first, second = (calendar.at(moment("2026-10-25T02:30", fold=fold)) for fold in (0, 1))
    assert second == Period(first.end, first.end + 3600)


def test_a_day_whose_midnight_is_skipped_begins_when_the_clocks_do() -> None:
    """Cairo puts its clocks from 00:00 to 01:00 on 2026-04-24."""
    assert span("day", "2026-04-24T12:00", "Africa/Cairo") == (
        "2026-04-24T01:00+03:00",
        "2026-04-25T00:00+03:00",
        23,
    )
    assert span("day", "2026-04-23T23:59", "Africa/Cairo")[2] == 24


def test_a_day_with_two_midnights_begins_with_the_first() -> None:
    """Havana puts its clocks from 01:00 back to 00:00 on 2026-11-01."""
    both = [span("day", "2026-11-01T00:30", "America/Havana", fold=fold) for fold in (0, 1)]
    assert both[0] == both[1]
    assert both[0][2] == 25


def test_a_day_that_a_zone_left_out_is_in_no_period() -> None:
    """Samoa went from 2011-12-29 to 2011-12-31."""
    calendar = Calendar("day", "Pacific/Apia")
    before = calendar.at(moment("2011-12-29T12:00", "Pacific/Apia"))
    assert calendar.at(before.end).start == before.end
    assert calendar.at(moment("2011-12-31T12:00", "Pacific/Apia")) in (
        calendar.at(before.end),
        calendar.at(calendar.at(before.end).end),
    )


@given(LENGTHS, ZONES, MOMENTS)
def test_every_moment_is_in_its_period(every: Every, zone: str, time: float) -> None:
    """And the end of a period is in the next."""
    calendar = Calendar(every, zone)
    found = calendar.at(time)
    assert found.start <= time < found.end
    assert calendar.at(found.end) != found


@given(st.sampled_from(["day", "week", "month"]), ZONES, MOMENTS)
def test_periods_leave_no_gap_and_do_not_overlap(every: Every, zone: str, time: float) -> None:
    """Nothing is counted twice, and nothing is not counted."""
    calendar = Calendar(every, zone)
    found = calendar.at(time)
    assert calendar.at(found.end).start == found.end
    assert calendar.at(found.start) == found


def test_a_clock_put_back_does_not_bring_the_period_before_back() -> None:
    """Else a budget that was used up yesterday would be charged for today, or one of today begin anew."""
    calendar = Calendar("day", "UTC")
    midnight = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    yesterday = calendar.current(midnight - 1)
    today = calendar.current(midnight)
    assert today.start == yesterday.end == midnight
    assert calendar.current(midnight - 1) is today
    assert calendar.current(midnight - 86_400) is today
    assert calendar.current(midnight + 86_399) is today


def test_a_clock_put_back_by_more_than_a_period_is_believed() -> None:
    """A clock that had been a year ahead does not leave one day's budget for a year."""
    calendar = Calendar("day", "UTC")
    ahead = datetime(2027, 11, 21, tzinfo=UTC)
    calendar.current(ahead.timestamp())
    now = (ahead - timedelta(days=365)).timestamp()
    assert calendar.current(now).start == now


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", 3, None])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    """When the budget is built, with what would be accepted."""
    with pytest.raises(ValueError, match="IANA name such as 'Europe/Berlin'"):
        Calendar("day", zone)


def test_another_length_is_refused() -> None:
    """Quarters are not there."""
    with pytest.raises(ValueError, match="hour, day, week, month, not 'quarter'"):
        Calendar("quarter", "UTC")  # type: ignore[arg-type]
