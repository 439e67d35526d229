"""The writer's thread: how many share a sync, and what each of them is told."""

import threading
from collections.abc import Sequence

import anyio
import pytest
from trails import event

from mcpguard.audit.medium import Start
from mcpguard.audit.stream import Entry, Stream
from mcpguard.audit.writer import Writer
from mcpguard.testing import FakeClock

pytestmark = pytest.mark.anyio


class Shelf:
    """A medium in memory, which can be held up, and which can fail."""

    def __init__(self) -> None:
        self.kept: list[Entry] = []
        self.syncs = 0
        self.is_free = threading.Event()
        self.is_free.set()
        self.is_broken = False

    def append(self, entries: Sequence[Entry], /) -> None:
        self.is_free.wait()
        self._last = len(self.kept)
        self.kept += entries

    def sync(self) -> None:
        if self.is_broken:
            raise OSError("no room")
        self.syncs += 1

    def rollback(self) -> None:
        del self.kept[self._last :]

    def note(self, text: str, /) -> None:
        raise NotImplementedError(text)

    def is_full(self) -> bool:
        return False

    def rotate(self, segment: int, /) -> None:
        raise NotImplementedError(segment)

    def lost(self) -> str | None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""


def strict(shelf: Shelf) -> Writer:
    """A writer whose callers wait for the disk."""
    return Writer(
        shelf,
        Start(Stream(), {}),
        mode="strict",
        overflow="wait",
        queue=1000,
        signer=None,
        checkpoint_seconds=60.0,
        anchor=None,
        clock=FakeClock(),
    )


async def waiting(writer: Writer, callers: int, told: list[OSError | None], shelf: Shelf) -> None:
    """Let as many callers wait at once, all of them while the disk is held up, and then let it go on."""

    async def caller(number: int) -> None:
        writer.put(event(number))
        try:
            await writer.settle()
        except OSError as error:
            told.append(error)
        else:
            told.append(None)

    shelf.is_free.clear()
    async with anyio.create_task_group() as tasks:
        for number in range(1, callers + 1):
            tasks.start_soon(caller, number)
        await anyio.wait_all_tasks_blocked()
        shelf.is_free.set()


@pytest.mark.parametrize("callers", [1, 10, 100])
async def test_who_waits_at_the_same_time_shares_a_sync(callers: int) -> None:
    """Group commit: those that come while the disk is busy are one batch, behind the one that keeps it busy."""
    shelf = Shelf()
    writer = strict(shelf)
    before = shelf.syncs
    told: list[OSError | None] = []
    await waiting(writer, callers, told, shelf)
    assert told == [None] * callers
    assert 1 <= shelf.syncs - before <= 2
    kept = len(shelf.kept)
    writer.close()
    assert kept == 1 + callers, "what was awaited was there before anything was closed"


async def test_all_of_a_batch_that_is_not_synced_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody goes on as if recorded; once the disk takes records again, the next are, and the gap is counted."""
    shelf = Shelf()
    writer = strict(shelf)
    told: list[OSError | None] = []
    shelf.is_broken = True
    await waiting(writer, 20, told, shelf)
    assert all(isinstance(error, OSError) for error in told)
    assert len(told) == writer.dropped == 20
    shelf.is_broken = False
    await waiting(writer, 1, told, shelf)
    writer.close()
    assert told[-1] is None
    assert [b'"count":20' in entry.body for entry in shelf.kept].count(True) == 1
    assert "cannot be written" in caplog.text


async def test_callers_in_several_event_loops_are_each_told_in_their_own() -> None:
    """Hosts run sessions on background threads; a writer is shared by all of them."""
    shelf = Shelf()
    writer = strict(shelf)
    told: list[OSError | None] = []

    async def one() -> None:
        writer.put(event())
        await writer.settle()
        told.append(None)

    async def elsewhere(backend: str) -> None:
        await anyio.to_thread.run_sync(lambda: anyio.run(one, backend=backend))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for backend in ("asyncio", "trio", "asyncio"):
                tasks.start_soon(elsewhere, backend)
            tasks.start_soon(one)
    writer.close()
    assert told == [None] * 4
