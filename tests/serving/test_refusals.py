"""Requests that were refused, in the operator's log."""

import pytest
from issuer import token
from served import Serve

from mcpguard.serving.refusals import Refusals
from mcpguard.testing import FakeClock


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_token_that_is_refused_is_a_line_with_its_code(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """And nothing of the token."""
    expired = token("ana", exp=1)
    async with serve() as served:
        assert (await served.post(token=expired)).status_code == 401
        assert (await served.post()).status_code == 401
    assert "refused a request: token_expired" in caplog.text
    assert "refused a request: token_missing" in caplog.text
    assert expired not in caplog.text


def test_a_client_that_asks_again_and_again_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """One line of a code in ten seconds, which says how many there were."""
    clock = FakeClock()
    refusals = Refusals(clock)
    for _ in range(5):
        refusals.add("token_expired")
    refusals.add("token_missing")
    assert caplog.messages == ["refused a request: token_expired", "refused a request: token_missing"]
    clock.advance(10)
    refusals.add("token_expired")
    assert caplog.messages[2:] == ["refused a request: token_expired, and 4 more since the last such line"]
