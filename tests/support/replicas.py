"""`mcpguard serve` over HTTP as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from served import Served

__all__ = ["environment", "listening"]


def environment() -> dict[str, str]:
    """Processes find the package as this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}


@contextmanager
def listening(*arguments: str, before: Sequence[str] = ()) -> Iterator[tuple[Served, subprocess.Popen[str]]]:
    """A process that serves over HTTP; `before` is what starts it."""
    given = [*before, sys.executable, "-m", "mcpguard", "serve", *arguments, "--http", "127.0.0.1:0"]
    with subprocess.Popen(given, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        try:
            address = process.stderr.readline()
            while address.startswith("mcpguard.audit: "):  # of the policy that was loaded
                address = process.stderr.readline()
            assert "http://127.0.0.1:" in address, address
            yield Served(address.split()[-1].removesuffix("/mcp")), process
        finally:
            process.terminate()
            process.wait(30)
