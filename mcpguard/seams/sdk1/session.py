"""The seam for `ClientSession` of SDK 1.x: a few attributes of the one session, replaced in place.

Requests and notifications leave through `send_request` and `send_notification`. What arrives is seen where
the receive loop validates it: before the progress callback, the logging callback, the message handler and
cancellation, and whether or not the SDK knows the method. The session looks all of these up when it needs
them, so one that has been entered already is guarded as well as one that has not.

Above: `guard.session()`. Beside: `requests`, which answers a server's requests. Not here: streams and
transports.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
from mcp import types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import McpError
from mcp.shared.session import ProgressFnT
from pydantic import ValidationError

from mcpguard.core.call import Call
from mcpguard.core.errors import Denied
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.wire import EMPTY, UNCANCELLED, JSONObject, mutable_copy
from mcpguard.detectors.schemas import cost
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import CANCEL_TIMEOUT, Connection
from mcpguard.seams.render import denial_error, tool_refusal
from mcpguard.seams.reports import reported
from mcpguard.seams.sdk1.requests import ServerRequests
from mcpguard.seams.sdk1.shapes import has_depth, method_of, rebuilt, wire_shaped
from mcpguard.seams.structured import takes_long
from mcpguard.seams.unasked import fetching_for_itself, is_fetching_for_itself

__all__ = ["Session1", "guard_in_place"]

_log = logging.getLogger("mcpguard")
_sdk_log = logging.getLogger("client")

UNDER_WAY_BLIND_SPOT: Final = (
    "requests were under way when the session was guarded: they were sent unseen, and so are their answers"
)

_UNTIMED: Final = timedelta(days=365)
"""The time given to the SDK where a layer times the call in its place: it knows no way to say none."""

_CLOSED_MESSAGE: Final = "Connection closed"
"""What the SDK says with -32000 where the connection ended; servers use that code for errors of their own."""

_CODES: Final[Mapping[Outcome, int]] = {
    Outcome.TIMEOUT: int(httpx.codes.REQUEST_TIMEOUT),
    Outcome.TRANSPORT_ERROR: types.CONNECTION_CLOSED,
}
"""The SDK's codes for outcomes that a layer can end a call with, though no exception stands behind them."""


def guard_in_place(session: ClientSession, binding: Binding, seam: str) -> "Session1":
    """Guard one session, entered or not."""
    return Session1(session, binding, seam)


class Session1:
    """One guarded session of SDK 1.x.

    Args:
        session: The session, entered or not; changed in place.
        binding: What the user said when wrapping.
        seam: What to call this seam.
    """

    def __init__(self, session: ClientSession, binding: Binding, seam: str) -> None:
        self.session = session
        self.connection = Connection(
            binding,
            seam=seam,
            list_page=self.list_page,
            blind_spots=(UNDER_WAY_BLIND_SPOT,) if session._response_streams else (),
        )
        self._send: Any = session.send_request
        self._notify: Any = session.send_notification
        self._validate = session._validate_tool_result
        self._is_limited = binding.is_limited
        requests = ServerRequests(session, self.connection)
        session.__dict__.update(
            send_request=self.send_request,
            send_notification=self.send_notification,
            _validate_tool_result=self.validate_tool_result,
            _receive_notification_type=_Notifications(session._receive_notification_type, self.connection),
            _receive_request_type=requests,
            _received_request=requests.received,
            _handle_incoming=requests.handle_incoming,
        )

    async def list_page(self, params: JSONObject | None) -> JSONObject:
        """List tools past the chain."""
        request = rebuilt(types.ClientRequest, "tools/list", params)
        kept = _Kept(types.EmptyResult)
        kept.take(await self._send(request, kept))
        return kept.sent

    async def send_request(
        self,
        request: Any,
        result_type: Any,
        request_read_timeout_seconds: timedelta | None = None,
        metadata: Any = None,
        progress_callback: ProgressFnT | None = None,
    ) -> Any:
        """Send one request; what the chain makes of it is returned or raised as the SDK would."""
        connection = self.connection
        method = method_of(request)
        chain = connection.chain(method)
        options: dict[str, Any] = {
            "request_read_timeout_seconds": request_read_timeout_seconds,
            "metadata": metadata,
            "progress_callback": progress_callback,
        }
        if chain is None:
            return await self._send(request, result_type, **options)
        given: JSONObject = wire_shaped(request).get("params", EMPTY)
        is_shared = has_depth(given)
        kept = _Kept(result_type)
        if chain.is_timed:
            options["request_read_timeout_seconds"] = _UNTIMED

        async def wire(call: Call) -> Result:
            nonlocal kept
            kept = _Kept(result_type)
            request_id = self.session._request_id
            try:
                is_as_given = call.params is given and not call.carried and not is_shared
                sent = request if is_as_given else rebuilt(type(request), method, call.sent(call.params))
                call.goes_out(request_id, connection.line)
                kept.take(await self._send(sent, kept, **options))
            except anyio.get_cancelled_exc_class():
                if chain.suspends and method not in UNCANCELLED:
                    await self._give_up(request_id)
                raise
            except Exception as error:  # noqa: BLE001 - every outcome is a Result; raised again by `_deliver`
                return connection.answered(call, _failed(error))
            return connection.answered(call, Result.of(kept.sent))

        if method == "tools/list" and is_fetching_for_itself():
            result = await connection.unasked(method, given, wire)
            return self._deliver(method, result, kept)
        seconds = self._seconds(request_read_timeout_seconds)
        result = await connection.outbound(method, given, chain, wire, timeout=seconds)
        return self._deliver(method, result, kept)

    async def _give_up(self, request_id: int) -> None:
        """Tell the server that a layer no longer waits for its answer; SDK 1.x tells it nothing by itself."""
        params = types.CancelledNotificationParams(requestId=request_id, reason="given up")
        cancelled = types.ClientNotification(types.CancelledNotification(params=params))
        with anyio.move_on_after(CANCEL_TIMEOUT, shield=True), suppress(Exception):
            await self._notify(cancelled)

    async def send_notification(self, notification: Any, related_request_id: str | int | None = None) -> None:
        """Send one notification, unless a check drops it."""
        message = wire_shaped(notification)
        params = message.get("params")
        admitted = self.connection.notify_out(message["method"], params)
        if isinstance(admitted, Denial):
            return
        if admitted is not params:
            notification = rebuilt(type(notification), message["method"], admitted)
        await self._notify(notification, related_request_id)

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        """Validate a result that has arrived; the listing this may take costs nothing and cannot fail it."""
        session = self.session
        if name not in session._tool_output_schemas and not self.connection.is_transparent:
            try:
                with fetching_for_itself():
                    await session.list_tools()
            except Exception as error:  # noqa: BLE001 - the tool has run; its result must reach the caller
                _log.warning("listing %s failed with %s", self.connection.name, type(error).__name__)
            if name not in session._tool_output_schemas:
                _sdk_log.warning("Tool %s not listed by server, cannot validate any structured content", name)
                return
        with fetching_for_itself():  # the run of a call that has completed may have been closed
            if self._is_limited and self._takes_long(name, result):
                await anyio.to_thread.run_sync(anyio.run, self._validate, name, result)
            else:
                await self._validate(name, result)

    def _takes_long(self, name: str, result: types.CallToolResult) -> bool:
        schema = self.session._tool_output_schemas.get(name)
        price = None if schema is None else cost(schema)
        return price is not None and takes_long(result.structuredContent, price)

    def _seconds(self, timeout: timedelta | None) -> float | None:
        """The time the SDK will allow for the answer: the request's, else the session's."""
        allowed = self.session._session_read_timeout_seconds if timeout is None else timeout
        return None if allowed is None else allowed.total_seconds()

    def _deliver(self, method: str, result: Result, kept: "_Kept") -> Any:
        """What the caller expects: a result of its type, or the exception it would have had.

        Raises:
            Denied: If the call was denied and the guard raises denials.
            McpError: For other denials that no result can tell, and errors of the server's.
            Exception: Whatever else the SDK raised.
        """
        denial = result.denial
        if denial is not None:
            if self.connection.handle.on_deny == "raise":
                raise Denied(denial.message, code=denial.code, retry_after=denial.retry_after)
            if method == "tools/call":
                # The answer to a call that is to become a task is a task; it has no form for a refusal.
                with suppress(ValidationError):
                    return kept.result_type.model_validate(tool_refusal(denial))
            raise _mcp_error(denial_error(denial))
        if result.cause is not None:
            raise result.cause
        if result.error is not None:
            raise _mcp_error(result.error)
        if result.value is None:
            raise _mcp_error(WireError(_CODES[result.outcome], f"{method} ended with {result.outcome}"))
        if result.value is kept.sent and kept.answer is not None:
            return kept.answer
        return kept.result_type.model_validate(mutable_copy(result.value))


class _Notifications:
    """Stands for the type that the receive loop validates notifications against: the first to see each."""

    def __init__(self, known: type[types.ServerNotification], connection: Connection) -> None:
        self._known = known
        self._connection = connection

    def model_validate(self, message: dict[str, Any]) -> types.ServerNotification:
        """The notification that goes on; for one that is dropped, one that does nothing."""
        params = message.get("params")
        admitted = self._connection.notify_in(message["method"], params)
        if isinstance(admitted, Denial):
            return _NOTHING
        if admitted is not params:
            message = {**message, "params": mutable_copy(admitted)}
        return self._known.model_validate(message)


_NOTHING: Final = types.ServerNotification(
    types.CancelledNotification(params=types.CancelledNotificationParams(requestId=None))
)
"""Cancels no request, which is all the receive loop would do with it."""


class _Kept:
    """Stands for the caller's result type once: keeps the answer as it was on the wire, and as that type.

    Hosts that override `send_request` get an answer of the type they expect, and may hand on another.
    """

    __slots__ = ("_given", "answer", "result_type", "sent")

    def __init__(self, result_type: Any) -> None:
        self.result_type = result_type
        self.sent: JSONObject = EMPTY
        self.answer: Any = None
        self._given: Any = None

    def model_validate(self, value: dict[str, Any]) -> Any:
        """The answer as the caller's type; if it is not of that type, anything: `_deliver` will raise."""
        self.sent = value
        try:
            self.answer = self._given = self.result_type.model_validate(value)
        except ValidationError:
            self._given = types.EmptyResult()
        return self._given

    def take(self, answer: Any) -> None:
        """Go on with what the session's own `send_request` returned."""
        if answer is not self._given:
            self.answer = answer
            self.sent = wire_shaped(answer)


def _mcp_error(error: WireError) -> McpError:
    return McpError(types.ErrorData(code=error.code, message=error.message, data=error.data))


def _failed(error: Exception) -> Result:
    """An exception of the SDK as a result. Its own timeout is told from a server's 408 by its cause."""
    if isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError):
        # The streams of a session hand a message over or raise: this one was not taken.
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT, cause=error)
    if not isinstance(error, McpError):
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=error)
    told = error.error
    if told.code == httpx.codes.REQUEST_TIMEOUT and isinstance(error.__context__, TimeoutError):
        return Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT, cause=error)
    if told.code == types.CONNECTION_CLOSED and told.message == _CLOSED_MESSAGE:
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=error)
    wire_error = WireError(told.code, told.message, told.data)
    ours = reported(wire_error, error)
    if ours is not None:
        return ours
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=wire_error, cause=error)
