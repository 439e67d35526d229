"""Countdown: what is left is what there was, less the time in which nobody had stopped it."""

from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.countdown import Countdown


@given(
    seconds=st.integers(1, 50),
    max_pause=st.integers(0, 40),
    steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["stop", "go on", "look"])), max_size=40),
)
def test_time_runs_down_only_while_nobody_has_stopped_it(
    seconds: int, max_pause: int, steps: list[tuple[int, str]]
) -> None:
    """Second by second; when the pauses are used up, it runs on."""
    now, stops, left, pauses = 0, 0, seconds, max_pause
    tried = Countdown(seconds, now, max_pause=max_pause)
    for passed, what in steps:
        for _ in range(passed):
            now += 1
            if stops and pauses:
                pauses -= 1
            else:
                left -= 1
        if what == "stop":
            tried.stop(now)
            stops += 1
        elif what == "go on" and stops:
            tried.go_on(now)
            stops -= 1
        assert tried.rest(now) == left
        assert tried.is_stopped == (stops > 0)
        assert tried.ends_at == now + left + (pauses if stops else 0)


def test_a_clock_that_is_put_back_gives_nothing() -> None:
    """A pause is no shorter than nothing."""
    tried = Countdown(10, 100)
    tried.stop(100)
    tried.go_on(50)
    assert tried.ends_at == 110
