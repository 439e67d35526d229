r"""Records: what a trail keeps of an event, in canonical form, and what it keeps of its own.

A record holds strings, integers and booleans under ASCII names, so that its bytes are those of RFC 8785
(JSON Canonicalization Scheme) and any implementation of that arrives at the same. Seconds are whole
microseconds here. What cannot be printed in a string is escaped in the value itself (`\u202e`), lone
surrogates included: a name from outside can neither break a line nor command a terminal. Payloads are no
part of a record: it commits to one by a salted digest, so that erasing it leaves the record as it is.
"""

import hmac
import math
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from mcpguard.core.events import Event
from mcpguard.core.wire import JSON, canonical

__all__ = [
    "MAX_INTEGER",
    "MAX_PAYLOAD",
    "OMITTED",
    "OwnKind",
    "Record",
    "commitment",
    "encode",
    "of_event",
    "payload_row",
    "text",
]

Record: TypeAlias = dict[str, str | int | bool]

OwnKind: TypeAlias = Literal["opened", "closed", "dropped", "checkpoint"]
"""What a trail says of itself, beside the kinds of events."""

MAX_PAYLOAD: Final = 65_536
"""Bytes of a payload in canonical form; a larger one is left out, and the record says so."""

OMITTED: Final[JSON] = MappingProxyType({})
"""Stands, as itself and not as a value, for a payload that is too large to wait in a queue."""

MAX_INTEGER: Final = 2**53 - 1
"""Beyond it JSON numbers are not the same everywhere (RFC 8785, 3.2.2.3); a larger one is a string."""

_MICROSECONDS: Final[Mapping[str, str]] = {
    "time": "time_us",
    "duration": "duration_us",
    "retry_after": "retry_after_us",
}
"""Member of an event, in seconds -> member of a record, in microseconds."""


def of_event(event: Event) -> Record:
    """What a record says of an event: all but the payload. `event` is its number among its guard's."""
    record: Record = {}
    for name, value in event.__dict__.items():
        if value is None or name == "payload":
            continue
        if type(value) is str:
            record[name] = value if value.isprintable() else text(value)
        elif name == "seq":
            record["event"] = _whole(event.seq)
        elif name in _MICROSECONDS:
            record[_MICROSECONDS[name]] = _microseconds(value)
        elif isinstance(value, str):
            record[name] = text(value)
        elif isinstance(value, bool):
            record[name] = value
        else:
            record[name] = _whole(value)
    return record


def encode(record: Record) -> bytes:
    """The canonical bytes of a record.

    Raises:
        TypeError: If a value is neither text nor integer nor boolean.
    """
    names, pattern = _shape(tuple(record))
    values = [
        encode_basestring(value) if type(value := record[name]) is str else _written(value) for name in names
    ]
    return (pattern % tuple(values)).encode()


@lru_cache(maxsize=256)
def _shape(names: tuple[str, ...]) -> tuple[list[str], str]:
    """Members in canonical order, and what their values are put into: there are few sets of members."""
    ordered = sorted(names)
    members = ",".join(encode_basestring(name).replace("%", "%%") + ":%s" for name in ordered)
    return ordered, f"{{{members}}}"


def _written(value: str | int | bool) -> str | int:
    """A value as JSON has it."""
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring(value)
    raise TypeError(f"a record holds text, integers and booleans, not {type(value).__name__}")


def text(value: str) -> str:
    """`value` with what cannot be printed escaped, and backslashes doubled where anything was."""
    plain = str(value)
    if plain.isprintable():
        return plain
    return "".join(_escaped(character) for character in plain)


def payload_row(seq: int, payload: JSON) -> tuple[str, bytes] | None:
    """The commitment to a payload and the row that keeps it; None if it is too large, or is not JSON.

    Args:
        seq: Position of the record that commits to it.
        payload: Cleaned arguments or result.
    """
    if payload is OMITTED:
        return None
    try:
        body = canonical(_finite(payload))
    except (TypeError, ValueError, RecursionError):
        return None
    if len(body) > MAX_PAYLOAD:
        return None
    salt = secrets.token_bytes(16)
    row = b'{"payload":%b,"salt":"%b","seq":%d}' % (body, salt.hex().encode(), seq)
    return commitment(salt, body), row


def commitment(salt: bytes, body: bytes) -> str:
    """What a record holds of a payload: HMAC-SHA256 under a salt that is erased along with it."""
    return hmac.digest(salt, body, "sha256").hex()


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _microseconds(seconds: JSON) -> str | int:
    if not isinstance(seconds, int | float):
        return _whole(seconds)
    micro = seconds * 1_000_000
    return round(micro) if abs(micro) <= MAX_INTEGER else text(str(seconds))


def _whole(value: JSON) -> str | int:
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return int(value)
    return hex(value) if isinstance(value, int) else f"<{type(value).__name__}>"


def _finite(value: JSON) -> JSON:
    """A copy with `nan`, `inf` and `-inf` as strings."""
    if isinstance(value, Mapping):
        return {str(name): _finite(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(member) for member in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
