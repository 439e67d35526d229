"""Whether the SDK can read a result: where it cannot, it raises with all its values, after the tool has run.

Above: `watch`. Not here: what a tool's own schema says of its result, which is `structured`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, get_args

from mcpguard.core.wire import EMPTY, JSON, LISTINGS, JSONObject
from mcpguard.seams.session import sdk_major

__all__ = ["asked_version", "is_definition", "is_result"]

_models: Final[Any] = import_module("mcp.types")

_RESULTS: Final[Mapping[str, Any]] = {
    "initialize": _models.InitializeResult,
    "tools/call": _models.CallToolResult,
    "prompts/get": _models.GetPromptResult,
    "resources/read": _models.ReadResourceResult,
    "completion/complete": _models.CompleteResult,
    "tools/list": _models.ListToolsResult,
    "prompts/list": _models.ListPromptsResult,
    "resources/list": _models.ListResourcesResult,
    "resources/templates/list": _models.ListResourceTemplatesResult,
}
_DEFINITIONS: Final[Mapping[str, Any]] = {
    "tools/list": _models.Tool,
    "prompts/list": _models.Prompt,
    "resources/list": _models.Resource,
    "resources/templates/list": _models.ResourceTemplate,
}
_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
"""The member of `_meta` in which a request says what version it is of (MCP 2026-07-28)."""

_SERVER: Final = "io.modelcontextprotocol/serverInfo"
"""The member of `_meta` in which a server says with each answer who it is (MCP 2026-07-28)."""

_NAMED: Final = frozenset({"name", "version"})

_HANDSHAKE: Final = "2025-11-25"
"""What the SDK takes for the version of a handshake; the last one in which results do not name their kind."""

_BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"type", "text"}),
    "image": frozenset({"type", "data", "mimeType"}),
    "audio": frozenset({"type", "data", "mimeType"}),
}
"""The members that a block of content must have, each a string, by what it says it is."""

_ROLES: Final = ("user", "assistant")
_RESERVED: Final = "modelcontextprotocol"
"""Stands in the names of the members of `_meta` whose values the SDK looks at."""


def asked_version(method: str, params: JSONObject, agreed: str | None) -> str | None:
    """The version whose results a request is answered with; None where that cannot be told."""
    if "task" in params:
        return None
    meta = params.get("_meta")
    told = (meta if isinstance(meta, Mapping) else EMPTY).get(_VERSION)
    return told if isinstance(told, str) else _HANDSHAKE if method == "initialize" else agreed


def is_result(method: str, version: str | None, result: JSONObject) -> bool:
    """Whether `result` is one of `method` in `version`; the items of a list are not looked at."""
    if version is None or (method == "tools/call" and _is_plain(result, version)):
        return True
    models = _models_of(method, version)
    if not models:
        return True
    if method in LISTINGS:
        result = {name: value for name, value in result.items() if name != "nextCursor"}
        result[LISTINGS[method].items] = []
    if not _is_valid(models[0].validate_python, result):
        return False
    later = _later(method, version)
    known = {name: value for name, value in result.items() if name not in later}
    return all(_is_valid(model.validate_python, known) for model in models[1:])


def is_definition(method: str, version: str | None, definition: JSONObject) -> bool:
    """Whether `definition` can stand in the list that `method` fetches in `version`."""
    return all(_is_valid(one.validate_python, definition) for one in _items_of(method, version))


def _is_plain(result: JSONObject, version: str) -> bool:
    """Whether it is what nearly all are, told in a tenth of the time: each member of the plainest type."""
    for name, value in result.items():
        if name == "content":
            if type(value) is not list or not all(map(_is_plain_block, value)):
                return False
        elif name == "structuredContent":
            if type(value) is not dict:
                return False
        elif name == "isError":
            if type(value) is not bool:
                return False
        elif name == "resultType":
            if value != "complete":
                return False
        elif name != "_meta" or not _is_plain_meta(value):
            return False
    return "content" in result and (version <= _HANDSHAKE or "resultType" in result)


def _is_plain_block(block: JSON) -> bool:
    if type(block) is not dict:
        return False
    kind = block.get("type")
    members = _BLOCKS.get(kind) if type(kind) is str else None
    if members is None:
        return False
    found = 0
    for name, value in block.items():
        if name in members:
            if type(value) is not str:
                return False
            found += 1
        elif not (_is_plain_meta(value) if name == "_meta" else name == "annotations" and _is_noted(value)):
            return False
    return found == len(members)


def _is_plain_meta(value: JSON) -> bool:
    if type(value) is not dict:
        return False
    return all(_RESERVED not in name or (name == _SERVER and _is_named(one)) for name, one in value.items())


def _is_named(value: JSON) -> bool:
    """Whether a server says of itself no more than what it is called."""
    return type(value) is dict and value.keys() == _NAMED and all(type(one) is str for one in value.values())


def _is_noted(value: JSON) -> bool:
    """Whether these are annotations as they are mostly written."""
    if type(value) is not dict:
        return False
    for name, one in value.items():
        if name == "audience":
            if type(one) is not list or not all(role in _ROLES for role in one):
                return False
        elif name == "priority":
            if type(one) is not float or not 0.0 <= one <= 1.0:
                return False
        elif name != "lastModified" or type(one) is not str:
            return False
    return True


@cache
def _models_of(method: str, version: str) -> Sequence[Any]:
    """What the SDK reads a result with, one after the other; nothing where it takes anything."""
    model = _RESULTS.get(method)
    models = [] if model is None else [model]
    if sdk_major() > 1:
        methods = import_module("mcp_types.methods")
        row = methods.SERVER_RESULTS.get((method, version))
        models = [] if row is None else [row, methods.MONOLITH_RESULTS[method]]
    return [import_module("pydantic").TypeAdapter(one) for one in models]


@cache
def _items_of(method: str, version: str | None) -> Sequence[Any]:
    """What the SDK reads a definition with, one after the other: 2.x takes less from some versions."""
    items: list[Any] = [_DEFINITIONS[method]]
    if sdk_major() > 1:
        row = import_module("mcp_types.methods").SERVER_RESULTS.get((method, version))
        named = LISTINGS[method].items
        fields: Mapping[str, Any] = {} if row is None else row.model_fields
        items += [
            get_args(field.annotation)[0]
            for name, field in fields.items()
            if named in (name, field.alias, field.serialization_alias)
        ]
    return [import_module("pydantic").TypeAdapter(one) for one in items]


@cache
def _later(method: str, version: str) -> frozenset[str]:
    """The members that only later versions give a result: SDK 2.x does not look at them."""
    if sdk_major() == 1:
        return frozenset()
    rows = import_module("mcp_types.methods").SERVER_RESULTS
    members = {asked: _members(row) for (named, asked), row in rows.items() if named == method}
    later = frozenset[str]().union(*(names for asked, names in members.items() if asked > version))
    return later - members.get(version, frozenset())


def _members(row: Any) -> frozenset[str]:
    """The members of a result, or of any of those that it may be."""
    models: Sequence[Any] = get_args(row) or (row,)
    return frozenset(
        field.serialization_alias or field.alias or name
        for model in models
        for name, field in model.model_fields.items()
    )


def _is_valid(validate: Any, value: JSONObject) -> bool:
    try:
        validate(value)
    except (ValueError, RecursionError):
        return False
    return True
