"""The headers of a rewritten request of SDK 2.x, derived again (MCP 2026-07-28, transports).

Above: `dispatcher`. Beside: `messages`, which does the same for a transport.
"""

from collections.abc import Mapping
from typing import Any, Final

from mcp.client.session import ClientSession
from mcp.shared.dispatcher import CallOptions
from mcp.shared.inbound import (
    MCP_NAME_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)

from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import JSONObject, mutable_copy

__all__ = ["restamped"]

_PARAM_HEADER: Final = "mcp-param-"


def restamped(
    session: ClientSession,
    method: str,
    before: JSONObject,
    after: JSONObject,
    opts: CallOptions,
    facts: ToolFacts | None = None,
) -> tuple[JSONObject, CallOptions]:
    """Parameters and options for a rewritten request, with the headers derived again.

    The session copies the tool's name and marked arguments into headers before the dispatcher sees
    them; they must not keep what a rewrite removed. What the session puts into `_meta` of every request
    stays as the rewrite has it.

    Args:
        session: Stamps the request.
        method: Its method.
        before: The parameters the session had.
        after: Those that are sent.
        opts: The options the session had.
        facts: The definition of the tool that is called, which says which arguments are headers. None: as the
            session knows it.
    """
    old = opts.get("headers") or {}
    headers = {
        name: value
        for name, value in old.items()
        if name.lower() != MCP_NAME_HEADER.lower() and not name.lower().startswith(_PARAM_HEADER)
    }
    stamped: CallOptions = {**opts, "headers": headers}
    given = after.get("_meta")
    meta: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    data: dict[str, Any] = {"method": method, "params": {**after, **({"_meta": {**meta}} if meta else {})}}
    session._stamp(data, stamped)
    if meta:
        data["params"]["_meta"].update(meta)
    arguments = after.get("arguments")
    if facts is not None and isinstance(arguments, Mapping):
        for header in [one for one in headers if one.lower().startswith(_PARAM_HEADER)]:
            del headers[header]
        schema: Any = mutable_copy(facts.input_schema)
        if find_invalid_x_mcp_header(schema) is None:
            headers.update(mcp_param_headers(x_mcp_header_map(schema), arguments))
    name = old.get(MCP_NAME_HEADER)
    if name is not None and method not in NAME_BEARING_METHODS:
        key = next(
            (k for k, v in before.items() if isinstance(v, str) and encode_header_value(v) == name), None
        )
        renamed = None if key is None else after.get(key)
        if isinstance(renamed, str):
            headers[MCP_NAME_HEADER] = encode_header_value(renamed)
    return data["params"], stamped
