"""Fixtures of the seams' tests."""

from collections.abc import Callable
from typing import Any

import pytest
from line import CALLS, passing


@pytest.fixture(params=[0, 1], ids=["steps", "task"])
def way(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """An interceptor that changes nothing, for each way through a chain."""
    number: int = request.param
    return lambda handles=CALLS: passing(handles)[number]
