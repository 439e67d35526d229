"""Requests of a transport's server that meet a chain.

Each is handed to the client under an id made up here: a second request with the server's id cannot draw the
answer past the filters. A chain with layers runs in a task of its own; one without, up to the client where
the request is read, and from the answer on inside the client's `send`. What is denied the server is told at
once, in the form the request allows; the client never sees it.

Beside: `outgoing`, the client's requests. Above: `relay`. Below: `exchanges`, which answer is whose.
"""

import logging
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.result import Result
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.seams import messages
from mcpguard.seams.connection import Connection
from mcpguard.seams.course import Course, Run, can_run_in_steps
from mcpguard.seams.render import inbound_answer
from mcpguard.seams.streams.exchanges import Answers, Exchange, Exchanges, failed
from mcpguard.seams.streams.inbox import Inbox, give_way

__all__ = ["Incoming"]

_log = logging.getLogger("mcpguard")


MAX_REFUSALS: Final = 100
"""Refusals that may wait for the server to read them; a server that reads none is read no further."""


class Incoming:
    """The server's requests under way, and the client's answers to them.

    Args:
        connection: What the guard knows of the connection.
        write: The transport's stream of messages to the server.
        inbox: What the client reads next.
        tasks: Where chains with layers run.
    """

    def __init__(self, connection: Connection, write: Any, inbox: Inbox, tasks: anyio.abc.TaskGroup) -> None:
        self._under_way = Exchanges()
        self._connection = connection
        self._write = write
        self._inbox = inbox
        self._tasks = tasks
        self._answers: Answers[Exchange] = Answers()
        self._refusals = anyio.Semaphore(MAX_REFUSALS)

    async def ask(self, item: Any, body: Any, chain: Chain, context: Context | None) -> None:
        """Carry out a request, in the context of whoever sent it where the transport tells."""
        asked = Exchange(item, body)
        self._under_way.add(asked)
        run = partial(self._connection.inbound, asked.method, asked.given, chain)
        around = copy_context() if context is None else context
        if can_run_in_steps(chain):
            await self._in_steps(asked, run, around, context)
        else:
            scope = asked.scope = anyio.CancelScope()
            around.run(self._tasks.start_soon, self._in_task, asked, run, scope, context)
            await give_way()

    def cancel(self, params: JSONObject) -> JSONObject | None:
        """End what a `notifications/cancelled` names; its parameters as they go on, None if not."""
        return self._under_way.cancel(params)[1]

    def close(self) -> None:
        """The client reads no more."""
        self._under_way.end()

    async def take(self, item: Any, body: Any) -> bool:
        """Whether the client's answer was for a chain, which has it now; else it passes as it is."""
        asked = self._answers.take(item, body, None)
        if asked is None:
            return self._answers.is_stale(body.id)
        if asked.course is None:
            asked.arrived()
            await checkpoint()
            return True
        try:
            answer = _answer(asked, asked.course.end(asked.result))
        except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
            answer = failed(asked, error)
        self._under_way.remove(asked)
        await self._write.send(answer)
        return True

    async def _in_steps(self, asked: Exchange, run: Run, around: Context, context: Context | None) -> None:
        course = asked.course = Course(run, around)
        try:
            call = course.begin()
            if not isinstance(call, Result):
                await self._inbox.put(self._request(asked, call), context)
                return
            answer = _answer(asked, call)
        except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
            answer = failed(asked, error)
        self._under_way.remove(asked)
        await self._refusals.acquire()
        self._tasks.start_soon(self._refuse, answer)

    async def _in_task(
        self, asked: Exchange, run: Run, scope: anyio.CancelScope, context: Context | None
    ) -> None:
        """Run a chain with layers, and answer its request unless that is given up meanwhile."""

        async def wire(call: Call) -> Result:
            request = self._request(asked, call)
            arrival = anyio.Event()
            asked.arrived = arrival.set
            try:
                await self._inbox.put(request, context)
                await arrival.wait()
            finally:
                self._answers.forget(asked)
            return asked.result

        with scope:
            try:
                answer = _answer(asked, await run(wire))
            except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
                answer = failed(asked, error)
            await self._answer_server(answer)
        self._under_way.remove(asked)

    def _request(self, asked: Exchange, call: Call) -> Any:
        """What the client is asked."""
        wire_id = self._answers.new_id()
        self._answers.expect(asked, wire_id)
        params = None if call.params is EMPTY else call.params
        return messages.request(wire_id, asked.method, params, asked.item.metadata)

    async def _refuse(self, answer: Any) -> None:
        try:
            await self._answer_server(answer)
        finally:
            self._refusals.release()

    async def _answer_server(self, answer: Any) -> None:
        try:
            await self._write.send(answer)
        except Exception as error:  # noqa: BLE001 - nothing that a server asks ends the session
            _log.debug("an answer to %s was not taken: %s", self._connection.name, type(error).__name__)


def _answer(asked: Exchange, result: Result) -> Any:
    """What the server is told. A request that is to become a task has no form for a refusal but an error."""
    declined = None if result.denial is None or "task" in asked.given else inbound_answer(asked.method)
    if declined is not None:
        return messages.response(asked.id, declined)
    return messages.answer_of(asked.id, result)
