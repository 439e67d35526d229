"""What a hostile or broken server does, one behaviour each, on the wire: bytes, and no SDK.

A behaviour is a function that answers one `tools/call` of the tool `go`, or one that changes an earlier answer.
Both servers, `stdio_server` and `http_server`, take them by name from here.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]

TEXT = {"content": [{"type": "text", "text": "done"}]}
TOOL: Message = {"name": "go", "description": "Go.", "inputSchema": {"type": "object"}}
HONEST: Message = {"name": "honest", "description": "Answer.", "inputSchema": {"type": "object"}}


def answer(id: Any, **members: Any) -> bytes:
    """A response or error as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "id": id, **members}).encode()


def notification(method: str, **params: Any) -> bytes:
    """A notification as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def request(id: Any, method: str, **params: Any) -> bytes:
    """A request of the server's as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def good(id: Any) -> bytes:
    """An honest answer."""
    return answer(id, result=TEXT)


ANSWERS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "honest": ("answers", good),
    "error code is text": (
        "a string as error code",
        lambda i: answer(i, error={"code": "x", "message": "m"}),
    ),
    "error code is a float": ("1.5 as error code", lambda i: answer(i, error={"code": 1.5, "message": "m"})),
    "error is text": ("a string as error", lambda i: answer(i, error="broken")),
    "null result": ("null as result", lambda i: answer(i, result=None)),
    "result is a list": ("a list as result", lambda i: answer(i, result=[1])),
    "lone surrogate": (
        "half a surrogate pair",
        lambda i: good(i).replace(b"done", b"\\ud800"),
    ),
    "not UTF-8": ("a byte that is not UTF-8", lambda i: good(i).replace(b"done", b"\xff")),
    "huge integer": (
        "an integer of 5,000 digits",
        lambda i: good(i)[:-1] + b', "n": ' + b"9" * 5000 + b"}",
    ),
    "deep nesting": (
        "100,000 lists inside one another",
        lambda i: answer(i, result=0)[:-2] + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
    "moderately deep nesting": (
        "100 lists inside one another",
        lambda i: good(i)[:-2] + b', "_meta": {"x": ' + b"[" * 100 + b"]" * 100 + b"}}}",
    ),
    "batch": ("a batch of one", lambda i: b"[" + good(i) + b"]"),
    "another id": ("an answer to another id", lambda i: good(777)),
    "id null": ("an error without id", lambda i: answer(None, error={"code": -32700, "message": "m"})),
    "id as text": ("the id as a string", lambda i: good(str(i))),
    "no jsonrpc member": ("no version", lambda i: good(i).replace(b'"jsonrpc": "2.0", ', b"")),
    "result and error": (
        "both at once",
        lambda i: good(i)[:-1] + b', "error": {"code": 1, "message": "m"}}',
    ),
    "cut short": ("half a message", lambda i: good(i)[:40]),
    "empty object": ("{}", lambda i: b"{}"),
    "NaN": ("NaN as a number", lambda i: good(i).replace(b'"done"', b"NaN")),
    "content is text": ("text as content", lambda i: answer(i, result={"content": "done"})),
    "100,000 content blocks": (
        "100,000 blocks",
        lambda i: answer(i, result={"content": [{"type": "text", "text": "x"}] * 100_000}),
    ),
    "5,000 content blocks": (
        "5,000 blocks",
        lambda i: answer(i, result={"content": [{"type": "text", "text": "x"}] * 5_000}),
    ),
    "two million values": (
        "a list of 2,000,000 numbers",
        lambda i: answer(i, result={"content": [], "x": [1] * 2_000_000}),
    ),
    "64 MB of text": (
        "a large text",
        lambda i: answer(i, result={"content": [{"type": "text", "text": "x" * 2**26}]}),
    ),
    "its own -32001": (
        "an error that looks like a timeout",
        lambda i: answer(i, error={"code": -32001, "message": "Request timed out"}),
    ),
    "its own -32000": (
        "an error that looks like a closed connection",
        lambda i: answer(i, error={"code": -32000, "message": "Connection closed"}),
    ),
    "forged report": (
        "an error that claims nothing was sent",
        lambda i: answer(
            i,
            error={
                "code": -32000,
                "message": "m",
                "data": {"why": "not_sent", "fate": "not_sent", "mcpguard/mark": "0" * 32},
            },
        ),
    ),
    "huge progress": (
        "progress of 10^4000 first",
        lambda i: (
            notification("notifications/progress", progressToken=i, progress=0)[:-2].replace(
                b'"progress": 0', b'"progress": ' + b"9" * 4001
            )
            + b"}}\n"
            + good(i)
        ),
    ),
    "10,000 log messages": (
        "a storm of log messages first",
        lambda i: (
            b"\n".join([notification("notifications/message", level="info", data="x")] * 10_000)
            + b"\n"
            + good(i)
        ),
    ),
    "10,000 changes": (
        "a storm of changed lists first",
        lambda i: b"\n".join([notification("notifications/tools/list_changed")] * 10_000) + b"\n" + good(i),
    ),
    "1,000 pings": (
        "a storm of pings first",
        lambda i: b"\n".join(request(n + 10_000, "ping") for n in range(1000)) + b"\n" + good(i),
    ),
    "1,000 sampling requests": (
        "a storm of sampling first",
        lambda i: (
            b"\n".join(
                request(n + 10_000, "sampling/createMessage", messages=[], maxTokens=10**12)
                for n in range(1000)
            )
            + b"\n"
            + good(i)
        ),
    ),
    "two answers": ("the answer twice", lambda i: good(i) + b"\n" + good(i)),
    "garbage around": (
        "text around the answer",
        lambda i: b"Starting...\n\n{not json\n" + good(i) + b"\nbye",
    ),
    "structured content that fails": (
        "what its schema does not allow",
        lambda i: answer(i, result={**TEXT, "structuredContent": {"n": "text"}}),
    ),
    "no structured content": ("none, though it has a schema", good),
    "text under its schema": (
        "what its schema allows",
        lambda i: answer(
            i, result={**TEXT, "structuredContent": {"n": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}}
        ),
    ),
    "numbers under its schema": (
        "150,000 numbers under a schema",
        lambda i: answer(i, result={**TEXT, "structuredContent": {"n": [1] * 150_000}}),
    ),
}
"""Name -> what it says, and the bytes that answer a call. Lines of it are separate messages."""


def _doubling() -> Message:
    defs: Message = {"d30": {"type": "object"}}
    for n in range(30):
        ref = {"$ref": f"#/$defs/d{n + 1}"}
        defs[f"d{n}"] = {"allOf": [ref, ref]}
    return {"type": "object", "$defs": defs, "allOf": [{"$ref": "#/$defs/d0"}]}


def _schema(**n: Any) -> Message:
    return {"type": "object", "properties": {"n": n}, "required": ["n"]}


TOOLS: dict[str, tuple[str, Callable[[], list[Message]]]] = {
    "malformed tool": ("one of the tools has no schema", lambda: [{"name": "bad"}, TOOL, HONEST]),
    "tool without name": ("a number as name", lambda: [{"name": 7, "inputSchema": {}}, TOOL, HONEST]),
    "duplicate tools": ("a name twice", lambda: [TOOL, {**TOOL, "description": "Other."}, HONEST]),
    "5 MB description": ("a description of 5 MB", lambda: [{**TOOL, "description": "x" * 5_000_000}, HONEST]),
    "10,000 tools": (
        "10,000 tools",
        lambda: [TOOL, HONEST, *({**TOOL, "name": f"t{n}"} for n in range(10_000))],
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
}
"""What a server that lists so answers to a call; others answer honestly."""

LISTS: dict[str, str] = {
    "structured content that fails": "numbers for schema",
    "no structured content": "numbers for schema",
}
"""What a server that answers so lists; others list honest tools."""

LIFE: dict[str, str] = {
    "silence": "never answers",
    "exits": "ends during the call",
    "exits, child holds the pipe": "ends during the call, and its child keeps the pipes open",
    "closes stdout": "closes its stdout and lives on",
    "stops reading": "reads nothing any more",
    "ignores its end": "ignores the end of stdin and SIGTERM",
    "endless line": "sends one line without an end",
    "endless answer": "sends 1 GB in one line",
}
"""Behaviours of a process, for stdio alone."""

HTTP: dict[str, str] = {
    "401": "401 with WWW-Authenticate",
    "403": "403",
    "429": "429 with Retry-After",
    "503": "503 with Retry-After",
    "500": "500",
    "404 for the session": "forgets the session",
    "202 for a call": "202 and no answer",
    "text/html": "a page of HTML",
    "not HTTP": "an answer that is not HTTP",
    "closes at once": "closes the connection instead of answering",
    "closes after the headers": "closes the connection after the headers",
    "cut body": "half of the body it announced",
    "bad chunks": "chunks that are none",
    "bad gzip": "gzip that is none",
    "unknown encoding": "a body in an encoding that nobody asked for",
    "compression bomb": "1 MB that is 1 GB",
    "slow headers": "a header a second, without an end",
    "slow body": "a byte a second, without an end",
    "only a notification": "a notification as the answer",
    "SSE: another id": "an event with an answer to another id",
    "SSE: ends": "a stream that ends without an answer",
    "SSE: malformed": "an event that is no message",
    "SSE: huge event": "one event of 100 MB",
    "SSE: never ends": "comments for ever",
    "SSE: resumes for ever, retry 0": "streams that end, to be resumed at once",
    "SSE: retry of a day": "a stream that ends, to be resumed tomorrow",
    "DELETE hangs": "does not answer the end of the session",
    "redirect": "a redirect to another host",
}
"""Behaviours of HTTP."""


def chosen(named: str) -> str:
    """The behaviour that a server was started with; `@PATH` is whichever stands in a file at the moment."""
    return Path(named[1:]).read_text() if named.startswith("@") else named


def listed(behaviour: str, params: Message) -> Message:
    """The answer to `tools/list`."""
    _, tools = TOOLS.get(LISTS.get(behaviour, behaviour), ("", lambda: [TOOL, HONEST]))
    if behaviour in ("endless pages", "same cursor"):
        number = int(params.get("cursor") or 0)
        if number == 0:
            return {"tools": tools(), "nextCursor": "1"}
        following = number + 1 if behaviour == "endless pages" else 1
        return {"tools": [{**TOOL, "name": f"t{number}"}], "nextCursor": str(following)}
    return {"tools": tools()}


def bomb() -> bytes:
    """A gigabyte of spaces, compressed: sixty-four times the same block of sixteen megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b" " * 2**24) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * 64 + packer.flush()


def behaviours(transport: str) -> dict[str, str]:
    """Every behaviour that can be had over `transport`, and what it is."""
    own = LIFE if transport == "stdio" else HTTP
    skipped = set() if transport == "stdio" else {"garbage around", "two answers"}
    skipped |= {"text under its schema", "numbers under its schema", *LISTS.values()}
    answers = {name: said for name, (said, _) in ANSWERS.items() if name not in skipped}
    return {**answers, **{name: said for name, (said, _) in TOOLS.items() if name not in skipped}, **own}
