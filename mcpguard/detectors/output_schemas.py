"""What a tool's structured result must look like, learned from the lists that pass.

Whoever rewrites strings of a result asks here whether it still fits. Definitions are not fetched: where none
has passed, the SDK has none to validate with either.
"""

import threading
from collections.abc import Mapping
from typing import Final, Protocol, cast

from cachetools import LRUCache

from mcpguard.core.call import Call
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON, JSONObject, mutable_copy

__all__ = ["OutputSchemas"]

MAX_TOOLS: Final = 4096
"""Tools that are remembered; the one that was used least lately is forgotten first."""


class _Validator(Protocol):
    def is_valid(self, instance: object, /) -> bool: ...


_Key = tuple[str, str | None, str]


class OutputSchemas:
    """Output schemas by server, tenant and tool; bounded, and safe across threads."""

    __slots__ = ("_known", "_lock")

    def __init__(self) -> None:
        self._known: LRUCache[_Key, JSONObject | None] = LRUCache(MAX_TOOLS)
        self._lock = threading.Lock()

    def learn(self, call: Call, result: Result) -> None:
        """Remember the schemas of a `tools/list` answer."""
        tools = None if result.value is None else result.value.get("tools")
        if not isinstance(tools, list | tuple):
            return
        for tool in cast("list[JSON]", tools):
            if isinstance(tool, Mapping) and isinstance(name := tool.get("name"), str):
                schema = tool.get("outputSchema")
                with self._lock:
                    self._known[_key(call, name)] = schema if isinstance(schema, Mapping) else None

    def fits(self, call: Call, before: Result, after: Result) -> bool:
        """Whether the structured content of `after` is as good as that of `before` was.

        False also where that cannot be told: a schema that is none, or that refers to somewhere else.
        """
        if before.value is None or after.value is None or call.method != "tools/call":
            return True
        content = after.value.get("structuredContent")
        if content is before.value.get("structuredContent") or call.target is None:
            return True
        schema = self._schema(call, call.target)
        return schema is None or _is_valid(content, schema)

    def _schema(self, call: Call, tool: str) -> JSONObject | None:
        if call.tool is not None:
            return call.tool.output_schema
        with self._lock:
            return self._known.get(_key(call, tool))


def _key(call: Call, tool: str) -> _Key:
    return call.server, None if call.principal is None else call.principal.tenant, tool


def _is_valid(content: JSON, schema: JSONObject) -> bool:
    """Whether `content` is valid; nothing is fetched for it."""
    from jsonschema.validators import Draft202012Validator, validator_for  # noqa: PLC0415 - loads slowly
    from referencing import Registry  # noqa: PLC0415

    plain = cast("dict[str, object]", mutable_copy(schema))
    try:
        kind = validator_for(plain, default=Draft202012Validator)
        validator = cast("_Validator", kind(plain, registry=Registry()))
        return validator.is_valid(mutable_copy(content))
    except Exception:  # noqa: BLE001 - a hostile schema fails in many ways, and none of them says yes
        return False
