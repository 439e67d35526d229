"""An event stream within limits: bounded events, only the call's own answer, and no stream without an end.

It yields the server's events, written anew, less those that may not pass, and one of the guard's own where
the answer is refused or lost. Large messages go through the hatch. Resumption is the SDK's; how often and how
soon it may try is bounded here.

Above: `http`. Below: `frames`, `hatch` and `inflate`. Events are those of the HTML standard, section 9.2.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.detectors.shapes import find_id, is_answer
from mcpguard.seams import messages
from mcpguard.seams.limits.brake import Brake
from mcpguard.seams.limits.frames import THREAD_BYTES, Fault, is_of_another, read, sentence
from mcpguard.seams.limits.hatch import HANDED_BYTES
from mcpguard.seams.limits.inflate import Inflater, Pace, TooLarge
from mcpguard.seams.limits.resumptions import Resumptions
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.messages import Error, Key, Response
from mcpguard.seams.reports import Report

__all__ = ["Events"]

LEAST_RETRY: Final = 0.5
"""Seconds a client waits at least before it resumes, whatever the server says."""

_EVENT_END: Final = re.compile(rb"\n\n")
_TOKEN: Final = re.compile(rb"[!-~]{1,1024}")
"""Event ids that can be sent back in a header; a stream with others cannot be resumed."""


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of the server's.

    Args:
        token: What a resumption may begin after.
        retry: The pause before one that is asked for.
        kind: `message`, or `endpoint`: where requests are to be sent (HTTP with SSE, MCP 2024-11-05).
        data: What it says, on one line, which JSON is the same on.
    """

    token: bytes
    retry: bytes | None
    kind: bytes
    data: bytes


class Events:
    """The body of one event stream.

    Args:
        response: The HTTP answer, unread.
        watch: The limits, and who is told of those that are hit.
        resumptions: Told of events that can be resumed from.
        id: The request that the stream answers; None for a stream of the server's own messages.
        until: When it has lasted too long, by the event loop's clock.
        hands_in: Whether large messages may go through the hatch; the SDK's transport looks at some.
    """

    def __init__(
        self,
        response: Any,
        watch: Watch,
        resumptions: Resumptions,
        *,
        id: Key | None,
        until: float,
        hands_in: bool = True,
    ) -> None:
        self._response = response
        self._watch = watch
        self._resumptions = resumptions
        self._id = id
        self._until = until
        self._hands_in = hands_in
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

    async def _passed(self, text: bytes) -> bytes | None:
        """The event as it goes on: what was looked at, written in one way; None if nothing is left of it."""
        if self._is_answered:
            return None
        take = partial(_event, text, self._watch.limits)
        event = take() if len(text) < THREAD_BYTES else await anyio.to_thread.run_sync(take)
        if event is None:
            return self._refused("containers", text, b"")
        head = b"id: %s\n" % event.token if event.token else b""
        if event.token and self._id is not None:
            self._can_resume = True
            self._resumptions.seen(event.token.decode(), self._id)
        if event.retry is not None:
            head += self._retry(event.retry)
        if event.data and event.kind == b"message":
            return await self._passed_message(event.data, head)
        if event.data and event.kind == b"endpoint" and self._id is None:
            return b"event: endpoint\ndata: %s\n\n" % event.data
        return head + b"\n" if head else None

    async def _passed_message(self, data: bytes, head: bytes) -> bytes | None:
        """An event with a message: as it is, without it, or with a token in its place."""
        message, data = await read(data, self._watch.limits, self._lists)
        if isinstance(message, Fault):
            return self._refused(message.limit, data, head)
        body = messages.body_of(message)
        is_answer = type(body) in (Response, Error)
        if is_answer and self._id is not None:
            if is_of_another(body, self._id):
                return self._refused("id", data, head)
            self._is_answered = True
        self._brake.release()
        if not self._hands_in or len(data) < HANDED_BYTES:
            return b"%sdata: %s\n\n" % (head, data)
        await self._watch.hand_in(message, self._id)
        if self._is_answered and self._id is not None:
            return b"%sdata: %s\n\n" % (head, self._watch.hatch.token(self._id))
        return head + b"\n" if head else None

    def _lists(self, id: Key | None) -> bool:
        """Whether an answer is one to a listing."""
        return self._watch.lists(id if self._id is None else self._id)

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


def _event(text: bytes, limits: ConnectionLimits) -> _Event | None:
    """The event in `text`; None if it has more lines than anybody should look at."""
    if text.count(b"\n") > limits.containers:
        return None
    token, retry, kind, lines = b"", None, b"message", []
    for line in text.split(b"\n"):
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
    return _Event(token=token, retry=retry, kind=kind or b"message", data=b" ".join(lines))
