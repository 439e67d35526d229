"""How large, deep and full a JSON text is, found out before anything parses it.

Pure and linear: bytes in, the name of the limit that it breaks out. Only whole-buffer operations run over the
text, so that an honest one of ten megabytes costs milliseconds. What is no JSON may pass: its parser says so.

Beside: `find_id`, which call a text that cannot be parsed answers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.wire import JSON

__all__ = ["Broken", "content_fault", "find_id", "is_answer", "shape_fault", "value_fault"]

Broken: TypeAlias = Literal["message_bytes", "depth", "values", "containers", "integer_digits"]
"""Names of limits that the shape of a message can break."""

_STRUCTURE: Final = b'"[]{},'
_OTHERS: Final = bytes(set(range(256)) - set(_STRUCTURE))
_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_DIGITS: Final = re.compile(rb"[0-9]+")
_STEP: Final = 128
"""A run of twice as many digits holds a block of this many at a multiple of it."""

_UNMEASURED: Final = frozenset({str, bool, float, type(None)})

MAX_HEAD: Final = 4096
"""Bytes at the beginning of a text in which its id is looked for; servers write the id before the result."""

_TAIL: Final = re.compile(rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{1,128}")\s*\}\s*$')
_MEMBER: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("|\\?\Z)|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
"""A string that is cut off reaches to the end, so that none is looked at again from each quote in it."""


def shape_fault(text: bytes | bytearray, limits: ConnectionLimits) -> Broken | None:
    """The first limit that `text` breaks, or None."""
    if len(text) > limits.message_bytes:
        return "message_bytes"
    opened = text.count(b"[") + text.count(b"{")
    if opened > limits.depth or text.count(b",") + 2 * opened >= limits.values:
        fault = _structure_fault(text, limits)
        if fault is not None:
            return fault
    return "integer_digits" if _has_long_digits(text, limits.integer_digits) else None


def value_fault(value: JSON, limits: ConnectionLimits) -> Broken | None:
    """The same of a value that has been parsed already, by somebody who bounded nothing.

    In both an empty container counts for two values: in a text one with a number in it looks the same.
    """
    left, containers = limits.values, limits.containers
    highest = 10**limits.integer_digits
    level: list[JSON] = [value]
    for _ in range(limits.depth + 1):
        below: list[JSON] = []
        for one in level:
            if type(one) in _UNMEASURED:
                continue
            if type(one) is int:
                if not -highest < one < highest:
                    return "integer_digits"
            elif isinstance(one, (dict, Mapping)):
                containers -= 1
                left -= not one
                below.extend(one.values())
            elif isinstance(one, (list, Sequence)) and not isinstance(one, str):
                containers -= 1
                left -= not one
                below.extend(one)
        if containers < 0:
            return "containers"
        left -= len(level)
        if left < 0 or len(below) > limits.values:
            return "values"
        if not below:
            return None
        level = below
    return "depth"


def content_fault(content: JSON, most: int) -> Literal["malformed", "content_blocks"] | None:
    """What speaks against the content of an answer, before anybody looks at every block of it."""
    if not isinstance(content, list):
        return "malformed"
    if len(content) > most:
        return "content_blocks"
    if all(type(block) is dict and type(block.get("text", "")) is str for block in content):
        return None
    return "malformed"


def find_id(text: bytes | bytearray) -> int | str | None:
    """The id of the message in `text`, which may be cut off or no JSON at all; None if it cannot be told.

    Only a member of the outermost object counts, and only where the whole of its value is there.
    """
    head = bytes(text[:MAX_HEAD]).decode("utf-8", "replace")
    depth, wants = 0, False
    name: str | None = None
    for match in _MEMBER.finditer(head):
        piece = match[0]
        if piece in "[{":
            depth += 1
            if depth == 1 and piece == "[":
                return None
        elif piece in "]}":
            depth -= 1
        elif depth == 1 and piece == ":":
            wants = name == "id"
        elif depth == 1 and piece == ",":
            name = None
        elif depth == 1 and wants:
            return None if match.end() == len(head) else _id(piece)
        elif depth == 1 and match[1] is not None:
            name = match[1] if match[2] == '"' else None
    found = _TAIL.search(bytes(text[-MAX_HEAD:]))
    return None if found is None else _id(found[1].decode("ascii", "replace"))


def is_answer(text: bytes | bytearray) -> bool:
    """Whether `text` looks like an answer: it has a result or an error before it has a method."""
    head = bytes(text[:MAX_HEAD])
    method = head.find(b'"method"')
    answers = [place for place in (head.find(b'"result"'), head.find(b'"error"')) if place >= 0]
    return bool(answers) and (method < 0 or min(answers) < method)


def _id(piece: str) -> int | str | None:
    try:
        found = json.loads(piece)
    except ValueError:
        return None
    return found if type(found) in (int, str) and len(piece) <= 130 else None


def _structure_fault(text: bytes | bytearray, limits: ConnectionLimits) -> Broken | None:
    """The limit on depth or values that is broken, not counting what stands inside strings."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 4 * limits.values:
        return "values"
    structure = b"".join(text.translate(None, _OTHERS).split(b'"')[::2])
    opened = structure.count(b"[") + structure.count(b"{")
    if opened > limits.containers:
        return "containers"
    if structure.count(b",") + opened >= limits.values:
        return "values"
    brackets = structure.translate(None, _BRACKETS)
    for _ in range(limits.depth):
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    return "depth" if brackets.count(b"[") + brackets.count(b"{") else None


def _has_long_digits(text: bytes | bytearray, most: int) -> bool:
    """Whether a run of more than `most` digits stands outside a string, as far as its neighbours tell."""
    if len(text) <= most:
        return False
    step = min(_STEP, max(1, most // 2))
    seen = 0
    for match in _DIGITS.finditer(bytes(text[::step])):
        for place in range(match.start() * step, match.end() * step, step):
            if place < seen or not text[place : place + step].isdigit():
                continue
            run = _DIGITS.match(text, place)
            seen = place if run is None else run.end()
            if _run_is_long(text, place, seen, most):
                return True
    return False


def _run_is_long(text: bytes | bytearray, begin: int, end: int, most: int) -> bool:
    """Whether the digits up to `end`, of which `begin` is one, are a whole number of more than `most`."""
    while begin > 0 and text[begin - 1 : begin].isdigit():
        begin -= 1
    before = bytes(text[max(0, begin - 64) : begin]).rstrip(b" \t\r\n-")[-1:]
    return end - begin > most and before in b":,["
