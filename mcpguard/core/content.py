"""The content walker: every string of a message, wherever it is, and a message with strings rewritten.

It knows where the protocol puts text (MCP, revisions 2024-11-05 to 2026-07-28) and what each string is there
for: text, a name somebody will call by, a token only the two ends understand. It reads text inside base64
(blobs, `data:` URIs) and leaves images, audio and other bytes alone. It judges nothing: detectors do, and
interceptors decide.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from mcpguard.core.carried import DATA, Carrier, carrier
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON
from mcpguard.core.zones import FREE, MESSAGE, Use, Zone, base64_in, is_array, key_use, within

__all__ = [
    "FREE",
    "MESSAGE",
    "ContentError",
    "Passage",
    "Path",
    "Treat",
    "Use",
    "Zone",
    "passages",
    "passages_of",
    "rewritten",
    "rewritten_result",
]

Path: TypeAlias = tuple[str | int, ...]
"""Where a string is: keys and positions from the top of the message."""


class ContentError(ValueError):
    """A message cannot be rewritten without losing something: two of its keys would become one."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One string of a message.

    Args:
        text: The string; where it was carried in base64, what was inside.
        use: What it is there for.
        path: Where it is. A key has the path of the member it names.
        is_key: Whether it is a key, the protocol's own included.
    """

    text: str
    use: Use
    path: Path
    is_key: bool = False


Treat: TypeAlias = Callable[[Passage], str]
"""What to put in a passage's place; the same text to leave it."""


def passages(value: JSON, *, zone: Zone = MESSAGE, path: Path = ()) -> Iterator[Passage]:
    """Every string of `value` with its use and place, in document order; keys before what they name.

    Args:
        value: Parameters, a result's value, or a part of one.
        zone: What kind of data it is.
        path: Where it is, if it is a part.
    """
    ahead: list[tuple[object, Zone, Use, Path]] = [(value, zone, Use.TEXT, path)]
    while ahead:
        one, zone, use, path = ahead.pop()
        if isinstance(one, str):
            held = carrier(one) if one[:5].lower() == DATA else None
            if held is None:
                yield Passage(one, use, path)
            elif held.text is not None:
                yield Passage(held.text, use, path)
        elif isinstance(one, Mapping):
            members = cast("Mapping[str, object]", one)
            carried = base64_in(members)
            steps: list[tuple[object, Zone, Use, Path]] = []
            for key, member in members.items():
                place = (*path, key)
                steps.append((_Key(key), zone, key_use(zone), place))
                if carried is not None and key == carried[0]:
                    member = carried[1].text  # noqa: PLW2901
                steps.append((member, *within(zone, key, member, members), place))
            ahead.extend(reversed(steps))
        elif isinstance(one, _Key):
            yield Passage(one.name, use, path, True)
        elif is_array(one):
            items = cast("Sequence[object]", one)
            ahead.extend((items[at], zone, use, (*path, at)) for at in range(len(items) - 1, -1, -1))


def passages_of(result: Result) -> Iterator[Passage]:
    """Every string of an answer, its error's included (under the paths `error message` and `error data`)."""
    if result.value is not None:
        yield from passages(result.value)
    if result.error is not None:
        yield Passage(result.error.message, Use.TEXT, ("error", "message"))
        yield from passages(result.error.data, zone=FREE, path=("error", "data"))


def rewritten(value: JSON, treat: Treat, *, zone: Zone = MESSAGE, path: Path = ()) -> JSON:
    """`value` with every passage treated; the very same object where that changes nothing.

    Args:
        value: Parameters, a result's value, or a part of one. It is not changed.
        treat: Asked for every passage, in document order.
        zone: What kind of data it is.
        path: Where it is, if it is a part.

    Raises:
        ContentError: If two keys of one object become the same.
        RecursionError: If it is nested deeper than Python's stack.
    """
    return _rewritten(value, treat, zone, Use.TEXT, path)


def rewritten_result(result: Result, treat: Treat) -> Result:
    """An answer with every passage treated, its error's included; the same object where nothing changes.

    Raises:
        ContentError: If two keys of one object become the same.
        RecursionError: If it is nested deeper than Python's stack.
    """
    if result.value is not None:
        value = rewritten(result.value, treat)
        if value is not result.value and isinstance(value, Mapping):
            result = result.replace(value=value, outcome=result.outcome)
    error = result.error
    if error is not None:
        message = treat(Passage(error.message, Use.TEXT, ("error", "message")))
        data = rewritten(error.data, treat, zone=FREE, path=("error", "data"))
        if message != error.message or data is not error.data:
            result = result.replace(error=replace(error, message=message, data=data))
    return result


def _rewritten(value: JSON, treat: Treat, zone: Zone, use: Use, path: Path) -> JSON:
    if isinstance(value, str):
        held = carrier(value) if value[:5].lower() == DATA else None
        text = _carried(held, treat, use, path) if held is not None else treat(Passage(value, use, path))
        return value if text == value else text
    if isinstance(value, Mapping):
        return _rewritten_mapping(value, treat, zone, use, path)
    if isinstance(value, Sequence) and is_array(value):
        items = [_rewritten(item, treat, zone, use, (*path, at)) for at, item in enumerate(value)]
        return value if _are_same(items, value) else items
    return value


def _rewritten_mapping(
    value: Mapping[str, JSON], treat: Treat, zone: Zone, use: Use, path: Path
) -> Mapping[str, JSON]:
    carried = base64_in(value)
    made: dict[str, JSON] = {}
    is_changed = False
    for key, member in value.items():
        place = (*path, key)
        name = treat(Passage(key, key_use(zone), place, True))
        if name in made:
            raise ContentError("two keys of one object become the same when they are rewritten")
        inner, inner_use = within(zone, key, member, value)
        if carried is not None and key == carried[0]:
            made[name] = _carried(carried[1], treat, inner_use, place)
        else:
            made[name] = _rewritten(member, treat, inner, inner_use, place)
        is_changed = is_changed or name != key or made[name] is not member
    return made if is_changed else value


def _carried(held: Carrier, treat: Treat, use: Use, path: Path) -> str:
    if held.text is None:
        return held.raw
    text = treat(Passage(held.text, use, path))
    return held.raw if text == held.text else held.carrying(text)


def _are_same(items: Sequence[JSON], others: Sequence[JSON]) -> bool:
    return all(item is other for item, other in zip(items, others, strict=True))


class _Key:
    """A key on the list of what is still to be walked."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
