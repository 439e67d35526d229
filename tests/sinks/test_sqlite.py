"""The SQLite sink: the same trail in a table, and the same promises."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from trails import event, write_key

from mcpguard import SQLite
from mcpguard.audit.note import Verifier
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.verify import verify
from mcpguard.cli import main

pytestmark = pytest.mark.anyio


def numbers(path: Path) -> list[Any]:
    """Which events are there."""
    return [record["event"] for record in records(open_trail(path)) if "event" in record]


@pytest.mark.parametrize("mode", ["strict", "durable", "async"])
async def test_events_are_kept_in_a_chain_that_verifies(tmp_path: Path, mode: Any) -> None:
    """Over two openings, signed."""
    key, public = write_key(tmp_path)
    file = tmp_path / "deep" / "audit.db"
    for number in (1, 2):
        sink = SQLite(file, mode=mode, key=key, anchor=tmp_path / "anchor")
        sink.emit(event(number, payload={"a": number}))
        await sink.settle()
        await sink.aclose()
    assert numbers(file) == [1, 2]
    anchor = (tmp_path / "anchor").read_text()
    verdict = verify(open_trail(file), keys=[Verifier(public)], anchors=[anchor])
    assert (verdict.state, verdict.signed_seq, verdict.crashes, verdict.erased) == (
        "intact",
        verdict.seq,
        0,
        0,
    )
    assert main(["audit", "verify", str(file), "--key", public]) == 0
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET body = replace(body, 'read', 'rade') WHERE seq = 3",
        "DELETE FROM records WHERE seq = 3",
        "UPDATE records SET hash = zeroblob(32) WHERE seq = 3",
        "UPDATE payloads SET line = replace(line, '777', '778')",
        "INSERT INTO payloads SELECT seq, replace(line, '777', '778') FROM payloads",
        "INSERT INTO payloads SELECT seq, line FROM payloads",
    ],
)
async def test_a_changed_row_is_found_and_not_gone_on_with(tmp_path: Path, change: str) -> None:
    """By whoever has the file and SQL."""
    sink = SQLite(tmp_path / "audit.db")
    for number in range(5):
        sink.emit(event(number, target="read", payload={"a": 777} if number == 1 else None))
    await sink.aclose()
    with closing(sqlite3.connect(tmp_path / "audit.db")) as database:
        assert database.execute(change).rowcount == 1
        database.commit()
    verdict = verify(open_trail(tmp_path / "audit.db"))
    assert (verdict.state, verdict.findings[0].seq) == ("tampered", 3)
    if "records" in change:
        with pytest.raises(OSError, match="record 3 was changed"):
            SQLite(tmp_path / "audit.db")


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO payloads SELECT 4, replace(line, ':3}', ':4}') FROM payloads",
        "INSERT INTO payloads SELECT 4, line FROM payloads",
        "UPDATE payloads SET seq = 4",
    ],
)
async def test_a_payload_under_another_record_is_found(tmp_path: Path, change: str) -> None:
    """Whoever asks the table for the payload of a record gets one that the record commits to."""
    sink = SQLite(tmp_path / "audit.db")
    for number in range(5):
        sink.emit(event(number, target="read", payload={"a": 777} if number == 1 else None))
    await sink.aclose()
    assert verify(open_trail(tmp_path / "audit.db")).state == "intact"
    with closing(sqlite3.connect(tmp_path / "audit.db")) as database:
        assert database.execute(change).rowcount == 1
        database.commit()
    assert verify(open_trail(tmp_path / "audit.db")).state == "tampered"


async def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    """One chain, one writer."""
    sink = SQLite(tmp_path / "audit.db")
    sink.emit(event(1))
    await sink.settle()
    with pytest.raises(BlockingIOError, match="another process or sink"):
        SQLite(tmp_path / "audit.db")
    (tmp_path / "other.db").symlink_to(tmp_path / "audit.db")
    with pytest.raises(BlockingIOError, match="another process or sink"):
        SQLite(tmp_path / "other.db")
    assert numbers(tmp_path / "audit.db") == [1]
    await sink.aclose()


async def test_a_file_that_is_taken_away_denies_what_is_strict(tmp_path: Path) -> None:
    """Rows in a file without a name are no record."""
    sink = SQLite(tmp_path / "audit.db", mode="strict")
    sink.emit(event(1))
    await sink.settle()
    (tmp_path / "audit.db").unlink()
    sink.emit(event(2))
    with pytest.raises(OSError, match="could not be written"):
        await sink.settle()
    await sink.aclose()
    assert sink.dropped == 1


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    """Nothing is written over."""
    (tmp_path / "notes.txt").write_text("mine" * 1000)
    with pytest.raises(OSError, match="no SQLite file"):
        SQLite(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine" * 1000
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE mine (a)")
        database.commit()
    with pytest.raises(OSError, match="no SQLite file of an audit trail"):
        open_trail(tmp_path / "other.db")
    with pytest.raises(ValueError, match="path is empty"):
        SQLite("")


def test_a_killed_process_loses_no_intent_that_was_awaited(tmp_path: Path) -> None:
    """And the next one goes on, with the crash in the trail."""
    script = """
        import os, signal, sys
        import anyio
        from mcpguard import Event, SQLite

        async def main():
            sink = SQLite(sys.argv[1], mode="durable")
            for seq in range(50):
                sink.emit(Event(kind="received", seq=seq, time=1.5))
                await sink.settle()
            os.kill(os.getpid(), signal.SIGKILL)

        anyio.run(main)
    """
    file = tmp_path / "audit.db"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(file)], timeout=60)
        assert done.returncode == -signal.SIGKILL
    assert numbers(file) == list(range(50)) * 2
    verdict = verify(open_trail(file))
    assert (verdict.state, verdict.crashes, verdict.is_closed) == ("intact", 1, False)
