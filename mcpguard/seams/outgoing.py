"""Requests of a transport's client that meet a chain.

A chain without layers runs inside the client's `send` up to the wire, and from the answer on where the
answer is read. One with layers runs in a task of its own, started inside `send` so that it has a copy of the
sender's context: awaited there it would hold up the SDK's timeout. What comes of a request is put where the
client reads next, under the id it came with.

Beside: `incoming`, the server's requests. Above: `relay`. Below: `exchanges`, which answer is whose.
"""

from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from mcpguard.core.call import Call, ToolFacts
from mcpguard.core.chain import Chain
from mcpguard.core.interceptor import Wire
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.seams import messages
from mcpguard.seams.connection import Connection
from mcpguard.seams.course import Course, can_run_in_steps
from mcpguard.seams.exchanges import GONE, LOST, Answers, Exchange, Exchanges, failed
from mcpguard.seams.inbox import Inbox
from mcpguard.seams.listings import Called, Listings
from mcpguard.seams.messages import CANCELLED, Key
from mcpguard.seams.render import tool_refusal

__all__ = ["Outgoing"]

CANCEL_TIMEOUT: Final = 1.0
"""Seconds for which telling the server that a request is given up may hold up whoever gives it up."""

_UNCANCELLED: Final = frozenset({"initialize", "server/discover"})
"""Requests that a client must not cancel (MCP 2026-07-28, cancellation)."""


@dataclass(slots=True)
class _Asked:
    """A request of the client's, and how far it has got.

    Args:
        exchange: Its way through the chain.
        item: The message as the client sent it.
        given: Its parameters.
        called: Set where it calls a tool.
        is_own: Whether it is the SDK's own listing.
        course: Its chain, where that runs in steps.
        arrived: Set when the answer has come, where a task waits for it.
        answer: The answer as it came, under the id the request was sent with.
        context: Whose answer it is, where the transport tells.
        result: What came of it at the wire.
    """

    exchange: Exchange
    item: Any
    given: JSONObject
    called: Called | None
    is_own: bool
    course: Course | None = None
    arrived: anyio.Event | None = None
    answer: Any = None
    context: Context | None = None
    result: Result = LOST


class Outgoing:
    """The client's requests under way, and who waits for which answer of the server's.

    Args:
        connection: What the guard knows of the connection.
        write: The transport's stream of messages to the server.
        inbox: What the client reads next.
        tasks: Where chains with layers run.
    """

    def __init__(self, connection: Connection, write: Any, inbox: Inbox, tasks: anyio.abc.TaskGroup) -> None:
        self.under_way = Exchanges()
        self._is_closed = False
        self._is_lost = False
        self._connection = connection
        self._write = write
        self._inbox = inbox
        self._tasks = tasks
        self._answers: Answers[_Asked] = Answers()
        self._listings = Listings()
        self._stamped: tuple[JSON, Any] = (None, None)

    def passes(self, body: Any) -> None:
        """Take note of a request that meets no chain."""
        if body.method == "tools/call" and body.params is not None:
            self._listings.called(body.params, is_answered=True)

    async def ask(self, item: Any, body: Any, chain: Chain) -> None:
        """Carry out a request of whoever is in the current context.

        Raises:
            ClosedResourceError: If the client has closed the stream on which the answer would come.
        """
        if self._is_closed:
            raise anyio.ClosedResourceError
        given: JSONObject = EMPTY if body.params is None else body.params
        asked = _Asked(Exchange(body.id, body.method), item, given, None, False)
        if body.method == "tools/call":
            self._stamped = given.get("_meta"), item.metadata
            asked.called = self._listings.called(given, is_answered=False)
        elif body.method == "tools/list":
            asked.is_own = self._listings.is_sdks_own(given)
        out = self.under_way.add(asked.exchange)
        if out is not None and out.id != body.id:
            self._inbox.push(messages.answer_of(out.id, LOST))
        run = partial(
            self._connection.unasked if asked.is_own else self._connection.outbound,
            body.method,
            given,
            chain,
        )
        if can_run_in_steps(chain):
            await self._take_steps(asked, run)
        else:
            ...
            await checkpoint()
