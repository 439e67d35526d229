"""What a fake server does with one kind of request, written as a sentence.

`server.tool("read").reports(0.5).returns("text")` is a turn: steps, then one ending. An ending closes its
turn, what follows belongs to the next request's, and the last turn repeats. A turn without an ending gives
the server's own answer. Nothing here touches a connection: an `Exchange` does, when a request comes.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias, cast

import anyio

from mcpguard.core.wire import EMPTY, JSON, JSONObject, is_notification, mutable_copy
from mcpguard.testing.gate import Gate
from mcpguard.testing.messages import (
    LOG_LEVELS,
    TEXT_METHODS,
    Answer,
    InputRequest,
    RPCError,
    Wire,
    tool_error,
)

__all__ = ["Act", "Exchange", "Script", "Turn"]


class Exchange(Protocol):
    """One request being served: what a script's acts may do to it."""

    @property
    def arguments(self) -> Wire: ...  # noqa: D102
    async def progress(self, value: float, total: float | None, message: str | None) -> None: ...  # noqa: D102
    async def log(self, data: JSON, level: str, logger: str | None) -> None: ...  # noqa: D102
    async def notify(self, method: str, params: JSONObject) -> None: ...  # noqa: D102
    async def put(self, line: str) -> None: ...  # noqa: D102
    async def ask(self, requests: Sequence[InputRequest]) -> None: ...  # noqa: D102
    async def answer(self, answer: Answer) -> None: ...  # noqa: D102
    def drop(self) -> None: ...  # noqa: D102


Act: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class Turn:
    """How one request is served; without an ending, by the server's own answer."""

    steps: list[Act] = field(default_factory=list[Act])
    ending: Act | None = None
    times: int = 1


class Script:
    """The turns of one tool, prompt, resource or method, taken in the order in which requests arrive.

    Args:
        method: The request's method; it decides what text becomes as an answer.

    Raises:
        ValueError: If `method` is a notification, which has no answer.
    """

    def __init__(self, method: str) -> None:
        if is_notification(method):
            raise ValueError(f"{method} is a notification: nothing can be scripted as its answer")
        self._method = method
        self._turns = [Turn()]
        self._served = 0

    def reports(self, *progress: float, total: float | None = None, message: str | None = None) -> Self:
        """Send progress, one notification a value; nothing if the client gave no token."""

        async def act(exchange: Exchange) -> None:
            for value in progress:
                await exchange.progress(value, total, message)

        return self._step(act)

    def logs(self, data: JSON, *, level: str = "info", logger: str | None = None) -> Self:
        """Send a log message, if the client has asked for this level."""
        if level not in LOG_LEVELS:
            raise ValueError(f"logs() takes one of {', '.join(LOG_LEVELS)}, got {level!r}")
        return self._step(lambda exchange: exchange.log(data, level, logger))

    def notifies(self, method: str, params: JSONObject = EMPTY) -> Self:
        """Send any notification to this client, whether it listens or not."""
        return self._step(lambda exchange: exchange.notify(method, params))

    def sends_garbage(self, line: str | JSONObject = "{not json") -> Self:
        """Put a line on the wire as it is: no JSON, or a message nobody expects."""
        raw = line if isinstance(line, str) else json.dumps(mutable_copy(line))
        return self._step(lambda exchange: exchange.put(raw))

    def waits_for(self, event: Gate | anyio.Event) -> Self:
        """Go on once the test opens the gate, or sets the event."""
        if not isinstance(cast("object", event), Gate | anyio.Event):
            raise TypeError(f"waits_for() takes a Gate or an anyio.Event, got {type(event).__name__}")

        async def act(exchange: Exchange) -> None:
            await event.wait()

        return self._step(act)

    def asks(self, *requests: InputRequest) -> Self:
        """Ask the client, all at once; the replies are appended to `server.replies`.

        Legacy: requests during the call; one that is refused ends the call as an error. Modern: one
        `input_required` round.
        """
        if not requests:
            raise ValueError("asks() needs at least one of Elicit, Sample, ListRoots, InputRequest")
        return self._step(lambda exchange: exchange.ask(requests))

    def returns(self, answer: Answer) -> Self:
        """Answer with a text, or with a whole result."""
        fixed = self._checked(answer)
        return self._end(lambda exchange: exchange.answer(fixed))

    def answers(self, function: Callable[[Wire], Answer | Awaitable[Answer]]) -> Self:
        """Answer with what `function(arguments)` returns, or awaits; `RPCError` answers with an error.

        Any other exception is answered as -32603 and raised again where the connection closes.
        """
        if not callable(function):
            raise TypeError(f"answers() takes a function, got {type(function).__name__}")

        async def act(exchange: Exchange) -> None:
            answer = function(exchange.arguments)
            await exchange.answer(self._checked(await answer if inspect.isawaitable(answer) else answer))

        return self._end(act)

    def is_error(self, message: str) -> Self:
        """Answer a tool call with a result that is an error (`isError`)."""
        if self._method != "tools/call":
            raise TypeError(f"only tools have error results; script {self._method} with fails()")
        return self.returns(tool_error(message))

    def fails(self, code: int = -32603, message: str = "Internal error", data: JSON = None) -> Self:
        """Answer with a JSON-RPC error."""

        async def act(exchange: Exchange) -> None:
            raise RPCError(code, message, data)

        return self._end(act)

    def answers_twice(self, answer: Answer) -> Self:
        """Send the same answer two times."""
        fixed = self._checked(answer)

        async def act(exchange: Exchange) -> None:
            await exchange.answer(fixed)
            await exchange.answer(fixed)

        return self._end(act)

    def hangs(self) -> Self:
        """Never answer."""

        async def act(exchange: Exchange) -> None:
            await anyio.sleep_forever()

        return self._end(act)

    def drops_connection(self) -> Self:
        """End this client's connection, unanswered; over stdio the process exits."""

        async def act(exchange: Exchange) -> None:
            exchange.drop()

        return self._end(act)

    def times(self, count: int) -> Self:
        """Let the turn that has just ended serve `count` requests."""
        if isinstance(count, bool) or not isinstance(cast("object", count), int) or count < 1:
            raise ValueError(f"times() takes a number of requests, at least 1, got {count!r}")
        if self._turns[-1].ending is None:
            raise ValueError("times() follows an ending, such as returns() or fails()")
        self._turns[-1].times = count
        return self

    def next_turn(self) -> Turn:
        """The turn that serves the next request."""
        ahead, self._served = self._served, self._served + 1
        for turn in self._turns:
            if ahead < turn.times:
                return turn
            ahead -= turn.times
        return self._turns[-1]

    def _step(self, act: Act) -> Self:
        if self._turns[-1].ending is not None:
            self._turns.append(Turn())
        self._turns[-1].steps.append(act)
        return self

    def _end(self, act: Act) -> Self:
        if self._turns[-1].ending is not None:
            self._turns.append(Turn())
        self._turns[-1].ending = act
        return self

    def _checked(self, answer: Answer) -> Answer:
        given: object = answer
        if isinstance(given, Mapping):
            copy = cast("Wire", mutable_copy(given))
            json.dumps(copy)
            return copy
        if isinstance(given, str) and self._method in TEXT_METHODS:
            return given
        wanted = "text or a whole result" if self._method in TEXT_METHODS else "a whole result, as a mapping"
        raise TypeError(f"{self._method} is answered with {wanted}, got {type(given).__name__}")
