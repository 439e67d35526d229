"""A real NATS server with JetStream for tests, on a free port of this machine."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

try:
    import nats
except ImportError:
    nats = None  # type: ignore[assignment]

REQUIRED = os.environ.get("MCPGUARD_REQUIRE_NATS") == "1"


class NatsServer:
    """A server that can be stopped and started again on its port with what it kept."""

    def __init__(self, binary: str, folder: Path, *options: str) -> None:
        self.binary, self.folder, self.options, self.port = binary, folder, options, free_port()
        self.url = f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [self.binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]
        self._process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(1000):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                line.recv(4)
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        pytest.fail("nats-server does not answer")

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait(60)

    def ask(self, act: Callable[[Any], Awaitable[Any]]) -> Any:
        """Do something with a client's JetStream."""

        async def run() -> Any:
            client = await nats.connect(self.url)
            try:
                return await act(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def make_stream(self, subject: str) -> None:
        """A stream that listens to a subject."""
        self.ask(lambda stream: stream.add_stream(name=subject.replace(".", "-"), subjects=[subject]))

    def kept(self, subject: str) -> list[Any]:
        """The messages in it."""

        async def read(stream: Any) -> list[Any]:
            name = subject.replace(".", "-")
            state = (await stream.stream_info(name)).state
            return [await stream.get_msg(name, seq) for seq in range(1, state.last_seq + 1)]

        return list(self.ask(read))


@contextmanager
def running_nats(folder: Path, *options: str) -> Iterator[NatsServer]:
    """A server; the test is skipped where there is none, or fails where one is required."""
    binary = shutil.which("nats-server")
    if binary is None or nats is None:
        if REQUIRED:
            pytest.fail("nats-server and the package nats-py are needed, and MCPGUARD_REQUIRE_NATS=1")
        pytest.skip("nats-server and the package nats-py are needed")
    server = NatsServer(binary, folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
