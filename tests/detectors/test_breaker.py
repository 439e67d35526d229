"""The breaker's state machine: one probe at a time, never stuck, opened by failures alone."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mcpguard.detectors.breaker import Breaker, Seen, Terms, Ticket

TERMS = Terms(
    window=20,
    within=60.0,
    at_least=5,
    failure_ratio=0.5,
    slow_ratio=0.8,
    open_for=5.0,
    open_at_most=60.0,
    probe_for=30.0,
)


def breaker(jitter: Callable[[], float] = lambda: 0.0) -> Breaker:
    """A closed one."""
    return Breaker(TERMS, jitter)


def ticket(one: Breaker, now: float) -> Ticket:
    """Leave to make a call, which there is."""
    given = one.admit(now)
    assert isinstance(given, Ticket)
    return given


def opened(one: Breaker, now: float = 0.0) -> Breaker:
    """The same after five failures."""
    for _ in range(5):
        one.settle(ticket(one, now), "failure", now)
    assert one.state == "open"
    return one


def test_it_opens_at_half_of_at_least_five() -> None:
    """Four failures say nothing yet; five of ten do."""
    one = breaker()
    for seen in ("failure", "failure", "failure", "failure"):
        one.settle(ticket(one, 0), seen, 0)  # type: ignore[arg-type]
    assert one.state == "closed"
    one = breaker()
    for _ in range(6):
        one.settle(ticket(one, 0), "success", 0)
    for _ in range(5):
        one.settle(ticket(one, 0), "failure", 0)
        assert one.state == "closed"
    one.settle(ticket(one, 0), "failure", 0)
    assert one.state == "open"


def test_what_is_long_ago_does_not_count() -> None:
    """Four failures a minute ago and one now are one."""
    one = breaker()
    for _ in range(4):
        one.settle(ticket(one, 0), "failure", 0)
    one.settle(ticket(one, 61), "failure", 61)
    assert one.state == "closed"
    assert one.counted == (1, 1, 0)


def test_slow_calls_open_it_too() -> None:
    """A server that answers after a minute is as good as down."""
    one = breaker()
    for _ in range(5):
        one.settle(ticket(one, 0), "success", 0, slow=True)
    assert one.state == "open"


def test_open_it_says_how_long_and_doubles_up_to_a_minute() -> None:
    """5, 10, 20, 40, 60, 60 seconds; a probe that succeeds begins anew."""
    one, now = opened(breaker()), 0.0
    for seconds in (5, 10, 20, 40, 60, 60):
        assert one.admit(now) == pytest.approx(seconds)
        now += seconds
        probe = ticket(one, now)
        assert probe.is_probe
        one.settle(probe, "failure", now)
    now += 60
    one.settle(ticket(one, now), "success", now)
    assert one.state == "closed"
    assert opened(one, now).admit(now) == 5.0


def test_up_to_a_quarter_is_added_at_random() -> None:
    """Clients of one server do not all come back at once."""
    assert opened(breaker(lambda: 1.0)).admit(0.0) == pytest.approx(6.25)


def test_a_probe_that_says_nothing_gives_its_permit_back() -> None:
    """A cancelled probe leaves the next one to try at once."""
    one = opened(breaker())
    one.settle(ticket(one, 5), "nothing", 6)
    assert ticket(one, 6).is_probe


def test_a_probe_that_never_comes_back_does_not_hold_up_the_next_for_ever() -> None:
    """The permit is leased; what comes of it later is of an earlier generation."""
    one = opened(breaker())
    lost = ticket(one, 5)
    assert one.admit(6) == pytest.approx(29)
    following = ticket(one, 35)
    one.settle(lost, "success", 36)
    assert one.state == "half_open"
    one.settle(following, "success", 37)
    assert one.state == "closed"


def test_an_answer_from_an_earlier_state_counts_for_nothing() -> None:
    """A call that began before it opened does not close it, and does not open it again."""
    one = breaker()
    early = ticket(one, 0)
    opened(one)
    one.settle(ticket(one, 5), "success", 5)
    for _ in range(10):
        one.settle(early, "failure", 6)
    assert one.state == "closed"


def test_isolated_it_stays_until_it_is_closed_by_hand() -> None:
    """Whatever comes of calls that were under way."""
    one = breaker()
    early = ticket(one, 0)
    one.isolate()
    one.settle(early, "success", 1)
    assert one.admit(1e9) == float("inf")
    one.close()
    assert isinstance(one.admit(1e9), Ticket)


@given(st.lists(st.sampled_from(["success", "nothing"]), max_size=200))
def test_nothing_but_failures_and_slowness_opens_it(seen: list[Seen]) -> None:
    """Neutral outcomes never do, however many."""
    one = breaker()
    for number, outcome in enumerate(seen):
        one.settle(ticket(one, number), outcome, number)
    assert one.state == "closed"


class Machine(RuleBasedStateMachine):
    """Calls that begin and end in any order, while time goes on, or goes back."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = breaker()
        self.now = 0.0
        self.probes: dict[int, float] = {}

    @rule(target=tickets)
    def admit(self) -> Ticket:
        given = self.breaker.admit(self.now)
        if not isinstance(given, Ticket):
            assert given > 0
            return Ticket(-1, False)
        if given.is_probe:
            for generation, since in self.probes.items():
                assert self.now >= since + TERMS.probe_for or generation in self.settled
            self.probes[given.generation] = self.now
        return given

    settled: set[int] = set()

    @rule(
        ticket=consumes(tickets), seen=st.sampled_from(["success", "failure", "nothing"]), slow=st.booleans()
    )
    def settle(self, ticket: Ticket, seen: Seen, slow: bool) -> None:
        self.breaker.settle(ticket, seen, self.now, slow=slow)
        if ticket.is_probe:
            self.settled = self.settled | {ticket.generation}

    @rule(seconds=st.floats(0, 120))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def it_is_never_stuck(self) -> None:
        assert self.breaker.state != "isolated"
        far = self.now + TERMS.open_at_most * 1.25 + TERMS.probe_for
        waiting = self.breaker.admit(self.now) if self.breaker.state == "open" else 0.0
        if isinstance(waiting, Ticket):
            self.probes[waiting.generation] = self.now
            self.breaker.settle(waiting, "nothing", self.now)
            self.settled = self.settled | {waiting.generation}
        else:
            assert self.now + waiting <= far


TestMachine = Machine.TestCase
