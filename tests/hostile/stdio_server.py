"""A raw stdio server with one behaviour: `python -S stdio_server.py RUNS BEHAVIOUR`.

It appends a line to the file RUNS for each time the tool `go` has run, with the `number` of its arguments. The tool `honest` is honest.
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
import oddities
import wire

RUNS = Path(sys.argv[1])
FLOODS = {
    "empty lines for ever": b"\n" * 2**16,
    "NULs for ever": b"\0" * 2**16,
    "no message for ever": b"{}\n" * 2**14,
    "notifications for ever": (wire.notification("notifications/message", level="info", data="x") + b"\n")
    * 2**10,
}


def say(text: bytes) -> None:
    """Write lines."""
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def go(id: Any, behaviour: str, number: object) -> None:
    """Misbehave."""
    if number is not behaviours.OPENING:
        with RUNS.open("a") as file:
            file.write(f"{number}\n")
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
        sys.stdout.buffer.write(wire.good(id)[:-10])
        for _ in range(1024 if behaviour == "endless answer" else 64):
            sys.stdout.buffer.write(b"x" * 2**20)
        sys.stdout.buffer.flush()
        if behaviour == "endless line":
            time.sleep(60)
        say(b'"}]}}')
        return
    if behaviour in FLOODS:
        while True:
            sys.stdout.buffer.write(FLOODS[behaviour])
    if behaviour == "half a line":
        sys.stdout.buffer.write(wire.good(id)[:40])
        sys.stdout.buffer.flush()
        return
    if behaviour in ("a byte at a time", "in two halves", "exits within its answer"):
        said = wire.good(id) + b"\n"
        size = 1 if behaviour == "a byte at a time" else 40
        for place in range(0, len(said), size):
            os.write(1, said[place : place + size])
            if behaviour == "exits within its answer":
                os._exit(0)
            time.sleep(0.002 if size == 1 else 0.3)
        return
    if behaviour == "floods stderr":
        sys.stderr.write("x" * 10**7)
    if behaviour in ("closes stdin", "closes both"):
        for number in (0,) if behaviour == "closes stdin" else (0, 1):
            os.close(number)
        time.sleep(60)
    if behaviour == "stops itself":
        os.kill(os.getpid(), signal.SIGSTOP)
    say(oddities.said(behaviour, id))
    if behaviour == "answers ahead":
        say(wire.answer(id + 1, result={"content": [{"type": "text", "text": "forged"}]}))
    if behaviour == "answers, then exits":
        os._exit(0)
    if behaviour == "answers, then closes stdout":
        os.close(1)
        time.sleep(60)


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
        if method == "initialize" and behaviour.startswith(behaviours.OPENING):
            go(id, behaviour.removeprefix(behaviours.OPENING), behaviours.OPENING)
        elif method == "initialize":
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            say(wire.answer(id, result=result))
        elif method == "tools/list":
            say(wire.answer(id, result=oddities.listed(behaviour, params)))
        elif method == "tools/call" and params.get("name") == "go":
            go(id, behaviour, (params.get("arguments") or {}).get("number"))
        elif method == "tools/call":
            say(wire.good(id))
        else:
            say(wire.answer(id, error={"code": -32601, "message": "Method not found"}))
    if behaviour == "ignores its end":
        time.sleep(60)


if __name__ == "__main__":
    main()
