"""A hub as a server object of SDK 2.x: any client or framework that takes one can sit on it.

Both eras are served. A legacy client is asked what servers ask during a call by requests of the hub's own; a
modern one inside results, while the call it interrupts is parked. Above: `hub.server()`. Beside: `serving1`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import anyio
import mcp_types as types
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from mcpguard.core.errors import Denied, HubError
from mcpguard.core.nesting import taken_up
from mcpguard.core.run import Run, current_run
from mcpguard.core.wire import LISTINGS, canonical
from mcpguard.seams.parked import Ask, Lot, Parked
from mcpguard.seams.serving import (
    INSTRUCTIONS,
    LAST_WORDS,
    UNASKED,
    Hub,
    Stop,
    Subscribers,
    Work,
    failure,
    forwarded,
    in_run,
)

__all__ = ["serve"]

_FIRST_WITH_ROUNDS: Final = "2026-07-28"
"""The first revision of the protocol in which servers ask inside results; revisions sort as text."""

_RESULTS: Final[Mapping[str, Any]] = {
    "sampling/createMessage": types.CreateMessageResult,
    "elicitation/create": types.ElicitResult,
    "roots/list": types.ListRootsResult,
}
_CAPABILITIES: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
_EVENTS: Final[Mapping[str, Callable[[], ServerEvent]]] = {
    "notifications/tools/list_changed": ToolsListChanged,
    "notifications/prompts/list_changed": PromptsListChanged,
    "notifications/resources/list_changed": ResourcesListChanged,
}
_UPDATED: Final = "notifications/resources/updated"
_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_Ctx: TypeAlias = Any
_Handler: TypeAlias = Callable[[_Ctx, Any], Awaitable[Any]]


def serve(hub: Hub, *, name: str, run: Run | None, wait_for: float) -> Server[Any]:
    """A server object for a hub.

    Args:
        hub: The hub.
        name: What it calls itself.
        run: Binds every call to this run; None: each belongs to the run of its context.
        wait_for: Seconds a call waits for the answer of a modern client to what its server asks.
    """
    return _Serving(hub, name, run, wait_for).server


class _HubServer(Server[Any]):
    """A server that says of itself that its lists may change, whoever runs it."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **options: Any
    ) -> InitializationOptions:
        if notification_options is None:
            notification_options = NotificationOptions(True, True, True)
        return super().create_initialization_options(notification_options, *args, **options)


class _Serving:
    """The handlers of one server object."""

    def __init__(self, hub: Hub, name: str, run: Run | None, wait_for: float) -> None:
        self._hub = hub
        self._wait_for = wait_for
        self._run = run
        self._lot = Lot()
        self._clients: WeakSet[Any] = WeakSet()
        self._levels: dict[int, str] = {}
        self._subscribers = Subscribers()
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._watched: dict[tuple[str, str], int] = {}
        hub.told(self._heard)
        self.server: Server[Any] = _HubServer(name, instructions=INSTRUCTIONS)
        handlers: Mapping[str, tuple[Any, _Handler]] = {
            "tools/call": (types.CallToolRequestParams, self._call),
            "prompts/get": (types.GetPromptRequestParams, self._prompt),
            "resources/read": (types.ReadResourceRequestParams, self._read),
            "completion/complete": (types.CompleteRequestParams, self._complete),
            "logging/setLevel": (types.SetLevelRequestParams, self._set_level),
            "resources/subscribe": (types.SubscribeRequestParams, self._subscribe),
            "resources/unsubscribe": (types.UnsubscribeRequestParams, self._unsubscribe),
            "subscriptions/listen": (types.SubscriptionsListenRequestParams, self._listening),
        }
        for method, (params, handler) in handlers.items():
            self.server.add_request_handler(method, params, self._handled(handler))
        for method, items in _LISTS.items():
            listing = self._handled(partial(self._list, method, items))
            self.server.add_request_handler(method, types.PaginatedRequestParams, listing)

    def _handled(self, handler: _Handler) -> _Handler:
        """A handler whose errors are the protocol's, and whose client is known from then on."""

        async def handled(ctx: _Ctx, params: Any) -> Any:
            if not _is_modern(ctx):
                self._clients.add(_connection(ctx))
            try:
                return await in_run(self._run, partial(handler, ctx, params))
            except (HubError, Denied) as error:
                raise MCPError(code=types.INVALID_PARAMS, message=str(error)) from error

        return handled

    async def _list(self, method: str, items: str, _ctx: _Ctx, _params: Any) -> Any:
        listed = [dict(one) for one in await self._hub.items(method)]
        return {items: listed, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}

    async def _call(self, ctx: _Ctx, params: Any) -> Any:
        async def call(caller: Any, own: str) -> Any:
            return await caller.call_tool(
                own,
                params.arguments,
                progress_callback=ctx.session.report_progress,
                meta=forwarded(params.meta),
            )

        try:
            return await self._asking("tools/list", params.name, call, ctx, params)
        except Exception as error:
            told = failure(error)
            if told is None:
                raise
            return types.CallToolResult(content=[types.TextContent(type="text", text=told)], is_error=True)

    async def _prompt(self, ctx: _Ctx, params: Any) -> Any:
        async def get(caller: Any, own: str) -> Any:
            return await caller.get_prompt(own, params.arguments, meta=forwarded(params.meta))

        return await self._asking("prompts/list", params.name, get, ctx, params)

    async def _read(self, ctx: _Ctx, params: Any) -> Any:
        async def read(caller: Any, own: str) -> Any:
            return await caller.read_resource(own, meta=forwarded(params.meta))

        return await self._asking("resources/list", params.uri, read, ctx, params)

    async def _complete(self, ctx: _Ctx, params: Any) -> Any:
        given = None if params.context is None else params.context.arguments
        ref = params.ref
        is_prompt = isinstance(ref, types.PromptReference)

        async def complete(caller: Any, own: str) -> Any:
            asked = ref.model_copy(update={"name": own}) if is_prompt else ref
            return await caller.complete(asked, params.argument.model_dump(), given)

        method, shown = ("prompts/list", ref.name) if is_prompt else ("resources/templates/list", ref.uri)
        return await self._hub.send(method, shown, complete, UNASKED)

    async def _set_level(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        connection = _connection(ctx)
        key = id(connection)
        if key not in self._levels:
            connection.exit_stack.callback(self._levels.pop, key, None)
        self._levels[key] = params.level
        await self._hub.set_level(min(self._levels.values(), key=_LEVELS.index))
        return types.EmptyResult()

    async def _subscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        connection = _connection(ctx)
        key = id(connection)
        stop = await self._watch(params.uri)
        if not self._subscribers.has(key):
            connection.exit_stack.push_async_callback(self._subscribers.forget, key)
        await self._subscribers.add(params.uri, key, connection, stop)
        return types.EmptyResult()

    async def _unsubscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        await self._subscribers.remove(params.uri, id(_connection(ctx)))
        return types.EmptyResult()

    async def _listening(self, ctx: _Ctx, params: Any) -> Any:
        """Serve a modern client's stream of changes."""
        watched: dict[str, Stop] = {}
        for uri in params.notifications.resource_subscriptions or ():
            with suppress(HubError, MCPError):
                watched[uri] = await self._watch(uri)
        wanted = params.notifications.model_copy(update={"resource_subscriptions": list(watched) or None})
        try:
            return await self._listen(ctx, params.model_copy(update={"notifications": wanted}))
        finally:
            with anyio.move_on_after(LAST_WORDS, shield=True):
                for stop in watched.values():
                    await stop()

    async def _watch(self, uri: str) -> Stop:
        """Have the server of a resource tell of its changes, as whoever asks may; what ends that."""
        server = await self._hub.where("resources/list", uri)

        async def subscribe(caller: Any, own: str) -> bool:
            session = getattr(caller, "session", caller)
            if (session.protocol_version or "") >= _FIRST_WITH_ROUNDS:
                return True
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=own))
            await session.send_request(request, types.EmptyResult)
            return False

        async def unsubscribe(caller: Any, own: str) -> None:
            session = getattr(caller, "session", caller)
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=own))
            await session.send_request(request, types.EmptyResult)

        async def listen(caller: Any, own: str) -> None:
            async with caller.listen(resource_subscriptions=[own]) as stream:
                begun.set()
                async for event in stream:
                    await self._publish(_UPDATED, event.uri)

        async def keep() -> None:
            try:
                with scope:
                    await self._hub.send("resources/list", uri, listen, UNASKED)
            except Exception as error:  # noqa: BLE001 - told to whoever waits for the first word
                failed.append(error)
            finally:
                begun.set()

        if not await self._hub.send("resources/list", uri, subscribe, UNASKED):
            self._watched[uri, server] = self._watched.get((uri, server), 0) + 1

            async def stop() -> None:
                self._watched[uri, server] -= 1
                if not self._watched[uri, server]:
                    del self._watched[uri, server]
                    with suppress(HubError, MCPError):
                        await self._hub.send("resources/list", uri, unsubscribe, UNASKED)

            return stop
        begun, scope, failed = anyio.Event(), anyio.CancelScope(), list[Exception]()
        self._hub.start(keep)
        await begun.wait()
        if failed:
            raise failed[0]

        async def end() -> None:
            scope.cancel()

        return end

    async def _heard(self, server: str, method: str, uri: str | None) -> None:
        """Tell the clients of a change; of a resource only where this server is watched for it."""
        if uri is None or (uri, server) in self._watched:
            await self._publish(method, uri)

    async def _publish(self, method: str, uri: str | None) -> None:
        if uri is not None:
            clients = self._subscribers.of(uri)
            params = {"uri": uri}
            await self._bus.publish(ResourceUpdated(uri))
        else:
            clients, params = list(self._clients), None
            await self._bus.publish(_EVENTS[method]())
        for connection in clients:
            with suppress(Exception), anyio.move_on_after(LAST_WORDS):  # one that has gone, or does not read
                await connection.outbound.notify(method, params)

    async def _asking(self, method: str, shown: str, work: Work, ctx: _Ctx, params: Any) -> Any:
        """Do something during which the server may ask its client."""
        with taken_up(ctx.method, shown, getattr(params, "arguments", None) or {}):
            return await self._sent(method, shown, work, ctx, params)

    async def _sent(self, method: str, shown: str, work: Work, ctx: _Ctx, params: Any) -> Any:
        if not _is_modern(ctx):
            return await self._hub.send(method, shown, work, _Legacy(self, ctx))
        capabilities = ctx.session.client_capabilities
        answers = {what for what in _CAPABILITIES.values() if getattr(capabilities, what, None) is not None}
        if not answers:
            return await self._hub.send(method, shown, work, _Silent(ctx))
        key = _key(ctx)
        if params.request_state is None and params.input_responses is None:
            parked = Parked(key, self._wait_for)
            client = _Modern(parked, ctx, answers)
            call = partial(self._hub.send, method, shown, work, client)
            self._hub.start(partial(parked.run, call))
        else:
            waiting = self._lot.take(params.request_state or "", key)
            if waiting is None:
                raise MCPError(code=types.INVALID_PARAMS, message="nothing waits for this answer")
            parked = waiting
            self._answer(parked, params.input_responses or {})
        return await self._news(parked)

    async def _news(self, parked: Parked) -> Any:
        """What came of a parked call, or what its server wants to know."""
        try:
            await parked.news()
        except anyio.get_cancelled_exc_class():
            parked.scope.cancel()
            raise
        if parked.error is not None:
            raise parked.error
        if parked.is_done:
            return parked.result
        state = self._lot.park(parked)
        if state is None:
            for key in list(parked.asks):
                parked.answer(
                    {key: types.ErrorData(code=types.INVALID_REQUEST, message="too many calls wait")}
                )
            return await self._news(parked)
        asked = {key: _request(ask) for key, ask in parked.asks.items()}
        return types.InputRequiredResult(input_requests=asked, request_state=state)

    def _answer(self, parked: Parked, given: Mapping[str, Any]) -> None:
        answers: dict[str, Any] = {}
        for key, ask in parked.asks.items():
            if key in given:
                answers[key] = _response(ask, given[key])
        parked.answer(answers)

    def wants(self, ctx: _Ctx, level: str) -> bool:
        """Whether a client wants messages of this level."""
        least = self._levels.get(id(_connection(ctx)), _LEVELS[0])
        return _LEVELS.index(level) >= _LEVELS.index(least)


class _Legacy:
    """A request of a client that can be asked by requests."""

    def __init__(self, serving: _Serving, ctx: _Ctx) -> None:
        self._serving = serving
        self._ctx = ctx

    @property
    def key(self) -> object:
        """The client."""
        return _connection(self._ctx)

    async def ask(self, method: str, params: Any) -> Any:
        """Ask by a request of the hub's own."""
        ctx = self._ctx
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        try:
            return await ctx.session.send_request(
                _request(Ask(method, params)), _result(method, params), metadata=related
            )
        except MCPError as error:
            return error.error

    async def tell(self, params: Any) -> None:
        """Hand on a log message."""
        if self._serving.wants(self._ctx, params.level):
            note = types.LoggingMessageNotification(params=params)
            await self._ctx.session.send_notification(note, related_request_id=self._ctx.request_id)


class _Silent:
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


class _Modern(_Silent):
    """A request of a modern client that is asked inside results."""

    def __init__(self, parked: Parked, ctx: _Ctx, answers: set[str]) -> None:
        super().__init__(ctx)
        self._parked = parked
        self._answers = answers

    async def ask(self, method: str, params: Any) -> Any:
        """Park the call until a message brings the answer."""
        if _CAPABILITIES[method] not in self._answers:
            return await super().ask(method, params)
        answer = await self._parked.ask(method, params)
        return await super().ask(method, params) if answer is None else answer


_LISTS: Final = {method: one.items for method, one in LISTINGS.items()}


def _is_modern(ctx: _Ctx) -> bool:
    return bool(ctx.protocol_version >= _FIRST_WITH_ROUNDS)


def _connection(ctx: _Ctx) -> Any:
    return ctx.session._connection


def _key(ctx: _Ctx) -> bytes:
    """What a message must be to continue a call: the same request of the same principal."""
    given = {name: one for name, one in (ctx.params or {}).items() if name not in _PER_ROUND}
    run = current_run()
    who = None if run is None else run.principal
    caller = None if who is None else [who.tenant, who.user, who.agent, sorted(who.roles)]
    return canonical([ctx.method, given, caller])


_PER_ROUND: Final = frozenset({"_meta", "inputResponses", "requestState"})


def _request(ask: Ask) -> Any:
    if ask.method == "sampling/createMessage":
        return types.CreateMessageRequest(params=ask.params)
    return types.ListRootsRequest() if ask.params is None else types.ElicitRequest(params=ask.params)


def _result(method: str, params: Any) -> Any:
    if method == "sampling/createMessage" and getattr(params, "tools", None):
        return types.CreateMessageResultWithTools
    return _RESULTS[method]


def _response(ask: Ask, given: Any) -> Any:
    """An answer as its question wants it; any other is an error."""
    told = given.model_dump(by_alias=True, exclude_none=True)
    try:
        return _result(ask.method, ask.params).model_validate(told)
    except ValueError:
        return types.ErrorData(code=types.INVALID_PARAMS, message=f"this is no answer to {ask.method}")
