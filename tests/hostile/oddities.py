"""Further behaviours, which a server shows one after another on one connection: quick, and none ends it.

`SAYS` is said to a call over both transports, `WHOLE` over HTTP; `SCHEMAS` are listed as a tool's output schema.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import answers
import listings
from exchanges import event, head, whole
from wire import HONEST, TEXT, TOOL, Message, answer, good, notification, request

_LARGE = "x" * 2**20
_ODD_IDS: tuple[Any, ...] = (None, 1.5, {}, [], True, "", {"a": []}, 10**30, "x" * 10**5)
_METHODS = ("tools", "prompts", "resources", "roots")


def _text(said: str, **members: Any) -> Message:
    return {"content": [{"type": "text", "text": said, **members}]}


def _lines(id: Any, *before: bytes) -> bytes:
    return b"\n".join([*before, good(id)])


def _error(id: Any, code: Any, said: str = "m", **more: Any) -> bytes:
    return answer(id, error={"code": code, "message": said, **more})


SAYS: dict[str, Callable[[Any], bytes]] = {
    "pings with odd ids": lambda i: _lines(i, *(request(odd, "ping") for odd in _ODD_IDS)),
    "cancels odd ids": lambda i: _lines(
        i, *(notification("notifications/cancelled", requestId=odd) for odd in _ODD_IDS)
    ),
    "progress of odd tokens": lambda i: _lines(
        i, *(notification("notifications/progress", progressToken=odd, progress=1) for odd in _ODD_IDS)
    ),
    "members named as Python's": lambda i: answer(
        i,
        result={
            **TEXT,
            **dict.fromkeys(("self", "cls", "model_config", "model_dump", "__class__", "root"), 1),
        },
    ),
    "result thrice": lambda i: good(i)[:-1] + b', "result": {"content": 7}, "result": {"content": []}}',
    "a thousand methods": lambda i: _lines(i, *(notification(f"x/{n}") for n in range(1000))),
    "line separators": lambda i: good(i).replace(b"done", "a\u2028b\u2029c\u0085d".encode()),
    "controls in escapes": lambda i: good(i).replace(b"done", b"\\u0000\\u001c\\ufeff\\uffff\\udbff\\udfff"),
    "a carriage return at its end": lambda i: good(i) + b"\r",
    "error code of 200 digits": lambda i: _error(i, 10**200),
    "error with a surrogate": lambda i: _error(i, 1, "\ud800"),
    "a page to visit": lambda i: _error(
        i, -32042, data={"elicitations": [{"mode": "url", "url": "javascript:"}]}
    ),
    "pages to visit that are none": lambda i: _error(i, -32042, data=[{"elicitations": 7}]),
    "another version": lambda i: _error(i, -32022, data={"supported": ["9999-99-99"], "requested": 7}),
    "other headers": lambda i: _error(i, -32020),
    "annotations out of range": lambda i: answer(
        i, result=_text("x", annotations={"priority": 7, "audience": ["x"], "lastModified": 5})
    ),
    "audience of lists": lambda i: answer(i, result=_text("x", annotations={"audience": [[], {}]})),
    "a list as kind of block": lambda i: answer(i, result={"content": [{"type": ["text"], "text": "x"}]}),
    "an object as kind of block": lambda i: answer(i, result={"content": [{"type": {}, "text": "x"}]}),
    "a kind of result of tomorrow": lambda i: answer(i, result={**TEXT, "resultType": "tomorrow"}),
    "a list as kind of result": lambda i: answer(i, result={**TEXT, "resultType": ["complete"]}),
    "the protocol's names in _meta": lambda i: answer(
        i,
        result={
            **TEXT,
            "_meta": {f"io.modelcontextprotocol/{name}": 7 for name in ("related-task", "x", "")},
        },
    ),
    "numbers beyond": lambda i: (
        good(i)[:-2] + b', "_meta": {"a": 1e400, "b": -1e400, "c": 1e-400, "d": -0}}}'
    ),
    "questions a client is not asked": lambda i: _lines(
        i,
        *(
            request(f"q{n}", name)
            for n, name in enumerate(("logging/setLevel", "server/discover", "tasks/list"))
        ),
    ),
    "changes of all there is": lambda i: _lines(
        i, *(notification(f"notifications/{name}/list_changed") for name in _METHODS)
    ),
    "a question, taken back and asked again": lambda i: _lines(
        i,
        request("q", "sampling/createMessage", messages=[], maxTokens=1),
        notification("notifications/cancelled", requestId="q"),
        request("q", "roots/list"),
    ),
    "a large log message": lambda i: _lines(
        i, notification("notifications/message", level="info", data=_LARGE)
    ),
    "a large question": lambda i: _lines(i, request("large", "ping", x=_LARGE)),
    "a large answer to nobody": lambda i: _lines(i, answer(777, result=_text(_LARGE))),
    "a large answer": lambda i: answer(i, result=_text(_LARGE)),
    "a large error": lambda i: _error(i, 1, _LARGE),
    "a large answer that is cut": lambda i: answer(i, result=_text(_LARGE))[:-1],
    "a guessed token": lambda i: answer(i, result={**TEXT, "mcpguard/token": ["x"]}),
    "an image of nothing": lambda i: answer(
        i, result={"content": [{"type": "image", "data": "\u2028", "mimeType": ""}] * 700}
    ),
}
"""Name -> the lines that answer a call."""

_LATE = b'{"jsonrpc": "2.0", "result": %s, "id": 777}' % json.dumps(_text(_LARGE)).encode()


def _events(*said: bytes, **headers: str) -> bytes:
    return head(**{"Content_Type": "text/event-stream", **headers}) + b"".join(said)


def _body(id: Any, status: str = "200 OK", **headers: str) -> bytes:
    return whole(good(id), status, **headers)


WHOLE: dict[str, Callable[[Any], bytes]] = {
    "no type": lambda i: head(Content_Length=str(len(good(i)))) + good(i),
    "two types": lambda i: _body(i, Content_Type="application/json, text/event-stream"),
    **{
        f"status {status}": lambda i, status=status: _body(i, f"{status} X")  # type: ignore[misc]
        for status in (201, 226, 300, 402, 405, 410, 421, 425, 451, 501, 508, 600, 999, 20)
    },
    "303": lambda _: whole(b"", "303 See Other", Location="/mcp"),
    "426": lambda _: whole(b"", "426 Upgrade Required", Upgrade="h2c"),
    "400 with an error of another": lambda _: whole(_error(777, 1), "400 Bad Request"),
    "400 with an error of nobody": lambda _: whole(_error(None, 1), "400 Bad Request"),
    "401 with an odd scheme": lambda _: whole(
        b"", "401 X", WWW_Authenticate='Digest ,,=== resource_metadata="file:///"'
    ),
    "gzip of nothing": lambda _: whole(gzip.compress(b""), Content_Encoding="gzip"),
    "gzip in parts": lambda i: whole(
        gzip.compress(good(i)[:9]) + gzip.compress(good(i)[9:]), Content_Encoding="gzip"
    ),
    "deflate without its header": lambda i: whole(zlib.compress(good(i))[2:-4], Content_Encoding="deflate"),
    "no encoding": lambda i: _body(i, Content_Encoding=""),
    "chunks below zero": lambda i: (
        head(Content_Type="application/json", Transfer_Encoding="chunked") + b"-5\r\n"
    ),
    "a length and chunks": lambda i: (
        head(Content_Type="application/json", Content_Length="5", Transfer_Encoding="chunked")
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(good(i)), good(i))
    ),
    "a space before the colon": lambda i: _body(i).replace(b"Content-Type:", b"Content-Type :"),
    "line feeds alone": lambda i: _body(i).replace(b"\r\n", b"\n"),
    "HTTP/2": lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an alert of TLS": lambda _: b"\x15\x03\x01\x00\x02\x02\x28",
    "an odd session": lambda i: _body(i, Mcp_Session_Id="\xe9 \t"),
    "events: a batch": lambda i: _events(event(b"[" + good(i) + b"]")),
    "events: a long comment": lambda i: _events(b": " + b"x" * 2**22 + b"\n\n", event(good(i))),
    "events: compressed": lambda i: _events(gzip.compress(event(good(i))), Content_Encoding="gzip"),
    "events: no colon": lambda i: _events(b"data\nid\nretry\nevent\n\n", event(good(i))),
    "events: cut in a string": lambda i: _events(
        b"data: " + good(i)[:40] + b"\ndata: " + good(i)[40:] + b"\n\n"
    ),
    "events: not UTF-8": lambda i: _events(event(good(i).replace(b"done", b"\xff\xfe"))),
    "events: 3,000 ids": lambda i: _events(*(event(b"", id=n) for n in range(3000)), event(good(i))),
    "events: many lines": lambda i: _events(b"data:\n" * 20_000 + b"data: " + good(i) + b"\n\n"),
    "events: large, its id behind": lambda i: _events(event(_LATE), event(good(i))),
    "events: large, thrice": lambda i: _events(event(answer(i, result=_text(_LARGE))) * 3),
    "events: large, without an end": lambda i: _events(event(answer(i, result=_text(_LARGE)))[:-2]),
    "events: large answers to nobody": lambda i: _events(event(_LATE) * 9, event(good(i))),
    "events: a large error of nobody": lambda _: _events(event(_error(None, 1, _LARGE))),
    "large, its id behind": lambda _: whole(_LATE),
    "a large question as the answer": lambda _: whole(request("q", "ping", x=_LARGE)),
}
"""Name -> the bytes that answer a call over HTTP."""


def _schema(**n: Any) -> Message:
    return {"type": "object", "properties": {"n": n}}


SCHEMAS: dict[str, Any] = {
    "a dynamic reference": _schema(**{"$dynamicRef": "#meta"}),
    "a recursive reference": _schema(**{"$recursiveRef": "#"}),
    "a reference to a file": {"$id": "file:///etc/passwd", **_schema(**{"$ref": "shadow"})},
    "a reference to an anchor": {"$defs": {"a": {"$anchor": "q"}}, **_schema(**{"$ref": "#q"})},
    "a reference to the left": {"allOf": [True], **_schema(**{"$ref": "#/allOf/-1"})},
    "a reference in escapes": _schema(**{"$ref": "#/%70roperties/m"}),
    "an unknown dialect": {"$schema": "http://127.0.0.1:9/x", **_schema(type="string")},
    "a number as dialect": {"$schema": 5, **_schema(type="string")},
    "draft 3": {"$schema": "http://json-schema.org/draft-03/schema#", **_schema(required=True)},
    "names that backtrack": {"type": "object", "patternProperties": {"^(a+)+$": {"type": "string"}}},
    "names of names that backtrack": {"type": "object", "propertyNames": {"pattern": "(n+n+)+y"}},
    "a pattern that is none": _schema(pattern="("),
    "a multiple of nothing": _schema(multipleOf=0),
    "a multiple of next to nothing": _schema(multipleOf=1e-300),
    "infinitely long": _schema(minLength=float("inf")),
    "text as required": {"type": "object", "required": "n"},
    "names without a schema": {"type": "object", "unevaluatedProperties": {"type": "integer"}},
    "a list as schema": [],
    "true": True,
    "300 alternatives": {"type": "object", "oneOf": [_schema(type="string")] * 300},
    "not not": {"type": "object", "not": {"not": {"not": {"$ref": "#"}}}},
    "if itself": {"type": "object", "if": {"$ref": "#"}, "then": False},
    "5,000 required": {"type": "object", "required": [f"k{n}" for n in range(5000)]},
}
"""Name -> an output schema; the answer has one member `n`, a text."""


def said(behaviour: str, id: Any) -> bytes:
    """What answers a call, of this behaviour or of one that is shown alone."""
    if behaviour in SAYS:
        return SAYS[behaviour](id)
    if behaviour in SCHEMAS:
        return answers.ANSWERS["text under its schema"][1](id)
    name = behaviour if behaviour in answers.ANSWERS else listings.SAYS.get(behaviour, "honest")
    return answers.ANSWERS[name][1](id)


def listed(behaviour: str, params: Message) -> Message:
    """The answer to `tools/list`."""
    if behaviour in SCHEMAS:
        return {"tools": [{**TOOL, "outputSchema": SCHEMAS[behaviour]}, HONEST]}
    return listings.listed(behaviour, params)
