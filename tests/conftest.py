"""Fixtures every test may use."""

import gc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", settings.get_profile("steady"), derandomize=False)
settings.load_profile("steady")  # neither how busy the machine is nor luck makes a test fail


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each asynchronous test runs on both."""
    name: str = request.param
    return name


@pytest.fixture(scope="module", autouse=True)
def leftovers_of_modules(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module may leave to the garbage collector is collected before another module's tests begin."""
    yield
    _collect(request.node.iter_markers())


@pytest.fixture(autouse=True)
def leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test may leave to the garbage collector is collected before the next one begins."""
    yield
    _collect(request.node.own_markers)


def _collect(marks: Iterable[pytest.Mark]) -> None:
    if any(mark.name == "filterwarnings" and "ResourceWarning" in mark.args[0] for mark in marks):
        gc.collect()
