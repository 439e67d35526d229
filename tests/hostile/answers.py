"""What a hostile or broken server answers to one `tools/call` of the tool `go`, one behaviour each."""

from collections.abc import Callable
from typing import Any

from wire import TEXT, answer, good, notification, request


def _content(block: object, id: Any) -> bytes:
    return answer(id, result={"content": [block]})


def _progress(token: Any, number: float) -> bytes:
    return notification("notifications/progress", progressToken=token, progress=number, total=2)


def _lines(id: Any, *before: bytes) -> bytes:
    return b"\n".join([*before, good(id)])


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
    "NUL": ("a NUL in the text", lambda i: good(i).replace(b"done", b"\0")),
    "BOM": ("a byte order mark first", lambda i: b"\xef\xbb\xbf" + good(i)),
    "UTF-16": ("UTF-16", lambda i: good(i).decode().encode("utf-16")),
    "two on a line": ("two answers on a line", lambda i: good(i) + good(i)),
    "carriage returns": ("carriage returns inside", lambda i: good(i).replace(b", ", b",\r") + b"\r"),
    "id as a float": ("the id as a float", lambda i: good(i).replace(b'"id": %d' % i, b'"id": %d.0' % i)),
    "id as a boolean": ("true as id", lambda i: good(True)),
    "id as a list": ("a list as id", lambda i: good([i])),
    "huge id": ("an id of 200 digits", lambda i: good(10**200)),
    "no id": ("an answer without id", lambda i: b'{"jsonrpc": "2.0", "result": {"content": []}}'),
    "two ids": ("another id, and then its own", lambda i: good(777)[:-1] + b', "id": %d}' % i),
    "two ids, large": (
        "its own id, another, and 100 kB",
        lambda i: good(i)[:-1] + b', "x": "' + b"x" * 100_000 + b'", "id": 777}',
    ),
    "id with a sign": ("its id as text, with a sign", lambda i: good(f"+{i}")),
    "id in other digits": (
        "its id in Arabic digits",
        lambda i: good("".join(chr(0x660 + int(n)) for n in str(i))),
    ),
    "id with spaces": ("its id as text, among spaces", lambda i: good(f" {i}\t")),
    "names in escapes": (
        "another id, names in escapes",
        lambda _: good(777).replace(b'"id"', b'"\\u0069d"').replace(b'"result"', b'"\\u0072esult"'),
    ),
    "result far behind": (
        "another id, and its result behind 10 kB",
        lambda _: good(777).replace(b'"result"', b'"x": "' + b"x" * 10_000 + b'", "result"'),
    ),
    "two results": ("two results", lambda i: good(i)[:-1] + b', "result": {"content": []}}'),
    "infinity": ("1e999", lambda i: good(i)[:-2] + b', "_meta": {"x": 1e999}}}'),
    "numbers in structured content": (
        "numbers that are none, in structured content",
        lambda i: answer(i, result={**TEXT, "structuredContent": {"n": 1}}).replace(
            b'"n": 1', b'"n": [NaN, -Infinity, -0, 1e-999, 1E400]'
        ),
    ),
    "deep meta": (
        "55 objects inside one another as _meta",
        lambda i: answer(i, result={**TEXT, "_meta": 0}).replace(
            b": 0}", b": " + b'{"x": ' * 55 + b"0" + b"}" * 56
        ),
    ),
    "odd blocks": (
        "an image that is none, a link to a script, a resource of nobody",
        lambda i: answer(
            i,
            result={
                "content": [
                    {"type": "image", "data": "!", "mimeType": "\r\n"},
                    {"type": "resource_link", "uri": "javascript:alert(1)", "name": ""},
                    {"type": "resource", "resource": {"uri": "", "blob": "!"}},
                    {"type": "text", "text": "\x1b[2J\0"},
                ]
            },
        ),
    ),
    "all answers again": ("every earlier answer again", lambda i: _lines(i, *(good(n) for n in range(i)))),
    "a prompt before it": ("a prompt on the line of the answer", lambda i: b"> " + good(i)),
    "spaces before it": ("16 MB of spaces before the answer", lambda i: b" " * 2**24 + good(i)),
    "a long line before it": ("a line of 16 MB first", lambda i: b"x" * 2**24 + b"\n" + good(i)),
    "answer and request": ("a result and a method", lambda i: good(i)[:-1] + b', "method": "ping"}'),
    "error without code": ("an error without code", lambda i: answer(i, error={"message": "m"})),
    "error is null": ("null as error", lambda i: answer(i, error=None)),
    "huge error": ("an error of 1 MB", lambda i: answer(i, error={"code": -1, "message": "m" * 10**6})),
    "content is null": ("null as content", lambda i: answer(i, result={"content": None})),
    "no content": ("{} as result", lambda i: answer(i, result={})),
    "unknown content": ("a kind of content that is none", lambda i: _content({"type": "hologram"}, i)),
    "image without data": ("an image without data", lambda i: _content({"type": "image"}, i)),
    "block is text": ("text as a block", lambda i: _content("done", i)),
    "isError is text": ("text as isError", lambda i: answer(i, result={**TEXT, "isError": "perhaps"})),
    "structured content is a list": (
        "a list as structured content",
        lambda i: answer(i, result={**TEXT, "structuredContent": [1]}),
    ),
    "meta is text": ("text as _meta", lambda i: answer(i, result={**TEXT, "_meta": "x"})),
    "wants input for ever": (
        "input_required, in a session that has none",
        lambda i: answer(
            i, result={"resultType": "input_required", "inputRequests": {}, "requestState": "x"}
        ),
    ),
    "a task": (
        "a task in place of a result",
        lambda i: answer(
            i, result={"task": {"taskId": "1", "status": "working", "ttl": 1, "createdAt": "x"}}
        ),
    ),
    "progress backwards": (
        "progress that goes back, beyond its total, and of nobody",
        lambda i: _lines(i, *(_progress(t, n) for t in (i, 777, "x") for n in (5, 1, -1, 1e308))),
    ),
    "progress is NaN": (
        "NaN as progress",
        lambda i: _lines(i, _progress(i, float("nan")), _progress(i, float("inf")), _progress(None, 1)),
    ),
    "cancels our request": (
        "cancels the call, and then answers it",
        lambda i: _lines(i, notification("notifications/cancelled", requestId=i, reason="x" * 10**5)),
    ),
    "notifications of any kind": (
        "notifications that are none",
        lambda i: _lines(
            i,
            notification("x/y"),
            notification("notifications/initialized"),
            notification("notifications/message", level=7, data=None),
            notification("notifications/resources/updated", uri=[]),
            b'{"jsonrpc": "2.0", "method": "notifications/message", "params": [1]}',
            b'{"jsonrpc": "2.0", "method": 7}',
        ),
    ),
    "request under the call's id": (
        "requests with the id of the call",
        lambda i: _lines(i, request(i, "ping"), request(i, "roots/list"), request(i, "ping")),
    ),
    "requests of any kind": (
        "requests that are none",
        lambda i: _lines(
            i,
            request(1, "tools/call", name="go", arguments={}),
            request("x" * 10**5, "x/y"),
            request(2, "elicitation/create", message=7),
            request(3, "sampling/createMessage"),
            request(4, "initialize", protocolVersion="x"),
        ),
    ),
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
