"""The seam for `ClientSession` of SDK 2.x: the session's dispatcher, and the answering of input requests.

A session sends and receives through its dispatcher, in both eras and in process; what a modern server asks
for inside a result goes through `dispatch_input_request`. These two see everything. A session that has been
entered already has bound its inbound handlers: then the dispatcher sees outbound traffic only, and the
callbacks are replaced in place.

Above: `guard.session()` and `guard.client()`. Not here: streams and transports.
"""

import contextvars
import logging
from collections.abc import Mapping
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
from mcp.shared.inbound import MCP_NAME_HEADER, NAME_BEARING_METHODS, encode_header_value
from pydantic import BaseModel

from mcpguard.core.call import Call
from mcpguard.core.errors import Denied
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection
from mcpguard.seams.render import denial_error, inbound_answer, tool_refusal

__all__ = ["guard_in_place"]

_log = logging.getLogger("mcpguard")

ENTERED_BLIND_SPOTS: Final = (
    "the session was entered before it was guarded: pings, requests and notifications of methods the SDK "
    "does not know are not seen",
)

_PARAM_HEADER: Final = "mcp-param-"

_listing_for_validation: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "mcpguard_listing_for_validation", default=False
)


def guard_in_place(session: ClientSession, binding: Binding, seam: str) -> "Session2":
    """Guard one session, entered or not."""
    return Session2(session, binding, seam)


class Session2:
    """One guarded session of SDK 2.x.

    Args:
        session: The session, entered or not; changed in place.
        binding: What the user said when wrapping.
        seam: What to call this seam.
    """

    def __init__(self, session: ClientSession, binding: Binding, seam: str) -> None:
        is_entered = session._task_group is not None
        self.session = session
        self.connection = Connection(
            binding,
            seam=seam,
            list_page=self.list_page,
            blind_spots=ENTERED_BLIND_SPOTS if is_entered else (),
        )
        self._dispatch = session.dispatch_input_request
        self._validate = session.validate_tool_result
        self._absorb = session._absorb_tool_listing
        self._inner = session._dispatcher
        replacement: dict[str, object] = {
            "_dispatcher": GuardedDispatcher(self._inner, self),
            "dispatch_input_request": self.dispatch_input_request,
            "validate_tool_result": self.validate_tool_result,
        }
        if binding.shared:
            replacement["_absorb_tool_listing"] = self.absorb_tool_listing
        session.__dict__.update(replacement)
        if is_entered:
            self._take_over_callbacks()

    async def list_page(self, params: JSONObject | None) -> JSONObject:
        """List tools past the chain."""
        data: dict[str, Any] = {"method": "tools/list"} | ({} if params is None else {"params": dict(params)})
        opts: CallOptions = {}
        self.session._stamp(data, opts)
        return await self._inner.send_raw_request("tools/list", data.get("params"), opts)

    async def dispatch_input_request(
        self, ctx: Any, request: types.InputRequest
    ) -> types.InputResponse | types.ErrorData:
        """Answer a server's sampling, elicitation or roots request, in either era, through the chain."""
        chain = self.connection.inbound_chain(request.method)
        if chain is None:
            return await self._dispatch(ctx, request)
        params = _wire(request).get("params", EMPTY)
        key = ctx.request_id if isinstance(ctx.request_id, str) else None
        is_embedded = key is not None and self.connection.is_awaited(key, request.method)
        answered: types.InputResponse | types.ErrorData | None = None
        seen: JSONObject = EMPTY

        async def wire(call: Call) -> Result:
            nonlocal answered, seen
            asked = request
            if call.params is not params:
                asked = type(request).model_validate({"method": request.method, "params": call.params})
            try:
                answered = await self._dispatch(ctx, asked)
            except Exception as error:  # noqa: BLE001 - the host's callback; raised again below
                return _callback_failed(error)
            if isinstance(answered, types.ErrorData):
                declined = WireError(answered.code, answered.message, answered.data)
                return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=declined)
            seen = _wire(answered)
            return Result.of(seen)

        result = await self.connection.inbound(
            request.method, params, chain, wire, key=key if is_embedded else None
        )
        if result.denial is not None:
            return _refused_input(request.method, result.denial, is_embedded=is_embedded)
        if result.cause is not None:
            raise result.cause
        if result.error is not None:
            return types.ErrorData(
                code=result.error.code, message=result.error.message, data=result.error.data
            )
        if result.value is seen and answered is not None:
            return answered
        given: types.InputResponse = _INPUT_RESULTS[request.method].model_validate(result.value)
        return given

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        """Validate a result that has arrived; the listing this may take costs nothing and cannot fail it."""
        session = self.session
        if self.connection.chain("tools/list") is not None and name not in session._tool_output_schemas:
            token = _listing_for_validation.set(True)
            try:
                await session.list_tools()
            except Exception as error:  # noqa: BLE001 - the tool has run; its result must reach the caller
                _log.warning(
                    "tools of %s could not be listed: %s", self.connection.name, type(error).__name__
                )
            finally:
                _listing_for_validation.reset(token)
            if name not in session._tool_output_schemas:
                return
        await self._validate(name, result)

    def absorb_tool_listing(self, result: types.ListToolsResult, *, complete: bool) -> types.ListToolsResult:
        """Take over a listing without forgetting tools it lacks: another principal may see them."""
        del complete
        return self._absorb(result, complete=False)

    def restamped(
        self, method: str, before: JSONObject, after: JSONObject, opts: CallOptions
    ) -> tuple[JSONObject, CallOptions]:
        """Parameters and options for a rewritten request, with the headers derived again.

        The session copies the tool's name and marked arguments into headers before the dispatcher sees
        them; they must not keep what a rewrite removed.
        """
        old = opts.get("headers") or {}
        headers = {
            name: value
            for name, value in old.items()
            if name.lower() != MCP_NAME_HEADER.lower() and not name.lower().startswith(_PARAM_HEADER)
        }
        stamped: CallOptions = {**opts, "headers": headers}
        data: dict[str, Any] = {"method": method, "params": dict(after)}
        self.session._stamp(data, stamped)
        name = old.get(MCP_NAME_HEADER)
        if name is not None and method not in NAME_BEARING_METHODS:
            key = next(
                (k for k, v in before.items() if isinstance(v, str) and encode_header_value(v) == name), None
            )
            renamed = None if key is None else after.get(key)
            if isinstance(renamed, str):
                headers[MCP_NAME_HEADER] = encode_header_value(renamed)
        return data["params"], stamped

    def _take_over_callbacks(self) -> None:
        """See what can still be seen of a session whose dispatcher runs already."""
        session, connection = self.session, self.connection
        inner: Any = self._inner
        if inner._on_notify_intercept is not None:
            inner._on_notify_intercept = _guarded_intercept(connection, inner._on_notify_intercept, {})
        log, handle = session._logging_callback, session._message_handler

        async def on_log(params: types.LoggingMessageNotificationParams) -> None:
            sent = _wire(params)
            admitted = connection.notify_in("notifications/message", sent, again=True)
            if not isinstance(admitted, Denial):
                await log(params if admitted is sent else type(params).model_validate(admitted))

        async def on_message(message: Any) -> None:
            if isinstance(message, Exception):
                await handle(message)
                return
            sent = _wire(message).get("params")
            admitted = connection.notify_in(message.method, sent, again=True)
            if isinstance(admitted, Denial):
                return
            if admitted is not sent:
                message = type(message).model_validate({"method": message.method, "params": admitted})
            await handle(message)

        session._logging_callback = on_log
        session._message_handler = on_message


class GuardedDispatcher:
    """A dispatcher that runs what passes through it through the chain.

    Attributes it does not have are the inner dispatcher's, for hosts that reach for them.
    """

    _inner: Dispatcher[Any]
    _seam: Session2

    def __init__(self, inner: Dispatcher[Any], seam: Session2) -> None:
        self.__dict__.update(_inner=inner, _seam=seam)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send one request; what the chain makes of it is returned or raised as the SDK would."""
        connection = self._seam.connection
        chain = connection.chain(method)
        if chain is None:
            return await self._inner.send_raw_request(method, params, opts)
        options: CallOptions = {} if opts is None else opts
        given: JSONObject = EMPTY if params is None else params
        on_progress = options.get("on_progress")
        if on_progress is not None:
            options = {**options, "on_progress": self._guarded_progress(on_progress)}

        async def wire(call: Call) -> Result:
            sent, stamped = params, options
            if call.params is not given:
                sent, stamped = self._seam.restamped(method, given, call.params, options)
            was_closed = getattr(self._inner, "_closed", False)
            try:
                return Result.of(await self._inner.send_raw_request(method, sent, stamped))
            except Exception as error:  # noqa: BLE001 - every outcome is a Result; raised again by `_deliver`
                return _failed(error, was_closed=was_closed)

        if method == "tools/list" and _listing_for_validation.get():
            result = await connection.unasked(method, given, chain, wire)
        else:
            result = await connection.outbound(method, given, chain, wire, timeout=options.get("timeout"))
        return self._deliver(method, result)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send one notification, unless a check drops it."""
        admitted = self._seam.connection.notify_out(method, params)
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
        connection = self._seam.connection
        rewritten: dict[int, JSONObject | None] = {}

        async def request(
            dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None
        ) -> dict[str, Any]:
            chain = None if method in _INPUT_RESULTS else connection.inbound_chain(method)
            if chain is None:
                return await on_request(dctx, method, params)

            async def wire(call: Call) -> Result:
                asked = params if call.params is given else call.params
                try:
                    return Result.of(await on_request(dctx, method, asked))
                except Exception as error:  # noqa: BLE001 - raised again by `_deliver`
                    return _callback_failed(error)

            given: JSONObject = EMPTY if params is None else params
            return self._deliver(method, await connection.inbound(method, given, chain, wire))

        async def notification(
            dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None
        ) -> None:
            await on_notify(dctx, method, rewritten.pop(id(params), params) if rewritten else params)

        inner = on_notify_intercept or _pass
        await self._inner.run(
            request, notification, _guarded_intercept(connection, inner, rewritten), **kwargs
        )

    def _guarded_progress(self, on_progress: ProgressFnT) -> ProgressFnT:
        connection = self._seam.connection
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
            if self._seam.connection.handle.on_deny == "raise":
                raise Denied(denial.message, code=denial.code, retry_after=denial.retry_after)
            if method == "tools/call":
                return dict(tool_refusal(denial))
            error = denial_error(denial)
            raise MCPError(code=error.code, message=error.message, data=error.data)
        if result.cause is not None:
            raise result.cause
        if result.error is not None:
            raise MCPError(code=result.error.code, message=result.error.message, data=result.error.data)
        value: Any = result.value
        return value if isinstance(value, dict) else dict(value or {})


_INPUT_RESULTS: Final[dict[str, Any]] = {
    "sampling/createMessage": types.CreateMessageResult,
    "elicitation/create": types.ElicitResult,
    "roots/list": types.ListRootsResult,
}


def _pass(_method: str, _params: Mapping[str, Any] | None) -> bool:
    return False


def _guarded_intercept(
    connection: Connection, inner: OnNotifyIntercept, rewritten: dict[int, JSONObject | None]
) -> OnNotifyIntercept:
    """The synchronous hook that sees notifications in the order they arrive; a dropped one ends here."""

    def intercept(method: str, params: Mapping[str, Any] | None) -> bool:
        admitted = connection.notify_in(method, params)
        if isinstance(admitted, Denial):
            return True
        if inner(method, admitted):
            return True
        if admitted is not params:
            rewritten[id(params)] = admitted
        return False

    return intercept


def _wire(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def _failed(error: Exception, *, was_closed: bool) -> Result:
    """An exception of the SDK as a result. Its own timeout is told from a server's -32001 by its cause."""
    fate = Fate.NOT_SENT if was_closed else Fate.SENT
    if not isinstance(error, MCPError):
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=error)
    if error.code == types.REQUEST_TIMEOUT and isinstance(error.__context__, TimeoutError):
        return Result(outcome=Outcome.TIMEOUT, fate=fate, cause=error)
    if error.code == types.CONNECTION_CLOSED:
        return Result(outcome=Outcome.TRANSPORT_ERROR, fate=fate, cause=error)
    wire_error = WireError(error.code, error.message, error.data)
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=wire_error, cause=error)


def _callback_failed(error: Exception) -> Result:
    """The host's own callback raised: an error on the wire, and the same exception for the SDK."""
    wire_error = WireError(types.INTERNAL_ERROR, type(error).__name__)
    if isinstance(error, MCPError):
        wire_error = WireError(error.code, error.message, error.data)
    return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=wire_error, cause=error)


def _refused_input(
    method: str, denial: Denial, *, is_embedded: bool
) -> types.InputResponse | types.ErrorData:
    """A refusal in the form the server's question allows.

    For sampling inside a result there is none that would let the call end as a tool result: the answer made
    up here never leaves, because the message that would carry it is refused.
    """
    answer = inbound_answer(method)
    if answer is not None:
        refused: types.InputResponse = _INPUT_RESULTS[method].model_validate(answer)
        return refused
    if is_embedded:
        text = types.TextContent(type="text", text=denial.message)
        return types.CreateMessageResult(role="assistant", content=text, model="none")
    error = denial_error(denial)
    return types.ErrorData(code=error.code, message=error.message, data=error.data)
