"""A real Redis server for tests, on a free port of this machine."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
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
BINARIES = ("redis-server", "valkey-server")


def free_port() -> int:
    """A port that nobody listens on; ten thousand above it is one, too, which nodes of a cluster talk over."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= 55_535:
            return port


class Server:
    """A server that can be stopped and started again on its port; what it kept is lost unless it is `durable`."""

    def __init__(self, binary: str, folder: Path, *options: str) -> None:
        self.binary, self.folder, self.port, self.options = binary, folder, free_port(), options
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self.binary,
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
def running(folder: Path, *options: str, binaries: Sequence[str] = BINARIES) -> Iterator[Server]:
    """The first server there is; the test is skipped where there is none, or fails where one is required."""
    binary = next(filter(None, map(shutil.which, binaries)), None)
    if binary is None or Redis is None:
        if REQUIRED and BINARIES[0] in binaries:
            pytest.fail(
                f"{' or '.join(binaries)} and the package redis are needed, and MCPGUARD_REQUIRE_REDIS=1"
            )
        pytest.skip(f"{' or '.join(binaries)} and the package redis are needed")
    server = Server(binary, folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
