"""A store by its URL, as a policy file names it. No message repeats the URL: it may hold a password."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.extra import Extra
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.stores.store import Store

__all__ = ["check_store_url", "open_store", "store_extra"]

ACCEPTED: Final = (
    "memory://, sqlite:///relative/path, sqlite:////absolute/path, redis://host:port/number, rediss://... "
    "(TLS), valkey://..., valkeys://..."
)

_SERVERS: Final[Mapping[str, str]] = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
}
"""Schemes of servers, and what the client calls them: both speak one protocol."""

_EXTRA: Final = Extra("redis", package="redis")


def open_store(url: str, *, clock: Clock = SYSTEM_CLOCK, folder: Path | None = None) -> Store:
    """Open the store that `url` names.

    Args:
        url: `memory://`, `sqlite:///relative/path`, `sqlite:////absolute/path`, `redis://host:port/number`,
            `rediss://` (TLS), `valkey://` or `valkeys://`.
        clock: The time of a store in memory or SQLite. A server has its own.
        folder: Where a relative path starts. None: the current directory.

    Raises:
        ValueError: If `url` is none of these.
        StoreError: If a file cannot be opened, or the package for a server is not installed. Whether a server
            can be reached shows with the first call.
    """
    check_store_url(url)
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        return MemoryStore(clock=clock)
    if scheme == "sqlite":
        return SQLiteStore((folder or Path.cwd()) / unquote(rest[1:]), clock=clock)
    from mcpguard.stores.redis import RedisStore  # noqa: PLC0415 - its package is an extra

    return RedisStore(f"{_SERVERS[scheme]}://{rest}")


def check_store_url(url: str) -> None:
    """Say whether `open_store` takes `url`, without opening anything.

    Raises:
        ValueError: If it does not.
    """
    scheme, mark, rest = url.partition("://")
    if scheme == "memory" and not rest and mark:
        return
    if scheme == "sqlite" and rest[:1] == "/" and "\x00" not in unquote(rest):
        if rest.strip("/") and not rest.endswith("/") and not {"?", "#"} & set(rest):
            return
        raise ValueError("a store's URL sqlite:/// goes on with the path of a file, and nothing after it")
    if scheme in _SERVERS and mark and _is_server(url):
        return
    raise ValueError(f"a store's URL is one of {ACCEPTED}")


def store_extra(url: str) -> Extra | None:
    """What opening a store takes beside what everybody has."""
    return _EXTRA if url.partition("://")[0] in _SERVERS else None


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    number = parts.path.removeprefix("/")
    return bool(parts.hostname) and (not number or number.isdecimal()) and not (parts.query or parts.fragment)
