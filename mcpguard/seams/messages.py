"""JSON-RPC messages as the streams of an SDK transport carry them, on either major.

1.x wraps each message in a root model, 2.x does not; the classes inside have the same names and members.
Headers that a client of 2026-07-28 derives from a request's body are derived again here after a rewrite.
Above: `relay`. Not here: what becomes of a message.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Final, TypeAlias

from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import JSON, TARGETS, JSONObject, mutable_copy
from mcpguard.seams.render import denial_error
from mcpguard.seams.reports import Report, Said, reported
from mcpguard.seams.session import sdk_major

__all__ = [
    "CANCELLED",
    "Error",
    "Key",
    "Notification",
    "Request",
    "Response",
    "answer_of",
    "body_of",
    "error",
    "given_up_by",
    "has_param_headers",
    "id_key",
    "is_stamped",
    "listing_stamp",
    "notification",
    "request",
    "response",
    "restamped",
    "result_of",
]

_types: Final[Any] = import_module("mcp.types")
_SessionMessage: Final[Any] = import_module("mcp.shared.message").SessionMessage
_IS_WRAPPED: Final = sdk_major() < 2

Request: Final[Any] = _types.JSONRPCRequest
Notification: Final[Any] = _types.JSONRPCNotification
Response: Final[Any] = _types.JSONRPCResponse
Error: Final[Any] = _types.JSONRPCError

Key: TypeAlias = int | str

CANCELLED: Final = "notifications/cancelled"

CONNECTION_CLOSED: Final = -32000
"""What the SDK calls a connection that ended before the answer; 2.x transports send it themselves."""

_NO_ANSWER: Final[Mapping[Outcome, WireError]] = {
    Outcome.TIMEOUT: WireError(408 if _IS_WRAPPED else -32001, "Request timed out"),
    Outcome.TRANSPORT_ERROR: WireError(CONNECTION_CLOSED, "Connection closed"),
}
"""The SDK's own errors for outcomes that come without one; 1.x borrows the code of HTTP."""

_NAME_HEADER: Final = "mcp-name"
_METHOD_HEADER: Final = "mcp-method"
_VERSION_HEADER: Final = "mcp-protocol-version"
_PARAM_HEADER: Final = "mcp-param-"
_ENVELOPE: Final = "io.modelcontextprotocol/"
"""Begins the members of `_meta` that each request of 2026-07-28 must have."""


def body_of(item: Any) -> Any:
    """The JSON-RPC message in a stream's item; None for what is no message."""
    message = getattr(item, "message", None)
    return getattr(message, "root", None) if _IS_WRAPPED else message


def id_key(id: object) -> Key | None:
    """What ids are compared by: to both SDKs "7" is 7. None for what is no id."""
    if type(id) is int:
        return id
    if isinstance(id, str):
        try:
            return int(id)
        except ValueError:
            return id
    return None


def request(id: Key, method: str, params: JSONObject | None, metadata: Any = None) -> Any:
    """A request, ready for a stream."""
    return _item(Request(jsonrpc="2.0", id=id, method=method, **_members(params)), metadata)


def notification(method: str, params: JSONObject | None, metadata: Any = None) -> Any:
    """A notification, ready for a stream."""
    return _item(Notification(jsonrpc="2.0", method=method, **_members(params)), metadata)


def response(id: Key, value: JSONObject) -> Any:
    """The answer to a request, ready for a stream."""
    return _item(Response(jsonrpc="2.0", id=id, result=mutable_copy(value)), None)


def error(id: Key, told: WireError) -> Any:
    """The error a request ended with, ready for a stream."""
    members = {} if told.data is None else {"data": mutable_copy(told.data)}
    data = _types.ErrorData(code=told.code, message=told.message, **members)
    if isinstance(told.data, Report):
        data.data = told.data  # its class is what tells it from a server's
    return _item(Error(jsonrpc="2.0", id=id, error=data), None)


def given_up_by(body: Any) -> object:
    """The id of the request that a client's notification of cancelling gives up; None if it names none."""
    return (body.params or {}).get("requestId")


def result_of(body: Any) -> Result:
    """A response or error from the wire as a result."""
    if type(body) is Response:
        return Result.of(body.result)
    told = WireError(body.error.code, body.error.message, body.error.data)
    ours = reported(told)
    if ours is not None:
        return ours
    if told.code == CONNECTION_CLOSED and not _IS_WRAPPED and not isinstance(told.message, Said):
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, error=told)
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=told)


def answer_of(id: Key, result: Result) -> Any:
    """What stands on the wire for a result."""
    if result.denial is not None:
        return error(id, denial_error(result.denial))
    if result.error is not None:
        return error(id, result.error)
    if result.value is None:
        return error(id, _NO_ANSWER[result.outcome])
    return response(id, result.value)


def restamped(
    metadata: Any, method: str, before: JSONObject, after: JSONObject, facts: ToolFacts | None
) -> Any:
    """The metadata of a rewritten request, without what the rewrite removed (MCP 2026-07-28, transports).

    Args:
        facts: The definition of the tool that is called, which says which arguments are headers. None: none
            of them is sent, and a server that wants one answers with a header mismatch.
    """
    old: Mapping[str, str] | None = getattr(metadata, "headers", None)
    if not old:
        return metadata
    from mcp.shared.inbound import (
        encode_header_value,
        find_invalid_x_mcp_header,
        mcp_param_headers,
        x_mcp_header_map,
    )

    headers = {
        name: value
        for name, value in old.items()
        if not name.lower().startswith((_NAME_HEADER, _PARAM_HEADER))
    }
    named = next((value for name, value in old.items() if name.lower() == _NAME_HEADER), None)
    for member in (TARGETS.get(method), *before):
        target = None if member is None else before.get(member)
        if isinstance(target, str) and encode_header_value(target) == named:
            renamed = after.get(member or "")
            if isinstance(renamed, str):
                headers[_NAME_HEADER] = encode_header_value(renamed)
            break
    arguments = after.get("arguments")
    if is_stamped(metadata) and facts is not None and isinstance(arguments, Mapping):
        schema: Any = mutable_copy(facts.input_schema)
        if find_invalid_x_mcp_header(schema) is None:
            headers.update(mcp_param_headers(x_mcp_header_map(schema), arguments))
    return replace(metadata, headers=headers)


def has_param_headers(metadata: Any) -> bool:
    """Whether arguments of the request stand in headers as well."""
    headers: Mapping[str, str] = getattr(metadata, "headers", None) or {}
    return any(name.lower().startswith(_PARAM_HEADER) for name in headers)


def is_stamped(metadata: Any) -> bool:
    """Whether what the request says stands in headers as well (MCP 2026-07-28, transports)."""
    headers: Mapping[str, str] = getattr(metadata, "headers", None) or {}
    return any(name.lower() == _METHOD_HEADER for name in headers)


def listing_stamp(meta: JSON, metadata: Any) -> tuple[dict[str, JSON], Any]:
    """The `_meta` and metadata that a `tools/list` must carry, given those of a request of the client's."""
    members = meta.items() if isinstance(meta, Mapping) else ()
    envelope = {name: value for name, value in members if name.startswith(_ENVELOPE)}
    headers: Mapping[str, str] | None = getattr(metadata, "headers", None)
    if not headers:
        return envelope, None
    kept = {name: value for name, value in headers.items() if name.lower() == _VERSION_HEADER}
    if envelope:
        kept[_METHOD_HEADER] = "tools/list"
    return envelope, type(metadata)(headers=kept)


def _members(params: JSONObject | None) -> dict[str, Any]:
    return {} if params is None else {"params": mutable_copy(params)}


def _item(body: Any, metadata: Any) -> Any:
    return _SessionMessage(_types.JSONRPCMessage(body) if _IS_WRAPPED else body, metadata)
