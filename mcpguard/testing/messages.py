"""What goes into a script: results, errors, and what a server asks of a client."""

import json
from typing import Any, Final, TypeAlias, cast

from mcpguard.core.wire import EMPTY, JSON, JSONObject, mutable_copy

__all__ = [
    "LOG_LEVELS",
    "TEXT_METHODS",
    "Answer",
    "Elicit",
    "InputRequest",
    "ListRoots",
    "RPCError",
    "Sample",
    "Wire",
    "structured",
    "tool_error",
]

Wire: TypeAlias = dict[str, Any]
"""A message, or a part of one, as a test reads it. Its values are `Any`, as `json.loads` has them, so that a
test may index into it without casts; what a test *gives* to the server is `JSON`."""

Answer: TypeAlias = str | JSONObject
"""Text, which becomes the shortest result of the method, or the whole result as on the wire."""

TEXT_METHODS: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods whose answer may be given as text."""


LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""From the least to the most severe."""


class RPCError(Exception):
    """Raised in a scripted function: answer with this JSON-RPC error."""

    def __init__(self, code: int, message: str, data: JSON = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class InputRequest:
    """Something the server asks of the client during a request: any method, any params."""

    def __init__(self, method: str, params: JSONObject = EMPTY) -> None:
        self.method = method
        self.params: Wire = cast("Wire", mutable_copy(params))


class Elicit(InputRequest):
    """Ask the person for values by a form (`schema`), or to visit a `url`."""

    def __init__(self, message: str, schema: JSONObject | None = None, *, url: str | None = None) -> None:
        asked: JSONObject = {"requestedSchema": schema or {"type": "object", "properties": {}}}
        if url is not None:
            asked = {"mode": "url", "url": url, "elicitationId": "elicitation-1"}
        super().__init__("elicitation/create", {"message": message, **asked})


class Sample(InputRequest):
    """Ask the client's model to go on from `prompt`; `params` are further members, as on the wire."""

    def __init__(self, prompt: str, *, max_tokens: int = 100, **params: JSON) -> None:
        message: JSONObject = {"role": "user", "content": {"type": "text", "text": prompt}}
        super().__init__("sampling/createMessage", {"messages": [message], "maxTokens": max_tokens, **params})


class ListRoots(InputRequest):
    """Ask which directories the client offers."""

    def __init__(self) -> None:
        super().__init__("roots/list")


def structured(value: JSON) -> Wire:
    """A tool's result with structured content, an object before 2026-07-28, and the same as text."""
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value}


def tool_error(message: str) -> Wire:
    """A tool's result that is an error."""
    return {"content": [{"type": "text", "text": message}], "isError": True}
