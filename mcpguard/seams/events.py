"""An event stream within limits: bounded events, only the call's own answer, and no stream without an end.

It yields the server's events, written anew, less those that may not pass, and one of the guard's own where
the answer is refused or lost. Resumption is the SDK's; how often and how soon it may try is bounded here.

Above: `http`. Below: `frames` and `inflate`. Events are those of the HTML standard, section 9.2.
"""

import json
import re
from codecs import BOM_UTF8
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.detectors.shapes import find_id, is_answer, shape_fault
from mcpguard.seams import messages
from mcpguard.seams.brake import Brake
from mcpguard.seams.frames import THREAD_BYTES, Fault, parse, sentence
from mcpguard.seams.inflate import Inflater, Pace, TooLarge
from mcpguard.seams.messages import Error, Key, Response, id_key
from mcpguard.seams.reports import Report
from mcpguard.seams.session import sdk_major
from mcpguard.seams.watch import Watch

__all__ = ["Events", "Resumptions", "answer_fault"]

LEAST_RETRY: Final = 0.5
"""Seconds a client waits at least before it resumes, whatever the server says."""

MAX_TOKENS: Final = 4096
"""Event ids remembered, to tell which answer a resumption is for."""

PARSED_BYTES: Final = 2**16
"""Messages up to this size are parsed here too; larger ones the SDK of 2.x answers itself if it cannot."""

_EVENT_END: Final = re.compile(rb"\n\n")
_TOKEN: Final = re.compile(rb"[!-~]{1,1024}")
"""Event ids that can be sent back in a header; a stream with others cannot be resumed."""


class Resumptions:
    """Which answers' streams have been resumed, and how often.

    Args:
        most: How often one may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._origins: OrderedDict[str, Key] = OrderedDict()
        self._counts: OrderedDict[Key, int] = OrderedDict()

    def seen(self, token: str, id: Key) -> None:
        """An event of the stream that answers `id` can be resumed from."""
        self._origins[token] = id
        if len(self._origins) > MAX_TOKENS:
            self._origins.popitem(last=False)

    def begin(self, token: str | None) -> Key | None:
        """A stream is resumed after `token`: the request it answers, if that is known."""
        origin = None if token is None else self._origins.get(token)
        if origin is not None:
            self._counts[origin] = self._counts.get(origin, 0) + 1
            self._counts.move_to_end(origin)
            if len(self._counts) > MAX_TOKENS:
                self._counts.popitem(last=False)
        return origin

    def is_exhausted(self, id: Key | None) -> bool:
        """Whether that was once too often."""
        return id is not None and self._counts.get(id, 0) > self._most


class Events:
    """The body of one event stream.

    Args:
        response: The HTTP answer, unread.
        watch: The limits, and who is told of those that are hit.
        resumptions: Told of events that can be resumed from.
        id: The request that the stream answers; None for a stream of the server's own messages.
        until: When it has lasted too long, by the event loop's clock.
    """

    def __init__(
        self, response: Any, watch: Watch, resumptions: Resumptions, *, id: Key | None, until: float
    ) -> None:
        self._response = response
        self._watch = watch
        self._resumptions = resumptions
        self._id = id
        self._until = until
        self._can_resume = False
        self._is_answered = False
        self._buffer = bytearray()
        self._has_begun = False
        self._has_half_end = False
        self._brake = Brake()
        self._pace = Pace()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Events that may pass, whole."""
        limit: str | None = None
        try:
            inflater = Inflater(self._response.headers.get("content-encoding"))
            raw = self._response.aiter_raw()
            while not self._is_answered and limit is None:
                chunk = None
                with anyio.CancelScope(deadline=self._until) as scope:
                    chunk = await anext(raw, None)
                if scope.cancelled_caught:
                    limit = "answer_seconds"
                    break
                for piece in self._last_piece() if chunk is None else inflater.pieces(chunk):
                    await self._pace.take(len(piece))
                    for event in self._cut(piece):
                        passed = await self._passed(event)
                        if passed is not None:
                            yield passed
                        await self._brake.slow()
                    if len(self._buffer) > self._watch.limits.message_bytes:
                        limit = "message_bytes"
                        break
                if chunk is None:
                    break
        except TooLarge:
            limit = "message_bytes"
        except Exception as error:  # noqa: BLE001 - a broken stream is one that has ended
            self._watch.hit("http", f"an event stream broke with {type(error).__name__}")
        if limit is not None:
            self._watch.hit(limit, f"an event stream was ended: {sentence(limit)}")
        if self._id is not None and not self._is_answered and (limit is not None or not self._can_resume):
            yield self._lost(self._id, limit)

    async def aclose(self) -> None:
        """Let go of the stream."""
        await self._response.aclose()

    def _last_piece(self) -> tuple[bytes, ...]:
        """What the end of the stream says: that a line's end was whole."""
        return (b"\n",) if self._has_half_end else ()

    def _cut(self, piece: bytes) -> list[bytes]:
        """The events that `piece` completes."""
        begun = max(0, len(self._buffer) - 2)
        if self._has_half_end:
            piece = b"\r" + piece
        self._has_half_end = piece.endswith(b"\r")  # of a line, perhaps
        self._buffer += piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._has_begun and len(self._buffer) >= len(BOM_UTF8):
            self._has_begun = True
            if self._buffer.startswith(BOM_UTF8):
                del self._buffer[: len(BOM_UTF8)]
        events: list[bytes] = []
        while (match := _EVENT_END.search(self._buffer, begun)) is not None:
            events.append(bytes(self._buffer[: match.end()]))
            del self._buffer[: match.end()]
            begun = 0
        return events

    async def _passed(self, event: bytes) -> bytes | None:
        """The event as it goes on: what was looked at, written in one way; None if nothing is left of it."""
        if self._is_answered:
            return None
        if event.count(b"\n") > self._watch.limits.containers:
            return self._refused("containers", event, b"")
        token, retry, kind, lines = b"", None, b"message", []
        for line in event.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                lines.append(value)
            elif name == b"id" and _TOKEN.fullmatch(value):
                token = value
            elif name == b"retry":
                retry = value
            elif name == b"event":
                kind = value
        data = b" ".join(lines)  # JSON is the same on one line
        head = b"id: %s\n" % token if token else b""
        if token and self._id is not None:
            self._can_resume = True
            self._resumptions.seen(token.decode(), self._id)
        if retry is not None:
            head += self._retry(retry)
        if data and kind in (b"message", b""):
            look = partial(_event_fault, data, self._watch.limits, self._id)
            is_large = len(data) >= THREAD_BYTES
            limit, self._is_answered = await anyio.to_thread.run_sync(look) if is_large else look()
            if limit is not None:
                return self._refused(limit, data, head)
            self._brake.release()
            return b"%sdata: %s\n\n" % (head, data)
        if data and kind == b"endpoint" and self._id is None:
            return b"event: endpoint\ndata: %s\n\n" % data  # HTTP with SSE, MCP 2024-11-05
        return head + b"\n" if head else None

    def _refused(self, limit: str, data: bytes, head: bytes) -> bytes | None:
        """What goes on in the place of a message that does not."""
        rest = head + b"\n" if head else None
        if self._id is None:
            self._watch.refused(Fault(limit, find_id(data), is_answer(data)))
            self._watch.wake()
            return rest
        self._watch.hit(limit, f"an event of the server was refused: {sentence(limit)}")
        return rest if limit == "id" or not is_answer(data) else self._lost(self._id, limit)

    def _lost(self, id: Key, limit: str | None) -> bytes:
        self._is_answered = True
        if limit is None:
            report, said = Report.of("connection_lost", limit="http"), "The stream ended without an answer."
        elif limit == "answer_seconds":
            report, said = Report.of("answer_timeout", limit=limit), "No answer came in time."
        else:
            report = Report.of("refused_answer", limit=limit)
            said = f"The answer was refused: {sentence(limit)}."
        told = report.error(said)
        error = {"code": told.code, "message": told.message, "data": report.marked}
        return b"data: " + json.dumps({"jsonrpc": "2.0", "id": id, "error": error}).encode() + b"\n\n"

    def _retry(self, given: bytes) -> bytes:
        """The pause that the server asks for, within bounds."""
        most = self._watch.limits.retry_seconds
        asked = 1.0 if not given.isdigit() else int(given) / 1000 if len(given) < 12 else most
        return b"retry: %d\n" % round(1000 * min(max(asked, LEAST_RETRY), most))


def _event_fault(data: bytes, limits: ConnectionLimits, id: Key | None) -> tuple[str | None, bool]:
    """What speaks against a message in an event, and whether it is the answer to `id`."""
    if id is not None and len(data) > PARSED_BYTES and sdk_major() > 1 and is_answer(data):
        fault = answer_fault(data, limits, id)
        return fault, fault is None
    parsed = parse(data, limits)
    if isinstance(parsed, Fault):
        return parsed.limit, False
    body = messages.body_of(parsed)
    if id is None or type(body) not in (Response, Error):
        return None, False
    return ("id", False) if _is_of_another(body, id) else (None, True)


def answer_fault(text: bytes, limits: ConnectionLimits, id: Key) -> str | None:
    """Why `text` is no answer to `id`: the limit it breaks, `malformed`, or `id` for another request's."""
    if len(text) > PARSED_BYTES and sdk_major() > 1:
        found = find_id(text)
        return "id" if found is not None and id_key(found) != id_key(id) else shape_fault(text, limits)
    parsed = parse(text, limits)
    if isinstance(parsed, Fault):
        return parsed.limit
    body = messages.body_of(parsed)
    if type(body) not in (Response, Error):
        return "malformed"
    return "id" if _is_of_another(body, id) else None


def _is_of_another(body: Any, id: Key) -> bool:
    return body.id is not None and id_key(body.id) != id_key(id)
