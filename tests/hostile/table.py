"""The table of `docs/hostile-servers.md`: every behaviour, against the bare SDK and a guarded client.

    python tests/hostile/table.py [--kinds stdio http] [--modes bare guarded] [--only TEXT] [--write PATH] [--new]

With SDK 1.x, `--write` adds the rows that differ from those that were written with 2.x.

Each conversation has a process of its own, so that one that hangs, crashes or eats memory costs no other.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import behaviours
from clients import V1

HERE = Path(__file__).parent
LIMIT = 4.0
"""Seconds for each step of a conversation, after which it counts as a hang."""

PATIENCE = 40.0
"""Seconds for a whole conversation, after which its process is killed."""

HELD = 0.5
"""Seconds for which the event loop may be held before the table says so; two loaded cores are slow."""

ENOUGH = 400
"""MiB of memory above which the table says so."""

BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
BEGIN_1, END_1 = "<!-- table of 1.x: begin -->\n", "<!-- table of 1.x: end -->\n"
"""Around the rows that differ with SDK 1.x from those that are there already."""

MEASURED = re.compile(r", (loop held [0-9.]+ s|[0-9]+ MiB)")
"""What differs from one run to the next."""


def probe(kind: str, mode: str, behaviour: str) -> dict[str, Any]:
    """One conversation."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        command = [sys.executable, str(HERE / "probe.py"), kind, mode, str(LIMIT), str(runs), behaviour]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        ) as process:
            try:
                out, _ = process.communicate(timeout=PATIENCE)
                found: dict[str, Any] = json.loads(out)
            except subprocess.TimeoutExpired:
                found = {"whole": "process stuck"}
            except ValueError:
                found = {"whole": "process died"}
            finally:
                _end(process)
        child = runs.with_suffix(".child")
        if child.exists():
            found["child"] = _is_alive(int(child.read_text()))
        return found


def told(found: dict[str, Any]) -> str:
    """One cell."""
    if "whole" in found:
        return f"**{found['whole']}**"
    parts = []
    if found["listed"] != "ok":
        parts.append(f"list: {found['listed']}")
    parts.append(found["went"])
    if found["honest"] != "ok":
        parts.append(f"then: {found['honest']}")
    if found["left"] != "ok":
        parts.append(f"close: {found['left']}")
    if found["runs"] > 1:
        parts.append(f"ran {found['runs']} times")
    if found["loop"] > HELD:
        parts.append(f"loop held {found['loop']:.1f} s")
    if found["memory"] > ENOUGH:
        parts.append(f"{found['memory']} MiB")
    if found.get("child"):
        parts.append("its child lives on")
    return ", ".join(f"**{part}**" if "hang" in part else part for part in parts)


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", default=["stdio", "http"])
    parser.add_argument("--modes", nargs="+", default=["bare", "guarded"])
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    parser.add_argument(
        "--new", action="store_true", help="keep the rows that are there, and add what has none"
    )
    chosen = parser.parse_args()
    kept = _kept(chosen.write) if chosen.new else {}
    rows = [
        (kind, name, said)
        for kind in chosen.kinds
        for name, said in behaviours.behaviours(kind).items()
        if chosen.only in name and not any(row.startswith(_begin(kind, name)) for row in kept.get(kind, []))
    ]
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        cells = [[pool.submit(probe, kind, mode, name) for mode in chosen.modes] for kind, name, _ in rows]
        head = ["over", "the server sends or does", *chosen.modes]
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for (kind, name, said), futures in zip(rows, cells, strict=True):
            shown = [told(future.result()) for future in futures]
            lines.append("| " + " | ".join([_begin(kind, name)[2:] + _cell(said), *shown]) + " |")
            if chosen.write is None:
                print(lines[-1], flush=True)
    if chosen.new:
        made = {kind: [row for row in lines[2:] if row.startswith(f"| {kind} ")] for kind in chosen.kinds}
        lines[2:] = [row for kind in chosen.kinds for row in (*kept.get(kind, []), *made[kind])]
    if chosen.write is not None:
        page = chosen.write.read_text()
        if V1:
            known = {_compared(row) for row in page.partition(BEGIN)[2].partition(END)[0].splitlines()}
            lines = lines[:2] + [row for row in lines[2:] if _compared(row) not in known]
        begin, end = (BEGIN_1, END_1) if V1 else (BEGIN, END)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        chosen.write.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def _kept(page: Path) -> dict[str, list[str]]:
    """The rows of a page, by how the server is reached."""
    rows = page.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    return {kind: [row for row in rows if row.startswith(f"| {kind} ")] for kind in ("stdio", "http")}


def _begin(kind: str, name: str) -> str:
    return f"| {kind} | {_cell(name)}: "


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _compared(row: str) -> str:
    """A row without what does not make a difference."""
    return MEASURED.sub("", row).replace("McpError", "MCPError")


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


if __name__ == "__main__":
    main()
