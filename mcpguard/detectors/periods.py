"""Calendar periods: which hour, day, week or month a moment is in, by the clocks of one time zone.

Nothing here reads a clock. Zones and their changes are those of the IANA database, through `zoneinfo`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

__all__ = ["Calendar", "Every", "Period"]

Every: TypeAlias = Literal["hour", "day", "week", "month"]
"""Lengths of a period. A week begins on Monday (ISO 8601)."""

EVERY: Final = ("hour", "day", "week", "month")

HOUR: Final = 3600
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Period:
    """One hour, day, week or month.

    Args:
        start: Its first moment, in seconds since the epoch.
        end: The first moment after it.
    """

    start: float
    end: float

    @property
    def kept_until(self) -> float:
        """Until when to remember what was used in it: a period longer, for clocks that are put back."""
        return 2 * self.end - self.start


class Calendar:
    """Divide time into periods.

    Args:
        every: How long a period is.
        timezone: IANA name of the zone whose clocks count.

    Raises:
        ValueError: If `every` is another word, or there is no such zone.
    """

    def __init__(self, every: Every, timezone: str) -> None:
        if every not in EVERY:
            raise ValueError(f"every is one of {', '.join(EVERY)}, not {every!r}")
        self.every: Every = every
        self.zone = _zone(timezone)
        self._latest: Period | None = None

    def current(self, time: float) -> Period:
        """The period at `time`, where `time` is a clock that somebody may put back.

        A clock put back by no more than a period leaves the period as it is: one that has begun is not left
        for the one before. The same object is returned for as long as the period is the same.

        Args:
            time: Seconds since the epoch.
        """
        latest = self._latest
        if latest is not None and latest.start - (latest.end - latest.start) <= time < latest.end:
            return latest
        self._latest = found = self.at(time)
        return found

    def at(self, time: float) -> Period:
        """The period that `time` is in, whatever was asked before."""
        local = datetime.fromtimestamp(time, self.zone)
        if self.every == "hour":
            return _hour(time, local)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
        if self.every == "week":
            day -= timedelta(days=day.weekday())
            after = day + timedelta(days=7)
        elif self.every == "month":
            day = day.replace(day=1)
            after = (day + timedelta(days=31)).replace(day=1)
        else:
            after = day + timedelta(days=1)
        return Period(self._moment(day), self._moment(after))

    def text(self, moment: float) -> str:
        """A moment as people write it, in this zone: ISO 8601 with the offset."""
        return datetime.fromtimestamp(moment, self.zone).isoformat(timespec="seconds")

    def _moment(self, midnight: datetime) -> float:
        """When a local midnight is: the first if there are two; if it is skipped, when the clocks skip it."""
        return midnight.replace(tzinfo=self.zone).timestamp()


def _hour(time: float, local: datetime) -> Period:
    """The hour on the clock. One that is repeated is two; where the offset changes within it, likewise."""
    offset = (local.utcoffset() or timedelta()).total_seconds()
    start = (time + offset) // HOUR * HOUR - offset
    return Period(start, start + HOUR)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"timezone is an IANA name such as 'Europe/Berlin', not {name!r}") from error
