"""`mcpguard wrap FILE`: the same servers, each behind `mcpguard serve`.

Every entry that starts a process starts `mcpguard serve` instead, which starts that process; one with a URL
starts it too, and finds URL and headers in its environment: in the file that had them before. What else an
entry says stays, its environment too: the guard inherits it, and hands it on.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpguard.cli.output import fail, write
from mcpguard.cli.servers_env import variables
from mcpguard.cli.servers_file import URLS, Listed, read_servers, servers_of
from mcpguard.cli.wrapped import MODULE, is_wrapped
from mcpguard.hub.merge import SEPARATOR

if TYPE_CHECKING:
    from mcpguard.cli import Commands

__all__ = ["add_parser", "run"]

_KINDS: Final = ("type", "transport")
"""Where clients say which transport a server has."""

_HTTP: Final = (None, "http", "streamable-http", "streamableHttp", "streamable_http")
"""What they call the one that is spoken to a URL here."""

_LOGINS: Final = ("oauth", "auth", "authorization", "headersHelper")
"""What has a client get credentials by itself, which it does for a URL only."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `wrap` command to the program's commands."""
    parser = commands.add_parser(
        "wrap",
        help="put the servers of a client's configuration behind a policy",
        description="Read the mcpServers JSON of a desktop client or an editor and print one in which each"
        " server is started by `mcpguard serve`. Those that cannot be are left as they are, and named on"
        " stderr.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the client's configuration")
    parser.add_argument("--policy", required=True, type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument(
        "--write",
        action="store_true",
        help="change FILE in place; FILE.bak keeps what it was, or FILE.bak1 and so on where there is one",
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
    left: list[str] = []
    is_changed = False
    for one in listed:
        try:
            _check_ways(entries[one.name])
            if not is_wrapped(one):
                entries[one.name] = _wrapped(one, entries[one.name], arguments.policy.absolute())
                is_changed = True
        except ValueError as error:
            left.append(f"left as it is, not guarded: {one.name}: {error}")
    text = json.dumps(document, indent=2) + "\n"
    if arguments.write and is_changed:
        write(f"{file}: written; {_replace(file, text)} is what it was")
    elif arguments.write:
        write(f"{file}: not written: there is nothing left to wrap")
    else:
        sys.stdout.write(text)
    if left:
        fail(left)
        return 1
    return 0


def _check_ways(entry: dict[str, Any]) -> None:
    """Refuse an entry that a client may reach in another way than the one that is guarded.

    Raises:
        ValueError: If there are several.
    """
    ways = [key for key in ("command", *URLS) if entry.get(key) is not None]
    if len(ways) > 1:
        raise ValueError(f"it is reached in several ways, {' and '.join(ways)}: keep one of them")


def _wrapped(one: Listed, entry: dict[str, Any], policy: Path) -> dict[str, Any]:
    """The entry that starts the guard.

    Raises:
        ValueError: If it cannot be reached through one.
    """
    args = [*MODULE, str(policy), "--server", one.name]
    started = {"command": sys.executable, "args": args}
    if one.url is None:
        args += ["--", str(one.command), *one.args]
        return {**entry, **started}
    kinds = {key: entry[key] for key in _KINDS if key in entry}
    if not all(kind in _HTTP for kind in kinds.values()):
        raise ValueError("it is reached by a URL, and not by Streamable HTTP")
    if any(key in entry for key in _LOGINS):
        raise ValueError("it is reached by a URL that the client logs in to by itself")
    if SEPARATOR in one.name or one.name != one.name.strip("_"):
        raise ValueError(f"it is reached by a URL, and its name has _ at an end, or {SEPARATOR} in it")
    args.append("--from-env")
    kept = {key: value for key, value in entry.items() if key not in (*URLS, "headers")}
    env = {**one.env, **variables(one.url, one.headers)}
    return {**kept, **dict.fromkeys(kinds, "stdio"), **started, "env": env}


def _replace(file: Path, text: str) -> Path:
    """Keep what it was beside it, where nothing is yet, and change it; where it was kept."""
    mode = file.stat().st_mode & 0o777
    names = (file.with_name(f"{file.name}.bak{number or ''}") for number in itertools.count())
    backup = next(name for name in names if not os.path.lexists(name))
    _put(backup, file.read_bytes(), mode)
    _put(file, text.encode(), mode)
    return backup


def _put(file: Path, content: bytes, mode: int) -> None:
    """Write it whole or not at all, and never more readable than `mode` says: it may hold secrets."""
    descriptor, made = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    Path(made).chmod(mode)
    Path(made).replace(file)
