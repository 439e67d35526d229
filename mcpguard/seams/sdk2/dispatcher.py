"""The dispatcher of a guarded session of SDK 2.x: every message the session sends or receives passes here.

Method names and dicts, as in the SDK's own dispatchers. What the chain decides is turned back into what a
session expects of its dispatcher: a result, or the very exception it would have had.

Above: `session`. Below: `connection`, which knows nothing of the SDK.
"""

from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.dispatcher import (
    CallOptions,
    DispatchContext,
    Dispatcher,
    OnNotify,
    OnNotifyIntercept,
    OnRequest,
    ProgressFnT,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_METHOD_HEADER

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.errors import Denied
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import EMPTY, INPUT_METHODS, JSONObject
from mcpguard.seams.connection import Connection
from mcpguard.seams.render import denial_error, tool_refusal
from mcpguard.seams.reports import reported
from mcpguard.seams.sdk2.restamp import restamped
from mcpguard.seams.unasked import is_fetching_for_itself

__all__ = ["GuardedDispatcher", "callback_failed", "guarded_intercept"]

_CLOSED_MESSAGE: Final = "Connection closed"
"""What the SDK says with -32000 where the connection ended; servers use that code for errors of their own."""

_DRIVEN_BY_THE_SDK: Final = frozenset({"subscriptions/listen"})
"""Requests that a task of the session's own awaits: an error that is not the SDK's would end the session."""

_CODES: Final[Mapping[Outcome, int]] = {
    Outcome.TIMEOUT: types.REQUEST_TIMEOUT,
    Outcome.TRANSPORT_ERROR: types.CONNECTION_CLOSED,
}
"""The SDK's codes for outcomes that a layer can end a call with, though no exception stands behind them."""


class GuardedDispatcher:
    """A dispatcher that runs what passes through it through the chain.

    Attributes it does not have are the inner dispatcher's, for hosts that reach for them.
    """

    _inner: Dispatcher[Any]
    _connection: Connection
    _session: ClientSession

    def __init__(self, inner: Dispatcher[Any], session: ClientSession, connection: Connection) -> None:
        self.__dict__.update(_inner=inner, _session=session, _connection=connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """Send one request; what the chain makes of it is returned or raised as the SDK would.

        A plain function: where there is no chain, nothing stands between the session and its dispatcher.
        """
        chain = self._connection.chain(method)
        if chain is None:
            return self._inner.send_raw_request(method, params, opts)
        return self._send_through(chain, method, params, opts)

    async def _send_through(
        self, chain: Chain, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        connection = self._connection
        options: CallOptions = {} if opts is None else opts
        given: JSONObject = EMPTY if params is None else params
        timeout = options.get("timeout")
        if chain.is_timed and timeout is not None:
            options = {**options}
            del options["timeout"]
        on_progress = options.get("on_progress")
        if on_progress is not None:
            options = {**options, "on_progress": self._guarded_progress(on_progress)}

        is_listing = method == "tools/list"

        async def wire(call: Call) -> Result:
            sent, stamped = params, options
            if call.params is not given:
                facts = await self._definition(call, given, options)
                sent, stamped = restamped(self._session, method, given, call.params, options, facts)
            if call.carried:
                sent = call.sent(EMPTY if sent is None else sent)
            call.goes_out(self._id_of(options), connection.line)
            was_closed = getattr(self._inner, "_closed", False)
            try:
                result = Result.of(await self._inner.send_raw_request(method, sent, stamped))
            except Exception as error:  # noqa: BLE001 - every outcome is a Result; raised again by `_deliver`
                result = _failed(error, was_closed=was_closed)
            if result.outcome is Outcome.OK and not is_listing:
                return result
            return connection.answered(call, result)

        if is_listing and is_fetching_for_itself():
            result = await connection.unasked(method, given, wire)
        else:
            result = await connection.outbound(method, given, chain, wire, timeout=timeout)
        value: Any = result.value
        return value if result.error is None and isinstance(value, dict) else self._deliver(method, result)

    def _id_of(self, options: CallOptions) -> str | int | None:
        """The id that the next request will have, if ids are given: an in-process server is just called."""
        last: int | None = getattr(self._inner, "_next_id", None)
        given: str | int | None = options.get("request_id")
        return given if given is not None or last is None else last + 1

    async def _definition(self, call: Call, given: JSONObject, options: CallOptions) -> ToolFacts | None:
        """What is known of the tool by its own name, where the session may know it by another."""
        target = call.target
        if (
            call.method != "tools/call"
            or target is None
            or MCP_METHOD_HEADER not in options.get("headers", {})
        ):
            return None
        if target == given.get("name"):
            return self._connection.catalog.known(target)
        with suppress(Exception):  # without the definition no argument becomes a header
            return await self._connection.catalog.get(target)
        return None

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send one notification, unless a check drops it."""
        admitted = self._connection.notify_out(method, params)
        if not isinstance(admitted, Denial):
            await self._inner.notify(method, admitted, opts)

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        **kwargs: Any,
    ) -> None:
        """Drive the inner dispatcher with guarded handlers."""
        connection = self._connection
        rewritten: dict[int, JSONObject | None] = {}

        async def request(
            dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None
        ) -> dict[str, Any]:
            chain = None if method in INPUT_METHODS else connection.inbound_chain(method)
            if chain is None:
                return await on_request(dctx, method, params)

            async def wire(call: Call) -> Result:
                asked = params if call.params is given else call.params
                try:
                    return Result.of(await on_request(dctx, method, asked))
                except Exception as error:  # noqa: BLE001 - raised again by `_deliver`
                    return callback_failed(error)

            given: JSONObject = EMPTY if params is None else params
            return self._deliver(method, await connection.inbound(method, given, chain, wire))

        async def notification(
            dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None
        ) -> None:
            await on_notify(dctx, method, rewritten.pop(id(params), params) if rewritten else params)

        inner = on_notify_intercept or _pass
        await self._inner.run(
            request, notification, guarded_intercept(connection, inner, rewritten), **kwargs
        )

    def _guarded_progress(self, on_progress: ProgressFnT) -> ProgressFnT:
        connection = self._connection
        again = hasattr(self._inner, "on_stream_exception")

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told = {"progress": progress, "total": total, "message": message}
            sent: JSONObject = {name: value for name, value in told.items() if value is not None}
            admitted = connection.notify_in("notifications/progress", sent, again=again)
            if isinstance(admitted, Denial) or admitted is None:
                return
            if admitted is sent:
                await on_progress(progress, total, message)
            else:
                changed: dict[str, Any] = {**admitted}
                await on_progress(changed["progress"], changed.get("total"), changed.get("message"))

        return progress

    def _deliver(self, method: str, result: Result) -> dict[str, Any]:
        """What the SDK's session expects: a result, or the exception it would have had."""
        denial = result.denial
        if denial is not None:
            if self._connection.handle.on_deny == "raise" and method not in _DRIVEN_BY_THE_SDK:
                raise Denied(denial.message, code=denial.code, retry_after=denial.retry_after)
            if method == "tools/call":
                return dict(tool_refusal(denial))
            error = denial_error(denial)
            raise MCPError(code=error.code, message=error.message, data=error.data)
        if result.cause is not None:
            raise result.cause
        if result.error is not None:
            raise MCPError(code=result.error.code, message=result.error.message, data=result.error.data)
        if result.outcome in _CODES:
            raise MCPError(code=_CODES[result.outcome], message=f"{method} ended with {result.outcome}")
        return dict(result.value or {})


def guarded_intercept(
    connection: Connection,
    inner: OnNotifyIntercept,
    rewritten: dict[int, JSONObject | None] | None = None,
) -> OnNotifyIntercept:
    """The synchronous hook that sees notifications in the order they arrive; a dropped one ends here.

    Args:
        connection: Judges them.
        inner: The hook that was there.
        rewritten: Takes the parameters that a notification goes on with, by the identity of those it came
            with; whoever handles it takes them out. None: it is judged once more where it is handled.
    """

    def intercept(method: str, params: Mapping[str, Any] | None) -> bool:
        admitted = connection.notify_in(method, params)
        if isinstance(admitted, Denial):
            return True
        if inner(method, admitted):
            return True
        if admitted is not params and rewritten is not None:
            rewritten[id(params)] = admitted
        return False

    return intercept


def callback_failed(error: Exception) -> Result:
    """The host's own callback raised: an error on the wire, and the same exception for the SDK."""
    wire_error = WireError(types.INTERNAL_ERROR, type(error).__name__)
    if isinstance(error, MCPError):
        wire_error = WireError(error.code, error.message, error.data)
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=wire_error, cause=error)


def _pass(_method: str, _params: Mapping[str, Any] | None) -> bool:
    return False


def _failed(error: Exception, *, was_closed: bool) -> Result:
    """An exception of the SDK as a result. Its own timeout is told from a server's -32001 by its cause."""
    fate = Fate.NOT_SENT if was_closed else Fate.SENT
    if not isinstance(error, MCPError):
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=error)
    ours = reported(WireError(error.code, error.message, error.data), error)
    if ours is not None:
        return ours
    if error.code == types.REQUEST_TIMEOUT and isinstance(error.__context__, TimeoutError):
        return Result(outcome=Outcome.TIMEOUT, fate=fate, cause=error)
    if error.code == types.CONNECTION_CLOSED and error.message == _CLOSED_MESSAGE:
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=error)
    wire_error = WireError(error.code, error.message, error.data)
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=wire_error, cause=error)
