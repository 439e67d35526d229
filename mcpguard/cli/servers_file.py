"""The `mcpServers` JSON that desktop clients and editors keep: which servers there are, and how they start.

Read as it is and written as it was: what is not known here is kept. Values of `env` and `headers` are secrets
as often as not, so no message repeats one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from mcpguard.core.errors import MCPGuardError
from mcpguard.core.wire import JSON

__all__ = ["URLS", "Listed", "ServersFileError", "read_servers", "servers_of"]

MAX_BYTES: Final = 2**20
"""Size of such a file: 1 MiB."""

_KEYS: Final = ("mcpServers", "servers")
"""Where the servers stand: most clients have the first, VS Code the second."""


URLS: Final = ("url", "serverUrl", "httpUrl")
"""Where clients say at which URL a server is."""


class ServersFileError(MCPGuardError):
    """A file of servers cannot be read, or is none."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One server of the file.

    Args:
        name: What the client calls it.
        command: What starts it. None: it is reached by `url`.
        args: The command's arguments.
        env: Variables for it.
        url: Where it listens. None: it is started by `command`.
        headers: What a request to it needs.
    """

    name: str
    command: str | None
    args: tuple[str, ...]
    env: Mapping[str, str]
    url: str | None
    headers: Mapping[str, str]


def read_servers(path: Path) -> tuple[dict[str, Any], list[Listed]]:
    """The document, and its servers in order.

    Raises:
        ServersFileError: If it cannot be read, or is no such file.
    """
    try:
        content = path.read_bytes()[: MAX_BYTES + 1]
        is_small = len(content) <= MAX_BYTES
        document: JSON = json.loads(content, object_pairs_hook=_members) if is_small else None
    except OSError as error:
        raise ServersFileError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ServersFileError(f"{path}:{error.lineno}: not JSON") from None
    except _TwiceError as error:
        raise ServersFileError(f"{path}: {error.args[0]!a} stands there twice") from None
    except (ValueError, RecursionError):
        raise ServersFileError(f"{path}: not JSON") from None
    if not isinstance(document, dict):
        raise ServersFileError(f"{path}: expected an object with mcpServers, of at most {MAX_BYTES} bytes")
    entries = servers_of(document)
    if entries is None:
        raise ServersFileError(f"{path}: expected an object with mcpServers")
    return document, [_listed(path, name, entry) for name, entry in entries.items()]


class _TwiceError(ValueError):
    """A member has a name that another has."""


def _members(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """An object; most readers would keep the last of two members, and the first would be gone."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return members


def servers_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """The member that holds the servers; None if there is none."""
    return next((document[key] for key in _KEYS if isinstance(document.get(key), dict)), None)


def _listed(path: Path, name: str, entry: JSON) -> Listed:
    if not name.isprintable() or set(name) & set("*?["):
        raise ServersFileError(
            f"{path}: {name!a}: no name for a policy: it has one of *?[ or a control in it"
        )
    if not name or not isinstance(entry, dict):
        raise ServersFileError(f"{path}: expected a name and an object for each server")
    command = entry.get("command")
    url = next((entry[key] for key in URLS if entry.get(key) is not None), None)
    args, env, headers = entry.get("args") or [], entry.get("env") or {}, entry.get("headers") or {}
    if not (isinstance(command, str) or (command is None and isinstance(url, str))):
        raise ServersFileError(f"{path}: {name}: expected a command or a url")
    if not _are_texts(args):
        raise ServersFileError(f"{path}: {name}: expected args to be a list of texts")
    if not _are_named_texts(env):
        raise ServersFileError(f"{path}: {name}: expected env to be an object of texts")
    if not _are_named_texts(headers):
        raise ServersFileError(f"{path}: {name}: expected headers to be an object of texts")
    reached = url if isinstance(url, str) and not command else None
    return Listed(name, command, tuple(args), env, reached, headers)


def _are_texts(given: JSON) -> TypeGuard[list[str]]:
    return isinstance(given, list) and all(isinstance(one, str) for one in given)


def _are_named_texts(given: JSON) -> TypeGuard[dict[str, str]]:
    return isinstance(given, dict) and all(isinstance(one, str) for one in given.values())
