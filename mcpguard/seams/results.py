"""Whether the SDK can read a result: where it cannot, it raises with all its values, after the tool has run.

Above: `watch`. Not here: what a tool's own schema says of its result, which is `structured`.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

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

_HANDSHAKE: Final = "2025-11-25"
"""What the SDK takes for the version of a handshake; the last one in which results do not name their kind."""

_PLAIN: Final = frozenset({"content", "isError"})
_TEXT: Final = frozenset({"type", "text"})


def asked_version(method: str, params: JSONObject, agreed: str | None) -> str | None:
    """The version whose results a request is answered with; None where that cannot be told."""
    if "task" in params:
        return None
    meta = params.get("_meta")
    told = (meta if isinstance(meta, Mapping) else EMPTY).get(_VERSION)
    return told if isinstance(told, str) else _HANDSHAKE if method == "initialize" else agreed


def is_result(method: str, version: str | None, result: JSONObject) -> bool:
    """Whether `result` is one of `method` in `version`; the items of a list are not looked at."""
    if version is None or (method == "tools/call" and version <= _HANDSHAKE and _is_plain(result)):
        return True
    model = _model(method, version)
    if model is None:
        return True
    if method in LISTINGS:
        result = {name: value for name, value in result.items() if name != "nextCursor"}
        result[LISTINGS[method].items] = []
    return _is_valid(model.validate_python, result)


def is_definition(method: str, definition: JSONObject) -> bool:
    """Whether `definition` can stand in the list that `method` fetches."""
    return _is_valid(_DEFINITIONS[method].model_validate, definition)


def _is_plain(result: JSONObject) -> bool:
    """Whether it is text and nothing else, which any version up to the handshakes' can read; most are."""
    content: JSON = result.get("content")
    return (
        type(content) is list
        and result.keys() <= _PLAIN
        and type(result.get("isError", False)) is bool
        and all(
            type(block) is dict
            and block.keys() == _TEXT
            and block["type"] == "text"
            and type(block["text"]) is str
            for block in content
        )
    )


@cache
def _model(method: str, version: str) -> Any:
    """What the SDK reads a result with; None where it takes anything."""
    model = _RESULTS.get(method)
    if sdk_major() > 1:
        model = import_module("mcp_types.methods").SERVER_RESULTS.get((method, version))
    return None if model is None else import_module("pydantic").TypeAdapter(model)


def _is_valid(validate: Any, value: JSONObject) -> bool:
    try:
        validate(value)
    except (ValueError, RecursionError):
        return False
    return True
