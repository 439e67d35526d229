"""A tool's input schema with arguments taken out, given a default, described anew or narrowed.

Schemas come from servers: they are shown changed, never evaluated, and no reference is fetched. What a
schema says in a way that is not understood here is left out rather than shown.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from mcpguard.core.wire import JSON, JSONObject

__all__ = ["merged", "with_arguments", "without_arguments"]

MAX_DEPTH: Final = 8
"""Levels of combinators and local references that are followed; beyond them a subschema says nothing."""

MAX_PARTS: Final = 1000
"""Subschemas that are looked at; a schema that refers to itself in many ways has no end."""

_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SINGLE: Final = ("if", "then", "else", "not")
_UNREADABLE: Final = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "propertyNames",
        "patternProperties",
        "unevaluatedProperties",
        "examples",
        "default",
    }
)
"""Keywords of the arguments as a whole that may tell of one that is taken out."""

_BY_NAME: Final = ("dependentRequired", "dependentSchemas", "dependencies")
_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_NOTES: Final = frozenset({"title", "description", "default", "examples", "deprecated"})
"""Keywords that constrain nothing (JSON Schema 2020-12, meta-data vocabulary)."""


def without_arguments(schema: JSONObject, names: Collection[str]) -> JSONObject:
    """`schema` in which no argument of these names is described, wanted or mentioned."""
    return _Removal(schema, names).done()


def with_arguments(schema: JSONObject, changes: Mapping[str, JSONObject]) -> JSONObject:
    """`schema` with each named argument's own schema narrowed by what is given.

    One with a default is optional; one that the schema does not have by name gets what is given.
    """
    if not changes:
        return schema
    known = schema.get("properties")
    properties: dict[str, JSON] = {**known} if isinstance(known, Mapping) else {}
    optional: set[str] = set()
    for name, change in changes.items():
        before = properties.get(name)
        properties[name] = merged(before if isinstance(before, Mapping) else {}, change)
        if "default" in change:
            optional.add(name)
    changed: dict[str, JSON] = {**schema, "properties": properties}
    required = changed.get("required")
    if optional and isinstance(required, Sequence) and not isinstance(required, str):
        changed["required"] = [one for one in required if one not in optional]
    return changed


def merged(schema: JSONObject, narrower: JSONObject) -> JSONObject:
    """What satisfies both schemas, in one where that can be said simply; notes are the second's."""
    changed: dict[str, JSON] = {**schema}
    beside: dict[str, JSON] = {}
    for keyword, value in narrower.items():
        if keyword in _NOTES or keyword not in schema or schema[keyword] == value:
            changed[keyword] = value
            continue
        both = _both(keyword, schema[keyword], value)
        if both is None:
            beside[keyword] = value
        else:
            changed[keyword] = both
    if beside:
        others = changed.get("allOf")
        more = others if isinstance(others, Sequence) and not isinstance(others, str) else ()
        changed["allOf"] = [*more, beside]
    return changed


def _both(keyword: str, one: JSON, other: JSON) -> JSON:
    if keyword == "enum" and isinstance(one, Sequence) and isinstance(other, Sequence):
        return [value for value in other if value in one]
    if isinstance(one, int | float) and isinstance(other, int | float):
        if keyword in _LEAST:
            return max(one, other)
        if keyword in _MOST:
            return min(one, other)
    return None


class _Removal:
    """Takes arguments out of a schema wherever it says what the arguments are.

    Args:
        root: The schema of all arguments.
        names: The arguments.
    """

    def __init__(self, root: JSONObject, names: Collection[str]) -> None:
        self._root = root
        self._names = frozenset(names)
        self._left = MAX_PARTS
        self._followed: dict[tuple[str, ...], JSONObject] = {}

    def done(self) -> JSONObject:
        """The schema without them; definitions that describe arguments are changed as well."""
        changed = self._of(self._root, 0)
        for (group, name), definition in self._followed.items():
            known = changed.get(group)
            if isinstance(known, Mapping) and name in known:
                changed[group] = {**known, name: definition}
        return changed

    def _of(self, schema: JSONObject, depth: int) -> dict[str, JSON]:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            return {}
        changed = {keyword: value for keyword, value in schema.items() if keyword not in _UNREADABLE}
        reference = changed.pop("$ref", None)
        if isinstance(reference, str):
            changed = {**self._target(reference, depth), **changed}
        properties = changed.get("properties")
        if isinstance(properties, Mapping):
            changed["properties"] = {name: one for name, one in properties.items() if name not in self._names}
        if "required" in changed:
            changed["required"] = self._part(changed["required"], depth)
        for keyword in _BY_NAME:
            dependent = changed.get(keyword)
            if isinstance(dependent, Mapping):
                kept = {name: one for name, one in dependent.items() if name not in self._names}
                changed[keyword] = {name: self._part(one, depth) for name, one in kept.items()}
        for keyword in _LISTS:
            members = changed.get(keyword)
            if isinstance(members, Sequence) and not isinstance(members, str):
                changed[keyword] = [self._part(one, depth) for one in members]
        for keyword in _SINGLE:
            if keyword in changed:
                changed[keyword] = self._part(changed[keyword], depth)
        return changed

    def _part(self, one: JSON, depth: int) -> JSON:
        if isinstance(one, Mapping):
            return self._of(one, depth + 1)
        if isinstance(one, Sequence) and not isinstance(one, str):
            return [name for name in one if name not in self._names]
        return one

    def _target(self, reference: str, depth: int) -> JSONObject:
        """What a reference within the document points at (RFC 6901); any other says nothing."""
        path = reference.removeprefix("#/").split("/") if reference.startswith("#/") else []
        path = [part.replace("~1", "/").replace("~0", "~") for part in path]
        found: JSON = self._root if path else None
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return {}
        target = self._of(found, depth + 1)
        if len(path) == 2:
            self._followed[path[0], path[1]] = target
        return target
