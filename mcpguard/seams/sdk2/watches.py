"""What clients of a hub's server object watch, on SDK 2.x, and who is told of what changes.

Legacy clients subscribe to resources and are told of everything else; modern ones hold a stream of what they
want. A modern server behind the hub is listened to in the same way. Above: `server`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import anyio
import mcp_types as types
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

from mcpguard.core.errors import HubError
from mcpguard.seams.sdk2.asked import FIRST_WITH_ROUNDS, connection_of
from mcpguard.seams.serving import LAST_WORDS, UNASKED, Hub, Stop, Subscribers

__all__ = ["Watches"]

_EVENTS: Final[Mapping[str, Callable[[], ServerEvent]]] = {
    "notifications/tools/list_changed": ToolsListChanged,
    "notifications/prompts/list_changed": PromptsListChanged,
    "notifications/resources/list_changed": ResourcesListChanged,
}
_UPDATED: Final = "notifications/resources/updated"

_Ctx: TypeAlias = Any


class Watches:
    """The clients of one server object, and what they watch.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.clients: WeakSet[Any] = WeakSet()
        """Connections of legacy clients."""
        self._subscribers = Subscribers()
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._watched: dict[tuple[str, str], int] = {}
        hub.told(self._heard)

    async def subscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        """Have a legacy client watch a resource."""
        connection = connection_of(ctx)
        key = id(connection)
        stop = await self._watch(params.uri)
        if not self._subscribers.has(key):
            connection.exit_stack.push_async_callback(self._subscribers.forget, key)
        await self._subscribers.add(params.uri, key, connection, stop)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        """Have it watch the resource no longer."""
        await self._subscribers.remove(params.uri, id(connection_of(ctx)))
        return types.EmptyResult()

    async def listen(self, ctx: _Ctx, params: Any) -> Any:
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
            if (session.protocol_version or "") >= FIRST_WITH_ROUNDS:
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
            clients, params = list(self.clients), None
            await self._bus.publish(_EVENTS[method]())
        for connection in clients:
            with suppress(Exception), anyio.move_on_after(LAST_WORDS):  # one that has gone, or does not read
                await connection.outbound.notify(method, params)
