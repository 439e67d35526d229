"""The content walker: every string of a message, wherever it is, and a message with strings rewritten.

It knows where the protocol puts text (MCP, revisions 2024-11-05 to 2026-07-28) and what each string is there
for: text, a name somebody will call by, a token only the two ends understand. It reads text inside base64
(blobs, `data:` URIs) and leaves images, audio and other bytes alone. It judges nothing: detectors do, and
interceptors decide.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias, cast

from mcpguard.core.carried import DATA, Carrier, carrier
from mcpguard.core.plain import plain
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON

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
    "texts",
    "texts_of",
]

Path: TypeAlias = tuple[str | int, ...]
"""Where a string is: keys and positions from the top of the message."""


class ContentError(ValueError):
    """A message cannot be rewritten without losing something: two of its keys would become one."""


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

_FREE_KEYS: Final = frozenset({"structuredContent", "data", "input", "metadata", "experimental"})
_SCHEMA_KEYS: Final = frozenset({"inputSchema", "outputSchema", "requestedSchema"})
_HANDLE_KEYS: Final = frozenset(
    {"level", "logger", "method", "mimeType", "name", "resultType", "role", "type", "uri", "uriTemplate"}
)
_OPAQUE_KEYS: Final = frozenset(
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


_SCALARS: Final = frozenset({int, float, bool, type(None)})


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
            held = carrier(one) if one[:5].lower() == DATA else None
            if held is None:
                found.append(one)
            elif held.text is not None:
                found.append(held.text)
        elif isinstance(one, dict) or isinstance(one, Mapping):  # noqa: SIM101 - a dict is told in no time
            members = cast("Mapping[str, object]", one)
            found.extend(members)
            carried = _base64_in(members)
            if carried is None:
                ahead.extend(members.values())
                continue
            name, inside = carried
            if inside.text is not None:
                found.append(inside.text)
            ahead.extend(member for key, member in members.items() if key != name)
        elif _is_array(one):
            ahead.extend(cast("Sequence[object]", one))
    return found


def texts_of(result: Result) -> list[str]:
    """Every string of an answer: its value, and its error's message and data."""
    found = [] if result.value is None else texts(result.value)
    if result.error is not None:
        found.append(result.error.message)
        found.extend(texts(result.error.data))
    return found


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
            carried = _base64_in(members)
            steps: list[tuple[object, Zone, Use, Path]] = []
            for key, member in members.items():
                place = (*path, key)
                steps.append((_Key(key), zone, _key_use(zone), place))
                if carried is not None and key == carried[0]:
                    member = carried[1].text  # noqa: PLW2901
                steps.append((member, *_within(zone, key, member, use, members), place))
            ahead.extend(reversed(steps))
        elif isinstance(one, _Key):
            yield Passage(one.name, use, path, True)
        elif _is_array(one):
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
    if isinstance(value, Sequence) and _is_array(value):
        items = [_rewritten(item, treat, zone, use, (*path, at)) for at, item in enumerate(value)]
        return value if _are_same(items, value) else items
    return value


def _rewritten_mapping(
    value: Mapping[str, JSON], treat: Treat, zone: Zone, use: Use, path: Path
) -> Mapping[str, JSON]:
    carried = _base64_in(value)
    made: dict[str, JSON] = {}
    is_changed = False
    for key, member in value.items():
        place = (*path, key)
        name = treat(Passage(key, _key_use(zone), place, True))
        if name in made:
            raise ContentError("two keys of one object become the same when they are rewritten")
        inner, inner_use = _within(zone, key, member, use, value)
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


def _is_array(value: object) -> bool:
    if isinstance(value, list):
        return True
    return isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)


def _are_same(items: Sequence[JSON], others: Sequence[JSON]) -> bool:
    return all(item is other for item, other in zip(items, others, strict=True))


class _Key:
    """A key on the list of what is still to be walked."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def _key_use(zone: Zone) -> Use:
    return Use.KEY if zone is FREE or zone is Zone.META else Use.HANDLE


def _within(zone: Zone, key: str, member: object, use: Use, beside: Mapping[str, object]) -> tuple[Zone, Use]:
    """What kind of data a member is, and what its strings are there for."""
    if zone is FREE:
        return FREE, Use.TEXT
    if zone is Zone.META:
        return zone, Use.OPAQUE if key in _OPAQUE_KEYS else Use.TEXT
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
    return zone, Use.OPAQUE if key in _OPAQUE_KEYS else Use.TEXT


def _is_form(key: str, member: object) -> bool:
    """Whether it is a mapping of the sender's own: a call's arguments, or what a person filled in."""
    if not isinstance(member, Mapping):
        return False
    return key == "arguments" or (key == "content" and "type" not in member)


def _base64_in(members: Mapping[str, object]) -> tuple[str, Carrier] | None:
    """The member of a content block or resource that is base64, by its key."""
    for key in ("blob", "data"):
        raw = members.get(key)
        if isinstance(raw, str) and (key == "blob" or members.get("type") in ("image", "audio")):
            held = carrier(raw, members.get("mimeType"), is_base64=True)
            if held is not None:
                return key, held
    return None
