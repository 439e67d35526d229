"""Calls and results to try an interceptor with: ordinary ones, and shapes that no honest peer sends.

Every value in them that is nobody's name holds `CANARY`, so that it can be told where values end up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mcpguard.core.call import Call, refusal
from mcpguard.core.principal import Principal
from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.run import Run
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import JSON, Direction, JSONObject

__all__ = ["CANARY", "METHODS", "Answered", "Sample", "calls_of", "results_of"]

CANARY: Final = "zq-canary-zq"
"""Part of every argument and result here, and of nothing else."""

_URI: Final = "file:///notes.txt"
_ROUND: Final[JSONObject] = {
    "resultType": "input_required",
    "inputRequests": {"one": {"method": "elicitation/create", "params": {"message": CANARY}}},
    "requestState": CANARY,
}

_TOOL: Final[JSONObject] = {
    "name": "read_file",
    "description": CANARY,
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}

_PARAMS: Final[Mapping[tuple[str, Direction], JSONObject]] = {
    ("tools/call", "outbound"): {
        "name": "read_file",
        "arguments": {"path": CANARY, "options": {"deep": [CANARY, 1, None]}},
    },
    ("prompts/get", "outbound"): {"name": "summary", "arguments": {"text": CANARY}},
    ("resources/read", "outbound"): {"uri": _URI},
    ("resources/subscribe", "outbound"): {"uri": _URI},
    ("resources/unsubscribe", "outbound"): {"uri": _URI},
    ("tools/list", "outbound"): {"cursor": CANARY},
    ("prompts/list", "outbound"): {"cursor": CANARY},
    ("resources/list", "outbound"): {"cursor": CANARY},
    ("resources/templates/list", "outbound"): {"cursor": CANARY},
    ("completion/complete", "outbound"): {
        "ref": {"type": "ref/prompt", "name": "summary"},
        "argument": {"name": "text", "value": CANARY},
    },
    ("logging/setLevel", "outbound"): {"level": "debug"},
    ("subscriptions/listen", "outbound"): {"notifications": {"resourceSubscriptions": [_URI]}},
    ("initialize", "outbound"): {"protocolVersion": "2025-11-25", "capabilities": {}},
    ("server/discover", "outbound"): {},
    ("ping", "outbound"): {},
    ("ping", "inbound"): {},
    ("vendor/unheard-of", "outbound"): {"value": CANARY},
    ("vendor/unheard-of", "inbound"): {"value": CANARY},
    ("sampling/createMessage", "inbound"): {
        "messages": [{"role": "user", "content": {"type": "text", "text": CANARY}}],
        "maxTokens": 10,
        "systemPrompt": CANARY,
    },
    ("elicitation/create", "inbound"): {"message": CANARY, "requestedSchema": {"type": "object"}},
    ("roots/list", "inbound"): {},
    ("notifications/message", "inbound"): {"level": "info", "data": CANARY},
    ("notifications/progress", "inbound"): {"progressToken": 1, "progress": 0.5, "message": CANARY},
    ("notifications/progress", "outbound"): {"progressToken": 1, "progress": 0.5, "message": CANARY},
    ("notifications/resources/updated", "inbound"): {"uri": _URI},
    ("notifications/tools/list_changed", "inbound"): {},
    ("notifications/roots/list_changed", "outbound"): {},
    ("notifications/initialized", "outbound"): {},
    ("notifications/cancelled", "outbound"): {"requestId": 1, "reason": CANARY},
    ("notifications/cancelled", "inbound"): {"requestId": 1, "reason": CANARY},
    ("notifications/vendor/unheard-of", "inbound"): {"value": CANARY},
    ("notifications/vendor/unheard-of", "outbound"): {"value": CANARY},
}

_VALUES: Final[Mapping[str, JSONObject]] = {
    "tools/call": {"content": [{"type": "text", "text": CANARY}], "structuredContent": {"v": CANARY}},
    "tools/list": {"tools": [_TOOL], "nextCursor": CANARY},
    "prompts/list": {"prompts": [{"name": "summary", "description": CANARY}]},
    "resources/list": {"resources": [{"uri": _URI, "name": CANARY}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///{n}", "name": CANARY}]},
    "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": CANARY}}]},
    "resources/read": {"contents": [{"uri": _URI, "text": CANARY}]},
    "completion/complete": {"completion": {"values": [CANARY]}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": CANARY},
        "model": "m",
    },
    "elicitation/create": {"action": "accept", "content": {"value": CANARY}},
    "roots/list": {"roots": [{"uri": _URI, "name": CANARY}]},
}

METHODS: Final = tuple(_PARAMS)
"""The (method, direction) pairs for which there are samples: one unknown method of each kind among them."""


def _nested(depth: int) -> JSON:
    value: JSON = CANARY
    for _ in range(depth):
        value = [value]
    return value


_ODD: Final[Mapping[str, JSON]] = {
    "null": None,
    "a boolean": True,
    "a number": 7,
    "not a number": float("nan"),
    "infinite": float("inf"),
    "an empty string": "",
    "a lone surrogate": "\ud800",
    "text with control characters": "\x00\u202e\u200b\x1b[0m",
    "a huge string": "x" * 20_000,
    "an empty list": [],
    "a list of mixed things": [None, 7, CANARY, [CANARY], {"name": 5}, {"name": "read_file"}, {}],
    "an empty object": {},
    "an object with odd names": {"": CANARY, "\ud800": CANARY, "name": {"name": CANARY}},
    "nested 150 deep": _nested(150),
}


_ODD_META: Final = [(what, _ODD[what]) for what in ("null", "a number", "a list of mixed things")]


@dataclass(frozen=True, slots=True)
class Sample:
    """A call, and in words what is special about it."""

    what: str
    call: Call


@dataclass(frozen=True, slots=True)
class Answered:
    """A result, and in words what is special about it."""

    what: str
    result: Result = field(repr=False)


def calls_of(method: str, direction: Direction) -> Iterator[Sample]:
    """Calls of one method: the ordinary one first, then one by nobody, then one for each odd shape."""
    params = _PARAMS.get((method, direction), {"value": CANARY})
    claims: JSONObject = {"sub": CANARY}
    principal = Principal(tenant="acme", user="ada", agent="tester", roles=frozenset({"a"}), claims=claims)
    ordinary = Call(
        id="sample-1",
        method=method,
        params=params,
        direction=direction,
        server="sample",
        principal=principal,
        run=Run(id="sample-run", principal=principal),
        tool=ToolFacts("read_file", _TOOL) if method == "tools/call" else None,
    )
    yield Sample(method, ordinary)
    nobodys = Call(id="sample-2", method=method, params=params, direction=direction, server="sample")
    yield Sample(f"{method} without a run, a principal or a definition of the tool", nobodys)
    yield Sample(f"{method} without parameters", ordinary.replace(params={}))
    for name in (*params, "_meta"):
        if name in params:
            fewer: JSONObject = {key: value for key, value in params.items() if key != name}
            yield Sample(f"{method} without {name!r}", ordinary.replace(params=fewer))
        for what, value in _ODD.items() if name in params else _ODD_META:
            odd = ordinary.replace(params={**params, name: value})
            yield Sample(f"{method} where {name!r} is {what}", odd)
    if method == "tools/call":
        for what, value in _ODD.items():
            facts = ToolFacts("read_file", {**_TOOL, "inputSchema": value, "annotations": value})
            yield Sample(f"{method} of a tool whose schema is {what}", ordinary.with_tool(facts))


def results_of(method: str) -> Iterator[Answered]:
    """Results of one method: the ordinary one first, one of every other outcome, then the odd shapes."""
    value = _VALUES.get(method, {"value": CANARY})
    ordinary = Result.of(value)
    yield Answered("an ordinary result", ordinary)
    yield Answered("an error of the tool", Result.of({**value, "isError": True}))
    yield Answered("a question back", Result.of(_ROUND))
    denial = replace(refusal(code="sample_denial", reason="a sample"), source="guard")
    yield Answered("a denial", Result.denied(denial))
    error = WireError(-32603, CANARY, {"detail": CANARY})
    yield Answered(
        "an error of the server", Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error)
    )
    yield Answered("a timeout", Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT, cause=TimeoutError(CANARY)))
    for fate in (Fate.SENT, Fate.NOT_SENT):
        lost = Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=ConnectionError(CANARY))
        yield Answered(f"a broken connection ({fate})", lost)
    yield Answered("an empty result", Result.of({}))
    for name in value:
        fewer: JSONObject = {key: member for key, member in value.items() if key != name}
        yield Answered(f"a result without {name!r}", Result.of(fewer))
        for what, odd in _ODD.items():
            yield Answered(f"a result where {name!r} is {what}", Result.of({**value, name: odd}))
