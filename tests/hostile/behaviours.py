"""What a hostile or broken server does, one behaviour each.

Both servers, `stdio_server` and `http_server`, take them by name from here. Below: `answers`, what is said to a
call; `listings`, what is said to `tools/list`.
"""

from pathlib import Path

from answers import ANSWERS
from exchanges import EXCHANGES
from listings import LISTS, TOOLS

LIFE: dict[str, str] = {
    "silence": "never answers",
    "exits": "ends during the call",
    "exits, child holds the pipe": "ends during the call, and its child keeps the pipes open",
    "closes stdout": "closes its stdout and lives on",
    "stops reading": "reads nothing any more",
    "half a line": "half an answer, and nothing more",
    "answers, then exits": "answers, and ends",
    "answers ahead": "answers the next call before it is made",
    "closes stdin": "closes its stdin and lives on",
    "closes both": "closes both and lives on",
    "stops itself": "stops itself, so that no SIGTERM reaches it",
    "floods stderr": "10 MB to its stderr first",
    "empty lines for ever": "empty lines without an end",
    "no message for ever": "lines without an end that are no messages",
    "notifications for ever": "notifications without an end",
    "ignores its end": "ignores the end of stdin and SIGTERM",
    "a byte at a time": "writes its answer byte by byte",
    "in two halves": "pauses in the middle of its answer",
    "NULs for ever": "NULs without an end, and no line",
    "exits within its answer": "ends in the middle of its answer",
    "answers, then closes stdout": "answers, closes its stdout and lives on",
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
    "resets": "resets the connection in the middle of the body",
    **{name: said for name, (said, _) in EXCHANGES.items()},
}
"""Behaviours of HTTP."""


OPENING = "opening: "
"""Before the name of a behaviour: it is shown in the place of the handshake, and not to a call."""

OPENINGS: dict[str, list[str]] = {
    "stdio": [
        "honest",
        "silence",
        "exits",
        "closes stdout",
        "not UTF-8",
        "batch",
        "another id",
        "null result",
        "error code is text",
        "two million values",
        "100,000 content blocks",
        "1,000 sampling requests",
        "empty lines for ever",
        "endless line",
        "half a line",
    ],
    "http": [
        "honest",
        "401",
        "404 for the session",
        "500",
        "202 for a call",
        "text/html",
        "not HTTP",
        "closes at once",
        "cut body",
        "compression bomb",
        "slow headers",
        "only a notification",
        "SSE: another id",
        "SSE: never ends",
        "SSE: retry of a day",
        "SSE: a bomb",
        "redirects to itself",
        "early hints for ever",
    ],
}
"""Behaviours that are tried in the place of the handshake."""


def chosen(named: str) -> str:
    """The behaviour that a server was started with; `@PATH` is whichever stands in a file at the moment."""
    return Path(named[1:]).read_text() if named.startswith("@") else named


def behaviours(transport: str) -> dict[str, str]:
    """Every behaviour that can be had over `transport`, and what it is."""
    own = LIFE if transport == "stdio" else HTTP
    skipped = set() if transport == "stdio" else {"garbage around", "two answers", "a long line before it"}
    skipped |= {"text under its schema", "numbers under its schema", *LISTS.values()}
    answers = {name: said for name, (said, _) in ANSWERS.items() if name not in skipped}
    return {**answers, **{name: said for name, (said, _) in TOOLS.items() if name not in skipped}, **own}
