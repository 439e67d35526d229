"""The NATS sink, against a real server with JetStream that takes, is gone, and comes back."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from nats_server import NatsServer, running_nats
from trails import event

from mcpguard import JetStream
from mcpguard.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One that runs."""
    with running_nats(tmp_path_factory.mktemp("nats")) as one:
        yield one


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> str:
    """One that no other test has."""
    return request.node.name.replace("[", ".").replace("]", "")


async def numbers(server: NatsServer, subject: str) -> list[Any]:
    """The events that are in the stream."""
    kept = await anyio.to_thread.run_sync(server.kept, subject)
    return [json.loads(message.data)["event"] for message in kept]


async def test_each_event_is_a_message_in_order(server: NatsServer, subject: str) -> None:
    """With an id that no other has."""
    await anyio.to_thread.run_sync(server.make_stream, subject)
    sink = JetStream(server.url, subject=subject, batch=10, linger=0)
    for number in range(95):
        sink.emit(event(number, target="a\x00b\ud800"))
    await sink.aclose()
    assert await numbers(server, subject) == list(range(95))
    kept = await anyio.to_thread.run_sync(server.kept, subject)
    assert len({message.headers["Nats-Msg-Id"] for message in kept}) == 95


async def test_a_server_that_comes_back_gets_everything_once(server: NatsServer, subject: str) -> None:
    """Killed under load; what it had acknowledged, and what it had not."""
    await anyio.to_thread.run_sync(server.make_stream, subject)
    sink = JetStream(server.url, subject=subject, batch=20, linger=0, timeout=2.0)
    for number in range(100):
        sink.emit(event(number))
    await anyio.to_thread.run_sync(server.stop)
    for number in range(100, 200):
        sink.emit(event(number))
    await anyio.to_thread.run_sync(server.start)
    with anyio.fail_after(60):
        while len(await numbers(server, subject)) < 200:
            await anyio.lowlevel.checkpoint()
    await sink.aclose()
    assert sorted(await numbers(server, subject)) == list(range(200))


async def test_a_stream_that_is_not_there_yet_is_waited_for(server: NatsServer, subject: str) -> None:
    """Memory is bounded meanwhile, and the count of what found no room arrives."""
    clock = FakeClock()
    sink = JetStream(server.url, subject=subject, queue=20, batch=5, linger=0, timeout=2.0, clock=clock)
    refused = 0
    for number in range(100):
        try:
            sink.emit(event(number))
        except BufferError:
            refused += 1
    assert sink.dropped == refused >= 70
    await anyio.to_thread.run_sync(server.make_stream, subject)
    with anyio.fail_after(60):
        while len(await numbers(server, subject)) < 100 - refused:
            clock.advance(60)
    await sink.aclose()
    kept = await anyio.to_thread.run_sync(server.kept, subject)
    assert len(kept) == 100 - refused
    assert sum(int((message.headers or {}).get("Mcpguard-Dropped", 0)) for message in kept) == refused


async def test_closing_gives_up_on_a_server_that_is_gone(caplog: Any) -> None:
    """Three attempts, not for ever."""
    pytest.importorskip("nats", reason="comes with the extra `nats`")
    sink = JetStream("nats://127.0.0.1:1", linger=0, timeout=1.0)
    sink.emit(event(1))
    await sink.aclose()
    await sink.aclose()
    assert "is dropped" in caplog.text
    with pytest.raises(ValueError, match="closed"):
        sink.emit(event(2))


async def test_the_password_is_in_no_text(tmp_path: Path, caplog: Any) -> None:
    """Not in the repr, nor in the log of what refuses it."""
    canary = os.urandom(8).hex()
    options = ("--user", "mcpguard", "--pass", os.urandom(8).hex())
    with running_nats(tmp_path, *options) as server:
        sink = JetStream(server.url.replace("//", f"//mcpguard:{canary}@"), linger=0, timeout=1.0)
        sink.emit(event(1))
        await sink.aclose()
        assert "is dropped" in caplog.text
        assert canary not in caplog.text + repr(sink)


@pytest.mark.parametrize(
    ("url", "subject", "message"),
    [
        ("nats://example.com:4222", "a", "url is tls://"),
        ("nats://localhost.evil.com", "a", "url is tls://"),
        ("http://localhost", "a", "url is tls://"),
        ("tls://", "a", "url is tls://"),
        ("nats://localhost", "a.*", "without wildcards"),
        ("nats://localhost", "a..b", "without wildcards"),
        ("nats://localhost", "a b", "without wildcards"),
    ],
)
def test_an_open_line_or_a_wildcard_is_refused(url: str, subject: str, message: str) -> None:
    """Before anything is connected."""
    pytest.importorskip("nats", reason="comes with the extra `nats`")
    with pytest.raises(ValueError, match=message):
        JetStream(url, subject=subject)


def test_credentials_that_are_not_there_are_an_error_at_once(tmp_path: Path) -> None:
    """Not a stream of refusals later."""
    pytest.importorskip("nats", reason="comes with the extra `nats`")
    with pytest.raises(FileNotFoundError):
        JetStream("nats://localhost", credentials=tmp_path / "none.creds")
