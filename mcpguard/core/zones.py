"""What kind of data a part of a message is, by where the protocol puts it, and what its strings are for.

It knows the protocol's members (MCP, revisions 2024-11-05 to 2026-07-28); `content` and `strings` walk by it.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from mcpguard.core.carried import Carrier, carrier
from mcpguard.core.plain import plain

__all__ = ["FREE", "MESSAGE", "OPAQUE_KEYS", "Use", "Zone", "base64_in", "is_array", "key_use", "within"]


@plain
class Use(Enum):
    """What a string is there for."""

    TEXT = "text"
    KEY = "key"
    """The name of a member of free data."""
    HANDLE = "handle"
    """A name, URI, schema word or protocol key: shown, and sent back as it is. Rewritten, it fits nothing."""
    OPAQUE = "opaque"
    """A cursor, state or id that only client and server read; the model never sees it."""


@plain
class Zone(Enum):
    """What kind of data a part of a message is."""

    MESSAGE = "message"
    """The protocol's own members."""
    FREE = "free"
    """Whatever somebody put there: arguments, structured content, an error's data."""
    META = "meta"
    """`_meta`: free data with the protocol's own tokens among it."""
    SCHEMA = "schema"
    """JSON Schema: its keys and values are words of a contract, its descriptions are text."""


MESSAGE: Final = Zone.MESSAGE
FREE: Final = Zone.FREE
"""Bound once: reading a member of an enumeration costs more than a step of the walk on Python 3.11."""


_FREE_KEYS: Final = frozenset({"structuredContent", "data", "input", "metadata", "experimental"})
_SCHEMA_KEYS: Final = frozenset({"inputSchema", "outputSchema", "requestedSchema"})
_HANDLE_KEYS: Final = frozenset(
    {"level", "logger", "method", "mimeType", "name", "resultType", "role", "type", "uri", "uriTemplate"}
)
OPAQUE_KEYS: Final = frozenset(
    {
        "cursor",
        "elicitationId",
        "id",
        "lastEventId",
        "nextCursor",
        "progressToken",
        "requestId",
        "requestState",
        "taskId",
        "toolUseId",
    }
)
_SCHEMA_TEXTS: Final = frozenset({"description", "title", "$comment"})


def is_array(value: object) -> bool:
    """Whether it is a JSON array, and no string or bytes."""
    if isinstance(value, list):
        return True
    return isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)


def key_use(zone: Zone) -> Use:
    """What the name of a member is there for."""
    return Use.KEY if zone is FREE or zone is Zone.META else Use.HANDLE


def within(zone: Zone, key: str, member: object, beside: Mapping[str, object]) -> tuple[Zone, Use]:
    """What kind of data a member is, and what its strings are there for."""
    if zone is FREE:
        return FREE, Use.TEXT
    if zone is Zone.META:
        return zone, Use.OPAQUE if key in OPAQUE_KEYS else Use.TEXT
    if key == "_meta":
        return Zone.META, Use.TEXT
    if zone is Zone.SCHEMA:
        is_text = key in _SCHEMA_TEXTS and isinstance(member, str)
        return zone, Use.TEXT if is_text else Use.HANDLE
    if key in _FREE_KEYS or _is_form(key, member):
        return FREE, Use.TEXT
    if key in _SCHEMA_KEYS:
        return Zone.SCHEMA, Use.HANDLE
    if key == "name" and ("uri" in beside or "uriTemplate" in beside):
        return zone, Use.TEXT  # a resource is asked for by its URI
    if key in _HANDLE_KEYS:
        return zone, Use.HANDLE
    return zone, Use.OPAQUE if key in OPAQUE_KEYS else Use.TEXT


def _is_form(key: str, member: object) -> bool:
    """Whether it is a mapping of the sender's own: a call's arguments, or what a person filled in."""
    if not isinstance(member, Mapping):
        return False
    return key == "arguments" or (key == "content" and "type" not in member)


def base64_in(members: Mapping[str, object]) -> tuple[str, Carrier] | None:
    """The member of a content block or resource that is base64, by its key."""
    for key in ("blob", "data"):
        raw = members.get(key)
        if isinstance(raw, str) and (key == "blob" or members.get("type") in ("image", "audio")):
            held = carrier(raw, members.get("mimeType"), is_base64=True)
            if held is not None:
                return key, held
    return None
