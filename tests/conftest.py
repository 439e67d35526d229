"""Fixtures every test may use."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each asynchronous test runs on both."""
    name: str = request.param
    return name


@pytest.fixture(scope="module", autouse=True)
def leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module may leave to the garbage collector is collected before another module's tests begin."""
    yield
    marks = request.node.iter_markers("filterwarnings")
    if any("ResourceWarning" in mark.args[0] for mark in marks):
        gc.collect()
