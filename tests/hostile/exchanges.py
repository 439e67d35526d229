"""What a hostile or broken server answers over HTTP, one behaviour each: whatever it writes, byte by byte.

Each is given the call's id, and yields what goes to the socket until it closes. `STREAMS` answers a GET.
"""

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from wire import answer, good, notification, request

Said = Callable[[Any], Iterator[bytes]]


def head(status: str = "200 OK", **headers: str) -> bytes:
    """A status line and headers; `Content_Type` stands for `Content-Type`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


def bomb(fill: bytes = b" ") -> bytes:
    """A gigabyte, compressed: sixty-four times the same block of sixteen megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(fill * (2**24 // len(fill))) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * 64 + packer.flush()


def whole(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer."""
    return (
        head(status, Content_Length=str(len(body)), **{"Content_Type": "application/json", **headers}) + body
    )


def events(*said: bytes, kind: str = "text/event-stream") -> Iterator[bytes]:
    """An event stream that ends."""
    yield head(Content_Type=kind)
    yield from said


def slowly(*said: bytes) -> Iterator[bytes]:
    """Something once, and then its last part for ever, five times a second."""
    yield from said[:-1]
    for piece in repeat(said[-1]):
        yield piece
        time.sleep(0.2)


def event(data: bytes, **fields: Any) -> bytes:
    """One event; other fields stand before its data."""
    lines = [f"{name}: {value}".encode() for name, value in fields.items()]
    return b"\n".join([*lines, b"data: " + data, b"", b""])


RETRIES = [
    "-1",
    "1e9",
    "9" * 40,
    "soon",
    "",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Sat, 00 Foo -1 99:99:99 +9999",
]
"""What `Retry-After` may say."""

EXCHANGES: dict[str, tuple[str, Said]] = {
    "204": ("204", lambda _: iter([head("204 No Content")])),
    "206": ("206, a part", lambda i: iter([whole(good(i), "206 Partial Content")])),
    "304": ("304", lambda _: iter([head("304 Not Modified")])),
    "no status": ("a status that is none", lambda i: iter([whole(good(i), "999 ?")])),
    "early hints for ever": (
        "103 for ever",
        lambda _: slowly(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    ),
    "HTTP/1.0": ("HTTP/1.0", lambda i: iter([whole(good(i)).replace(b"HTTP/1.1", b"HTTP/1.0")])),
    "redirects to itself": (
        "a redirect to itself",
        lambda _: iter([whole(b"", "307 Temporary Redirect", Location="/mcp")]),
    ),
    "redirect with a bomb": (
        "a redirect whose body is 1 GB",
        lambda _: iter(
            [whole(bomb(), "308 Permanent Redirect", Location="/mcp", Content_Encoding="deflate")]
        ),
    ),
    "401 with a bomb": (
        "401 with a body of 1 GB",
        lambda _: iter([whole(bomb(), "401 Unauthorized", Content_Encoding="deflate")]),
    ),
    "401 with 60 kB": (
        "401 with WWW-Authenticate of 60 kB",
        lambda _: iter([whole(b"", "401 Unauthorized", WWW_Authenticate="Bearer " + "x" * 60_000)]),
    ),
    "1 MB of headers": ("1 MB of headers", lambda i: iter([whole(good(i), X_Large="x" * 2**20)])),
    "404 with an answer": ("404 with an answer", lambda i: iter([whole(good(i), "404 Not Found")])),
    **{
        f"503, Retry-After: {given[:12]}": (
            "503 with a Retry-After of its own",
            lambda _, given=given: iter([whole(b"", "503 Service Unavailable", Retry_After=given)]),  # type: ignore[misc]
        )
        for given in RETRIES
    },
    "less than announced": (
        "a length below that of the body",
        lambda i: iter([head(Content_Type="application/json", Content_Length="20") + good(i)]),
    ),
    "two lengths": (
        "two lengths",
        lambda i: iter([whole(good(i)).replace(b"Connection", b"Content-Length: 3\r\nConnection")]),
    ),
    "length below zero": (
        "a length below zero",
        lambda i: iter([head(Content_Type="application/json", Content_Length="-5") + good(i)]),
    ),
    "endless chunk": (
        "a chunk of 2^60 bytes",
        lambda _: slowly(
            head(Content_Type="application/json", Transfer_Encoding="chunked") + b"1000000000000000\r\n", b" "
        ),
    ),
    "trailers for ever": (
        "trailers without an end",
        lambda i: slowly(
            head(Content_Type="application/json", Transfer_Encoding="chunked")
            + b"%x\r\n%s\r\n0\r\n" % (len(good(i)), good(i)),
            b"X-More: 1\r\n",
        ),
    ),
    "gzip twice": ("an encoding twice", lambda i: iter([whole(good(i), Content_Encoding="gzip, gzip")])),
    "zstd": ("zstd", lambda i: iter([whole(good(i), Content_Encoding="zstd")])),
    "half a gzip": (
        "half of what was compressed",
        lambda i: iter([whole(zlib.compress(good(i))[:30], Content_Encoding="deflate")]),
    ),
    "100 and nothing": ("100, and nothing more", lambda _: slowly(b"HTTP/1.1 100 Continue\r\n\r\n", b"")),
    "101": ("101", lambda _: iter([head("101 Switching Protocols", Upgrade="x")])),
    "slow status": ("a status line without an end", lambda _: slowly(b"HTTP/1.1 200 O", b"K")),
    "header without an end": (
        "a header that goes on",
        lambda _: slowly(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 2**16),
    ),
    "odd headers": (
        "headers with bytes that headers cannot hold",
        lambda i: iter([whole(good(i), X_Odd="\0\xff\x0b", X_Folded="a\r\n b")]),
    ),
    "500 cookies": (
        "500 cookies",
        lambda i: iter([whole(good(i)).replace(b"Connection", b"Set-Cookie: a=b\r\n" * 500 + b"Connection")]),
    ),
    "empty body": ("a body of nothing", lambda _: iter([whole(b"")])),
    "blank body": ("a body of spaces", lambda _: iter([whole(b" \r\n" * 100)])),
    "null": ("null as body", lambda _: iter([whole(b"null")])),
    "chunk extensions": (
        "chunks with 10 kB of extensions",
        lambda i: iter(
            [
                head(Content_Type="application/json", Transfer_Encoding="chunked"),
                b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(good(i)), b"x" * 10_000, good(i)),
            ]
        ),
    ),
    "gzip and more": (
        "more behind what was compressed",
        lambda i: iter([whole(gzip.compress(good(i)) + b"more", Content_Encoding="gzip")]),
    ),
    "gzip with a wrong sum": (
        "a checksum that is wrong",
        lambda i: iter([whole(gzip.compress(good(i))[:-8] + b"\0" * 8, Content_Encoding="gzip")]),
    ),
    "UTF-16, as it says": (
        "UTF-16, as it says",
        lambda i: iter(
            [whole(good(i).decode().encode("utf-16"), Content_Type="application/json; charset=utf-16")]
        ),
    ),
    "type in capitals": (
        "its type in capitals",
        lambda i: iter([whole(good(i), Content_Type="APPLICATION/JSON; Charset=UTF-8")]),
    ),
    "events as JSON": ("an event as a JSON body", lambda i: iter([whole(event(good(i)))])),
    "JSON as events": (
        "a JSON body as an event stream",
        lambda i: iter([whole(good(i), Content_Type="text/event-stream")]),
    ),
    "session changes": (
        "another session with the answer",
        lambda i: iter([whole(good(i), Mcp_Session_Id="another")]),
    ),
    "two responses": (
        "a second response behind the first",
        lambda i: iter([(whole(good(i)) + whole(good(i + 1))).replace(b"Connection: close\r\n", b"")]),
    ),
    **{
        f"redirect to {name}": (
            f"a redirect to {name}",
            lambda _, to=to: iter([whole(b"", "302 Found", **to)]),
        )  # type: ignore[misc]
        for name, to in {
            "a file": {"Location": "file:///etc/passwd"},
            "nowhere": {},
            "credentials": {"Location": "http://a:b@127.0.0.1:9/"},
            "no URL": {"Location": "http://[::1"},
        }.items()
    },
    "SSE: a byte at a time": (
        "an event byte by byte",
        lambda i: events(*(bytes([one]) for one in event(good(i)))),
    ),
    "SSE: no end of the event": ("an event that does not end", lambda i: events(b"data: " + good(i))),
    "SSE: stays open": (
        "comments for ever after the answer",
        lambda i: slowly(head(Content_Type="text/event-stream"), event(good(i)), b": still here\n\n"),
    ),
    "SSE: NULs": ("NULs before and in the event", lambda i: events(b"\0\0\n\n", event(good(i), id="\0"))),
    "SSE: names in escapes": (
        "another id, names in escapes",
        lambda i: events(event(good(777).replace(b'"result"', b'"\\u0072esult"')), event(good(i))),
    ),
    "SSE: result far behind": (
        "another id, and its result behind 10 kB",
        lambda i: events(
            event(good(777).replace(b'"result"', b'"x": "' + b"x" * 10_000 + b'", "result"')), event(good(i))
        ),
    ),
    "SSE: request under the call's id": (
        "a request with the id of the call, then its answer",
        lambda i: events(event(request(i, "roots/list")), event(good(i))),
    ),
    "SSE: carriage returns": (
        "lines that end with carriage returns",
        lambda i: events(event(good(i)).replace(b"\n", b"\r")),
    ),
    "SSE: BOM": ("a byte order mark first", lambda i: events(b"\xef\xbb\xbf" + event(good(i)))),
    "SSE: UTF-16": (
        "UTF-16, as it says",
        lambda i: events(event(good(i)).decode().encode("utf-16"), kind="text/event-stream; charset=utf-16"),
    ),
    "SSE: UTF-7": (
        "UTF-7, as it says",
        lambda i: events(
            b"data: " + good(i).decode().encode("utf-7") + b"\n\n", kind="text/event-stream; charset=utf-7"
        ),
    ),
    "SSE: lines of Unicode": (
        "an answer that is a comment, but for line separators",
        lambda i: events(": \u2028data: ".encode() + good(i).replace(b"done", b"smuggled") + b"\n\n"),
    ),
    "SSE: id of 2 MB": ("an event id of 2 MB", lambda i: events(event(b"", id="x" * 2**21), event(good(i)))),
    "SSE: id that is no header": (
        "an event id that no header can hold",
        lambda _: events(event(b"", id="\U0001f600\x00\x0b")),
    ),
    "SSE: a million fields": ("a million fields", lambda i: events(b"x\n" * 10**6, event(good(i)))),
    "SSE: a million data lines": ("a million lines of data", lambda i: events(b"data: [\n" * 10**6, b"\n")),
    "SSE: carriage returns for ever": (
        "4 MB, and then a carriage return at a time",
        lambda _: slowly(head(Content_Type="text/event-stream"), b"data: " + b"x" * 2**22, b"\rx"),
    ),
    "SSE: a bomb": (
        "comments that are 1 GB",
        lambda _: iter(
            [head(Content_Type="text/event-stream", Content_Encoding="deflate"), bomb(b":\n\n\n")]
        ),
    ),
    "SSE: other events": (
        "an answer under another event's name",
        lambda i: events(event(good(i), event="endpoint"), event(good(i), event="x" * 10**5)),
    ),
    "SSE: odd retries": (
        "pauses that are none",
        lambda i: events(
            *(event(b"", retry=one) for one in ("-1", "1e9", "9" * 400, "soon")), event(good(i))
        ),
    ),
    "SSE: answers twice": ("two answers", lambda i: events(event(good(i)), event(good(i)))),
    "SSE: notifications for ever": (
        "notifications without an end",
        lambda _: events(
            *repeat(event(notification("notifications/message", level="info", data="x")) * 100, 10**6)
        ),
    ),
    "SSE: errors of others": (
        "errors with the ids of others",
        lambda i: events(
            *(event(answer(n, error={"code": 1, "message": "m"})) for n in range(100) if n != i)
        ),
    ),
    **{
        f"SSE: resumption {name}": (
            f"a stream that ends, and its resumption {name}",
            lambda _: events(event(b"", id=1)),
        )
        for name in ("hangs", "fails", "is HTML", "redirects", "floods")
    },
    **{
        f"GET {name}": (f"a stream of its own that {name}", lambda i: iter([whole(good(i))]))
        for name in ("hangs", "floods", "ends at once", "is a bomb", "answers calls")
    },
}
"""Name -> what it does, and the bytes that answer a call."""

_FLOOD = event(notification("notifications/message", level="info", data="x")) * 100

STREAMS: dict[str, Callable[[], Iterator[bytes]]] = {
    "SSE: resumption hangs": lambda: slowly(b""),
    "SSE: resumption fails": lambda: iter([whole(b"", "500 Internal Server Error")]),
    "SSE: resumption is HTML": lambda: iter([whole(b"<p>", Content_Type="text/html")]),
    "SSE: resumption redirects": lambda: iter([whole(b"", "307 Temporary Redirect", Location="/mcp")]),
    "SSE: resumption floods": lambda: events(*repeat(_FLOOD, 10**6)),
    "GET hangs": lambda: slowly(b""),
    "GET floods": lambda: events(*repeat(_FLOOD, 10**6)),
    "GET ends at once": lambda: events(b"retry: 0\n\n"),
    "GET is a bomb": lambda: iter(
        [head(Content_Type="text/event-stream", Content_Encoding="deflate"), bomb(b"data: x\n")]
    ),
    "GET answers calls": lambda: events(*(event(good(n)) for n in range(20))),
}
"""Name -> the bytes that answer a GET."""
