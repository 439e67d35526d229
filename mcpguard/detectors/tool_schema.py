"""A tool's own JSON Schema, as a server sent it, held against the arguments of a call.

Schemas and arguments are both hostile: references lead nowhere but inside the schema, patterns run in linear
time, depth, size and work are bounded, and nothing that a value says appears in what is returned. The
validator (jsonschema-rs, extra `rules`) is imported when the first schema is compiled.
"""

from collections.abc import Mapping
from typing import Final, cast

from mcpguard.core.wire import JSON, JSONObject, canonical, mutable_copy
from mcpguard.detectors.extent import is_bounded
from mcpguard.detectors.schema_work import ends_in_time

__all__ = ["ToolSchema", "UnusableSchema"]

MAX_SCHEMA: Final = 262_144
"""Bytes of a schema in canonical form; the largest of real servers have a tenth."""

MAX_REGEX: Final = 1 << 20
"""Bytes of a compiled pattern."""

MAX_NAME: Final = 64
"""Characters of a property's name that a message may repeat."""


class UnusableSchema(ValueError):  # noqa: N818 - the interceptor makes a refusal of it
    """A schema cannot be enforced: too large, too deep, invalid, or it refers to somewhere else."""


class ToolSchema:
    """A compiled schema.

    Args:
        schema: As the server listed it.

    Raises:
        UnusableSchema: If it cannot be enforced.
        ValueError: If the extra `rules` is not installed.
    """

    __slots__ = ("_names", "_validator")

    def __init__(self, schema: JSONObject) -> None:
        try:
            import jsonschema_rs  # noqa: PLC0415 - an extra, loaded on use
        except ImportError:
            raise ValueError("schemas need jsonschema-rs: pip install 'mcpguard-inline[rules]'") from None
        if not is_bounded(schema) or len(canonical(schema)) > MAX_SCHEMA:
            raise UnusableSchema("the tool's schema is too large or too deep to enforce")
        if not ends_in_time(schema):
            raise UnusableSchema("the tool's schema refers in too many ways, or to where none are followed")
        properties = schema.get("properties")
        self._names = frozenset(properties) if isinstance(properties, Mapping) else frozenset[str]()
        try:
            self._validator = jsonschema_rs.validator_for(
                cast("dict[str, object]", schema if type(schema) is dict else mutable_copy(schema)),
                retriever=_refuse,
                pattern_options=jsonschema_rs.RegexOptions(size_limit=MAX_REGEX, dfa_size_limit=MAX_REGEX),
            )
        except Exception as error:  # noqa: BLE001 - whatever the validator makes of it, it cannot be enforced
            raise UnusableSchema(f"the tool's schema cannot be enforced ({type(error).__name__})") from None

    def mismatch(self, arguments: JSONObject) -> str | None:
        """What does not fit, without values; None if all does."""
        if not is_bounded(arguments):
            return "they are nested too deep or hold too many values"
        plain: JSON = arguments
        if type(arguments) is not dict:
            plain = mutable_copy(arguments)
        try:
            error = next(iter(self._validator.iter_errors(plain)), None)
        except Exception as failed:  # noqa: BLE001 - what cannot be validated does not fit
            return f"they cannot be validated ({type(failed).__name__})"
        if error is None:
            return None
        where = error.instance_path[0] if error.instance_path else None
        keyword = error.schema_path[-1] if error.schema_path else "false"
        named = f"argument {where!r}" if where in self._names and _is_showable(where) else "an argument"
        return f"{named} fails {keyword!r}" if _is_showable(keyword) else f"{named} does not fit"


def _refuse(uri: str) -> "dict[str, object]":
    del uri
    raise LookupError("references to elsewhere are not followed")


def _is_showable(name: object) -> bool:
    return isinstance(name, str) and len(name) <= MAX_NAME and name.isidentifier() and name.isascii()
