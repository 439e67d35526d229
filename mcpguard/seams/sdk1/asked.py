"""Clients of a hub's server object on SDK 1.x: how each is asked and told during one of its requests.

Above: `server`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp import types
from mcp.shared.exceptions import McpError
from mcp.shared.message import ServerMessageMetadata

from mcpguard.seams.askable import Askable
from mcpguard.seams.serving import forwarded

__all__ = ["Client", "aimed", "meta_of"]

_RESULTS: Final[Mapping[str, Any]] = {
    "sampling/createMessage": types.CreateMessageResult,
    "elicitation/create": types.ElicitResult,
    "roots/list": types.ListRootsResult,
}


class Client(Askable):
    """A request of a client.

    Args:
        context: What the SDK knows of it.
        wants: Whether the client wants log messages of a level.
    """

    def __init__(self, context: Any, wants: Callable[[str], bool]) -> None:
        self._context = context
        self._wants = wants

    @property
    def key(self) -> object:
        """The client."""
        return self._context.session

    @property
    def token(self) -> str | int | None:
        """Under which progress is told, if it is wanted."""
        meta = self._context.meta
        return None if meta is None else meta.progressToken

    async def ask(self, method: str, params: Any) -> Any:
        """Ask by a request of the hub's own; who has no session is not asked: no answer would get here."""
        if self._context.session.client_params is None:
            return types.ErrorData(code=types.INVALID_REQUEST, message="a client without a session")
        asked: dict[str, Any] = {"method": method}
        if params is not None:
            asked["params"] = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        request = types.ServerRequest.model_validate(asked)
        metadata = ServerMessageMetadata(related_request_id=self._context.request_id)
        try:
            return await self._context.session.send_request(
                request, _result(method, params), metadata=metadata
            )
        except McpError as error:
            return error.error

    async def tell(self, params: Any) -> None:
        """Hand on a log message."""
        if self._wants(params.level):
            note = types.ServerNotification(types.LoggingMessageNotification(params=params))
            await self._context.session.send_notification(note, related_request_id=self._context.request_id)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Hand on progress."""
        await self._context.session.send_progress_notification(
            self.token, progress, total, message, related_request_id=str(self._context.request_id)
        )


def _result(method: str, params: Any) -> Any:
    if method == "sampling/createMessage" and getattr(params, "tools", None):
        return types.CreateMessageResultWithTools
    return _RESULTS[method]


def meta_of(params: Any) -> dict[str, Any] | None:
    """What goes on of a request's `_meta`."""
    given = None if params.meta is None else params.meta.model_dump(by_alias=True, exclude_none=True)
    return forwarded(given)


def aimed(request: Any, kind: Any, **changes: Any) -> types.ClientRequest:
    """The same request to the server's own name."""
    params = request.params.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"meta"})
    params = {**params, **changes}
    meta = meta_of(request.params)
    if meta is not None:
        params["_meta"] = meta
    return types.ClientRequest(kind.model_validate({"method": request.method, "params": params}))
