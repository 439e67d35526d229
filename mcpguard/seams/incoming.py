"""Requests of a transport's server that meet a chain.

Each runs in a task of its own and is handed to the client under an id made up here: a second request with
the server's id cannot draw the answer past the filters. What is denied the server is told at once, in the
form the request allows; the client never sees it.

Beside: `outgoing`, the client's requests. Above: `relay`. Below: `exchanges`, which answer is whose.
"""

from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

import anyio.abc

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.result import Result
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.seams import messages
from mcpguard.seams.connection import Connection
from mcpguard.seams.exchanges import GONE, Answers, Exchange, Exchanges, failed
from mcpguard.seams.inbox import Inbox
from mcpguard.seams.render import inbound_answer

__all__ = ["Incoming"]


class Incoming:
    """The server's requests under way, and the client's answers to them.

    Args:
        connection: What the guard knows of the connection.
        write: The transport's stream of messages to the server.
        inbox: What the client reads next.
        tasks: Where chains run.
    """

    def __init__(self, connection: Connection, write: Any, inbox: Inbox, tasks: anyio.abc.TaskGroup) -> None:
        self.under_way = Exchanges()
        self._connection = connection
        self._write = write
        self._inbox = inbox
        self._tasks = tasks
        self._answers = Answers()

    def ask(self, item: Any, body: Any, chain: Chain, context: Context | None) -> None:
        """Start to carry out a request, in the context of whoever sent it where the transport tells."""
        exchange = Exchange(body.id, body.method)
        self.under_way.add(exchange)
        start = partial(self._tasks.start_soon, self._carry_out, exchange, item, body, chain, context)
        if context is None:
            start()
        else:
            context.run(start)

    def take(self, item: Any, body: Any) -> bool:
        """Whether the client's answer was for a chain, which has it now; else it passes as it is."""
        return self._answers.take(body.id, item, None)

    async def _carry_out(
        self, exchange: Exchange, item: Any, body: Any, chain: Chain, context: Context | None
    ) -> None:
        """Run one request through its chain, and answer it unless it is given up meanwhile."""
        if exchange.is_abandoned:
            return
        given: JSONObject = EMPTY if body.params is None else body.params

        async def wire(call: Call) -> Result:
            params = None if call.params is EMPTY else call.params
            return await self._asked(exchange, params, item.metadata, context)

        answer: Any = None
        try:
            with exchange.scope:
                result = await self._connection.inbound(exchange.method, given, chain, wire)
                answer = _answer(exchange, given, result)
        except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
            answer = failed(exchange, error)
        finally:
            self.under_way.remove(exchange)
        if not exchange.is_abandoned:
            with suppress(*GONE):
                await self._write.send(answer)

    async def _asked(
        self, exchange: Exchange, params: JSONObject | None, metadata: Any, context: Context | None
    ) -> Result:
        """Hand a request to the client and wait for its answer."""
        wire_id = exchange.wire_id = self._answers.new_id()
        waiter = self._answers.expect(wire_id)
        try:
            await self._inbox.put(messages.request(wire_id, exchange.method, params, metadata), context)
            await waiter.arrived.wait()
        finally:
            exchange.wire_id = None
            self._answers.forget(wire_id, waiter)
        return waiter.result


def _answer(exchange: Exchange, given: JSONObject, result: Result) -> Any:
    """What the server is told. A request that is to become a task has no form for a refusal but an error."""
    declined = None if result.denial is None or "task" in given else inbound_answer(exchange.method)
    if declined is not None:
        return messages.response(exchange.id, declined)
    return messages.answer_of(exchange.id, result)
