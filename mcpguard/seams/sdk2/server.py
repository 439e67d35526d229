"""A hub as a server object of SDK 2.x: any client or framework that takes one can sit on it.

Both eras are served. A legacy client is asked what servers ask during a call by requests of the hub's own; a
modern one inside results, while the call it interrupts is parked. Above: `hub.server()`. Beside:
`sdk1.server`.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
import mcp_types as types
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError

from mcpguard.core.asking import client_asked
from mcpguard.core.errors import Denied, HubError
from mcpguard.core.nesting import taken_up
from mcpguard.core.principal import Principal
from mcpguard.core.run import current_run
from mcpguard.core.wire import LISTINGS, canonical
from mcpguard.seams.levels import Levels
from mcpguard.seams.parked import Lot, Parked
from mcpguard.seams.sdk2.asked import (
    CAPABILITIES,
    Legacy,
    Modern,
    Silent,
    connection_of,
    is_modern,
    request_of,
    response_to,
)
from mcpguard.seams.sdk2.watches import Watches
from mcpguard.seams.serving import (
    INSTRUCTIONS,
    Hub,
    RunOf,
    Work,
    failure,
    forwarded,
    in_run,
    kept,
)

__all__ = ["serve"]

_MODERN: Final = "modern clients"
"""Stands for the clients that do not say when they come and go, for whom servers are told a log level."""

_Ctx: TypeAlias = Any
_Handler: TypeAlias = Callable[[_Ctx, Any], Awaitable[Any]]


def serve(hub: Hub, *, name: str, runs: RunOf, wait_for: float) -> Server[Any]:
    """A server object for a hub.

    Args:
        hub: The hub.
        name: What it calls itself.
        runs: Says which run a request belongs to.
        wait_for: Seconds a call waits for the answer of a modern client to what its server asks.
    """
    return _Serving(hub, name, runs, wait_for).server


class _HubServer(Server[Any]):
    """A server that says of itself that its lists may change, whoever runs it, and which calls wait.

    Args:
        name: What it calls itself.
        lot: The calls that wait for the message that continues them.
    """

    def __init__(self, name: str, lot: Lot) -> None:
        super().__init__(name, instructions=INSTRUCTIONS)
        self._lot = lot

    def awaits(self, state: str) -> bool:
        """Whether a call waits for the message that continues it under `state`."""
        return self._lot.has(state)

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **options: Any
    ) -> InitializationOptions:
        if notification_options is None:
            notification_options = NotificationOptions(True, True, True)
        return super().create_initialization_options(notification_options, *args, **options)


class _Serving:
    """The handlers of one server object."""

    def __init__(self, hub: Hub, name: str, runs: RunOf, wait_for: float) -> None:
        self._hub = hub
        self._wait_for = wait_for
        self._runs = runs
        self._lot = Lot()
        self._levels = Levels(hub)
        self._watches = Watches(hub)
        self.server: Server[Any] = _HubServer(name, self._lot)
        handlers: Mapping[str, tuple[Any, _Handler]] = {
            "tools/call": (types.CallToolRequestParams, self._call),
            "prompts/get": (types.GetPromptRequestParams, self._prompt),
            "resources/read": (types.ReadResourceRequestParams, self._read),
            "completion/complete": (types.CompleteRequestParams, self._complete),
            "logging/setLevel": (types.SetLevelRequestParams, self._set_level),
            "resources/subscribe": (types.SubscribeRequestParams, self._watches.subscribe),
            "resources/unsubscribe": (types.UnsubscribeRequestParams, self._watches.unsubscribe),
            "subscriptions/listen": (types.SubscriptionsListenRequestParams, self._watches.listen),
        }
        for method, (params, handler) in handlers.items():
            self.server.add_request_handler(method, params, self._handled(handler))
        for method, items in _LISTS.items():
            listing = self._handled(partial(self._list, method, items))
            self.server.add_request_handler(method, types.PaginatedRequestParams, listing)

    def _handled(self, handler: _Handler) -> _Handler:
        """A handler whose errors are the protocol's, and whose client is known from then on."""

        async def handled(ctx: _Ctx, params: Any) -> Any:
            connection = None if is_modern(ctx) else connection_of(ctx)
            if connection is not None and connection not in self._watches.clients:
                self._watches.clients.add(connection)
                connection.exit_stack.callback(self._leave, id(connection))
            try:
                run = self._runs(ctx.request, connection)
                with kept(self._runs, run):
                    return await in_run(run, partial(self._met, handler, ctx, params))
            except (HubError, Denied) as error:
                raise MCPError(code=types.INVALID_PARAMS, message=str(error)) from error

        return handled

    async def _met(self, handler: _Handler, ctx: _Ctx, params: Any) -> Any:
        self._levels.meet(_MODERN if is_modern(ctx) else id(connection_of(ctx)))
        return await handler(ctx, params)

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
        client = Silent(ctx) if is_modern(ctx) else self._legacy(ctx)
        return await self._hub.send(method, shown, complete, client)

    async def _set_level(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        await self._levels.set(id(connection_of(ctx)), params.level)
        return types.EmptyResult()

    def _leave(self, client: Hashable) -> None:
        """A legacy client has gone."""
        self._watches.forget(client)
        self._levels.leave(client)

    def _legacy(self, ctx: _Ctx) -> Legacy:
        return Legacy(ctx, partial(self._levels.wants, id(connection_of(ctx))))

    async def _asking(self, method: str, shown: str, work: Work, ctx: _Ctx, params: Any) -> Any:
        """Do something during which the server may ask its client."""
        with taken_up(ctx.method, shown, getattr(params, "arguments", None) or {}):
            return await self._sent(method, shown, work, ctx, params)

    async def _sent(self, method: str, shown: str, work: Work, ctx: _Ctx, params: Any) -> Any:
        arguments = getattr(params, "arguments", None)
        if not is_modern(ctx):
            legacy = self._legacy(ctx)
            with client_asked(legacy.elicit):
                return await self._hub.send(method, shown, work, legacy, arguments=arguments)
        capabilities = ctx.session.client_capabilities
        answers = {what for what in CAPABILITIES.values() if getattr(capabilities, what, None) is not None}
        if not answers:
            with client_asked(None):
                return await self._hub.send(method, shown, work, Silent(ctx), arguments=arguments)
        key = _key(ctx)
        if params.request_state is None and params.input_responses is None:
            parked = Parked(key, self._wait_for, _owner())
            client = Modern(parked, ctx, answers)
            call = partial(self._hub.send, method, shown, work, client, arguments=arguments)
            with client_asked(client.elicit):
                self._hub.start(partial(self._made, parked, call))
        else:
            waiting = self._lot.take(params.request_state or "", key)
            if waiting is None:
                raise MCPError(code=types.INVALID_PARAMS, message=_NOTHING_WAITS)
            parked = waiting
            self._answer(parked, params.input_responses or {})
        return await self._news(parked)

    async def _made(self, parked: Parked, call: Callable[[], Awaitable[Any]]) -> None:
        """Make a call that outlives the messages it is made by, and its run with it."""
        with kept(self._runs, current_run()):
            await parked.run(call)

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
        asked = {key: request_of(ask) for key, ask in parked.asks.items()}
        return types.InputRequiredResult(input_requests=asked, request_state=state)

    def _answer(self, parked: Parked, given: Mapping[str, Any]) -> None:
        answers: dict[str, Any] = {}
        for key, ask in parked.asks.items():
            if key in given:
                answers[key] = response_to(ask, given[key])
        parked.answer(answers)


_NOTHING_WAITS: Final = (
    "nothing waits for this answer here: it is late, was given before, is for another request, or what asked"
    " for it was another process"
)
_LISTS: Final = {method: one.items for method, one in LISTINGS.items()}


def _key(ctx: _Ctx) -> bytes:
    """What a message must be to continue a call: the same request of the same principal."""
    given = {name: one for name, one in (ctx.params or {}).items() if name not in _PER_ROUND}
    who = _owner()
    caller = None if who is None else [who.tenant, who.user, who.agent, sorted(who.roles), who.claims]
    return canonical([ctx.method, given, caller])


def _owner() -> Principal | None:
    """On whose behalf a message comes."""
    run = current_run()
    return None if run is None else run.principal


_PER_ROUND: Final = frozenset({"_meta", "inputResponses", "requestState"})
