"""Text, lists of content blocks and JSON values cut to a size, with their beginnings and ends kept.

Each cut says where it is and how much is missing. Time is linear in the length of what is cut. Whether a cut
value is still of use is for the caller to find out: what cannot be cut far enough comes back too large.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.size import ASCII_WEIGHT, Size, shown_size, size, text_size

__all__ = ["HEAD", "shortened", "shortened_text", "shortened_units", "unit_text"]

HEAD: Final = 0.7
"""Share of the room that what comes first may take; errors and sums stand last, so the rest is theirs."""

_COMMA: Final = Size(1, ASCII_WEIGHT)

Sizes: TypeAlias = dict[int, Size]
Mark: TypeAlias = Callable[[int], str]
"""What to put where something was cut, given how many bytes are missing."""


def shortened_text(text: str, room: Size, mark: Mark) -> str:
    """`text` in `room`: its beginning, a mark, and its end. A mark is there even where it does not fit."""
    whole = text_size(text)
    if whole <= room:
        return text
    room = _left(room, text_size(mark(whole.bytes)))
    head = _prefix(text, room.times(HEAD))
    tail = _suffix(text[len(head) :], _left(room, text_size(head)))
    kept = text_size(head).bytes + text_size(tail).bytes
    return head + mark(whole.bytes - kept) + tail


def shortened_units(
    units: Sequence[JSON], room: Size, mark: Mark, marker: Callable[[str], JSON]
) -> list[JSON]:
    """Content blocks, resource contents or messages in `room`: the first, a mark, and the last ones.

    Args:
        units: All of them.
        room: What they may take together.
        mark: The text where something was cut.
        marker: Makes a unit of that text, where it has no other to stand in.
    """
    sizes = [shown_size(unit) + _COMMA for unit in units]
    whole = sum((one.bytes for one in sizes), 0)
    room = _left(room, size(marker(mark(whole))) + size([[]]))
    head, end = room.times(HEAD), len(units)
    first = 0
    while first < end and sizes[first] <= head:
        head -= sizes[first]
        first += 1
    used = room.times(HEAD) - head
    opening = _cut(units, first, sizes, head, from_start=True)
    if opening:
        used += sizes[first] - text_size(unit_text(units[first]) or "") + text_size(opening)
    rest = _left(room, used)
    last = end
    stop = first + bool(opening)
    while last > stop and sizes[last - 1] <= rest:
        last -= 1
        rest -= sizes[last]
    closing, is_same = "", bool(opening) and last == stop
    if is_same:
        closing = _suffix((unit_text(units[first]) or "")[len(opening) :], rest)
    elif last > stop:
        closing = _cut(units, last - 1, sizes, rest, from_start=False)
    kept = sum((one.bytes for one in (*sizes[:first], *sizes[last:])), 0)
    said = mark(whole - kept - text_size(opening).bytes - text_size(closing).bytes)
    made: list[JSON] = list(units[:first])
    if is_same:
        made.append(_with_text(units[first], opening + said + closing))
    else:
        if opening:
            made.append(_with_text(units[first], opening + said))
        if closing:
            made.append(_with_text(units[last - 1], closing if opening else said + closing))
        if not (opening or closing):
            made.append(marker(said.strip()))
    return [*made, *units[last:]]


def shortened(value: JSON, room: Size, mark: Mark) -> JSON:
    """A JSON value in `room`: long strings cut, the middle of long lists left out, keys kept.

    What is small stays whole; what is large shares what is left.

    Raises:
        RecursionError: If it is nested deeper than Python's stack.
    """
    sizes: Sizes = {}
    _measure(value, sizes)
    return _shortened(value, room, mark, sizes)


def _shortened(value: JSON, room: Size, mark: Mark, sizes: Sizes) -> JSON:
    if _size(value, sizes) <= room:
        return value
    if isinstance(value, str):
        return shortened_text(value, _left(room, Size(2, 2 * ASCII_WEIGHT)), mark)
    if isinstance(value, Mapping):
        return _shortened_object(value, room, mark, sizes)
    if isinstance(value, Sequence):
        return _shortened_list(value, room, mark, sizes)
    return value


def _shortened_object(value: JSONObject, room: Size, mark: Mark, sizes: Sizes) -> JSON:
    room = _left(room, _frame(value))
    ahead = sorted(value, key=lambda name: _share(_size(value[name], sizes), room))
    made: dict[str, JSON] = {}
    for at, name in enumerate(ahead):
        part = _shortened(value[name], room.times(1 / (len(ahead) - at)), mark, sizes)
        made[name] = part
        room = _left(room, _size(part, sizes) if part is value[name] else size(part))
    return {name: made[name] for name in value}


def _shortened_list(value: Sequence[JSON], room: Size, mark: Mark, sizes: Sizes) -> JSON:
    room = _left(room, size([]))
    head, first, last = room.times(HEAD), 0, len(value)
    while first < last and (one := _size(value[first], sizes) + _COMMA) <= head:
        head, first = head - one, first + 1
    rest = _left(room, room.times(HEAD) - head)
    while last > first and (one := _size(value[last - 1], sizes) + _COMMA) <= rest:
        rest, last = rest - one, last - 1
    if first == 0 and last == len(value) and value:
        return [_shortened(value[0], room, mark, sizes)]
    return [*value[:first], *value[last:]]


def _measure(value: JSON, sizes: Sizes) -> Size:
    """The size of `value`, with that of everything in it kept, so that nothing is measured twice."""
    if isinstance(value, str):
        found = text_size(value) + Size(2, 2 * ASCII_WEIGHT)
    elif isinstance(value, Mapping):
        found = _frame(value)
        for member in value.values():
            found += _measure(member, sizes)
    elif isinstance(value, Sequence):
        found = Size(2 + len(value), (2 + len(value)) * ASCII_WEIGHT)
        for item in value:
            found += _measure(item, sizes)
    else:
        return size(value)
    sizes[id(value)] = found
    return found


def _frame(value: JSONObject) -> Size:
    """The size of an object's keys."""
    return size(dict.fromkeys(value, 0)) - Size(len(value), len(value) * ASCII_WEIGHT)


def _size(value: JSON, sizes: Sizes) -> Size:
    known = sizes.get(id(value))
    return size(value) if known is None else known


def _share(one: Size, room: Size) -> float:
    return max(one.bytes / (room.bytes or 1), one.weight / (room.weight or 1))


def _left(room: Size, used: Size) -> Size:
    return Size(max(0, room.bytes - used.bytes), max(0, room.weight - used.weight))


def _cut(units: Sequence[JSON], at: int, sizes: list[Size], room: Size, *, from_start: bool) -> str:
    """What fits of the text of one unit, beside the rest of that unit."""
    text = unit_text(units[at]) if at < len(units) else None
    if text is None:
        return ""
    room = _left(room, sizes[at] - text_size(text))
    return _prefix(text, room) if from_start else _suffix(text, room)


def unit_text(unit: JSON) -> str | None:
    """The text of a block, of a resource's contents, or of a message with one block."""
    while isinstance(unit, Mapping):
        text = unit.get("text")
        if isinstance(text, str):
            return text
        unit = unit.get("resource") or unit.get("content")
    return None


def _with_text(unit: JSON, text: str) -> JSON:
    """`unit` with another text where `_text` finds it."""
    if not isinstance(unit, Mapping):
        return unit
    if isinstance(unit.get("text"), str):
        return {**unit, "text": text}
    name = "resource" if unit.get("resource") else "content"
    return {**unit, name: _with_text(unit.get(name), text)}


def _prefix(text: str, room: Size) -> str:
    """The longest beginning of `text` that fits; never half a character."""
    most = _most(text, room)
    if text_size(text[:most]) <= room:
        return text[:most]
    return text[: bisect_left(range(1, most + 1), True, key=lambda n: not text_size(text[:n]) <= room)]


def _suffix(text: str, room: Size) -> str:
    """The longest end of `text` that fits."""
    most, end = _most(text, room), len(text)
    if text_size(text[end - most :]) <= room:
        return text[end - most :]
    kept = bisect_left(range(1, most + 1), True, key=lambda n: not text_size(text[end - n :]) <= room)
    return text[end - kept :]


def _most(text: str, room: Size) -> int:
    """Characters that could fit if all were ASCII, which every other is larger than."""
    return min(len(text), room.bytes, room.weight // ASCII_WEIGHT)
