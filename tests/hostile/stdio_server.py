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

RUNS = Path(sys.argv[1])


def say(text: bytes) -> None:
    """Write lines."""
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def go(id: Any, behaviour: str) -> None:
    """Misbehave."""
    with RUNS.open("a") as file:
        file.write("ran\n")
    if behaviour == "silence":
        return
    if behaviour == "exits":
        os._exit(1)
    if behaviour == "exits, child holds the pipe":
        child = subprocess.Popen(["sleep", "60"])
        RUNS.with_suffix(".child").write_text(str(child.pid))
        os._exit(1)
    if behaviour == "closes stdout":
        os.close(1)
        time.sleep(60)
    if behaviour == "stops reading":
        time.sleep(60)
    if behaviour in ("endless line", "endless answer"):
        sys.stdout.buffer.write(behaviours.good(id)[:-10])
        for _ in range(1024 if behaviour == "endless answer" else 64):
            sys.stdout.buffer.write(b"x" * 2**20)
        sys.stdout.buffer.flush()
        if behaviour == "endless line":
            time.sleep(60)
        say(b'"}]}}')
        return
    name = behaviour if behaviour in behaviours.ANSWERS else behaviours.SAYS.get(behaviour, "honest")
    say(behaviours.ANSWERS[name][1](id))


def main() -> None:
    """Serve until the client leaves."""
    behaviour = ""
    for line in sys.stdin.buffer:
        behaviour = behaviours.chosen(sys.argv[2])
        if behaviour == "ignores its end":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
            say(behaviours.answer(id, result=behaviours.listed(behaviour, params)))
        elif method == "tools/call" and params.get("name") == "go":
            go(id, behaviour)
        elif method == "tools/call":
            say(behaviours.good(id))
        else:
            say(behaviours.answer(id, error={"code": -32601, "message": "Method not found"}))
    if behaviour == "ignores its end":
        time.sleep(60)


if __name__ == "__main__":
    main()
