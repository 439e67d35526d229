"""A real Redis server for tests, on a free port of this machine."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

try:
    from redis import Redis
    from redis.backoff import ConstantBackoff
    from redis.exceptions import ConnectionError as Unreachable
    from redis.exceptions import TimeoutError as Silent
    from redis.retry import Retry
except ImportError:
    Redis = None  # type: ignore[assignment,misc]

REQUIRED = os.environ.get("MCPGUARD_REQUIRE_REDIS") == "1"
BINARY = shutil.which("redis-server") or shutil.which("valkey-server")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server that can be stopped and started again on its port; what it kept is lost unless it is `durable`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self.options = folder, free_port(), options
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert BINARY is not None
        self._process = subprocess.Popen(
            [
                BINARY,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.folder),
                "--save",
                "",
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
        )
        with self.client(retry=Retry(ConstantBackoff(0.05), 200, (Unreachable, Silent))) as client:
            client.ping()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def client(self, **options: object) -> "Redis":
        """A client, to look at what is kept."""
        return Redis(port=self.port, **options)  # type: ignore[arg-type]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server; the test is skipped where there is none, or fails where one is required."""
    if BINARY is None or Redis is None:
        what = "redis-server and the package redis are needed"
        if REQUIRED:
            pytest.fail(f"{what}, and MCPGUARD_REQUIRE_REDIS=1")
        pytest.skip(what)
    server = Server(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
