"""The clock that a test moves."""

import threading

import pytest

from mcpguard.testing import FakeClock


def test_time_stands_still_until_it_is_advanced() -> None:
    """No test depends on how fast the machine is."""
    clock = FakeClock(epoch=100.0)
    assert (clock.now(), clock.time()) == (0.0, 100.0)
    clock.advance(2.5)
    clock.advance(0)
    assert (clock.now(), clock.time()) == (2.5, 102.5)
    assert repr(clock) == "FakeClock(now=2.5, time=102.5)"


def test_the_wall_clock_can_be_set_and_intervals_do_not_notice() -> None:
    """What NTP and daylight saving do to a real machine."""
    clock = FakeClock()
    clock.advance(10)
    clock.epoch = 0.0
    assert (clock.now(), clock.time(), clock.epoch) == (10, 10.0, 0.0)


def test_monotonic_time_does_not_go_back() -> None:
    """`Clock.now` is monotonic."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="0 or more, not -1"):
        clock.advance(-1)
    assert clock.now() == 0.0


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_time_is_finite(seconds: float) -> None:
    """A limit compared with NaN would let everything through."""
    with pytest.raises(ValueError, match="finite number of seconds"):
        FakeClock().advance(seconds)
    with pytest.raises(ValueError, match="finite number of seconds"):
        FakeClock(epoch=seconds)


def test_threads_may_advance_it_together() -> None:
    """Hosts run sessions on several threads."""
    clock = FakeClock()

    def work() -> None:
        for _ in range(1000):
            clock.advance(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == 4000
