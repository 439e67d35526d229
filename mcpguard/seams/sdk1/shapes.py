"""Messages of SDK 1.x as they are on the wire, and back.

Above: `session` and `requests`.
"""

from typing import Any, Final

from mcp import types
from pydantic import ValidationError

from mcpguard.core.wire import JSONObject, mutable_copy

__all__ = ["has_depth", "method_of", "rebuilt", "wire_shaped"]

_AnyRequest: Final = types.Request[dict[str, Any], str]


def wire_shaped(message: Any) -> dict[str, Any]:
    """A message as the SDK puts it on the wire."""
    shaped: dict[str, Any] = message.model_dump(by_alias=True, mode="json", exclude_none=True)
    return shaped


def method_of(request: Any) -> str:
    """The method of whatever a host sends: all the SDK asks of a request is that it can be dumped."""
    try:
        method: str = request.root.method
    except AttributeError:
        method = wire_shaped(request)["method"]
    return method


def has_depth(params: JSONObject) -> bool:
    """Whether a caller may still change parts of its request: the SDK copies the outermost alone."""
    for value in params.values():
        if isinstance(value, dict | list):
            members = value.values() if isinstance(value, dict) else value
            if any(isinstance(one, dict | list) for one in members):
                return True
    return False


def rebuilt(kind: Any, method: str, params: JSONObject | None) -> Any:
    """A message of the caller's kind with other parameters; a plain one where the kind does not take them."""
    message: dict[str, Any] = {"method": method}
    if params is not None:
        message["params"] = mutable_copy(params)
    try:
        return kind.model_validate(message)
    except (AttributeError, ValidationError):
        return _AnyRequest.model_validate(message)
