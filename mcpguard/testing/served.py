"""One request being served by a fake server: what its script's acts, and its own answer, do to the wire.

The request belongs to a `Connection`; what the answers are is the catalogue's and the scripts' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mcpguard.core.wire import JSON, JSONObject
from mcpguard.testing.catalogue import INVALID_PARAMS, META, Catalogue
from mcpguard.testing.messages import LOG_LEVELS, Answer, InputRequest, RPCError, Wire, tool_error
from mcpguard.testing.script import Turn

if TYPE_CHECKING:
    from mcpguard.testing.connection import Connection

__all__ = ["INTERNAL_ERROR", "Host", "Round", "Served"]

INTERNAL_ERROR: Final = -32603


@dataclass(frozen=True, slots=True)
class Round:
    """Where a turn goes on when the client has answered an `input_required` result."""

    turn: Turn
    step: int
    replies: tuple[Wire, ...]
    keys: tuple[str, ...]


class Host(Protocol):
    """The server behind a connection."""

    catalogue: Catalogue
    replies: list[Wire]
    rounds: dict[str, Round]

    def saw(self, message: Wire, headers: Mapping[str, str]) -> None:
        """Record a message."""
        ...

    def turn_for(self, method: str, params: Wire) -> Turn:
        """The turn that serves a request, in the order of arrival."""
        ...


class _ParkedError(Exception):
    """The request was answered with `input_required`; its turn goes on in another one."""


class _RefusedError(Exception):
    """The client answered a request of ours with an error."""


class Served:
    """One request under way: the `Exchange` its script acts on."""

    def __init__(self, connection: "Connection", id_: str | int, method: str, params: Wire) -> None:
        self.id = id_
        self._connection = connection
        self._host = connection.host
        self._catalogue = connection.host.catalogue
        self._method = method
        self._params = params
        self._meta: Wire = params.get("_meta") or {}
        self._replies: list[Wire] = []
        self._step = 0
        self._refusal: RPCError | None = None
        self._turn = Turn()
        try:
            self._catalogue.check_envelope(method, params)
            self._turn = self._resumed() or self._host.turn_for(method, params)
        except RPCError as error:
            self._refusal = error

    @property
    def arguments(self) -> Wire:
        """What scripted functions are given: a call's arguments, a template's variables, or the params."""
        if self._method in {"tools/call", "prompts/get"}:
            return self._params.get("arguments") or {}
        if self._method == "resources/read":
            uri = self._params.get("uri", "")
            found = self._catalogue.template_of(uri)
            return {"uri": uri, **(found[1] if found else {})}
        return self._params

    async def run(self) -> None:
        """Serve the request to its end, or to the next round."""
        try:
            if self._refusal is not None:
                raise self._refusal
            while self._step < len(self._turn.steps):
                await self._turn.steps[self._step](self)
                self._step += 1
            if self._turn.ending is None:
                await self.answer(await self._own_answer())
            else:
                await self._turn.ending(self)
        except RPCError as error:
            await self.fail(error)
        except _RefusedError as refused:
            await self._give_up(str(refused))
        except _ParkedError:
            return

    async def progress(self, value: float, total: float | None, message: str | None) -> None:
        """Send progress, if the client gave a token."""
        token = self._meta.get("progressToken")
        if token is not None:
            params: Wire = {"progressToken": token, "progress": value, "total": total, "message": message}
            await self.notify("notifications/progress", {k: v for k, v in params.items() if v is not None})

    async def log(self, data: JSON, level: str, logger: str | None) -> None:
        """Send a log message, if the client wants this level; a modern one wants none by default."""
        wanted = self._connection.log_level
        if self._catalogue.era == "modern":
            wanted = self._meta.get(META + "logLevel", "")
        if wanted in LOG_LEVELS and LOG_LEVELS.index(level) >= LOG_LEVELS.index(wanted):
            said: JSONObject = {"level": level, "data": data}
            await self.notify("notifications/message", said if logger is None else {**said, "logger": logger})

    async def notify(self, method: str, params: JSONObject) -> None:
        """Send a notification to this client."""
        await self._connection.notify(method, params)

    async def put(self, line: str) -> None:
        """Send a line as it is."""
        await self._connection.lines.send(line)

    async def ask(self, requests: Sequence[InputRequest]) -> None:
        """Ask the client, in the era's way."""
        if self._catalogue.era == "modern":
            keys = tuple(f"ask-{number}" for number in range(1, len(requests) + 1))
            state = f"round-{len(self._host.rounds) + 1}"
            self._host.rounds[state] = Round(self._turn, self._step + 1, tuple(self._replies), keys)
            asked: Wire = {
                key: {"method": one.method, **({"params": one.params} if one.params else {})}
                for key, one in zip(keys, requests, strict=True)
            }
            wanted: Wire = {"resultType": "input_required", "inputRequests": asked, "requestState": state}
            await self.answer(wanted)
            raise _ParkedError
        for one in requests:
            reply = await self._connection.request(one.method, one.params)
            self._keep(reply)
            if "error" in reply:
                raise _RefusedError(f"{one.method} was refused: {reply['error'].get('message')}")

    async def answer(self, answer: Answer) -> None:
        """Send the result."""
        result = self._catalogue.result(self._method, self._params, answer)
        await self._connection.send({"id": self.id, "result": result})

    async def fail(self, error: RPCError) -> None:
        """Send an error."""
        said: JSONObject = {"code": error.code, "message": error.message}
        said = said if error.data is None else {**said, "data": error.data}
        await self._connection.send({"id": self.id, "error": said})

    def drop(self) -> None:
        """End the client's connection."""
        self._connection.drop()

    async def _own_answer(self) -> Wire:
        if self._method == "subscriptions/listen" and self._catalogue.era == "modern":
            return await self._connection.listen(self.id, self._params)
        try:
            answer = self._catalogue.answer(self._method, self._params, self._replies)
        except (AttributeError, KeyError, TypeError) as error:
            raise RPCError(INVALID_PARAMS, f"Invalid params for {self._method}") from error
        if self._method == "logging/setLevel":
            self._connection.log_level = self._params["level"]
        return answer

    async def _give_up(self, reason: str) -> None:
        if self._method == "tools/call":
            await self.answer(tool_error(reason))
        else:
            await self.fail(RPCError(INTERNAL_ERROR, reason))

    def _resumed(self) -> Turn | None:
        state = self._params.get("requestState")
        if state is None or self._catalogue.era == "legacy":
            return None
        if state not in self._host.rounds:
            raise RPCError(INVALID_PARAMS, f"Unknown requestState: {state}")
        ahead = self._host.rounds[state]
        given: Wire = self._params.get("inputResponses") or {}
        if missing := [key for key in ahead.keys if key not in given]:
            raise RPCError(INVALID_PARAMS, f"No input response for {', '.join(missing)}")
        self._replies = list(ahead.replies)
        self._step = ahead.step
        for key in ahead.keys:
            self._keep(given[key])
        return ahead.turn

    def _keep(self, reply: Wire) -> None:
        self._replies.append(reply)
        self._host.replies.append(reply)
