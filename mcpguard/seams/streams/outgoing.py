"""Requests of a transport's client that meet a chain.

A chain without layers runs inside the client's `send` up to the wire, and from the answer on where the
answer is read. One with layers runs in a task of its own, started inside `send` so that it has a copy of the
sender's context: awaited there it would hold up the SDK's timeout. What comes of a request is put where the
client reads next, under the id it came with.

Beside: `incoming`, the server's requests. Above: `relay`. Below: `exchanges`, which answer is whose.
"""

from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.interceptor import Wire
from mcpguard.core.result import Outcome, Result, WireError
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import EMPTY, JSON, UNCANCELLED, JSONObject
from mcpguard.seams import messages
from mcpguard.seams.connection import CANCEL_TIMEOUT, Connection
from mcpguard.seams.course import Course, Run, can_run_in_steps
from mcpguard.seams.messages import CANCELLED, Key, id_key
from mcpguard.seams.render import tool_refusal
from mcpguard.seams.session import sdk_major
from mcpguard.seams.streams.exchanges import GONE, LOST, Answers, Asked, Exchanges, failed, untaken
from mcpguard.seams.streams.inbox import Inbox, give_way
from mcpguard.seams.streams.listings import NO_TOOLS, Listings

__all__ = ["Outgoing"]

_CANCELLED: Final = WireError(0, "Request cancelled")
"""What a server built with SDK 1.x answers to a request that is cancelled."""


class Outgoing:
    """The client's requests under way, and the server's answers to them.

    Args:
        connection: What the guard knows of the connection.
        write: The transport's stream of messages to the server.
        inbox: What the client reads next.
        tasks: Where chains with layers run.
    """

    def __init__(self, connection: Connection, write: Any, inbox: Inbox, tasks: anyio.abc.TaskGroup) -> None:
        self._under_way = Exchanges()
        self._is_closed = False
        self._is_lost = False
        self._connection = connection
        self._write = write
        self._inbox = inbox
        self._tasks = tasks
        self._answers: Answers[Asked] = Answers()
        self._listings = Listings(connection.catalog)
        self._stamped: tuple[JSON, Any] = (None, None)

    def passes(self, body: Any) -> None:
        """Take note of a request that meets no chain."""
        self._answers.let_pass(body.id)
        if not self._connection.is_transparent or self._connection.is_in_run:
            self._listings.passes(body)

    async def ask(self, item: Any, body: Any, chain: Chain) -> None:
        """Carry out a request of whoever is in the current context.

        Raises:
            ClosedResourceError: If the client has closed the stream on which the answer would come.
            Exception: What the transport raises where it does not take the request.
        """
        if self._is_closed:
            raise anyio.ClosedResourceError
        asked = Asked(item, body)
        if asked.method == "tools/call":
            self._stamped = asked.given.get("_meta"), item.metadata
            asked.called = self._listings.called(asked.given)
        elif asked.method == "tools/list":
            asked.is_sdks_own = self._listings.is_sdks_own(asked.given)
        displaced = self._under_way.add(asked)
        if displaced is not None and displaced.id != asked.id:
            self._inbox.push(messages.answer_of(displaced.id, LOST))
        run: Run = partial(self._unasked if asked.is_sdks_own else self._outbound, asked, chain)
        if asked.is_sdks_own or can_run_in_steps(chain):
            await self._in_steps(asked, run)
        else:
            scope = asked.scope = anyio.CancelScope()
            self._tasks.start_soon(self._in_task, asked, run, scope)
            await give_way()

    def cancel(self, params: JSONObject) -> JSONObject | None:
        """End what a `notifications/cancelled` names; its parameters as they go on, or None if it does not.

        On SDK 1.x the caller still waits: a server built with it answers a request that is cancelled.
        """
        asked, told = self._under_way.cancel(params)
        if asked is not None and sdk_major() < 2:
            self._inbox.push(messages.error(asked.id, _CANCELLED))
        return told

    async def take(self, item: Any, body: Any, context: Context | None) -> bool:
        """Whether the server's answer was for a chain, which has it now; else it passes as it is."""
        asked = self._answers.take(item, body, context)
        if asked is None:
            if self._listings.must_not_fail(body) and not self._connection.is_transparent:
                await self._inbox.put(messages.response(body.id, NO_TOOLS))
                return True
            return self._answers.is_stale(body.id) or body.id in self._under_way
        if id_key(body.id) != id_key(asked.id):
            asked.answer = None  # a later attempt's: its id is not the one the client waits for
        await self._resume(asked)
        return True

    async def lose(self) -> None:
        """The server has gone: nothing more is sent, and no answer will come."""
        self._is_lost = True
        for asked in self._answers.lose():
            await self._resume(asked)

    def close(self) -> None:
        """The client reads no more: no answer can reach it."""
        self._is_closed = True
        self._under_way.end()

    async def list_page(self, params: JSONObject | None) -> JSONObject:
        """List tools past the chain.

        Raises:
            ConnectionError: If there is no list.
        """
        envelope, metadata = messages.listing_stamp(*self._stamped)
        given = {**({} if params is None else params), "_meta": envelope} if envelope else params
        item = messages.request(self._answers.new_id(), "tools/list", given, metadata)
        asked = Asked(item, messages.body_of(item))
        self._answers.expect(asked, asked.id)
        result = await self._fetched(asked, item)
        if result.value is None:
            raise ConnectionError(f"tools/list ended as {result.outcome}")
        return result.value

    def _outbound(self, asked: Asked, chain: Chain, wire: Wire) -> Coroutine[Any, Any, Result]:
        return self._connection.outbound(asked.method, asked.given, chain, self._seen(wire))

    def _unasked(self, asked: Asked, _chain: Chain, wire: Wire) -> Coroutine[Any, Any, Result]:
        return self._connection.unasked(asked.method, asked.given, self._seen(wire))

    def _seen(self, wire: Wire) -> Wire:
        """`wire`, with what comes from it looked at before any filter does."""

        async def seen(call: Call) -> Result:
            return self._connection.answered(call, await wire(call))

        return seen

    async def _in_steps(self, asked: Asked, run: Run) -> None:
        try:
            course = asked.course = Course(run, copy_context())
            call = course.begin()
            if isinstance(call, Result):
                self._under_way.remove(asked)
                self._inbox.push(self._answer(asked, call))
                await checkpoint()
            elif self._must_list(asked, call):
                self._tasks.start_soon(self._post_later, asked, course, call)
                await checkpoint()
            else:
                await self._post(asked, course, call)
        except BaseException:
            self._under_way.remove(asked)
            asked.abandon()
            raise

    async def _post(self, asked: Asked, course: Course, call: Call) -> None:
        """Send a call whose chain runs in steps; whoever reads the answer takes the next one."""
        request = self._request(asked, call)
        try:
            if self._is_lost:
                raise anyio.ClosedResourceError
            await self._write.send(request)
        except Exception as error:
            self._answers.forget(asked)
            asked.result = untaken(error)
            self._ended(asked, course)
            raise

    async def _post_later(self, asked: Asked, course: Course, call: Call) -> None:
        """The same in a task, where something must be fetched first and nobody can be told of a failure."""
        await self._list(call)
        if asked.is_abandoned:
            return
        try:
            await self._post(asked, course, call)
        except Exception:  # noqa: BLE001 - the session goes on, or ends by itself
            self._under_way.remove(asked)
            self._inbox.push(messages.answer_of(asked.id, asked.result))

    async def _in_task(self, asked: Asked, run: Run, scope: anyio.CancelScope) -> None:
        """Run a chain with layers, and answer its request unless that is given up meanwhile."""

        async def wire(call: Call) -> Result:
            if self._must_list(asked, call):
                await self._list(call)
            return await self._fetched(asked, self._request(asked, call))

        answer = None
        with scope:
            try:
                answer = self._answer(asked, await run(wire))
            except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
                answer = failed(asked, error)
            finally:
                self._under_way.remove(asked)
        if not asked.is_abandoned:
            await self._inbox.put(answer, asked.context)

    async def _fetched(self, asked: Asked, request: Any) -> Result:
        """Send a request and wait for its answer."""
        wire_id = messages.body_of(request).id
        arrival = anyio.Event()
        asked.arrived = arrival.set
        try:
            if self._is_lost:
                raise anyio.ClosedResourceError
            await self._write.send(request)
            await arrival.wait()
        except anyio.get_cancelled_exc_class():
            if not (asked.is_abandoned or asked.method in UNCANCELLED):
                await self._give_up(wire_id)
            raise
        except Exception as error:  # noqa: BLE001 - every outcome is a Result
            asked.result = untaken(error)
        finally:
            self._answers.forget(asked)
        return asked.result

    async def _give_up(self, wire_id: Key) -> None:
        """Tell the server, as the SDK would, that a layer no longer waits for its answer."""
        cancelled = messages.notification(CANCELLED, {"requestId": wire_id, "reason": "given up"})
        with anyio.move_on_after(CANCEL_TIMEOUT, shield=True), suppress(*GONE):
            await self._write.send(cancelled)

    async def _resume(self, asked: Asked) -> None:
        """Go on with what came of a request on the other side."""
        if asked.course is not None:
            await self._inbox.put(self._ended(asked, asked.course), asked.context)
        else:
            asked.arrived()
            await give_way()

    def _ended(self, asked: Asked, course: Course) -> Any:
        """Take the last step of a chain, and make its answer."""
        try:
            return self._answer(asked, course.end(asked.result))
        except Exception as error:  # noqa: BLE001 - whatever fails here, the session goes on
            return failed(asked, error)
        finally:
            self._under_way.remove(asked)

    def _request(self, asked: Asked, call: Call) -> Any:
        """What is sent for a call as the chain has left it; a second attempt has an id of its own."""
        wire_id = self._answers.new_id() if asked.was_sent else asked.id
        asked.was_sent = True
        self._answers.expect(asked, wire_id)
        call.goes_out(wire_id, self._connection.line)
        is_rewritten = call.params is not asked.given
        if wire_id is asked.id and not is_rewritten and not call.carried:
            return asked.item
        metadata = asked.item.metadata
        if is_rewritten:
            facts = self._facts(call)
            metadata = messages.restamped(metadata, call.method, asked.given, call.params, facts)
        params = call.sent(call.params)
        return messages.request(wire_id, call.method, None if params is EMPTY else params, metadata)

    def _answer(self, asked: Asked, result: Result) -> Any:
        """What the client is told. There is no caller to raise in: where denials are raised, it is an error.

        A call that is to become a task is answered with a task, which has no form for a refusal.
        """
        if asked.called is not None:
            asked.called.is_answered = result.outcome is Outcome.OK
        elif asked.method == "tools/list" and result.value is not None:
            self._listings.delivered(asked.given, result.value)
        if asked.is_sdks_own and result.value is None:
            return messages.response(asked.id, NO_TOOLS)
        if result is asked.result and asked.answer is not None:
            return asked.answer
        denial = result.denial
        is_call = asked.method == "tools/call" and "task" not in asked.given
        if denial is not None and is_call and self._connection.handle.on_deny == "result":
            return messages.response(asked.id, tool_refusal(denial))
        return messages.answer_of(asked.id, result)

    def _facts(self, call: Call) -> ToolFacts | None:
        """What is known of the tool that is called."""
        return self._connection.catalog.known(call.target or "") if call.method == "tools/call" else None

    def _must_list(self, asked: Asked, call: Call) -> bool:
        """Whether arguments of a rewritten call are headers, and nothing says which."""
        metadata = asked.item.metadata
        if call.params is asked.given or call.method != "tools/call" or self._facts(call) is not None:
            return False
        is_renamed = call.target != asked.given.get("name")
        return messages.has_param_headers(metadata) or (is_renamed and messages.is_stamped(metadata))

    async def _list(self, call: Call) -> None:
        with suppress(Exception):  # without the definition no argument becomes a header
            await self._connection.catalog.get(call.target or "")
