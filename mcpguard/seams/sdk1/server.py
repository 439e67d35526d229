"""A hub as a server object of SDK 1.x: any client or framework that takes one can sit on it.

Frameworks that call its handlers themselves, without a session, are served; they are told and asked nothing.
The SDK carries no context from client to server: whose a call is that comes through a session is told by its
request, or is whoever runs the server. Above: `hub.server()`. Beside: `sdk2.server`.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakSet, finalize, ref

import anyio
from mcp import types
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import McpError

from mcpguard.core.asking import client_asked
from mcpguard.core.errors import Denied, HubError
from mcpguard.core.wire import LISTINGS
from mcpguard.seams.levels import Levels
from mcpguard.seams.sdk1.asked import Client, aimed, meta_of
from mcpguard.seams.serving import (
    INSTRUCTIONS,
    LAST_WORDS,
    LISTING,
    Hub,
    RunOf,
    failure,
    in_run,
    kept,
)
from mcpguard.seams.watched import Subscribers, Watched

__all__ = ["serve"]

_NO_SESSION: Final = "no session"
"""Stands for a framework that calls the handlers itself, for whom servers are told a log level."""

_LISTS: Final[Mapping[str, tuple[Any, Any]]] = {
    "tools/list": (types.ListToolsRequest, types.ListToolsResult),
    "prompts/list": (types.ListPromptsRequest, types.ListPromptsResult),
    "resources/list": (types.ListResourcesRequest, types.ListResourcesResult),
    "resources/templates/list": (types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult),
}

_Handler: TypeAlias = Callable[[Any], Awaitable[Any]]


def serve(hub: Hub, *, name: str, runs: RunOf, wait_for: float) -> Server[Any, Any]:
    """A server object for a hub.

    Args:
        hub: The hub.
        name: What it calls itself.
        runs: Says which run a request belongs to.
        wait_for: Of no use here: clients of SDK 1.x are asked by requests.
    """
    del wait_for
    return _Serving(hub, name, runs).server


class _HubServer(Server[Any, Any]):
    """A server that says of itself that its lists may change, whoever runs it, and that it can be watched."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **options: Any
    ) -> InitializationOptions:
        if notification_options is None:
            notification_options = NotificationOptions(True, True, True)
        return super().create_initialization_options(notification_options, *args, **options)

    def get_capabilities(self, *args: Any, **options: Any) -> types.ServerCapabilities:
        told = super().get_capabilities(*args, **options)
        if told.resources is not None:
            told.resources.subscribe = True
        return told


class _Serving:
    """The handlers of one server object."""

    def __init__(self, hub: Hub, name: str, runs: RunOf) -> None:
        self._hub = hub
        self._runs = runs
        self._clients: WeakSet[Any] = WeakSet()
        self._levels = Levels(hub)
        self._watched = Watched(hub, _Upstream(hub))
        self._subscribers = Subscribers(self._watched)
        hub.told(self._heard)
        self.server = _HubServer(name, instructions=INSTRUCTIONS)
        handlers: Mapping[Any, _Handler] = {
            types.CallToolRequest: self._call,
            types.GetPromptRequest: self._prompt,
            types.ReadResourceRequest: self._read,
            types.CompleteRequest: self._complete,
            types.SetLevelRequest: self._set_level,
            types.SubscribeRequest: self._subscribe,
            types.UnsubscribeRequest: self._unsubscribe,
        }
        for request, handler in handlers.items():
            self.server.request_handlers[request] = self._handled(handler)
        for method, (request, result) in _LISTS.items():
            listing = partial(self._list, method, result)
            self.server.request_handlers[request] = self._handled(listing)

    def _handled(self, handler: _Handler) -> _Handler:
        """A handler whose errors are the protocol's, and whose client is known from then on."""

        async def handled(request: Any) -> types.ServerResult:
            context = self._context()
            if context is not None and context.session not in self._clients:
                self._clients.add(context.session)
                finalize(context.session, self._leave, ref(context.session))
            asked, connection = (None, None) if context is None else (context.request, context.session)
            try:
                run = self._runs(asked, connection)
                client = self._client()
                elicit = None if client is None else client.elicit
                with client_asked(elicit), kept(self._runs, run):
                    return types.ServerResult(await in_run(run, partial(self._met, handler, request)))
            except (HubError, Denied) as error:
                raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=str(error))) from error

        return handled

    async def _met(self, handler: _Handler, request: Any) -> Any:
        context = self._context()
        if context is not None:
            self._levels.meet(ref(context.session))
        return await handler(request)

    def _context(self) -> Any:
        """What the SDK knows of the request; None where a framework calls the handler itself."""
        try:
            return self.server.request_context
        except LookupError:
            return None

    def _client(self) -> Client | None:
        context = self._context()
        return None if context is None else Client(context, partial(self._levels.wants, ref(context.session)))

    async def _list(self, method: str, result: Any, _request: Any) -> Any:
        items = [dict(one) for one in await self._hub.items(method)]
        return result.model_validate({LISTINGS[method].items: items})

    async def _call(self, request: types.CallToolRequest) -> Any:
        client = self._client()
        options: dict[str, Any] = {}
        if client is not None and client.token is not None:
            options["progress_callback"] = client.progress
        meta = meta_of(request.params)
        if meta is not None:
            options["meta"] = meta

        async def call(session: Any, own: str) -> Any:
            return await session.call_tool(own, request.params.arguments, **options)

        try:
            arguments = request.params.arguments
            return await self._hub.send("tools/list", request.params.name, call, client, arguments=arguments)
        except Exception as error:
            told = failure(error)
            if told is None:
                raise
            return types.CallToolResult(content=[types.TextContent(type="text", text=told)], isError=True)

    async def _prompt(self, request: types.GetPromptRequest) -> Any:
        async def get(session: Any, own: str) -> Any:
            asked = aimed(request, types.GetPromptRequest, name=own)
            return await session.send_request(asked, types.GetPromptResult)

        return await self._hub.send("prompts/list", request.params.name, get, self._client())

    async def _read(self, request: types.ReadResourceRequest) -> Any:
        async def read(session: Any, own: str) -> Any:
            asked = aimed(request, types.ReadResourceRequest, uri=own)
            return await session.send_request(asked, types.ReadResourceResult)

        return await self._hub.send("resources/list", str(request.params.uri), read, self._client())

    async def _complete(self, request: types.CompleteRequest) -> Any:
        ref = request.params.ref
        if isinstance(ref, types.PromptReference):
            method, key, shown = "prompts/list", "name", ref.name
        else:
            method, key, shown = "resources/templates/list", "uri", ref.uri

        async def complete(session: Any, own: str) -> Any:
            asked = aimed(request, types.CompleteRequest, ref={"type": ref.type, key: own})
            return await session.send_request(asked, types.CompleteResult)

        return await self._hub.send(method, shown, complete, self._client())

    async def _set_level(self, request: types.SetLevelRequest) -> types.EmptyResult:
        context = self._context()
        client = _NO_SESSION if context is None else ref(context.session)
        await self._levels.set(client, request.params.level)
        return types.EmptyResult()

    async def _subscribe(self, request: types.SubscribeRequest) -> types.EmptyResult:
        context = self._context()
        if context is None:
            raise HubError("who has no session cannot watch a resource")
        session = context.session
        await self._subscribers.add(str(request.params.uri), ref(session), ref(session))
        return types.EmptyResult()

    async def _unsubscribe(self, request: types.UnsubscribeRequest) -> types.EmptyResult:
        context = self._context()
        if context is not None:
            self._subscribers.remove(str(request.params.uri), ref(context.session))
        return types.EmptyResult()

    def _leave(self, client: Hashable) -> None:
        """A client has gone; sessions are collected in the middle of anything, so it is seen to later."""
        with suppress(HubError):  # the hub was left
            self._hub.start(partial(self._left, client))

    async def _left(self, client: Hashable) -> None:
        self._subscribers.forget(client)
        self._levels.leave(client)

    async def _heard(self, server: str, method: str, uri: str | None) -> None:
        """Tell the clients of a change; of a resource only where this server is watched for it."""
        if uri is not None and (uri, server) not in self._watched:
            return
        clients = list(self._clients) if uri is None else [one() for one in self._subscribers.of(uri)]
        message = {"method": method} if uri is None else {"method": method, "params": {"uri": uri}}
        note = types.ServerNotification.model_validate(message)
        for session in clients:
            with suppress(Exception), anyio.move_on_after(LAST_WORDS):  # one that has gone, or does not read
                await session.send_notification(note)


class _Upstream:
    """How the servers behind the hub are told what is watched.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def subscribe(self, uri: str) -> None:
        """Watch a resource."""

        async def subscribe(session: Any, own: str) -> None:
            await session.subscribe_resource(own)

        await self._hub.send("resources/list", uri, subscribe, LISTING)

    async def unsubscribe(self, server: str, uri: str) -> None:
        """Have a server that was subscribed tell of a resource no longer."""

        async def unsubscribe(session: Any) -> None:
            await session.unsubscribe_resource(uri)

        await self._hub.at(server, unsubscribe)
