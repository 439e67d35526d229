"""A server's requests to one session of SDK 1.x, answered through the chain.

The receive loop of 1.x handles a request before it reads on: a callback that waits holds up every other
message. A request that meets a chain is therefore handled in a task of the session's own, which closing the
session cancels, and the server's `notifications/cancelled` too. One that meets none is left to the loop.

Above: `session`. Not here: what a chain decides.
"""

import logging
from contextlib import suppress
from typing import Any, Final, TypeAlias

import anyio
from mcp import types
from mcp.client.session import ClientSession
from mcp.shared.session import RequestResponder
from pydantic import ValidationError

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.result import Denial, Fate, Outcome, Result, WireError
from mcpguard.core.wire import EMPTY, JSONObject, mutable_copy
from mcpguard.seams.connection import Connection
from mcpguard.seams.render import denial_error, inbound_answer
from mcpguard.seams.sdk1.shapes import wire_shaped

__all__ = ["ServerRequests"]

_log = logging.getLogger("mcpguard")

MAX_TASKS: Final = 64
"""Requests of a server that have a task at a time; the receive loop handles one more itself, and waits."""

_INVALID: Final = types.ErrorData(code=types.INVALID_PARAMS, message="Invalid request parameters", data="")
"""What the SDK answers to a request it cannot read, and where a callback raises."""

_NO_ANSWER: Final = types.ErrorData(code=types.INTERNAL_ERROR, message="No answer")

_GONE: Final = (anyio.ClosedResourceError, anyio.BrokenResourceError)

Responder: TypeAlias = RequestResponder[types.ServerRequest, types.ClientResult]
Answer: TypeAlias = types.ClientResult | types.ErrorData


class ServerRequests:
    """Stands in the session where requests are validated, handled and passed on to the message handler.

    Args:
        session: The session whose requests these are.
        connection: What the guard knows of it.
    """

    def __init__(self, session: ClientSession, connection: Connection) -> None:
        self._session = session
        self._connection = connection
        self._known = session._receive_request_type
        self._handle = session._received_request
        self._pass_on = session._handle_incoming
        self._in_tasks: set[Responder] = set()

    def model_validate(self, message: dict[str, Any]) -> Any:
        """The request, or what stands for one that the SDK cannot read."""
        try:
            return self._known.model_validate(message)
        except ValidationError as error:
            return _Unreadable(message, error)

    async def received(self, responder: Responder) -> None:
        """Handle a request: as the SDK does, or through the chain in a task of its own."""
        request = responder.request
        chain = self._connection.inbound_chain(request.root.method)
        if chain is None:
            if isinstance(request, _Unreadable):
                self._session._in_flight.pop(responder.request_id, None)
                raise request.error
            await self._handle(responder)
            return
        # Entered here, so that it can be cancelled before its task has begun.
        responder._cancel_scope = anyio.CancelScope()
        responder._entered = True
        self._in_tasks.add(responder)
        if len(self._in_tasks) > MAX_TASKS:
            await self._answer(responder, chain)
        else:
            self._session._task_group.start_soon(self._answer, responder, chain)

    async def handle_incoming(self, message: Any) -> None:
        """Pass on what the message handler is to see: not a request that a task is answering."""
        if not (isinstance(message, RequestResponder) and message in self._in_tasks):
            await self._pass_on(message)

    async def _answer(self, responder: Responder, chain: Chain) -> None:
        try:
            with responder._cancel_scope:
                answer = await self._decide(responder, chain)
                if not responder._completed:
                    await responder.respond(answer)
        except _GONE:
            _log.debug("%s left before it was answered", self._connection.name)
        except Exception as error:  # noqa: BLE001 - nothing that a server asks ends the session
            _log.warning("an answer to %s cannot be sent: %s", self._connection.name, type(error).__name__)
            with suppress(Exception):
                await self._session._send_response(responder.request_id, _NO_ANSWER)
        finally:
            responder._entered = False
            self._in_tasks.discard(responder)
            responder._on_complete(responder)

    async def _decide(self, responder: Responder, chain: Chain) -> Answer:
        """What the chain makes of a request and of the host's answer to it."""
        request = responder.request
        method = request.root.method
        given: JSONObject = wire_shaped(request).get("params", EMPTY)
        answer: Answer = _NO_ANSWER
        passed: Result | None = None

        async def ask(call: Call) -> Result:
            nonlocal answer, passed
            try:
                asked = request
                if call.params is not given:
                    changed = {"method": method, "params": mutable_copy(call.params)}
                    asked = self._known.model_validate(changed)
                answer = await self._ask_host(responder, asked)
                passed = _as_result(answer)
            except Exception as error:  # noqa: BLE001 - the host's callback; the server is told what the SDK tells
                _log.warning("%s of %s was not answered: %s", method, call.server, type(error).__name__)
                answer = _INVALID
                passed = _as_result(answer)
            return passed

        result = await self._connection.inbound(method, given, chain, ask)
        if result is passed:
            return answer
        if result.denial is not None:
            return _refused(method, given, result.denial)
        if result.error is not None:
            return _error(result.error)
        if result.value is None:
            return _NO_ANSWER
        return _answer_of(result.value)

    async def _ask_host(self, responder: Responder, request: types.ServerRequest) -> Answer:
        """Let the session handle a request, and keep the answer from the wire."""
        if isinstance(request, _Unreadable):
            raise request.error
        kept = _Kept()
        params = request.root.params
        inner: Any = RequestResponder(
            request_id=responder.request_id,
            request_meta=None if params is None else params.meta,
            request=request,
            session=kept,  # type: ignore[arg-type]
            on_complete=_nothing,
            message_metadata=responder.message_metadata,
        )
        await self._handle(inner)
        if not inner._completed:
            await self._pass_on(inner)
        return await kept.answer()


class _Unreadable:
    """A request of a method the SDK does not know, or with parameters it does not accept.

    Has what the receive loop reads of a request.
    """

    params = None

    def __init__(self, message: dict[str, Any], error: ValidationError) -> None:
        self.method: str = message["method"]
        self.error = error
        self._message = message

    @property
    def root(self) -> "_Unreadable":
        return self

    def model_dump(self, **_options: object) -> dict[str, Any]:
        return self._message


class _Kept:
    """The session of an inner responder: it keeps the answer."""

    def __init__(self) -> None:
        self._answered = anyio.Event()
        self._answer: Answer = _NO_ANSWER

    async def answer(self) -> Answer:
        """What was answered, as soon as it has been."""
        await self._answered.wait()
        return self._answer

    async def _send_response(self, request_id: str | int, response: Answer) -> None:
        del request_id
        self._answer = response
        self._answered.set()


def _nothing(_responder: object) -> None:
    pass


def _as_result(answer: Answer) -> Result:
    if isinstance(answer, types.ErrorData):
        error = WireError(answer.code, answer.message, answer.data)
        return Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error)
    return Result.of(wire_shaped(answer))


def _error(error: WireError) -> types.ErrorData:
    return types.ErrorData(code=error.code, message=error.message, data=error.data)


def _refused(method: str, params: JSONObject, denial: Denial) -> Answer:
    """A refusal in the form the request allows; one that is to become a task has none but an error."""
    answer = None if "task" in params else inbound_answer(method)
    if answer is None:
        return _error(denial_error(denial))
    return _answer_of(answer)


def _answer_of(value: JSONObject) -> Answer:
    """An answer of whatever shape: the one result type without members keeps all it is given."""
    return types.ClientResult(types.EmptyResult.model_validate(mutable_copy(value)))
