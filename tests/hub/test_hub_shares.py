"""What one client of a hub leaves to the others: watches that end with it, places, and log levels."""

import gc
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError
from hub_peers import client, uri

from mcpguard import Guard, Principal, Run
from mcpguard.testing import FakeServer, Gate

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:resources/", "ignore:The logging capability"),
]

UPDATED = "notifications/resources/updated"
STREAMS = pytest.mark.skipif(V1, reason="SDK 1.x knows no streams of changes")
RUNS = [Run(principal=Principal(tenant=tenant, user=user)) for tenant, user in (("a", "ana"), ("b", "bob"))]


def pages(era: str = "legacy") -> FakeServer:
    """A server with many resources."""
    web = FakeServer(era=era)  # type: ignore[arg-type]
    web.tool("log").logs("low", level="info").logs("high", level="error").returns("done")
    web.resource_template("web://page/{n}")
    return web


def page(number: int | str) -> str:
    """One of them."""
    return f"web://page/{number}"


class Callers:
    """Whose a client is: the first of all is ana, whoever comes later is bob."""

    def __init__(self) -> None:
        self._known: list[Any] = []

    def __call__(self, request: Any, connection: Any) -> Run:
        """The run of a request."""
        if not any(connection is known for known in self._known):
            self._known.append(connection)
        return RUNS[0 if connection is self._known[0] else 1]


async def listening(peer: Any, uris: list[str], begun: anyio.Event, scope: anyio.CancelScope) -> None:
    """Have a stream of changes until the scope is cancelled."""
    with scope:
        async with peer.caller.listen(resource_subscriptions=uris):
            begun.set()
            await anyio.sleep_forever()


@STREAMS
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_resource_that_a_stream_names_often_is_watched_once(era: str) -> None:
    """And watched no longer once the client has left."""
    web = pages(era)
    async with Guard([]).hub({"web": web}) as hub, client(hub.server()) as peer:
        with anyio.fail_after(20):
            async with peer.caller.listen(resource_subscriptions=[page(1)] * 3) as stream:
                assert stream.honored.resource_subscriptions == [page(1)]
                assert await web.notify(UPDATED, {"uri": page(1)}) == 1
            if era == "legacy":
                await web.until_seen("resources/unsubscribe")
            else:
                while await web.notify(UPDATED, {"uri": page(1)}):
                    await anyio.lowlevel.checkpoint()
    if era == "legacy":
        assert web.seen("resources/subscribe") == web.seen("resources/unsubscribe") == [{"uri": page(1)}]
    else:
        listens = [params["notifications"] for params in web.seen("subscriptions/listen")]
        assert [one for one in listens if "resourceSubscriptions" in one] == [
            {"resourceSubscriptions": [page(1)]}
        ]


@STREAMS
async def test_a_client_that_leaves_while_it_is_being_subscribed_leaves_nothing_behind() -> None:
    """What was made so far is undone, and what was under way."""
    web, scope = pages(), anyio.CancelScope()
    web.on("resources/subscribe").returns({}).times(1).hangs()
    async with Guard([]).hub({"web": web}) as hub, client(hub.server()) as peer:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listening, peer, [page(1), page(2), page(3)], anyio.Event(), scope)
                await web.until_seen("resources/subscribe", 2)
                scope.cancel()
            await web.until_seen("resources/unsubscribe", 2)
    subscribed = [params["uri"] for params in web.seen("resources/subscribe")]
    assert subscribed == [page(1), page(2)]
    assert sorted(params["uri"] for params in web.seen("resources/unsubscribe")) == subscribed


@STREAMS
async def test_a_client_that_leaves_a_server_opening_a_stream_leaves_no_stream() -> None:
    """The stream that the server had not acknowledged is given up."""
    web, scope = pages("modern"), anyio.CancelScope()
    async with Guard([]).hub({"web": web}) as hub, client(hub.server()) as peer:
        with anyio.fail_after(20):
            await peer.tools()
            await web.until_seen("subscriptions/listen")
            web.on("subscriptions/listen").hangs()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listening, peer, [page(1)], anyio.Event(), scope)
                await web.until_seen("subscriptions/listen", 2)
                scope.cancel()
            await web.until_seen("notifications/cancelled")


@STREAMS
async def test_leaving_waits_for_no_server_and_ends_every_watch() -> None:
    """However many there are: the hub goes on when the client has gone."""
    web, gate = pages(), Gate()
    web.on("resources/unsubscribe").waits_for(gate).returns({})
    async with Guard([]).hub({"web": web}) as hub:
        with anyio.fail_after(20):
            async with client(hub.server()) as peer:
                async with peer.caller.listen(resource_subscriptions=[page(n) for n in range(200)]):
                    pass
            await gate.reached()
            assert len(web.seen("resources/unsubscribe")) == 1
            gate.open()
            await web.until_seen("resources/unsubscribe", 200)
    ended = {params["uri"] for params in web.seen("resources/unsubscribe")}
    assert ended == {page(n) for n in range(200)}


@STREAMS
async def test_a_stream_of_more_resources_than_may_be_watched_is_refused() -> None:
    """As a whole, before any server hears of it; a shorter one is served."""
    web = pages()
    async with Guard([]).hub({"web": web}) as hub, client(hub.server()) as peer:
        with pytest.raises(MCPError, match="more than 1024 resources are watched"):
            async with peer.caller.listen(resource_subscriptions=[page(n) for n in range(1025)]):
                raise AssertionError("was served")
        assert web.seen("resources/subscribe") == []
        async with peer.caller.listen(resource_subscriptions=[page(1)]) as stream:
            assert stream.honored.resource_subscriptions == [page(1)]


@STREAMS
async def test_streams_take_of_their_principals_share() -> None:
    """Another principal has its own."""
    web, guard = pages(), Guard([])
    ana, bob = (run.principal for run in RUNS)
    async with guard.hub({"web": web}) as hub, client(hub.server()) as peer:
        async with guard.run(principal=ana):
            with pytest.raises(MCPError, match="more than one principal's share"):
                async with peer.caller.listen(resource_subscriptions=[page(n) for n in range(257)]):
                    raise AssertionError("was served")
            async with peer.caller.listen(resource_subscriptions=[page(n) for n in range(256)]):
                with pytest.raises(MCPError, match="more than one principal's share"):
                    async with peer.caller.listen(resource_subscriptions=[page("more")]):
                        raise AssertionError("was served")
                async with (
                    guard.run(principal=bob),
                    peer.caller.listen(resource_subscriptions=[page("b")]) as stream,
                ):
                    assert stream.honored.resource_subscriptions == [page("b")]


@STREAMS
async def test_a_resource_that_one_principal_watches_again_takes_no_other_place() -> None:
    """A stream that is opened anew before the end of the last was told, or beside it; a subscription."""
    web, guard = pages(), Guard([])
    uris = [page(number) for number in range(256)]
    async with guard.hub({"web": web}) as hub:
        server = hub.server(run=RUNS[0])
        async with client(server) as peer, client(server, "legacy") as other:
            for _ in range(3):
                async with peer.caller.listen(resource_subscriptions=uris) as stream:
                    assert len(stream.honored.resource_subscriptions) == 256
            async with (
                peer.caller.listen(resource_subscriptions=uris),
                peer.caller.listen(resource_subscriptions=uris) as stream,
            ):
                assert len(stream.honored.resource_subscriptions) == 256
                for _ in range(2):
                    await other.caller.subscribe_resource(page(0))


@STREAMS
async def test_there_is_always_room_for_another_principal() -> None:
    """Of what is free nobody gets more than half."""
    web, guard = pages(), Guard([])
    async with (
        guard.hub({"web": web}) as hub,
        client(hub.server()) as peer,
        AsyncExitStack() as streams,
    ):
        for who, room in (("a", 256), ("b", 256), ("c", 256), ("d", 128), ("e", 64)):
            async with guard.run(principal=Principal(user=who)):
                uris = [page(f"{who}{number}") for number in range(room + 1)]
                with pytest.raises(MCPError, match="more than one principal's share"):
                    await streams.enter_async_context(peer.caller.listen(resource_subscriptions=uris))
                await streams.enter_async_context(peer.caller.listen(resource_subscriptions=uris[1:]))


async def test_one_principal_does_not_take_all_watches() -> None:
    """It has a quarter of them, and places that it gives back."""
    web = pages()
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server(runs=Callers())
        async with client(server, "legacy") as ana, client(server, "legacy") as bob:
            for number in range(256):
                await ana.caller.subscribe_resource(uri(page(number)))
            with pytest.raises(MCPError, match="more than one principal's share"):
                await ana.caller.subscribe_resource(uri(page("more")))
            await bob.caller.subscribe_resource(uri(page("b")))
            await ana.caller.unsubscribe_resource(uri(page(0)))
            with anyio.fail_after(20):
                while {"uri": page("more")} not in web.seen("resources/subscribe"):
                    with suppress(MCPError):
                        await ana.caller.subscribe_resource(uri(page("more")))
    assert len(web.seen("resources/subscribe")) == 258


@STREAMS
async def test_streams_of_modern_servers_are_fewer() -> None:
    """Each is a connection of its own where the server is reached over HTTP."""
    web = pages("modern")
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server(runs=Callers())
        async with client(server, "legacy") as ana, client(server, "legacy") as bob:
            for number in range(32):
                await ana.caller.subscribe_resource(page(number))
            with pytest.raises(MCPError, match="share of the 128"):
                await ana.caller.subscribe_resource(page("more"))
            await bob.caller.subscribe_resource(page("b"))
            assert await web.notify(UPDATED, {"uri": page("b")}) == 1
            assert await web.notify(UPDATED, {"uri": page("more")}) == 0


async def test_who_watches_what_is_just_being_given_up_waits_for_that() -> None:
    """Else the server might hear of the end last, and tell the newcomer nothing."""
    web, gate = pages(), Gate()
    web.on("resources/unsubscribe").waits_for(gate).returns({})
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server()
        async with client(server, "legacy") as goes, client(server, "legacy") as comes:
            with anyio.fail_after(20):
                await goes.caller.subscribe_resource(uri(page(1)))
                await goes.caller.unsubscribe_resource(uri(page(1)))
                await gate.reached()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(comes.caller.subscribe_resource, uri(page(1)))
                    await comes.tools()
                    assert len(web.seen("resources/subscribe")) == 1
                    gate.open()
                assert len(web.seen("resources/subscribe")) == 2
                await web.notify(UPDATED, {"uri": page(1)})
                while UPDATED not in comes.heard:
                    await comes.changed.wait()
                    comes.changed = anyio.Event()


async def test_a_server_that_refuses_a_subscription_is_not_told_of_its_end() -> None:
    """It has none; what others hold stays."""
    web = pages()
    web.on("resources/subscribe").returns({}).times(1).fails(-32002, "no such page").times(1).returns({})
    async with Guard([]).hub({"web": web}) as hub, client(hub.server(), "legacy") as peer:
        await peer.caller.subscribe_resource(uri(page(1)))
        with pytest.raises(MCPError, match="no such page"):
            await peer.caller.subscribe_resource(uri(page(2)))
        await peer.caller.subscribe_resource(uri(page(3)))
        await peer.caller.unsubscribe_resource(uri(page(3)))
        await web.until_seen("resources/unsubscribe")
        assert web.seen("resources/unsubscribe") == [{"uri": page(3)}]


def levels(server: FakeServer) -> list[str]:
    """What a server was told."""
    return [params["level"] for params in server.seen("logging/setLevel")]


async def test_a_client_that_wants_little_takes_nothing_from_one_that_asks_for_no_level() -> None:
    """Neither if it was there before, nor if it comes later."""
    web = pages()
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server()
        async with client(server, "legacy") as quiet, client(server, "legacy") as other:
            with anyio.fail_after(20):
                await quiet.tools()
                await quiet.caller.set_logging_level("emergency")
                await other.tools()
                await web.until_seen("logging/setLevel", 2)
                await quiet.caller.set_logging_level("alert")
                for peer in (quiet, other):
                    await peer.call("web__log")
                while other.said != ["low", "high"]:
                    await anyio.lowlevel.checkpoint()
    assert levels(web) == ["emergency", "info", "info"]
    assert quiet.said == []


@STREAMS
async def test_modern_clients_count_as_one_that_asks_for_no_level() -> None:
    """They do not say when they come and go."""
    web = pages()
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server()
        async with client(server, "modern") as peer, client(server, "legacy") as quiet:
            await peer.tools()
            await quiet.caller.set_logging_level("emergency")
    assert levels(web) == ["info"]


async def test_servers_are_told_again_when_the_client_that_wanted_most_leaves() -> None:
    """SDK 1.x does not say when that is: it is known once its session is collected."""
    web = pages()
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server()
        async with client(server, "legacy") as stays:
            await stays.tools()
            await stays.caller.set_logging_level("error")
            async with client(server, "legacy") as goes:
                await goes.caller.set_logging_level("debug")
            with anyio.fail_after(20):
                while levels(web)[-1] != "error":
                    gc.collect()
                    await anyio.lowlevel.checkpoint()
    assert "debug" in levels(web)
