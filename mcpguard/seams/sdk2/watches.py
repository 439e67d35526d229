"""What clients of a hub's server object watch, on SDK 2.x, and who is told of what changes.

Legacy clients subscribe to resources and are told of everything else; modern ones hold a stream of what they
want. A modern server behind the hub is listened to in the same way. Above: `server`.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from functools import partial
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
from mcpguard.seams.serving import LAST_WORDS, LISTING, UNASKED, Hub
from mcpguard.seams.watched import MAX_STREAMS, Full, Places, Subscribers, Watch, Watched, owner_of

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
        self.clients: WeakSet[Any] = WeakSet()
        """Connections of legacy clients."""
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._watched = Watched(hub, _Upstream(hub, partial(self._publish, _UPDATED)))
        self._subscribers = Subscribers(self._watched)
        hub.told(self._heard)

    async def subscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        """Have a legacy client watch a resource."""
        connection = connection_of(ctx)
        await self._subscribers.add(params.uri, id(connection), connection)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: _Ctx, params: Any) -> types.EmptyResult:
        """Have it watch the resource no longer."""
        self._subscribers.remove(params.uri, id(connection_of(ctx)))
        return types.EmptyResult()

    def forget(self, client: Hashable) -> None:
        """A legacy client has gone."""
        self._subscribers.forget(client)

    async def listen(self, ctx: _Ctx, params: Any) -> Any:
        """Serve a modern client's stream of changes; of what cannot be watched it is told nothing."""
        watches = self._watched.take(dict.fromkeys(params.notifications.resource_subscriptions or ()))
        try:
            begun = [watch.uri for watch in watches if await self._has_begun(watch)]
            wanted = params.notifications.model_copy(update={"resource_subscriptions": begun or None})
            return await self._listen(ctx, params.model_copy(update={"notifications": wanted}))
        finally:
            self._watched.end(watches)

    async def _has_begun(self, watch: Watch) -> bool:
        try:
            await self._watched.begin(watch)
        except Full:
            raise
        except (HubError, MCPError):
            return False
        return True

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


class _Upstream:
    """How the servers behind the hub are told what is watched, in each era's way.

    Args:
        hub: The hub.
        publish: Tells of a resource that has changed.
    """

    def __init__(self, hub: Hub, publish: Callable[[str], Awaitable[None]]) -> None:
        self._hub = hub
        self._publish = publish
        self._streams = Places(MAX_STREAMS)

    async def subscribe(self, uri: str) -> Callable[[], None] | None:
        """Watch a resource; what ends the stream that was opened for it, None if it was subscribed to."""

        async def subscribe(caller: Any, own: str) -> bool:
            session = getattr(caller, "session", caller)
            if (session.protocol_version or "") >= FIRST_WITH_ROUNDS:
                return False
            request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=own))
            await session.send_request(request, types.EmptyResult)
            return True

        if await self._hub.send("resources/list", uri, subscribe, LISTING):
            return None
        return await self._opened(uri)

    async def unsubscribe(self, server: str, uri: str) -> None:
        """Have a server that was subscribed tell of a resource no longer."""

        async def unsubscribe(caller: Any) -> None:
            session = getattr(caller, "session", caller)
            request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
            await session.send_request(request, types.EmptyResult)

        await self._hub.at(server, unsubscribe)

    async def _opened(self, uri: str) -> Callable[[], None]:
        """Listen to a modern server; what ends that."""
        begun, scope, failed = anyio.Event(), anyio.CancelScope(), list[Exception]()

        async def listen(caller: Any, own: str) -> None:
            async with caller.listen(resource_subscriptions=[own]) as stream:
                begun.set()
                async for event in stream:
                    await self._publish(event.uri)

        async def keep() -> None:
            try:
                with self._streams.taken(owner_of()), scope:
                    await self._hub.send("resources/list", uri, listen, UNASKED)
            except Exception as error:  # noqa: BLE001 - told to whoever waits for the first word
                failed.append(error)
            finally:
                begun.set()

        self._hub.start(keep)
        try:
            await begun.wait()
        except BaseException:
            scope.cancel()
            raise
        if failed:
            raise failed[0]
        return scope.cancel
