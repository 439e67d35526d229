"""The state machine of a circuit breaker: closed, open, half-open with one leased probe, or isolated.

After the pattern of M. Nygard, *Release It!* (2007). What has been seen counts by number and by time; an
answer to a call that began in an earlier state counts for nothing (its generation is over); the permit for
the one probe frees itself when its time is up. No clock, no calls, no locks: whoever holds it has them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import inf
from typing import Literal, TypeAlias

__all__ = ["Breaker", "Seen", "State", "Terms", "Ticket"]

State: TypeAlias = Literal["closed", "open", "half_open", "isolated"]

Seen: TypeAlias = Literal["success", "failure", "nothing"]
"""What came of a call; `nothing` of one that says nothing of the server, a cancelled one for example."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When a breaker opens, and for how long.

    Args:
        window: Latest calls that count.
        within: Seconds for which a call counts.
        at_least: Calls seen before a share means anything.
        failure_ratio: Share of failures that opens it.
        slow_ratio: Share of slow calls that opens it.
        open_for: Seconds it is open at first.
        open_at_most: Seconds it is open at most; each probe that fails doubles the time.
        probe_for: Seconds after which a probe that has not come back no longer holds up the next.
    """

    _: KW_ONLY
    window: int
    within: float
    at_least: int
    failure_ratio: float
    slow_ratio: float
    open_for: float
    open_at_most: float
    probe_for: float


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call.

    Args:
        generation: The state it was given in.
        is_probe: Whether it is the one call that tries an open breaker.
    """

    generation: int
    is_probe: bool


class Breaker:
    """One breaker.

    Args:
        terms: When it opens.
        jitter: A number from 0 to 1, at random: how much of a quarter is added to the time it is open.
    """

    __slots__ = (
        "_calls",
        "_failures",
        "_generation",
        "_jitter",
        "_slow",
        "_ticket",
        "_trips",
        "_until",
        "state",
        "terms",
    )

    def __init__(self, terms: Terms, jitter: Callable[[], float]) -> None:
        self.state: State = "closed"
        self.terms = terms
        """When it opens; may change."""
        self._jitter = jitter
        self._generation = 0
        self._ticket = Ticket(0, False)
        self._calls: deque[tuple[float, bool, bool]] = deque()
        self._failures = 0
        self._slow = 0
        self._trips = 0
        self._until = 0.0

    def admit(self, now: float) -> Ticket | float:
        """Leave to make a call, or the seconds until there may be some."""
        if self.state == "closed":
            return self._ticket
        if now < self._until:
            return self._until - now
        self._enter("half_open")
        self._until = now + self.terms.probe_for
        return Ticket(self._generation, True)

    def settle(self, ticket: Ticket, seen: Seen, now: float, *, slow: bool = False) -> None:
        """Take what came of a call."""
        if ticket.generation != self._generation:
            return
        if not ticket.is_probe:
            if seen != "nothing":
                self._count(now, seen == "failure", slow)
        elif seen == "success" and not slow:
            self.close()
        elif seen == "nothing":
            self._until = now
        else:
            self._open(now)

    def isolate(self) -> None:
        """Refuse every call until it is closed by hand."""
        self._enter("isolated")
        self._until = inf

    def close(self) -> None:
        """Let every call through, and begin anew."""
        self._enter("closed")
        self._ticket = Ticket(self._generation, False)
        self._calls.clear()
        self._failures = self._slow = self._trips = 0

    @property
    def counted(self) -> tuple[int, int, int]:
        """Calls that count, and how many of them failed and were slow."""
        return len(self._calls), self._failures, self._slow

    def _count(self, now: float, failed: bool, slow: bool) -> None:
        terms, calls = self.terms, self._calls
        calls.append((now, failed, slow))
        self._failures += failed
        self._slow += slow
        while len(calls) > terms.window or calls[0][0] <= now - terms.within:
            _, had_failed, was_slow = calls.popleft()
            self._failures -= had_failed
            self._slow -= was_slow
        if not (failed or slow) or len(calls) < terms.at_least:
            return
        if self._failures >= terms.failure_ratio * len(calls) or self._slow >= terms.slow_ratio * len(calls):
            self._open(now)

    def _open(self, now: float) -> None:
        terms = self.terms
        longest = min(terms.open_for * 2.0 ** min(self._trips, 30), terms.open_at_most)
        self._trips += 1
        self._until = now + longest * (1 + self._jitter() / 4)
        self._enter("open")
        self._calls.clear()
        self._failures = self._slow = 0

    def _enter(self, state: State) -> None:
        self.state = state
        self._generation += 1
