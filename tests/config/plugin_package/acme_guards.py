"""An interceptor and a sink as a third party writes them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from mcpguard import ALLOW, Call, Common, Deny, Event, Interceptor, Place, Verdict


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A stretch of the day.

    Args:
        start: First hour, 0 to 23.
        end: Hour in which it ends, 1 to 24.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= 24:
            raise ValueError(f"hours run from 0 to 24, not from {self.start} to {self.end}")


class QuietHours(Interceptor):
    """Refuse tools in certain hours.

    Args:
        hours: When nothing may be called.
        tools: The tools this is about. Empty: all.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.APPROVAL

    def __init__(self, *, hours: Hours, tools: Sequence[str] = (), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.hours = hours
        self.tools = tuple(tools)

    def check(self, call: Call) -> Verdict:
        """Refuse, or not."""
        if self.tools and call.target not in self.tools:
            return ALLOW
        return Deny("quiet_hours", reason="it is late")


class Ring:
    """Keep the last events in memory.

    Args:
        size: How many.
    """

    def __init__(self, *, size: int = 10) -> None:
        self.events: deque[Event] = deque(maxlen=size)

    def emit(self, event: Event) -> None:
        """Keep one event."""
        self.events.append(event)

    async def aclose(self) -> None:
        """Do nothing."""
