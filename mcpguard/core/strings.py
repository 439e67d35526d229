"""The strings of a message without their places, for a first look whether to look closer.

An answer's are gathered once and kept with it, because every interceptor that reads answers wants them; a
changed answer is another object, and has its own. `content` has the places, and rewrites.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from mcpguard.core.carried import DATA, carrier
from mcpguard.core.content import passages_of
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON
from mcpguard.core.zones import FREE, MESSAGE, OPAQUE_KEYS, Use, Zone, base64_in, is_array, within

__all__ = ["Strings", "forget", "strings_of", "texts"]

DEEP: Final = 50
"""Levels of nesting that are walked by calls; what is deeper is walked as `content` does."""

_KEPT: Final = "_strings"
_SCALARS: Final = frozenset({int, float, bool, type(None)})


class Strings(NamedTuple):
    """The strings of an answer in document order, keys included.

    Args:
        every: All of them.
        shown: Those that a model may be shown: not the tokens that only client and server read.
    """

    every: Sequence[str]
    shown: Sequence[str]


def texts(value: JSON) -> list[str]:
    """Every string of `value`, keys included, in no promised order: a quick look whether to look closer.

    Text carried in base64 is there as it reads. Depth does not matter.
    """
    found: list[str] = []
    ahead: list[object] = [value]
    while ahead:
        one = ahead.pop()
        if type(one) in _SCALARS:
            continue
        if isinstance(one, str):
            _read(one, found)
        elif isinstance(one, (dict, Mapping)):  # a dict is told in no time
            members = cast("Mapping[str, object]", one)
            found.extend(members)
            carried = base64_in(members)
            if carried is None:
                ahead.extend(members.values())
                continue
            name, inside = carried
            if inside.text is not None:
                found.append(inside.text)
            ahead.extend(member for key, member in members.items() if key != name)
        elif is_array(one):
            ahead.extend(cast("Sequence[object]", one))
    return found


def strings_of(result: Result) -> Strings:
    """The strings of an answer: its value, and its error's message and data."""
    kept: Strings | None = result.__dict__.get(_KEPT)
    if kept is None:
        kept = result.__dict__[_KEPT] = _gathered(result)
    return kept


def forget(result: Result) -> None:
    """Have the strings of an answer gathered anew: somebody may have changed it in place."""
    result.__dict__.pop(_KEPT, None)


def _gathered(result: Result) -> Strings:
    every: list[str] = []
    hidden: set[int] = set()
    is_whole = _gather(result.value, MESSAGE, False, every, hidden, 0)
    if result.error is not None:
        every.append(result.error.message)
        is_whole = _gather(result.error.data, FREE, False, every, hidden, 0) and is_whole
    if not is_whole:
        found = list(passages_of(result))
        shown = [one.text for one in found if one.use is not Use.OPAQUE]
        return Strings([one.text for one in found], shown)
    if not hidden:
        return Strings(every, every)
    return Strings(every, [text for at, text in enumerate(every) if at not in hidden])


def _gather(
    value: object, zone: Zone, is_hidden: bool, found: list[str], hidden: set[int], depth: int
) -> bool:
    """Add the strings of a value, and the positions of those that are not shown; False if it is too deep."""
    kind = type(value)
    if isinstance(value, str):
        if _read(value, found) and is_hidden:
            hidden.add(len(found) - 1)
        return True
    if kind in _SCALARS:
        return True
    if depth > DEEP:
        return False
    if kind is not dict and not isinstance(value, Mapping):
        items = cast("Sequence[object]", value) if is_array(value) else ()
        return all(_gather(one, zone, is_hidden, found, hidden, depth + 1) for one in items)
    members = cast("Mapping[str, object]", value)
    carried = base64_in(members)
    for key, member in members.items():
        found.append(key)
        if carried is not None and key == carried[0]:
            found.extend([] if carried[1].text is None else [carried[1].text])
        elif type(member) is str:
            is_token = key in OPAQUE_KEYS and (zone is MESSAGE or zone is Zone.META)
            if _read(member, found) and is_token:
                hidden.add(len(found) - 1)
        elif type(member) not in _SCALARS:
            inner, use = within(zone, key, member, members)
            if not _gather(member, inner, use is Use.OPAQUE, found, hidden, depth + 1):
                return False
    return True


def _read(text: str, found: list[str]) -> bool:
    """Add a string, or the text that it carries, if it carries no bytes."""
    if text[:5].lower() == DATA:
        held = carrier(text)
        if held is not None:
            if held.text is not None:
                found.append(held.text)
            return held.text is not None
    found.append(text)
    return True
