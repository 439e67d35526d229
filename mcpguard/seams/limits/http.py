"""HTTP of the SDK's transports, within limits: one bad answer costs the call it belongs to.

A copy of the transport's HTTP client sends for it. What comes back is read, decompressed and cut into
messages here, with bounds on each, before the SDK parses anything. Where there is no answer, a broken one or
one that is only a status, the call is answered with an error that keeps the status, `WWW-Authenticate` and
`Retry-After`. The client's own authentication is below and sees what the server said.

Above: `sources`. Below: `replies`, what the client is given; `events`, event streams.
"""

import copy
import logging
from collections.abc import Mapping
from importlib import import_module
from math import inf
from typing import Any, Final

import anyio

from mcpguard.core.result import Fate
from mcpguard.core.wire import LIFECYCLE, LISTINGS
from mcpguard.seams import messages
from mcpguard.seams.limits.aside import ASIDE_BYTES, OURS, PASSED_ON, bound_aside
from mcpguard.seams.limits.events import Events
from mcpguard.seams.limits.frames import Fault, read_answer
from mcpguard.seams.limits.hatch import HANDED_BYTES
from mcpguard.seams.limits.http_wire import (
    asked_in,
    closed,
    cut,
    error_text,
    is_followed,
    seconds,
)
from mcpguard.seams.limits.inflate import TooLarge
from mcpguard.seams.limits.replies import Replies, body_of
from mcpguard.seams.limits.resumptions import Resumptions
from mcpguard.seams.limits.watch import LISTENING, Watch
from mcpguard.seams.messages import Key
from mcpguard.seams.reports import Report
from mcpguard.seams.session import sdk_major

__all__ = ["limited_client"]

_log = logging.getLogger("mcpguard")

_NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"}
)
"""Failures of HTTP libraries that come before anything is sent."""

_SESSION: Final = "mcp-session-id"
"""Header of the session (MCP 2025-11-25, transports)."""

_TOKEN: Final = "last-event-id"  # noqa: S105 - a header's name


def limited_client(client: Any, watch: Watch, *, answers_elsewhere: bool = False) -> Any:
    """A copy of an HTTP client that keeps to the limits of `watch`; the client itself is not changed.

    Args:
        client: An `AsyncClient` of httpx or httpx2.
        watch: The limits, and who is told of those that are hit.
        answers_elsewhere: Whether answers come on a stream of their own (HTTP with SSE, MCP 2024-11-05).
    """
    limited = copy.copy(client)
    limited.send = _Sender(client, watch, answers_elsewhere=answers_elsewhere).send
    return limited


class _Sender:
    """What stands in the place of one client's `send`."""

    def __init__(self, client: Any, watch: Watch, *, answers_elsewhere: bool) -> None:
        self._http: Any = import_module("httpx" if sdk_major() < 2 else "httpx2")
        self._client = copy.copy(client)
        bound_aside(self._client, self._http)
        self._watch = watch
        self._replies = Replies(self._http, watch)
        self._answers_elsewhere = answers_elsewhere
        self._resumptions = Resumptions(watch.limits.resumptions)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request; what is returned is bounded, and for a call always an answer to it."""
        request.extensions[OURS] = True
        await request.aread()  # one that follows a redirect has a stream for a body
        if request.method == "POST":
            method, asked = asked_in(request.content)
            if asked is not None and self._answers_elsewhere:
                return await self._hand_in(request, options, asked)
            if method is not None and asked is not None:
                return await self._call(request, options, method, asked)
            return await self._notify(request, options)
        if request.method == "DELETE":
            return await self._leave(request, options)
        return await self._listen(request, options)

    async def _call(self, request: Any, options: Mapping[str, Any], method: str, id: Key) -> Any:
        """Send a request of the protocol's, and return an answer to it, whatever comes of it."""
        most = inf if method == LISTENING else self._watch.limits.answer_seconds
        until = anyio.current_time() + most
        response: Any = None
        answer = None
        was_sent = True
        scope = anyio.CancelScope(deadline=until)
        try:
            with scope:
                response = await self._client.send(request, **{**options, "stream": True})
                status: int = response.status_code
                self._watch.line.session = response.headers.get(_SESSION, request.headers.get(_SESSION))
                kind = _kind(response)
                if response.next_request is not None and is_followed(response):
                    return self._replies.plain(response, b"")
                if status >= 300:
                    answer = await self._failed(response, request, method, id)
                elif status == 202 or kind not in ("application/json", "text/event-stream"):
                    seen = f"with status {status} and content of type {kind[:64] or 'none'}"
                    answer = self._replies.refused(
                        request, id, "malformed", f"The answer came {seen}.", response
                    )
                elif kind == "application/json":
                    answer = await self._json(response, request, method, id)
                else:
                    events = Events(
                        response,
                        self._watch,
                        self._resumptions,
                        id=id,
                        until=until,
                        hands_in=method not in LIFECYCLE,
                    )
                    answer, response = self._replies.streamed(response, events), None
        except Exception as error:  # noqa: BLE001 - whatever HTTP fails with, it is this call's failure
            name = type(error).__name__
            was_sent = name not in _NOT_SENT or PASSED_ON in request.extensions
            answer = self._replies.lost(request, id, name, was_sent=was_sent)
        finally:
            if response is not None:
                await closed(response)
        if scope.cancelled_caught:
            report = Report.of("answer_timeout", limit="answer_seconds")
            said = f"No answer came within {self._watch.limits.answer_seconds:g} s."
            answer = self._replies.error(request, id, report, said)
        assert answer is not None  # noqa: S101 - each branch above makes one
        return answer

    async def _json(self, response: Any, request: Any, method: str, id: Key) -> Any:
        """The answer in a JSON body."""
        try:
            body = await body_of(response, self._watch.limits.message_bytes)
        except TooLarge:
            return self._replies.refused(request, id, "message_bytes", "", response)
        is_listing = method in LISTINGS
        parsed, body = await read_answer(body, self._watch.limits, id, is_listing=is_listing)
        if isinstance(parsed, Fault):
            return self._replies.refused(request, id, parsed.limit, "", response)
        if messages.body_of(parsed).id is None:
            return self._replies.own(request, parsed, id)
        if len(body) >= HANDED_BYTES and method not in LIFECYCLE:
            await self._watch.hand_in(parsed, id)
            body = self._watch.hatch.token(id)
        return self._replies.plain(response, body)

    async def _failed(self, response: Any, request: Any, method: str, id: Key) -> Any:
        """The answer in a status: the error in its body, if there is one, with what the headers say."""
        status: int = response.status_code
        try:
            body = await body_of(response, min(ASIDE_BYTES, self._watch.limits.message_bytes))
        except (TooLarge, self._http.HTTPError):
            body = b""
        if method in LIFECYCLE:  # the client negotiates by it
            return self._replies.plain(response, body)
        parsed, _ = await read_answer(body, self._watch.limits, id)
        error = None if isinstance(parsed, Fault) else getattr(messages.body_of(parsed), "error", None)
        told = f"The server answered with HTTP status {status}."
        fate = Fate.SENT if status >= 500 and status != 503 else Fate.ANSWERED
        had_session = _SESSION in request.headers
        if status == 404 and had_session:
            told = "The server has forgotten the session."
            self._watch.hit("session", "the server has forgotten the session")
        elif error is not None and status not in (401, 403, 429, 503):
            return self._replies.own(request, parsed, id)
        report = Report.of(
            "http_status",
            fate=fate,
            status=status,
            retryAfter=seconds(response.headers.get("retry-after")),
            wwwAuthenticate=cut(response.headers.get("www-authenticate")),
            data=None if error is None else error.data,
            limit="session" if status == 404 and had_session else None,
        )
        if report.get("limit") == "session":
            self._watch.answer(id, report.error(told))
            self._watch.end("session")
        return self._replies.error(request, id, report, told)

    async def _notify(self, request: Any, options: Mapping[str, Any]) -> Any:
        """Send what expects no answer; what comes of it concerns no call."""
        response = None
        try:
            with anyio.move_on_after(self._watch.limits.write_seconds):
                response = await self._client.send(request, **{**options, "stream": True})
                if response.next_request is not None:
                    return self._replies.plain(response, b"")
        except Exception as error:  # noqa: BLE001 - it must not end the connection
            _log.debug("a notification was not taken: %s", type(error).__name__)
        finally:
            if response is not None:
                await closed(response)
        return self._http.Response(202, request=request)

    async def _hand_in(self, request: Any, options: Mapping[str, Any], id: Key) -> Any:
        """Send a request whose answer comes elsewhere; where it was not taken, answer it."""
        response = None
        failed = "the server did not take it in time"
        try:
            with anyio.move_on_after(self._watch.limits.answer_seconds):
                response = await self._client.send(request, **{**options, "stream": True})
                status: int = response.status_code
                failed = "" if status < 400 else f"the server answered with HTTP status {status}"
                if response.next_request is not None:
                    return self._replies.plain(response, b"")
        except Exception as error:  # noqa: BLE001 - whatever HTTP fails with, it is this call's failure
            failed = f"the HTTP exchange failed with {type(error).__name__}"
        finally:
            if response is not None:
                await closed(response)
        if failed:
            self._watch.lose(id, failed)
        return self._http.Response(202, request=request)

    async def _leave(self, request: Any, options: Mapping[str, Any]) -> Any:
        """End the session, or do not wait for it."""
        response = None
        scope = anyio.move_on_after(self._watch.limits.close_seconds / 2)
        try:
            with scope:
                response = await self._client.send(request, **{**options, "stream": True})
                return self._replies.plain(response, b"")
        finally:
            if response is not None:
                await closed(response)
            if scope.cancelled_caught:
                self._watch.hit("close_seconds", "the server did not end the session in time")
        return self._http.Response(204, request=request)

    async def _listen(self, request: Any, options: Mapping[str, Any]) -> Any:
        """Open a stream of the server's messages, or resume one of answers."""
        origin = self._resumptions.begin(request.headers.get(_TOKEN))
        if origin is not None and self._resumptions.is_exhausted(origin):
            self._watch.hit("resumptions", "an answer's stream was resumed too often")
            said = "The stream of the answer ends again and again."
            return self._unanswered(request, origin, "resumptions", said)
        until = inf if origin is None else anyio.current_time() + self._watch.limits.answer_seconds
        response = None
        with anyio.CancelScope(deadline=until):
            response = await self._client.send(request, **{**options, "stream": True})
        if response is None:
            return self._http.Response(504, request=request)
        status: int = response.status_code
        is_stream = status == 200 and _kind(response) == "text/event-stream"
        if origin is not None and status < 500 and not is_stream and response.next_request is None:
            await closed(response)
            self._watch.hit("http", f"an answer's stream could not be resumed: HTTP status {status}")
            said = f"The stream of the answer ended, and was not resumed: HTTP status {status}."
            return self._unanswered(request, origin, "http", said)
        if status >= 400 or response.next_request is not None:
            await closed(response)
            return self._replies.plain(response, b"")
        events = Events(response, self._watch, self._resumptions, id=origin, until=until)
        return self._replies.streamed(response, events)

    def _unanswered(self, request: Any, origin: Key, limit: str, said: str) -> Any:
        """A stream with nothing but the error with which the call ends that it was to answer."""
        text = error_text(origin, Report.of("connection_lost", limit=limit), said)
        return self._http.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=b"data: " + text + b"\n\n",
            request=request,
        )


def _kind(response: Any) -> str:
    """What an answer says that its body is."""
    told: str = response.headers.get("content-type", "")
    return told.partition(";")[0].strip().lower()
