"""Whether a JSON Schema from outside can be used: valid, and cheap on whatever it is used on.

Pure; the schema is data and nothing is run. `cost` bounds the steps a validator takes for each value it looks
at. What cannot be bounded has no cost: recursion, references that leave the document or lead nowhere,
patterns that may backtrack, comparison of every item with every other, and whatever is not understood here.
Vocabulary: JSON Schema 2020-12, core and validation; a draft-07 schema that means the same is accepted.

Below: `patterns`, which regular expressions are linear.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.linear_patterns import is_linear

__all__ = ["cost"]

MAX_COST: Final = 2_000
"""Steps for one value at most; a schema of a record with a hundred members has some three hundred."""

MAX_DEPTH: Final = 32
"""Schemas inside one another."""

MAX_UNIQUE: Final = 100
"""Items up to which each may be compared with every other."""

_DIALECTS: Final = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
    }
)
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA: Final = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "items",
        "additionalItems",
        "additionalProperties",
        "contains",
        "propertyNames",
    }
)
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})

Valid: TypeAlias = Callable[[JSON], bool]


def _is_text(value: JSON) -> bool:
    return isinstance(value, str)


def _is_flag(value: JSON) -> bool:
    return isinstance(value, bool)


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: JSON) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: JSON) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_names(value: JSON) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(isinstance(name, str) for name in value) and len(set(map(str, value))) == len(value)


def _is_type(value: JSON) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _is_names(value) and isinstance(value, Sequence) and len(value) > 0 and set(value) <= _TYPES


def _is_anything(value: JSON) -> bool:
    del value
    return True


_PLAIN: Final[Mapping[str, Valid]] = {
    "type": _is_type,
    "required": _is_names,
    "enum": _is_list,
    "const": _is_anything,
    "default": _is_anything,
    "examples": _is_list,
    "multipleOf": lambda value: _is_number(value) and isinstance(value, int | float) and value > 0,
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], _is_number),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], _is_count),
    **dict.fromkeys(["minProperties", "maxProperties", "minContains", "maxContains"], _is_count),
    **dict.fromkeys(["title", "description", "format", "$comment"], _is_text),
    **dict.fromkeys(["contentEncoding", "contentMediaType"], _is_text),
    **dict.fromkeys(["deprecated", "readOnly", "writeOnly", "uniqueItems"], _is_flag),
    "pattern": lambda value: isinstance(value, str) and is_linear(value),
    "dependentRequired": lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
}

_REFUSED: Final = frozenset(
    {
        "$id",
        "id",
        "$anchor",
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "$recursiveAnchor",
        "$vocabulary",
    }
    | {"unevaluatedItems", "unevaluatedProperties", "dependencies", "contentSchema"}
)


class _Unusable(Exception):  # noqa: N818 - it becomes None
    """The schema is not used."""


def cost(schema: JSON) -> int | None:
    """Steps that validation takes at most for one value, where each value inside costs as much again.

    None if it cannot be bounded, is too high, or the schema is invalid.
    """
    if not isinstance(schema, Mapping):
        return None
    dialect = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    if not isinstance(dialect, str) or dialect.removesuffix("#") not in _DIALECTS:
        return None
    try:
        return _Walk(schema).cost(schema, 0)
    except _Unusable:
        return None


class _Walk:
    """Adds up the steps of one schema, every reference at its full price."""

    def __init__(self, root: JSONObject) -> None:
        self._root = root
        self._known: dict[int, int] = {}
        self._open: set[int] = set()

    def cost(self, schema: JSON, depth: int) -> int:
        if isinstance(schema, bool):
            return 1
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH or id(schema) in self._open:
            raise _Unusable
        known = self._known.get(id(schema))
        if known is not None:
            return known
        self._open.add(id(schema))
        found = 1 + sum(self._member(schema, name, value, depth + 1) for name, value in schema.items())
        self._open.discard(id(schema))
        if found > MAX_COST:
            raise _Unusable
        self._known[id(schema)] = found
        return found

    def _member(self, schema: JSONObject, name: str, value: JSON, depth: int) -> int:
        if name in _REFUSED:
            raise _Unusable
        if name == "$ref":
            return 1 + self.cost(self._target(value), depth)
        if name in _SCHEMA:
            return self.cost(value, depth)
        if name in _SCHEMAS:
            if not isinstance(value, Sequence) or isinstance(value, str) or not value:
                raise _Unusable
            return sum(self.cost(one, depth) for one in value)
        if name in _NAMED or name in _DEFINITIONS:
            if not isinstance(value, Mapping):
                raise _Unusable
            if name == "patternProperties" and not all(map(is_linear, value)):
                raise _Unusable
            costs = [self.cost(one, depth) for one in value.values()]
            return sum(costs) if name in _NAMED else 0
        if name == "uniqueItems" and value is True:
            most = schema.get("maxItems")
            if not _is_count(most) or not isinstance(most, int) or most > MAX_UNIQUE:
                raise _Unusable
            return most
        valid = _PLAIN.get(name)
        if valid is not None and not valid(value):
            raise _Unusable
        return len(value) if name in ("enum", "required") and isinstance(value, Sequence) else 1

    def _target(self, reference: JSON) -> JSON:
        """What a reference within the document leads to (RFC 6901)."""
        if reference == "#":
            return self._root
        if not isinstance(reference, str) or not reference.startswith("#/") or "%" in reference:
            raise _Unusable
        found: JSON = self._root
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            else:
                raise _Unusable
        return found
