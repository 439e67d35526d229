"""How much work a JSON Schema makes for one value: references can be made to take longer than anybody waits.

Schemas come from servers. A few dozen definitions that each refer twice to the next are evaluated as often as
there are ways through them; that is counted here before anything is evaluated. Nothing is validated.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.extent import MAX_DEPTH

__all__ = ["ends_in_time"]

MAX_WORK: Final = 10_000
"""Schemas that are evaluated on the way from the arguments to one value in them, however deep it is."""

MAX_PARTS: Final = 5_000
"""Schemas within a schema that are looked at; real ones have some hundred."""

MAX_WAYS: Final = 6_000
"""Ways from a schema to another that are looked at."""

_HERE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
"""Keywords with schemas for the same value."""

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_MEMBERS: Final = ("patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames")
_ELEMENTS: Final = ("items", "additionalItems", "unevaluatedItems", "contains")
_TWICE: Final = ("unevaluatedProperties", "unevaluatedItems")
"""Keywords for which those of the same value are evaluated once more."""

_NOTES: Final = frozenset({"title", "description", "default", "examples", "deprecated", "$comment"})
"""Keywords that constrain nothing (JSON Schema 2020-12, meta-data vocabulary)."""

_NAMED: Final = ("dependentSchemas", "dependencies", "patternProperties")


class _TooMuch(Exception):  # noqa: N818 - it never leaves this module
    """It takes too long, or cannot be told."""


@dataclass(slots=True, eq=False)
class _Part:
    """One schema: those that it applies to the same value, and to what is below.

    Args:
        here: For the same value.
        below: By the place below: a member's name, an element's number.
        members: For every member.
        elements: For every element.
        times: How often those for the same value are evaluated.
    """

    here: list["_Part"] = field(default_factory=list["_Part"])
    below: dict[str | int, list["_Part"]] = field(default_factory=dict[str | int, list["_Part"]])
    members: list["_Part"] = field(default_factory=list["_Part"])
    elements: list["_Part"] = field(default_factory=list["_Part"])
    times: int = 1


_Place: TypeAlias = dict[_Part, int]
"""Schemas that are applied to one value, and how often."""

_Places: TypeAlias = Sequence[_Place]


def ends_in_time(schema: JSONObject) -> bool:
    """Whether no value of bounded depth makes too much work; also false where that cannot be told."""
    try:
        ways = _Ways(schema)
        steps = {part: ways.steps(part) for part in ways.parts}
        work = {part: least for part, (least, _) in steps.items()}
        leading = [part for part, (_, places) in steps.items() if places]
        for _ in range(MAX_DEPTH):
            deeper = {part: _work(*steps[part], work) for part in leading}
            if all(work[part] == most for part, most in deeper.items()):
                return True
            work.update(deeper)
    except (_TooMuch, RecursionError):
        return False
    return True


def _work(least: int, places: _Places, below: Mapping[_Part, int]) -> int:
    """What a value makes of work, where those below it make so much."""
    work = least + max(sum(times * below[part] for part, times in place.items()) for place in places)
    if work > MAX_WORK:
        raise _TooMuch
    return work


class _Ways:
    """The schemas within a schema, and the ways through them."""

    def __init__(self, root: JSONObject) -> None:
        self._root = root
        self._known: dict[int, _Part] = {}
        self._left = MAX_PARTS
        self._reached: dict[_Part, dict[_Part, int] | None] = {}
        self._ahead: list[tuple[JSONObject, _Part]] = []
        self._part(root)
        while self._ahead:
            self._read(*self._ahead.pop())
        self.parts = tuple(self._known.values())
        self._left = MAX_WAYS

    def steps(self, part: _Part) -> tuple[int, _Places]:
        """How many schemas are applied to a value beside `part`, and which to what is at each place below."""
        reached = self._all(part)
        members: _Place = {}
        elements: _Place = {}
        places: dict[str | int, _Place] = {}
        for one, times in reached.items():
            self._add(members, one.members, times)
            self._add(elements, one.elements, times)
            for name, others in one.below.items():
                self._add(places.setdefault(name, {}), others, times)
        for name, place in places.items():
            for other, times in (members if isinstance(name, str) else elements).items():
                self._add(place, (other,), times)
        return sum(reached.values()), [one for one in (members, elements, *places.values()) if one]

    def _add(self, place: _Place, parts: Iterable[_Part], times: int) -> None:
        for part in parts:
            self._count()
            place[part] = place.get(part, 0) + times

    def _all(self, part: _Part) -> dict[_Part, int]:
        """Every schema that is applied to the same value as `part`, and how often."""
        known = self._reached.get(part)
        if known is not None:
            return known
        if part in self._reached:
            raise _TooMuch  # it applies itself to the same value
        self._reached[part] = None
        reached = {part: 1}
        for one in part.here:
            for other, times in self._all(one).items():
                self._count()
                reached[other] = reached.get(other, 0) + times * part.times
                if reached[other] > MAX_WORK:
                    raise _TooMuch
        self._reached[part] = reached
        return reached

    def _part(self, schema: JSON) -> Sequence[_Part]:
        """What stands for a schema; nothing does for one that is true or false."""
        schema = self._behind(schema)
        if not isinstance(schema, Mapping):
            return ()
        part = self._known.get(id(schema))
        if part is None:
            self._count()
            part = self._known[id(schema)] = _Part()
            self._ahead.append((schema, part))
        return (part,)

    def _read(self, schema: JSONObject, part: _Part) -> None:
        for key, value in schema.items():
            if key in _HERE:
                part.here.extend(self._parts(value, named=key in _NAMED))
            elif key in _REFERENCES:
                part.here.extend(self._part(self._target(value)))
            elif key == "properties" and isinstance(value, Mapping):
                for name, one in value.items():
                    part.below.setdefault(name, []).extend(self._part(one))
            elif key in ("prefixItems", "items") and isinstance(value, list | tuple):
                for number, one in enumerate(value):
                    part.below.setdefault(number, []).extend(self._part(one))
            elif key in _MEMBERS:
                part.members.extend(self._parts(value, named=key in _NAMED))
            elif key in _ELEMENTS:
                part.elements.extend(self._part(value))
            elif key in ("$id", "id") and isinstance(value, str) and schema is not self._root:
                raise _TooMuch  # references below begin there
            if key in _TWICE:
                part.times = 2

    def _parts(self, value: JSON, *, named: bool) -> Iterator[_Part]:
        if named:
            for one in value.values() if isinstance(value, Mapping) else ():
                yield from self._part(one)
        elif isinstance(value, list | tuple):
            for one in value:
                yield from self._part(one)
        else:
            yield from self._part(value)

    def _behind(self, schema: JSON) -> JSON:
        """What a schema stands for that is a reference and nothing else."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, Mapping) or "$ref" not in schema or schema.keys() - _NOTES != {"$ref"}:
                return schema
            schema = self._target(schema["$ref"])
        raise _TooMuch

    def _target(self, reference: JSON) -> JSON:
        """What a reference within the document points at (RFC 6901)."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise _TooMuch
        found: JSON = self._root
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(name)
            elif isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise _TooMuch
        return found

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
