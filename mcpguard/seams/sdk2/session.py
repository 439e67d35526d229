"""The seam for `ClientSession` of SDK 2.x: the session's dispatcher, and the answering of input requests.

A session sends and receives through its dispatcher, in both eras and in process; what a modern server asks
for inside a result goes through `dispatch_input_request`. These two see everything. A session that has been
entered already has bound its inbound handlers: then the dispatcher sees outbound traffic only, and the
callbacks are replaced in place.

Above: `guard.session()` and `guard.client()`. Not here: streams and transports.
"""

import logging
from collections.abc import Coroutine
from typing import Any, Final

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.dispatcher import CallOptions
from pydantic import BaseModel

from mcpguard.core.call import Call
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.detectors.schemas import cost
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection
from mcpguard.seams.render import denial_error, inbound_answer
from mcpguard.seams.sdk2.dispatcher import GuardedDispatcher, callback_failed, guarded_intercept
from mcpguard.seams.structured import failed_result, takes_long
from mcpguard.seams.unasked import fetching_for_itself

__all__ = ["guard_in_place"]

_log = logging.getLogger("mcpguard")
_sdk_log = logging.getLogger("client")

ENTERED_BLIND_SPOTS: Final = (
    "the session was entered before it was guarded: pings, requests and notifications of methods the SDK "
    "does not know are not seen",
)

MAX_PRICES: Final = 1024
"""Tools whose schemas' costs are kept."""

_FIRST_WITH_ROUNDS: Final = "2026-07-28"
"""The first revision of the protocol in which servers ask inside results; revisions sort as text."""

_INPUT_RESULTS: Final[dict[str, Any]] = {
    "sampling/createMessage": types.CreateMessageResult,
    "elicitation/create": types.ElicitResult,
    "roots/list": types.ListRootsResult,
}


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
        self._is_limited = binding.is_limited
        self._prices: dict[str, tuple[Any, int | None]] = {}
        replacement: dict[str, object] = {
            "_dispatcher": GuardedDispatcher(self._inner, session, self.connection),
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
        key = ctx.request_id if isinstance(ctx.request_id, str) and self._is_modern() else None
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
                return callback_failed(error)
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

    def _is_modern(self) -> bool:
        """Whether the server asks inside its results, under keys; a legacy one asks under ids of its own."""
        return (self.session._negotiated_version or "") >= _FIRST_WITH_ROUNDS

    def validate_tool_result(self, name: str, result: types.CallToolResult) -> Coroutine[Any, Any, None]:
        """Validate a result that has arrived; the listing this may take costs nothing and cannot fail it.

        A plain function: where the SDK has all it needs, nothing stands in between.
        """
        if self._is_limited and self.session._tool_output_schemas.get(name, True) is not None:
            return self._validate_safely(name, result)
        if name in self.session._tool_output_schemas:
            return self._validate(name, result)
        if self.connection.is_transparent:
            return self._validate_as_it_is(name, result)
        return self._list_and_validate(name, result)

    async def _validate_as_it_is(self, name: str, result: types.CallToolResult) -> None:
        with fetching_for_itself():  # the run of a call that has completed may have been closed
            await self._validate(name, result)

    async def _validate_safely(self, name: str, result: types.CallToolResult) -> None:
        """Validate where the server is not trusted to have a schema that is cheap, or right.

        What fails has run already: the result says so, and nothing is raised for a caller to try again.
        """
        schemas = self.session._tool_output_schemas
        if name not in schemas:
            await self._list_for_itself()
        schema: Any = schemas.get(name)
        price = None if schema is None else self._price(name, schema)
        if price is None:
            return
        try:
            if takes_long(result.structured_content, price):
                await anyio.to_thread.run_sync(anyio.run, self._validate, name, result)
            else:
                await self._validate(name, result)
        except (RuntimeError, ArithmeticError, ValueError):  # NaN as a multiple of something
            failed = failed_result(_wire(result), "its structured content is not what its schema allows")
            told = types.CallToolResult.model_validate(failed)
            result.content, result.is_error, result.structured_content = told.content, True, None

    def _price(self, name: str, schema: Any) -> int | None:
        """What a tool's schema costs, told once for each listing: it takes a walk through it."""
        known = self._prices.get(name)
        if known is None or known[0] is not schema:
            if len(self._prices) >= MAX_PRICES:
                self._prices.clear()
            known = self._prices[name] = schema, cost(schema)
        return known[1]

    async def _list_and_validate(self, name: str, result: types.CallToolResult) -> None:
        session = self.session
        await self._list_for_itself()
        if name in session._tool_output_schemas:
            await self._validate(name, result)
        else:
            _sdk_log.warning("Tool %s not listed by server, cannot validate any structured content", name)

    async def _list_for_itself(self) -> None:
        try:
            with fetching_for_itself():
                await self.session.list_tools()
        except Exception as error:  # noqa: BLE001 - the tool has run; its result must reach the caller
            _log.warning("tools of %s could not be listed: %s", self.connection.name, type(error).__name__)

    def absorb_tool_listing(self, result: types.ListToolsResult, *, complete: bool) -> types.ListToolsResult:
        """Take over a listing without forgetting tools it lacks: another principal may see them."""
        del complete
        return self._absorb(result, complete=False)

    def _take_over_callbacks(self) -> None:
        """See what can still be seen of a session whose dispatcher runs already."""
        session, connection = self.session, self.connection
        inner: Any = self._inner
        intercept: Any = getattr(inner, "_on_notify_intercept", None)
        is_seen = intercept is not None
        if is_seen:
            inner._on_notify_intercept = guarded_intercept(connection, intercept)
        log, handle = session._logging_callback, session._message_handler

        async def on_log(params: types.LoggingMessageNotificationParams) -> None:
            sent = _wire(params)
            admitted = connection.notify_in("notifications/message", sent, again=is_seen)
            if not isinstance(admitted, Denial):
                await log(params if admitted is sent else type(params).model_validate(admitted))

        async def on_message(message: Any) -> None:
            if isinstance(message, Exception):
                await handle(message)
                return
            sent = _wire(message).get("params")
            was_seen = is_seen or message.method == "notifications/message"
            admitted = connection.notify_in(message.method, sent, again=was_seen)
            if isinstance(admitted, Denial):
                return
            if admitted is not sent:
                message = type(message).model_validate({"method": message.method, "params": admitted})
            await handle(message)

        session._logging_callback = on_log
        session._message_handler = on_message


def _wire(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


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
