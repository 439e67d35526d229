"""The wire's shapes: JSON values, the protocol's methods, canonical form and digests.

Method tables follow the MCP specification, revisions 2024-11-05 to 2026-07-28. They say which list a name
is drawn from and which methods are lifecycle; a method that is in no table is still guarded, by the hooks
that handle every method.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast

__all__ = [
    "EMPTY",
    "INPUT_METHODS",
    "INTERRUPTIBLE",
    "JSON",
    "LIFECYCLE",
    "LISTINGS",
    "METHODS",
    "TARGETS",
    "UNCANCELLED",
    "Direction",
    "JSONObject",
    "Listing",
    "canonical",
    "definition_digest",
    "digest",
    "is_notification",
    "mutable_copy",
    "strings_in",
]

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
JSONObject: TypeAlias = Mapping[str, JSON]
Direction: TypeAlias = Literal["outbound", "inbound"]
"""`outbound`: from the agent to the server. `inbound`: from the server to the agent."""

EMPTY: Final[JSONObject] = MappingProxyType({})

_BLOCK: Final = 64
"""Bytes that SHA-256 takes in at a time (FIPS 180-4)."""

LIFECYCLE: Final = frozenset(
    {"initialize", "server/discover", "ping", "notifications/initialized", "notifications/cancelled"}
)
"""Methods that keep a connection alive. `*` leaves them out; a hook that wants them names them."""

TARGETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
        "resources/subscribe": "uri",
        "resources/unsubscribe": "uri",
    }
)
"""Method -> the parameter that names what it is aimed at."""

INTERRUPTIBLE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods during which a server may ask for input, by a request of its own or by `input_required`."""

UNCANCELLED: Final = frozenset({"initialize", "server/discover"})
"""Requests that a client must not cancel (MCP 2026-07-28, cancellation)."""

INPUT_METHODS: Final = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
"""What a server may ask of the client, as a request (to 2025-11-25) or inside a result (2026-07-28)."""


METHODS: Final = (
    LIFECYCLE
    | TARGETS.keys()
    | INPUT_METHODS
    | {
        "*",
        "completion/complete",
        "logging/setLevel",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "subscriptions/listen",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tools/list",
        "notifications/*",
        "notifications/elicitation/complete",
        "notifications/message",
        "notifications/progress",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/roots/list_changed",
        "notifications/subscriptions/acknowledged",
        "notifications/tasks/status",
        "notifications/tools/list_changed",
    }
)
"""The methods of all revisions, to tell a slip of the pen by. Others are guarded all the same."""


class Listing:
    """Where a list method keeps its items, and which member names one."""

    __slots__ = ("items", "key")

    def __init__(self, items: str, key: str) -> None:
        self.items = items
        self.key = key


LISTINGS: Final[Mapping[str, Listing]] = MappingProxyType(
    {
        "tools/list": Listing("tools", "name"),
        "prompts/list": Listing("prompts", "name"),
        "resources/list": Listing("resources", "uri"),
        "resources/templates/list": Listing("resourceTemplates", "uriTemplate"),
    }
)


def is_notification(method: str) -> bool:
    """Whether `method` names a one-way message."""
    return method.startswith("notifications/")


def canonical(value: JSON) -> bytes:
    """The one byte string for a JSON value: sorted keys, no white space, UTF-8.

    The bytes agree with RFC 8785 where keys are ASCII and numbers are integers within 2**53. Lone
    surrogates, which UTF-8 cannot carry, are escaped; NaN and infinities, which JSON cannot, are written as
    Python writes them, so that no value a server sends can stop a digest.
    """
    try:
        text = _encoder.encode(value)
    except RecursionError:
        text = "".join(_pieces(value))
    return text.encode("utf-8", "backslashreplace")


def digest(body: bytes, key: bytes) -> str:
    """A keyed digest, 32 hexadecimal digits (HMAC-SHA256, truncated).

    Keyed, because a plain hash of a short argument can be reversed by trying.
    """
    return _keyed(key)(body)


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> Callable[[bytes], str]:
    """An HMAC whose two hashes have taken in their key (RFC 2104), as that is the same for every body."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))

    def keyed(body: bytes) -> str:
        within, around = inner.copy(), outer.copy()
        within.update(body)
        around.update(within.digest())
        return around.hexdigest()[:32]

    return keyed


def definition_digest(definition: JSONObject) -> str:
    """`sha256:` and the digest of a tool's whole definition; a null at the top counts as nothing there."""
    present = {name: value for name, value in definition.items() if value is not None}
    return f"sha256:{hashlib.sha256(canonical(present)).hexdigest()}"


_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
"""What JSON has beside objects and arrays: told by its type, as that is quicker."""


def mutable_copy(value: JSON) -> JSON:
    """A deep copy made of plain dicts and lists."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return {name: mutable_copy(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [mutable_copy(member) for member in value]
    return value


def strings_in(value: JSON) -> Iterator[str]:
    """Every string value in `value`, in document order and at any depth; keys are not values."""
    ahead = [iter((value,))]
    while ahead:
        for member in ahead[-1]:
            if isinstance(member, str):
                yield member
            elif isinstance(member, Mapping):
                ahead.append(iter(member.values()))
                break
            elif isinstance(member, Sequence):
                ahead.append(iter(member))
                break
        else:
            ahead.pop()


def _plain(value: object) -> object:
    """Let the encoder see mappings that are not dicts and sequences that are not lists."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, Sequence):
        return list(cast("Sequence[object]", value))
    return f"<{type(value).__name__}>"


class _Text(str):
    """A piece of the canonical text, told from a string that is yet to be written."""

    __slots__ = ()


def _pieces(value: JSON) -> Iterator[str]:
    """The canonical text of a value that is nested deeper than the encoder goes."""
    ahead: list[JSON] = [value]
    while ahead:
        one = ahead.pop()
        if isinstance(one, _Text):
            yield one
        elif isinstance(one, str) or not isinstance(one, Mapping | Sequence):
            yield _encoder.encode(one)
        else:
            parts: list[JSON] = []
            if isinstance(one, Mapping):
                for name in sorted(one):
                    parts += [_Text(","), _Text(_encoder.encode(name) + ":"), one[name]]
                first, last = "{", "}"
            else:
                for member in one:
                    parts += [_Text(","), member]
                first, last = "[", "]"
            ahead += [_Text(last), *reversed(parts[1:]), _Text(first)]


_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
