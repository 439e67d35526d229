"""What differs between two answers that say the same: times, identifiers, durations.

Masks are for comparing: two answers that differ in nothing else are one answer. They hide nothing and are no
redaction. Pointers (RFC 6901) name what else differs in the answers of one tool.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, cast

from mcpguard.core.wire import JSON, JSONObject, canonical, mutable_copy

__all__ = ["check_pointer", "essence", "masked", "without"]

MAX_COMPARED: Final = 65_536
"""Characters at each end of a longer answer that are compared, with its length."""

MAX_MASKED: Final = 16_384
"""Characters at each end of a text in which volatile parts are looked for; between them nothing is masked."""

_MASK: Final = "#"

_IN_ONE: Final = bytes(0x78 if chr(byte) in "0123456789abcdefABCDEFTZ:.+-" else 0x20 for byte in range(256))
_MAY_BE: Final = b"xxxxxxxx"
"""Eight characters in a row that identifiers and times are made of; most text has none, and to see that is
quicker than to look for the patterns below."""

_IDENTIFIERS: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"  # ISO 8601
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # RFC 9562
    r"|[0-9a-fA-F]{16,}"
    r"|(?<![\d.])1\d{9}(?:\d{3}|\.\d+)?(?![\d.])"  # seconds or milliseconds since 1970, from 2001 on
)

_SPENT: Final = re.compile(
    r"(elapsed|duration|took|latency)(\w{0,16}[\"']?\s{0,4}[:=]?\s{0,4}\"?)\d+(?:\.\d+)?", re.IGNORECASE
)
_SPENT_WORDS: Final = ("elapsed", "duration", "took", "latency")


def masked(text: str) -> str:
    """`text` with times, identifiers and durations replaced by one sign.

    Times in ISO 8601, UUIDs, seconds since 1970, hexadecimal of 16 digits and more, and the number after
    `elapsed`, `duration`, `took` or `latency`.
    """
    if len(text) > 2 * MAX_MASKED:
        head, tail = masked(text[:MAX_MASKED]), masked(text[-MAX_MASKED:])
        return f"{head}{text[MAX_MASKED:-MAX_MASKED]}{tail}"
    if _MAY_BE in text.encode("utf-8", "replace").translate(_IN_ONE):
        text = _IDENTIFIERS.sub(_MASK, text)
    lowered = text.lower()
    if any(word in lowered for word in _SPENT_WORDS):
        text = _SPENT.sub(rf"\1\2{_MASK}", text)
    return text


def essence(value: JSONObject, pointers: Collection[str] = ()) -> str:
    """What a tool's answer says, without what differs by itself.

    The structured content where there is some, else the texts, and whatever else the answer holds.

    Args:
        value: The wire-shaped result.
        pointers: What differs in the structured content, or in the result where there is none.
    """
    structured = value.get("structuredContent")
    if structured is not None:
        told = canonical(without(structured, pointers) if pointers else structured).decode()
    elif pointers:
        told = canonical(without(value, pointers)).decode()
    else:
        blocks = value.get("content")
        parts = blocks if isinstance(blocks, Sequence) and not isinstance(blocks, str) else ()
        told = "\x1e".join([_told(part) for part in parts])
    if len(told) > 2 * MAX_COMPARED:
        told = f"{told[:MAX_COMPARED]}{len(told)}{told[-MAX_COMPARED:]}"
    return masked(told)


def _told(block: JSON) -> str:
    if isinstance(block, Mapping) and block.get("type") == "text":
        text = block.get("text")
        if isinstance(text, str):
            return text
    return canonical(block).decode()


def check_pointer(pointer: str) -> None:
    """Refuse what is no JSON pointer.

    Raises:
        ValueError: If it neither is empty nor begins with a slash.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"a JSON pointer begins with '/', as in '/meta/request_id'; not {pointer!r}")


def without(value: JSON, pointers: Collection[str]) -> JSON:
    """A copy of `value` without the members and items that `pointers` name; `*` names all of one level."""
    copy = mutable_copy(value)
    for pointer in pointers:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        if not parts:
            return None
        _drop(copy, parts)
    return copy


def _drop(value: JSON, parts: Sequence[str]) -> None:
    """Drop what the last of `parts` names."""
    first, rest = parts[0], parts[1:]
    if isinstance(value, Mapping):
        members = cast("dict[str, JSON]", value)
        for name in [first] if first != "*" else list(members):
            if not rest:
                members.pop(name, None)
            elif name in members:
                _drop(members[name], rest)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = cast("list[JSON]", value)
        chosen = range(len(items)) if first == "*" else [int(first)] if first.isdecimal() else []
        for index in chosen:
            if index < len(items):
                if rest:
                    _drop(items[index], rest)
                else:
                    items[index] = None
