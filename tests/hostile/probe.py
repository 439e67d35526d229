"""One conversation in a process of its own, measured: `python probe.py KIND bare|guarded LIMIT RUNS BEHAVIOUR`.

Prints one JSON object. The process may use 3 GB of memory: whoever needs more, fails.
"""

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import jsonschema.validators
import mcp.client.sse
import mcp.client.streamable_http
from clients import talk
from mcp.shared._httpx_utils import create_mcp_http_client

import mcpguard.seams.transport
from mcpguard import ConnectionLimits, Guard

LOADED = (jsonschema.validators, mcp.client.sse, mcp.client.streamable_http, mcpguard.seams.transport)
"""What is imported on first use, which would count as holding the event loop."""

create_mcp_http_client()  # HTTP libraries import more when the first client is made


async def measured(kind: str, mode: str, limit: float, runs: Path, behaviour: str) -> dict[str, Any]:
    """Have the conversation, and see how long the event loop is held meanwhile."""
    guard = Guard(connection=ConnectionLimits(answer_seconds=limit / 2, write_seconds=1, close_seconds=4))
    wrap = (lambda t: guard.transport(t, name="raw")) if mode == "guarded" else (lambda t: t)
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()  # what others do with the machine meanwhile does not count
            await anyio.sleep(0.01)
            longest = max(longest, time.thread_time() - began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        steps = await talk(kind, behaviour, wrap, runs, limit=limit)
        tasks.cancel_scope.cancel()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found = {name: getattr(steps, name) for name in ("listed", "went", "honest", "left", "runs")}
    return {**found, "loop": round(longest, 2), "memory": memory}


def main() -> None:
    """Print what was found."""
    logging.disable(logging.CRITICAL)
    kind, mode, limit, runs, behaviour = sys.argv[1:]
    most = 3 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    print(json.dumps(anyio.run(measured, kind, mode, float(limit), Path(runs), behaviour)))


if __name__ == "__main__":
    main()
