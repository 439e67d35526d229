"""How often messages of each kind may come."""

from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.storms import BURST, Storms, kind_of


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_never_more_than_the_rate_and_one_burst_pass(pauses: list[float]) -> None:
    """In any stretch of time."""
    storms = Storms(notifications=2, requests=1)
    now, passed = 0.0, []
    for pause in pauses:
        now += pause
        if storms.admits("progress", now, is_request=False):
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= 2 * BURST + 2 * (passed[last] - begin) + 1e-6


def test_kinds_are_counted_apart() -> None:
    """A storm of log messages does not cost progress; requests have a rate of their own."""
    storms = Storms(notifications=1, requests=0.1)
    assert [storms.admits("log messages", 0, is_request=False) for _ in range(11)].count(True) == 10
    assert storms.admits("progress", 0, is_request=False)
    assert [storms.admits("pings", 0, is_request=True) for _ in range(3)].count(True) == 1
    assert storms.admits("log messages", 5, is_request=False)


def test_methods_that_nobody_knows_share_one_kind() -> None:
    """A server cannot make up a method for each message."""
    assert kind_of("notifications/a", is_request=False) == kind_of("b", is_request=False)
    assert kind_of("c", is_request=True) != kind_of("c", is_request=False)
