"""`mcpguard wrap FILE`: the same servers, each behind `mcpguard serve`.

Every entry that starts a process starts `mcpguard serve` instead, which starts that process. What else an
entry says stays, its environment too: the guard inherits it, and hands it on.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpguard.cli.output import fail, write
from mcpguard.cli.servers_file import Listed, read_servers, servers_of

if TYPE_CHECKING:
    from mcpguard.cli import Commands

__all__ = ["add_parser", "run"]

_MODULE: Final = ["-P", "-m", "mcpguard", "serve"]
"""`-P`: nothing in whatever folder the client is started from may pass for this package."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `wrap` command to the program's commands."""
    parser = commands.add_parser(
        "wrap",
        help="put the servers of a client's configuration behind a policy",
        description="Read the mcpServers JSON of a desktop client or an editor and print one in which each"
        " server is started by `mcpguard serve`. Servers that are reached by a URL are left as they are, and"
        " named on stderr.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the client's configuration")
    parser.add_argument("--policy", required=True, type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument(
        "--write", action="store_true", help="change FILE in place; FILE.bak keeps what it was"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print or write the configuration; 0, 1 if some server was left out, 2 if the input is unusable."""
    from mcpguard.config import load_policy

    file: Path = arguments.file
    policy = load_policy(arguments.policy)
    document, listed = read_servers(file)
    unknown = [one.name for one in listed if policy.servers and one.name not in policy.servers]
    if unknown:
        return fail([f"{arguments.policy}: the policy declares no server {name!r}" for name in unknown])
    entries = servers_of(document) or {}
    left = []
    for one in listed:
        if one.command is None:
            left.append(f"left as it is, not guarded: {one.name} is reached by a URL")
        elif not _is_wrapped(one):
            entries[one.name] = {**entries[one.name], **_wrapped(one, arguments.policy.absolute())}
    text = json.dumps(document, indent=2) + "\n"
    if arguments.write:
        _replace(file, text)
        write(f"{file}: written; {file}.bak is what it was")
    else:
        sys.stdout.write(text)
    if left:
        fail(left)
        return 1
    return 0


def _wrapped(one: Listed, policy: Path) -> dict[str, Any]:
    args = [*_MODULE, str(policy), "--server", one.name, "--", str(one.command), *one.args]
    return {"command": sys.executable, "args": args}


def _is_wrapped(one: Listed) -> bool:
    return list(one.args[: len(_MODULE)]) == _MODULE


def _replace(file: Path, text: str) -> None:
    """Write it whole or not at all, as readable as it was: it may hold secrets."""
    mode = file.stat().st_mode & 0o777
    file.with_name(f"{file.name}.bak").write_bytes(file.read_bytes())
    file.with_name(f"{file.name}.bak").chmod(mode)
    descriptor, made = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(made).chmod(mode)
    Path(made).replace(file)
