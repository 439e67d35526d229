"""A raw stdio server with one behaviour: `python -S stdio_server.py RUNS BEHAVIOUR`.

It appends a line to the file RUNS for each time the tool `go` has run. The tool `honest` is honest.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import behaviours

RUNS, BEHAVIOUR = Path(sys.argv[1]), sys.argv[2]


def say(text: bytes) -> None:
    """Write lines."""
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def listed(params: dict[str, Any]) -> dict[str, Any]:
    """The answer to `tools/list`."""
    _, tools = behaviours.TOOLS.get(
        behaviours.LISTS.get(BEHAVIOUR, BEHAVIOUR), ("", lambda: [behaviours.TOOL, behaviours.HONEST])
    )
    if BEHAVIOUR in ("endless pages", "same cursor"):
        number = int(params.get("cursor") or 0)
        if number == 0:
            return {"tools": tools(), "nextCursor": "1"}
        following = number + 1 if BEHAVIOUR == "endless pages" else 1
        return {"tools": [{**behaviours.TOOL, "name": f"t{number}"}], "nextCursor": str(following)}
    return {"tools": tools()}


def go(id: Any) -> None:
    """Misbehave."""
    with RUNS.open("a") as file:
        file.write("ran\n")
    if BEHAVIOUR == "silence":
        return
    if BEHAVIOUR == "exits":
        os._exit(1)
    if BEHAVIOUR == "exits, child holds the pipe":
        child = subprocess.Popen(["sleep", "60"])
        RUNS.with_suffix(".child").write_text(str(child.pid))
        os._exit(1)
    if BEHAVIOUR == "closes stdout":
        os.close(1)
        time.sleep(60)
    if BEHAVIOUR == "stops reading":
        time.sleep(60)
    if BEHAVIOUR in ("endless line", "endless answer"):
        sys.stdout.buffer.write(behaviours.good(id)[:-10])
        for _ in range(1024 if BEHAVIOUR == "endless answer" else 64):
            sys.stdout.buffer.write(b"x" * 2**20)
        sys.stdout.buffer.flush()
        if BEHAVIOUR == "endless line":
            time.sleep(60)
        say(b'"}]}}')
        return
    name = BEHAVIOUR if BEHAVIOUR in behaviours.ANSWERS else behaviours.SAYS.get(BEHAVIOUR, "honest")
    say(behaviours.ANSWERS[name][1](id))


def main() -> None:
    """Serve until the client leaves."""
    if BEHAVIOUR == "ignores its end":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
        if id is None or method is None:
            continue
        if method == "initialize":
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            say(behaviours.answer(id, result=result))
        elif method == "tools/list":
            say(behaviours.answer(id, result=listed(params)))
        elif method == "tools/call" and params.get("name") == "go":
            go(id)
        elif method == "tools/call":
            say(behaviours.good(id))
        else:
            say(behaviours.answer(id, error={"code": -32601, "message": "Method not found"}))
    if BEHAVIOUR == "ignores its end":
        time.sleep(60)


if __name__ == "__main__":
    main()
