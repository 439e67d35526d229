"""The webhook sink, against a real HTTP server that takes, refuses, and is down."""

import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from trails import event

from mcpguard import Webhook
from mcpguard.testing import FakeClock

pytest.importorskip("httpx", reason="comes with the extra `webhook`")
pytestmark = pytest.mark.anyio


class Endpoint:
    """Takes batches; answers with the statuses it is given, then with 204."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.held = threading.Event()
        self.held.set()
        self.is_down = False
        self.asked = threading.Semaphore(0)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.held.wait(30)
                status = endpoint.statuses.pop(0) if endpoint.statuses else 503 if endpoint.is_down else 204
                if status < 300:
                    endpoint.bodies.append(body)
                    endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                endpoint.asked.release()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/records"

    @property
    def batches(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def numbers(self) -> list[int]:
        return [record["event"] for batch in self.batches for record in batch["records"]]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """One that runs."""
    one = Endpoint()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.held.set()
    one.server.shutdown()
    thread.join()
    one.server.server_close()


async def test_events_arrive_in_batches_and_in_order(endpoint: Endpoint) -> None:
    """No more than `batch` in one."""
    sink = Webhook(endpoint.url, batch=10, linger=0)
    for number in range(95):
        sink.emit(event(number, target="read"))
    await sink.aclose()
    assert endpoint.numbers == list(range(95))
    assert max(len(batch["records"]) for batch in endpoint.batches) <= 10
    assert len({batch["id"] for batch in endpoint.batches}) == len(endpoint.batches)


async def test_the_body_is_signed(endpoint: Endpoint, tmp_path: Path) -> None:
    """Whoever has the secret can tell who sent it, and when."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 20 + b"\n")
    sink = Webhook(endpoint.url, secret=secret, linger=0, clock=FakeClock(epoch=1000.0))
    sink.emit(event(1))
    await sink.aclose()
    wanted = hmac.digest(b"s" * 20, b"1000." + endpoint.bodies[0], "sha256").hex()
    assert endpoint.headers[0]["mcpguard-signature"] == f"t=1000,v1={wanted}"
    secret.write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes; 16 at least"):
        Webhook(endpoint.url, secret=secret)


async def test_a_batch_that_is_not_taken_is_sent_again(endpoint: Endpoint) -> None:
    """Down, overloaded, redirecting: the same batch, until it is taken."""
    endpoint.statuses = [503, 429]
    sink = Webhook(endpoint.url, linger=0)
    sink.emit(event(1))
    await sink.aclose()
    assert endpoint.numbers == [1]
    assert endpoint.statuses == []


async def test_a_batch_that_will_never_be_taken_is_dropped(endpoint: Endpoint, caplog: Any) -> None:
    """The next one is not held up by it; the log says so."""
    endpoint.statuses = [400]
    endpoint.held.clear()
    sink = Webhook(endpoint.url, linger=0, batch=1)
    sink.emit(event(1))
    sink.emit(event(2))
    endpoint.held.set()
    await sink.aclose()
    assert endpoint.numbers == [2]
    assert "is dropped" in caplog.text


async def test_an_endpoint_that_is_down_bounds_memory_and_holds_up_nothing(endpoint: Endpoint) -> None:
    """What does not fit is counted, and the count arrives."""
    endpoint.held.clear()
    sink = Webhook(endpoint.url, queue=20, batch=5, linger=0)
    refused = 0
    for number in range(100):
        try:
            sink.emit(event(number))
        except BufferError:
            refused += 1
    assert refused >= 70
    assert sink.dropped == refused
    endpoint.held.set()
    await sink.aclose()
    assert len(endpoint.numbers) == 100 - refused
    assert sum(batch["dropped"] for batch in endpoint.batches) == refused


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_endpoint_that_is_down_for_an_hour_gets_everything_that_had_room(endpoint: Endpoint) -> None:
    """It is asked once a minute or so, not for ever faster; what found no room is counted."""
    clock = FakeClock()
    endpoint.is_down = True
    sink = Webhook(endpoint.url, queue=50, batch=20, linger=0, clock=clock)
    refused, asked = 0, 0
    began = clock.now()
    for number in range(61):
        try:
            sink.emit(event(number, target="read"))
        except BufferError:
            refused += 1
    while clock.now() - began < 3600:
        if await anyio.to_thread.run_sync(lambda: endpoint.asked.acquire(timeout=0.1)):
            asked += 1
        else:
            clock.advance(60)
    assert 30 <= asked <= 75
    endpoint.is_down = False
    clock.advance(60)
    await anyio.to_thread.run_sync(endpoint.asked.acquire)
    await sink.aclose()
    assert endpoint.numbers == [number for number in range(61) if number < 61 - refused]
    assert sink.dropped == refused == sum(batch["dropped"] for batch in endpoint.batches)


async def test_closing_gives_up_on_an_endpoint_that_is_gone(caplog: Any) -> None:
    """Three attempts, not for ever."""
    one = Endpoint()
    one.server.server_close()
    sink = Webhook(one.url, linger=0)
    sink.emit(event(1))
    await sink.aclose()
    await sink.aclose()
    assert "is dropped" in caplog.text
    with pytest.raises(ValueError, match="closed"):
        sink.emit(event(2))


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://localhost/x", "https://", "x", "http://localhost.evil.com"]
)
def test_records_do_not_go_over_an_open_line(url: str) -> None:
    """https, or this machine."""
    with pytest.raises(ValueError, match="url is https"):
        Webhook(url)


def test_the_url_is_in_no_repr() -> None:
    """It may hold a token."""
    assert "canary" not in repr(Webhook("https://canary:canary@example.com/canary"))
