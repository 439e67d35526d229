"""Clients of a hub's server object on SDK 2.x: how each is asked and told during one of its requests.

A legacy client is asked by requests of the hub's own, a modern one inside results, while the call is parked.
Above: `server`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from mcpguard.core.run import current_run
from mcpguard.seams.askable import Askable
from mcpguard.seams.parked import Ask, Parked

__all__ = [
    "CAPABILITIES",
    "FIRST_WITH_ROUNDS",
    "Legacy",
    "Modern",
    "Silent",
    "connection_of",
    "is_modern",
    "request_of",
    "response_to",
]

FIRST_WITH_ROUNDS: Final = "2026-07-28"
"""The first revision of the protocol in which servers ask inside results; revisions sort as text."""

_RESULTS: Final[Mapping[str, Any]] = {
    "sampling/createMessage": types.CreateMessageResult,
    "elicitation/create": types.ElicitResult,
    "roots/list": types.ListRootsResult,
}
CAPABILITIES: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}

_Ctx: TypeAlias = Any


class Legacy(Askable):
    """A request of a client that can be asked by requests.

    Args:
        ctx: The request.
        wants: Whether the client wants log messages of a level.
    """

    def __init__(self, ctx: _Ctx, wants: Callable[[str], bool]) -> None:
        self._ctx = ctx
        self._wants = wants

    @property
    def key(self) -> object:
        """The client."""
        return connection_of(self._ctx)

    async def ask(self, method: str, params: Any) -> Any:
        """Ask by a request of the hub's own."""
        ctx = self._ctx
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            return await ctx.session.send_request(
                request_of(Ask(method, params)), _result(method, params), metadata=related
            )
        except MCPError as error:
            return error.error

    async def tell(self, params: Any) -> None:
        """Hand on a log message."""
        if self._wants(params.level):
            note = types.LoggingMessageNotification(params=params)
            await self._ctx.session.send_notification(note, related_request_id=self._ctx.request_id)


class Silent(Askable):
    """A request of a modern client that cannot be asked anything."""

    def __init__(self, ctx: _Ctx) -> None:
        self._ctx = ctx
        self._run = current_run()

    @property
    def key(self) -> object:
        """The run; without one this request, since nothing tells one modern client from another."""
        return self._run or self

    async def ask(self, method: str, params: Any) -> Any:
        """Refuse, as a client without the callback does."""
        del params
        return types.ErrorData(code=types.INVALID_REQUEST, message=f"the client does not answer {method}")

    async def tell(self, params: Any) -> None:
        """Hand on a log message, where this request has asked for any."""
        logger = self._ctx.session
        if params.level in logger._allowed_log_levels:
            await logger.send_notification(
                types.LoggingMessageNotification(params=params), related_request_id=self._ctx.request_id
            )


class Modern(Silent):
    """A request of a modern client that is asked inside results."""

    def __init__(self, parked: Parked, ctx: _Ctx, answers: set[str]) -> None:
        super().__init__(ctx)
        self._parked = parked
        self._answers = answers

    async def ask(self, method: str, params: Any) -> Any:
        """Park the call until a message brings the answer."""
        if CAPABILITIES[method] not in self._answers:
            return await super().ask(method, params)
        answer = await self._parked.ask(method, params)
        return await super().ask(method, params) if answer is None else answer


def is_modern(ctx: _Ctx) -> bool:
    """Whether it is a request of MCP 2026-07-28 or later."""
    return bool(ctx.protocol_version >= FIRST_WITH_ROUNDS)


def connection_of(ctx: _Ctx) -> Any:
    """The connection of a legacy client."""
    return ctx.session._connection


def request_of(ask: Ask) -> Any:
    """What a client is asked."""
    if ask.method == "sampling/createMessage":
        return types.CreateMessageRequest(params=ask.params)
    return types.ListRootsRequest() if ask.params is None else types.ElicitRequest(params=ask.params)


def _result(method: str, params: Any) -> Any:
    if method == "sampling/createMessage" and getattr(params, "tools", None):
        return types.CreateMessageResultWithTools
    return _RESULTS[method]


def response_to(ask: Ask, given: Any) -> Any:
    """An answer as its question wants it; any other is an error."""
    told = given.model_dump(by_alias=True, exclude_none=True)
    try:
        return _result(ask.method, ask.params).model_validate(told)
    except ValueError:
        return types.ErrorData(code=types.INVALID_PARAMS, message=f"this is no answer to {ask.method}")
