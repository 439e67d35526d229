"""The clock in use where none is given."""

from mcpguard.core.clock import SYSTEM_CLOCK, SystemClock


def test_the_system_clock_goes_forward_and_knows_the_date() -> None:
    """Limits need the monotonic reading, records the date."""
    before = SYSTEM_CLOCK.now()
    assert SYSTEM_CLOCK.now() >= before
    assert SYSTEM_CLOCK.time() > 1_700_000_000
    assert repr(SystemClock()) == "SystemClock()"
