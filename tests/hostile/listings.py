"""What a hostile or broken server lists as its tools, one behaviour each."""

from collections.abc import Callable
from typing import Any

from wire import HONEST, TOOL, Message


def _doubling() -> Message:
    defs: Message = {"d30": {"type": "object"}}
    for n in range(30):
        ref = {"$ref": f"#/$defs/d{n + 1}"}
        defs[f"d{n}"] = {"allOf": [ref, ref]}
    return {"type": "object", "$defs": defs, "allOf": [{"$ref": "#/$defs/d0"}]}


_BACKTRACKS: Message = {"type": "string", "pattern": "^(a+)+$"}

_CURSORS: dict[str, Any] = {"cursor is a list": ["1"], "cursor is empty": "", "cursor of 1 MB": "1" * 10**6}


def _nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"items": value}
    return value


def _schema(**n: Any) -> Message:
    return {"type": "object", "properties": {"n": n}, "required": ["n"]}


TOOLS: dict[str, tuple[str, Callable[[], Any]]] = {
    "malformed tool": ("one of the tools has no schema", lambda: [{"name": "bad"}, TOOL, HONEST]),
    "tool without name": ("a number as name", lambda: [{"name": 7, "inputSchema": {}}, TOOL, HONEST]),
    "duplicate tools": ("a name twice", lambda: [TOOL, {**TOOL, "description": "Other."}, HONEST]),
    "5 MB description": ("a description of 5 MB", lambda: [{**TOOL, "description": "x" * 5_000_000}, HONEST]),
    "10,000 tools": (
        "10,000 tools",
        lambda: [TOOL, HONEST, *({**TOOL, "name": f"t{n}"} for n in range(10_000))],
    ),
    "schemas without a type": (
        "schemas that say nothing, or of another type than an object",
        lambda: [
            {**TOOL, "name": "empty", "inputSchema": {}},
            {**TOOL, "name": "array", "inputSchema": {"type": "array"}},
            {**TOOL, "name": "text", "inputSchema": {"type": "object", "required": "x"}},
            {**TOOL, "name": "out", "outputSchema": {"type": "array"}},
            TOOL,
            HONEST,
        ],
    ),
    "deep tool": (
        "a schema of 200 levels",
        lambda: [{**TOOL, "name": "deep", "inputSchema": _nested(200)}, TOOL, HONEST],
    ),
    "full tool": (
        "a schema of 30,000 objects",
        lambda: [TOOL, {**TOOL, "name": "full", "inputSchema": {"allOf": [{}] * 30_000}}, HONEST],
    ),
    "full tools": (
        "three schemas of 90,000 numbers",
        lambda: [
            {**TOOL, "name": "one", "inputSchema": {"enum": [1] * 90_000}},
            TOOL,
            HONEST,
            {**TOOL, "name": "two", "inputSchema": {"enum": [2] * 90_000}},
            {**TOOL, "name": "three", "inputSchema": {"enum": [3] * 90_000}},
        ],
    ),
    "long integer in a tool": (
        "an integer of 400 digits in a schema",
        lambda: [TOOL, HONEST, {**TOOL, "name": "long", "inputSchema": {"maximum": 10**400}}],
    ),
    "surrogate in a tool": (
        "half a surrogate pair in a description",
        lambda: [{**TOOL, "name": "half", "description": "\ud83d"}, TOOL, HONEST],
    ),
    "pattern that backtracks": (
        "(a+)+$ as a pattern",
        lambda: [{**TOOL, "outputSchema": _schema(type="string", pattern="^(a+)+$")}, HONEST],
    ),
    "doubling schema": ("a schema of 2^30 branches", lambda: [{**TOOL, "outputSchema": _doubling()}, HONEST]),
    "invalid schema": (
        "a schema that is none",
        lambda: [{**TOOL, "outputSchema": {"type": "object", "properties": {"n": {"type": 7}}}}, HONEST],
    ),
    "remote $ref": (
        "a $ref to a URL",
        lambda: [
            {
                **TOOL,
                "outputSchema": {"type": "object", "properties": {"n": {"$ref": "http://127.0.0.1:9/x"}}},
            },
            HONEST,
        ],
    ),
    "$ref to nowhere": (
        "a $ref that leads nowhere",
        lambda: [
            {**TOOL, "outputSchema": {"type": "object", "properties": {"n": {"$ref": "#/$defs/x"}}}},
            HONEST,
        ],
    ),
    "cyclic schema": (
        "a $ref to itself",
        lambda: [{**TOOL, "outputSchema": {"type": "object", "allOf": [{"$ref": "#"}]}}, HONEST],
    ),
    "numbers for schema": (
        "an honest schema",
        lambda: [{**TOOL, "outputSchema": _schema(type="number")}, HONEST],
    ),
    "list schema": (
        "an honest schema",
        lambda: [{**TOOL, "outputSchema": _schema(type="array", items={"type": "number"})}, HONEST],
    ),
    "name of 1 MB": ("a name of 1 MB", lambda: [{**TOOL, "name": "x" * 10**6}, TOOL, HONEST]),
    "odd names": (
        "names that are empty, unprintable, look alike",
        lambda: [
            *(
                {**TOOL, "name": name}
                for name in ("", "\0", "\u202eog", "g\u043e", "go ", "Go", "__proto__", "go\n")
            ),
            TOOL,
            HONEST,
        ],
    ),
    "odd members": (
        "tools with members of the wrong kind",
        lambda: [
            {**TOOL, "name": "a", "inputSchema": []},
            {**TOOL, "name": "b", "annotations": "x"},
            {**TOOL, "name": "c", "title": 7},
            {**TOOL, "name": "d", "outputSchema": "x"},
            {**TOOL, "name": "e", "icons": {}},
            7,
            None,
            TOOL,
            HONEST,
        ],
    ),
    "odd input schemas": (
        "input schemas that run in circles, leave, and backtrack",
        lambda: [
            {**TOOL, "name": "a", "inputSchema": {"type": "object", "$ref": "#"}},
            {**TOOL, "name": "b", "inputSchema": {"type": "object", "$ref": "http://127.0.0.1:9/x"}},
            {**TOOL, "name": "c", "inputSchema": {"type": "object", "properties": {"x": _BACKTRACKS}}},
            TOOL,
            HONEST,
        ],
    ),
    "unique items": (
        "items that must differ",
        lambda: [{**TOOL, "outputSchema": _schema(type="array", uniqueItems=True)}, HONEST],
    ),
    "tools is null": ("null as tools", lambda: None),
    "cursor is a list": ("a list as the next page", lambda: [TOOL, HONEST]),
    "cursor is empty": ("an empty text as the next page", lambda: [TOOL, HONEST]),
    "cursor of 1 MB": ("1 MB as the next page", lambda: [TOOL, HONEST]),
    "endless pages": ("always a next page", lambda: [TOOL, HONEST]),
    "same cursor": ("always the same next page", lambda: [TOOL, HONEST]),
}
"""Name -> what it says, and the tools it lists."""

SAYS: dict[str, str] = {
    **dict.fromkeys(
        ["pattern that backtracks", "doubling schema", "invalid schema"], "text under its schema"
    ),
    **dict.fromkeys(["remote $ref", "$ref to nowhere", "cyclic schema"], "text under its schema"),
    "list schema": "numbers under its schema",
    "unique items": "numbers under its schema",
}
"""What a server that lists so answers to a call; others answer honestly."""

LISTS: dict[str, str] = {
    "structured content that fails": "numbers for schema",
    "no structured content": "numbers for schema",
}
"""What a server that answers so lists; others list honest tools."""


def listed(behaviour: str, params: Message) -> Message:
    """The answer to `tools/list`."""
    _, tools = TOOLS.get(LISTS.get(behaviour, behaviour), ("", lambda: [TOOL, HONEST]))
    if behaviour in _CURSORS:
        return {"tools": tools(), "nextCursor": _CURSORS[behaviour]}
    if behaviour in ("endless pages", "same cursor"):
        number = int(params.get("cursor") or 0)
        if number == 0:
            return {"tools": tools(), "nextCursor": "1"}
        following = number + 1 if behaviour == "endless pages" else 1
        return {"tools": [{**TOOL, "name": f"t{number}"}], "nextCursor": str(following)}
    return {"tools": tools()}
