"""One suite of promises for every store that there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running

from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.redis import RedisStore
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.testing import FakeClock, check_store

pytestmark = pytest.mark.anyio


async def test_the_memory_store_keeps_its_promises() -> None:
    """On a clock that the test moves."""
    clock = FakeClock()

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    await check_store(lambda: MemoryStore(clock=clock), advance=advance, unit=60.0)


async def test_the_sqlite_store_keeps_its_promises(tmp_path: Path) -> None:
    """All of it in one file, on a clock that the test moves."""
    clock = FakeClock()

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    path = tmp_path / "state.db"
    await check_store(lambda: SQLiteStore(path, clock=clock), advance=advance, unit=60.0)


@pytest.fixture(params=["alone", "cluster"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server, and one that holds every script to the keys of one slot, as a cluster does."""
    options = ("--cluster-enabled", "yes") if request.param == "cluster" else ()
    with running(tmp_path, *options) as one:
        if options:
            with one.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                    pass
        yield one


async def test_the_redis_store_keeps_its_promises(server: Server) -> None:
    """In real time, which is the server's."""
    await check_store(lambda: RedisStore(server.url), unit=0.5)
