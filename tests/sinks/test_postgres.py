"""The PostgreSQL sink, against a real server: the same trail in tables, and the same promises."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from postgres_server import PostgresServer, running_postgres
from trails import event, write_key

from mcpguard import Access, Guard, PostgreSQL
from mcpguard.audit.note import Verifier
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.verify import verify
from mcpguard.cli import main
from mcpguard.config.policy import parse_policy
from mcpguard.core.errors import PolicyError
from mcpguard.testing import FakeServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that runs."""
    with running_postgres() as one:
        yield one


@pytest.fixture
def trail(request: pytest.FixtureRequest) -> str:
    """A name that no other test has."""
    return request.node.name


def numbers(server: PostgresServer, trail: str) -> list[Any]:
    """Which events are there."""
    found = records(open_trail(f"{server.url}#{trail}"))
    return [record["event"] for record in found if "event" in record]


@pytest.mark.parametrize("mode", ["strict", "durable", "async"])
async def test_events_are_kept_in_a_chain_that_verifies(
    server: PostgresServer, tmp_path: Path, trail: str, mode: Any
) -> None:
    """Over two openings, signed, with names and payloads from hostile servers."""
    key, public = write_key(tmp_path)
    for number in (1, 2):
        sink = PostgreSQL(server.url, trail=trail, mode=mode, key=key, anchor=tmp_path / "anchor")
        sink.emit(event(number, target="a\x00b\ud800'; DROP TABLE x; --", payload={"a\x00": "\ud800"}))
        await sink.settle()
        await sink.aclose()
    assert numbers(server, trail) == [1, 2]
    anchor = (tmp_path / "anchor").read_text()
    verdict = verify(open_trail(f"{server.url}#{trail}"), keys=[Verifier(public)], anchors=[anchor])
    assert (verdict.state, verdict.signed_seq, verdict.crashes) == ("intact", verdict.seq, 0)
    assert main(["audit", "verify", f"{server.url}#{trail}", "--key", public]) == 0


async def test_a_call_through_a_guard_is_recorded(server: PostgresServer, trail: str, capsys: Any) -> None:
    """And shown by the same commands as a file."""
    fake = FakeServer()
    fake.tool("read").returns("done")
    sink = PostgreSQL(server.url, trail=trail, mode="strict")
    async with Guard([Access(default="allow")], sinks=[sink]) as guard:
        async with fake.connect() as streams:
            async with guard.session(ClientSession(*streams), name="files") as session:
                await session.initialize()
                await session.call_tool("read", {})
    assert main(["audit", "show", f"{server.url}#{trail}", "--tool", "read"]) == 0
    assert "read" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mcpguard_records SET body = replace(body, 'read', 'rade') WHERE seq = 3 AND trail = %s",
        "DELETE FROM mcpguard_records WHERE seq = 3 AND trail = %s",
        "UPDATE mcpguard_records SET hash = sha256('') WHERE seq = 3 AND trail = %s",
        "UPDATE mcpguard_payloads SET line = replace(line, '777', '778') WHERE trail = %s",
    ],
)
async def test_a_changed_row_is_found_and_not_gone_on_with(
    server: PostgresServer, trail: str, change: str
) -> None:
    """By whoever has the database."""
    sink = PostgreSQL(server.url, trail=trail)
    for number in range(5):
        sink.emit(event(number, target="read", payload={"a": 777} if number == 1 else None))
    await sink.aclose()
    assert server.run(change, trail) == 1
    verdict = verify(open_trail(f"{server.url}#{trail}"))
    assert (verdict.state, verdict.findings[0].seq) == ("tampered", 3)
    if "records" in change:
        with pytest.raises(OSError, match="record 3 was changed"):
            PostgreSQL(server.url, trail=trail)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO mcpguard_payloads SELECT trail, 4, replace(line, ':3}', ':4}') FROM mcpguard_payloads",
        "INSERT INTO mcpguard_payloads SELECT trail, 4, line FROM mcpguard_payloads",
        "UPDATE mcpguard_payloads SET seq = 4",
    ],
)
async def test_a_payload_under_another_record_is_found(
    server: PostgresServer, trail: str, change: str
) -> None:
    """Whoever asks the table for the payload of a record gets one that the record commits to."""
    sink = PostgreSQL(server.url, trail=trail)
    for number in range(5):
        sink.emit(event(number, target="read", payload={"a": 777} if number == 1 else None))
    await sink.aclose()
    assert verify(open_trail(f"{server.url}#{trail}")).state == "intact"
    assert server.run(f"{change} WHERE trail = %s", trail) == 1
    assert verify(open_trail(f"{server.url}#{trail}")).state == "tampered"


async def test_a_second_writer_is_refused_and_other_trails_are_not(
    server: PostgresServer, trail: str
) -> None:
    """One chain, one writer; many chains, one set of tables."""
    sink = PostgreSQL(server.url, trail=trail)
    sink.emit(event(1))
    await sink.settle()
    with pytest.raises(BlockingIOError, match="another process or sink"):
        PostgreSQL(server.url, trail=trail)
    other = PostgreSQL(server.url, trail=f"{trail}-2")
    other.emit(event(7))
    await other.aclose()
    await sink.aclose()
    assert (numbers(server, trail), numbers(server, f"{trail}-2")) == ([1], [7])


async def test_a_hundred_callers_share_a_commit(server: PostgresServer, trail: str) -> None:
    """And each finds its record once it goes on."""
    sink = PostgreSQL(server.url, trail=trail, mode="strict")

    async def call(number: int) -> None:
        sink.emit(event(number))
        await sink.settle()

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(call, number)
    assert sorted(numbers(server, trail)) == list(range(100))
    await sink.aclose()


async def test_a_server_that_comes_back_in_time_costs_nothing(server: PostgresServer, trail: str) -> None:
    """A restart under load: each event is there once."""
    sink = PostgreSQL(server.url, trail=trail, timeout=60.0)
    sink.emit(event(0))
    await sink.settle()
    async with anyio.create_task_group() as tasks:
        server.stop()
        for number in range(1, 50):
            sink.emit(event(number))
        tasks.start_soon(sink.settle)
        await anyio.to_thread.run_sync(server.start)
    await sink.aclose()
    assert numbers(server, trail) == list(range(50))
    assert sink.dropped == 0
    assert verify(open_trail(f"{server.url}#{trail}")).state == "intact"


async def test_a_server_that_stays_away_denies_what_is_strict_and_the_trail_says_so(
    server: PostgresServer, trail: str
) -> None:
    """What came meanwhile is counted in the trail itself."""
    sink = PostgreSQL(server.url, trail=trail, mode="strict", timeout=0.2)
    sink.emit(event(1))
    await sink.settle()
    server.stop()
    for number in (2, 3):
        sink.emit(event(number))
        with pytest.raises(OSError, match="could not be written"):
            await sink.settle()
    server.start()
    sink.emit(event(4))
    await sink.settle()
    await sink.aclose()
    verdict = verify(open_trail(f"{server.url}#{trail}"))
    assert (verdict.state, verdict.dropped, sink.dropped) == ("intact", 2, 2)
    assert numbers(server, trail) == [1, 4]


async def test_a_server_that_hangs_does_not_hold_a_call_for_ever(server: PostgresServer, trail: str) -> None:
    """It answers nothing, and its connection stays open."""
    sink = PostgreSQL(server.url, trail=trail, mode="strict", timeout=0.5)
    sink.emit(event(1))
    await sink.settle()
    server.freeze()
    sink.emit(event(2))
    with pytest.raises(OSError, match="could not be written"):
        await sink.settle()
    server.thaw()
    sink.emit(event(3))
    with anyio.fail_after(60):
        while sink.dropped < 3:
            try:
                await sink.settle()
            except OSError:
                sink.emit(event(3))
            else:
                break
    await sink.aclose()
    assert verify(open_trail(f"{server.url}#{trail}")).state == "intact"
    assert 1 in numbers(server, trail)


async def test_a_connection_that_is_cut_at_any_time_loses_and_doubles_nothing(
    server: PostgresServer, trail: str
) -> None:
    """An answer that is lost does not mean that nothing was kept."""
    sink = PostgreSQL(server.url, trail=trail, mode="durable", timeout=60.0)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcpguard'"

    async def cut() -> None:
        for _ in range(10):
            await anyio.to_thread.run_sync(server.run, end)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cut)
        for number in range(300):
            sink.emit(event(number))
            await sink.settle()
    await sink.aclose()
    assert numbers(server, trail) == list(range(300))
    assert verify(open_trail(f"{server.url}#{trail}")).state == "intact"


async def test_a_trail_that_somebody_else_went_on_with_takes_nothing_any_more(
    server: PostgresServer, trail: str
) -> None:
    """The rows of a stranger are not chained to."""
    sink = PostgreSQL(server.url, trail=trail, mode="strict", timeout=0.2)
    sink.emit(event(1))
    await sink.settle()
    server.run("INSERT INTO mcpguard_records VALUES (%s, 99, sha256(''), '{}')", trail)
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcpguard'")
    for number in (2, 3):
        sink.emit(event(number))
        with pytest.raises(OSError, match="could not be written"):
            await sink.settle()
    await sink.aclose()
    assert sink.dropped == 2


def test_a_killed_process_loses_no_intent_that_was_awaited(server: PostgresServer, trail: str) -> None:
    """And the next one goes on, with the crash in the trail."""
    script = """
        import os, signal, sys
        import anyio
        from mcpguard import Event, PostgreSQL

        async def main():
            sink = PostgreSQL(sys.argv[1], trail=sys.argv[2], mode="durable")
            for seq in range(50):
                sink.emit(Event(kind="received", seq=seq, time=1.5))
                await sink.settle()
            os.kill(os.getpid(), signal.SIGKILL)

        anyio.run(main)
    """
    for _ in range(2):
        command = [sys.executable, "-c", textwrap.dedent(script), server.url, trail]
        done = subprocess.run(command, timeout=60)
        assert done.returncode == -signal.SIGKILL
    assert numbers(server, trail) == list(range(50)) * 2
    verdict = verify(open_trail(f"{server.url}#{trail}"))
    assert (verdict.state, verdict.crashes, verdict.is_closed) == ("intact", 1, False)


async def test_the_password_is_in_no_text(
    server: PostgresServer, trail: str, caplog: Any, capsys: Any
) -> None:
    """Not in reprs, errors of policies and commands, or the log; also not where the URL cannot be read."""
    canary = os.urandom(8).hex()
    url = server.url.replace("mcpguard@", f"mcpguard:{canary}@")
    sink = PostgreSQL(url, trail=trail, timeout=0.1)
    texts = [repr(sink)]
    await sink.aclose()
    dead = url.replace(f":{server.port}/", ":1/")
    for wrong in (dead, f"{url}?no_such={canary}", f"postgresql://x:{canary}@[bad/{canary}", f"{url}&\x00"):
        policy = f"version: 1\ninterceptors: {{}}\naudit: [postgres: {{url: {wrong!r}, timeout: 0.1}}]\n"
        with pytest.raises((OSError, ValueError)) as refused:
            PostgreSQL(wrong, timeout=0.1)
        texts.append(str(refused.value) + repr(refused.value))
        if "\x00" not in wrong:
            with pytest.raises(PolicyError) as invalid:
                parse_policy(policy).build()
            texts.append(str(invalid.value))
        assert main(["audit", "verify", wrong]) == 2
    printed = capsys.readouterr()
    texts += [caplog.text, printed.out, printed.err]
    assert [text for text in texts if canary in text] == []
    assert len(texts) > 8


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://db.example/audit?sslmode=prefer", "sslmode is"),
        ("postgresql://localhost,db.example/audit?sslmode=disable", "sslmode is"),
        ("postgresql://localhost/audit?hostaddr=192.0.2.1&sslmode=allow", "sslmode is"),
        ("mysql://localhost/audit", "url is postgresql://"),
        ("host=localhost", "url is postgresql://"),
        ("postgresql://localhost/audit#one", "given once"),
    ],
)
def test_an_address_that_is_open_or_unclear_is_refused(url: str, message: str) -> None:
    """Before anything is connected."""
    pytest.importorskip("psycopg", reason="comes with the extra `postgres`")
    with pytest.raises(ValueError, match=message):
        PostgreSQL(url, trail="two")


async def test_a_server_that_does_not_sync_is_no_place_for_a_strict_trail(
    server: PostgresServer, trail: str
) -> None:
    """What it says is on the disk is not."""
    server.run("ALTER SYSTEM SET fsync = off")
    server.run("SELECT pg_reload_conf()")
    try:
        with anyio.fail_after(30):
            while server.shown("fsync") != "off":
                await anyio.lowlevel.checkpoint()
        with pytest.raises(OSError, match="fsync is off"):
            PostgreSQL(server.url, trail=trail, mode="strict")
    finally:
        server.run("ALTER SYSTEM RESET fsync")
        server.run("SELECT pg_reload_conf()")
