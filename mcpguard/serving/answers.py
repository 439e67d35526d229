"""An answer in one body where nothing comes before it, on connections that have sessions.

The SDK opens an event stream for each request, and with it five tasks. Here it is done as the SDK does it for
clients of MCP 2026-07-28: an answer is waited for; what comes before it (progress, logs, questions of a
server's), or a while without anything, opens the stream. A client must accept both (MCP 2025-11-25,
transports), and the SDK sees that it does.

What is done with a session is read from names of the SDK's own: where one has moved, everything is streamed.
Above: `endpoint`. Below: the SDK's sessions, both majors.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

import anyio

from mcpguard.serving.messages import inner, is_request, message_in

__all__ = ["Answers"]

PATIENCE: Final = 2.0
"""Seconds before a stream is opened, which shows that it is alive: proxies close what is silent for long."""

_POST: Final = "_handle_post_request"
_NEEDED: Final = (
    _POST,
    "_check_content_type",
    "_clean_up_memory_streams",
    "_create_error_response",
    "_create_event_data",
    "_create_json_response",
    "_create_session_message",
    "_read_stream_writer",
    "_request_streams",
    "_run_sse_writer",
    "_sse_stream_writers",
    "_validate_accept_header",
    "_validate_request_headers",
)
_NOTHING: Final = object()
_SESSION: Final = "mcp-session-id"
_VERSION: Final = "mcp-protocol-version"


class Answers:
    """Have the sessions of one server answer so.

    Args:
        manager: The SDK's session manager.
    """

    def __init__(self, manager: Any) -> None:
        sessions = getattr(manager, "_server_instances", None)
        self._sessions: Mapping[str, Any] = sessions if isinstance(sessions, dict) else {}

    def shorten(self, session: str) -> None:
        """Have a session answer so, if there is one, from its next request on."""
        transport = self._sessions.get(session)
        if transport is None or _POST in vars(transport):
            return
        if all(hasattr(transport, name) for name in _NEEDED):
            setattr(transport, _POST, partial(_post, transport, transport._handle_post_request))


async def _post(
    transport: Any,
    streamed: Callable[..., Awaitable[None]],
    scope: Any,
    request: Any,
    receive: Any,
    send: Any,
) -> None:
    """Answer what one client has posted; in a stream, as the SDK would, whatever is not a plain request."""
    requests: Any = import_module("starlette.requests")
    try:
        message = _request_in(await request.body())
    except requests.ClientDisconnect:
        return
    if message is None or not transport._check_content_type(request):
        await streamed(scope, request, receive, send)
        return
    if not await transport._validate_accept_header(request, scope, send):
        return
    if await transport._validate_request_headers(request, send):
        response = await _answer(transport, message, request, scope, receive, send)
        if response is not None:
            await response(scope, receive, send)


async def _answer(
    transport: Any, message: Any, request: Any, scope: Any, receive: Any, send: Any
) -> Callable[..., Awaitable[None]] | None:
    """The answer to a request in one body; None where it was sent in a stream."""
    http: Any = import_module("mcp.server.streamable_http")
    key = str(inner(message).id)
    version = request.headers.get(_VERSION, http.DEFAULT_NEGOTIATED_VERSION)
    pair = anyio.create_memory_object_stream[Any](http.REQUEST_STREAM_BUFFER_SIZE)
    transport._request_streams[key] = pair
    first: Any = _NOTHING
    try:
        await transport._read_stream_writer.send(
            transport._create_session_message(message, request, key, version)
        )
        first = await _first(pair[1], receive)
        if first is None:
            return None
        if first is _NOTHING or not _is_last(first.message):
            begun = None if first is _NOTHING else transport._create_event_data(first)
            await _stream(transport, key, begun, pair[1], scope, receive, send)
            return None
    except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        ended: Callable[..., Awaitable[None]] = transport._create_error_response(
            "Session terminated before the request completed", http.HTTPStatus.INTERNAL_SERVER_ERROR
        )
        return ended
    finally:
        if transport._request_streams.get(key) is pair:
            del transport._request_streams[key]
        for one in pair:
            one.close()
    answer: Callable[..., Awaitable[None]] = transport._create_json_response(first.message)
    return answer


async def _first(answers: Any, receive: Any) -> Any:
    """What comes first; `_NOTHING` where nothing has come for a while, None once the client has gone.

    Raises:
        EndOfStream: If the session has ended.
    """
    first: Any = _NOTHING
    ended: Exception | None = None

    async def left(scope: anyio.CancelScope) -> None:
        nonlocal first
        while (await receive())["type"] != "http.disconnect":
            pass
        first = None
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(left, tasks.cancel_scope)
        with anyio.move_on_after(PATIENCE):
            try:
                first = await answers.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError) as error:
                ended = error
        tasks.cancel_scope.cancel()
    if ended is not None:
        raise ended
    return first


async def _stream(
    transport: Any, key: str, begun: Any, answers: Any, scope: Any, receive: Any, send: Any
) -> None:
    """Send what has come, and what comes, up to the answer."""
    sse: Any = import_module("sse_starlette")
    into, events = anyio.create_memory_object_stream[Any](0)
    transport._sse_stream_writers[key] = into
    response = sse.EventSourceResponse(
        content=events,
        data_sender_callable=partial(transport._run_sse_writer, key, into, answers, begun),
        headers={"Cache-Control": "no-cache, no-transform", _SESSION: transport.mcp_session_id},
    )
    try:
        await response(scope, receive, send)
    finally:
        into.close()
        events.close()


def _is_last(message: Any) -> bool:
    """Whether nothing comes after it: an answer or an error."""
    types: Any = import_module("mcp.types")
    return isinstance(inner(message), types.JSONRPCResponse | types.JSONRPCError)


def _request_in(body: bytes) -> Any:
    """The request that a body is; None for what opens a session, expects no answer, or is none."""
    message = message_in(body)
    if message is None or not is_request(message) or inner(message).method == "initialize":
        return None
    return message
