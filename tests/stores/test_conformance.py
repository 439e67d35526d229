"""One suite of promises for every store that there is."""

from pathlib import Path

import pytest

from mcpguard.stores.memory import MemoryStore
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
