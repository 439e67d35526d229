"""The definitions that were approved, and the text of a lock file that holds them.

A lock is JSON that a person can review: sorted, one member a line, with the whole definition beside its
digest. Whatever is not exactly that shape, or does not agree with itself, is refused whole. Reading and
writing files is not done here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from mcpguard.core.wire import JSON, JSONObject, canonical, mutable_copy
from mcpguard.detectors.definitions import definition_digest

__all__ = ["Pin", "Pins", "pinned"]

VERSION: Final = 1
"""The lock file's format."""

MAX_DEFINITION: Final = 256 * 1024
"""Bytes of one definition, canonical; a longer one is read by nobody who could approve it."""

MAX_DEPTH: Final = 100
"""Levels of one definition."""

MAX_TOOLS: Final = 10_000
"""Tools of one server."""


@dataclass(frozen=True, slots=True)
class Pin:
    """An approved definition.

    Args:
        digest: Of the definition.
        definition: As the server gave it.
    """

    digest: str
    definition: JSONObject = field(repr=False)


@dataclass(slots=True)
class Pins:
    """Approved definitions, by server and tool.

    Args:
        servers: Server -> tool -> pin.
        sealed: Servers whose list has been seen to its end: what appears there later is new.
    """

    servers: dict[str, dict[str, Pin]] = field(default_factory=dict[str, dict[str, Pin]])
    sealed: set[str] = field(default_factory=set[str])

    @classmethod
    def parse(cls, text: str) -> "Pins":
        """The pins of a lock file.

        Raises:
            ValueError: If it is no lock, or one that was tampered with or damaged.
        """
        try:
            document: object = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        except RecursionError:
            raise ValueError("the lock is nested too deep") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"the lock is not JSON: line {error.lineno}: {error.msg}") from None
        root = _mapping(document, "a lock", {"mcpguard_lock", "servers"})
        if type(root["mcpguard_lock"]) is not int or root["mcpguard_lock"] != VERSION:
            raise ValueError("the lock is of a version that is not known here")
        pins = cls()
        for server, value in _mapping(root["servers"], "servers", None).items():
            entry = _mapping(value, "a server", {"sealed", "tools"})
            if not isinstance(entry["sealed"], bool):
                raise ValueError("the lock has a server whose 'sealed' is neither true nor false")
            if entry["sealed"]:
                pins.sealed.add(server)
            tools = pins.servers[server] = {}
            for name, kept in _mapping(entry["tools"], "tools", None).items():
                tools[name] = _pin(name, _mapping(kept, "a tool", {"digest", "definition"}))
        return pins

    def dump(self) -> str:
        """The text of a lock file."""
        servers = {
            server: {
                "sealed": server in self.sealed,
                "tools": {
                    name: {"digest": pin.digest, "definition": mutable_copy(pin.definition)}
                    for name, pin in tools.items()
                },
            }
            for server, tools in self.servers.items()
        }
        document = {"mcpguard_lock": VERSION, "servers": servers}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"

    def get(self, server: str, name: str) -> Pin | None:
        """What was approved of a tool."""
        tools = self.servers.get(server)
        return None if tools is None else tools.get(name)

    def add(self, server: str, name: str, pin: Pin) -> None:
        """Approve a definition in place of what was approved before.

        Raises:
            ValueError: If the server has more tools than anybody looks at.
        """
        tools = self.servers.setdefault(server, {})
        if name not in tools and len(tools) >= MAX_TOOLS:
            raise ValueError(f"more than {MAX_TOOLS} tools of one server")
        tools[name] = pin

    def names(self) -> Iterator[tuple[str, str]]:
        """Every server and tool."""
        return ((server, name) for server, tools in self.servers.items() for name in tools)


def pinned(definition: JSONObject) -> Pin:
    """The pin of a definition.

    Raises:
        ValueError: If it cannot be kept: too long, nested too deep, or no JSON.
    """
    try:
        body = canonical(definition)
        if len(body) > MAX_DEFINITION:
            raise ValueError(f"a definition of more than {MAX_DEFINITION} bytes cannot be approved")
        if _depth(definition) > MAX_DEPTH:
            raise ValueError(f"a definition nested more than {MAX_DEPTH} deep cannot be approved")
        kept = _round_trip(definition)
    except (TypeError, RecursionError):
        raise ValueError("a definition that is no JSON cannot be approved") from None
    pin = Pin(definition_digest(definition), cast("JSONObject", kept))
    if definition_digest(pin.definition) != pin.digest:
        raise ValueError("a definition that JSON does not keep as it is cannot be approved")
    return pin


def _round_trip(definition: JSONObject) -> object:
    copy = mutable_copy(definition)
    try:
        text = json.dumps(copy, allow_nan=False)
    except ValueError:
        raise TypeError("a number that JSON does not have") from None
    return json.loads(text, object_pairs_hook=_once)


def _pin(name: str, entry: Mapping[str, object]) -> Pin:
    definition = entry["definition"]
    if not isinstance(definition, dict):
        raise ValueError("the lock has a definition that is no mapping")
    if definition_digest(cast("JSONObject", definition)) != entry["digest"]:
        raise ValueError("the lock has a digest that is not its definition's")
    if cast("JSONObject", definition).get("name") != name:
        raise ValueError("the lock has a definition under another name than its own")
    return Pin(str(entry["digest"]), cast("JSONObject", definition))


def _mapping(value: object, what: str, keys: set[str] | None) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"the lock is damaged: {what} is no mapping")
    members = cast("dict[str, object]", value)
    if keys is not None and set(members) != keys:
        raise ValueError(f"the lock is damaged: {what} has {', '.join(sorted(keys))} and nothing else")
    return members


def _once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("the lock has a key twice")
    return members


def _refuse(_constant: str) -> JSON:
    raise ValueError("the lock holds a number that JSON does not have")


def _depth(value: JSON) -> int:
    """How deep a value is nested; stops counting one level beyond the limit."""
    level: list[JSON] = [value]
    depth = 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        inner: list[JSON] = []
        for one in level:
            if isinstance(one, Mapping):
                inner.extend(one.values())
            elif isinstance(one, list | tuple):
                inner.extend(one)
        level = inner
    return depth
