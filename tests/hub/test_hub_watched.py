"""What clients of a hub's server watch: several resources, several clients, and what is refused."""

from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError
from hub_peers import client, uri

from mcpguard import Guard
from mcpguard.testing import FakeServer

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:resources/")]

UPDATED = "notifications/resources/updated"
ENDS = ["unsubscribes"] if V1 else ["unsubscribes", "leaves"]
"""SDK 1.x does not say when a client leaves: it is known once its session is collected."""


@pytest.mark.parametrize("ends", ENDS)
async def test_a_resource_is_watched_until_its_last_client_watches_it_no_longer(ends: str) -> None:
    """The other client's subscriptions stay, and it is told of changes."""
    web = FakeServer()
    web.resource("web://a", "a")
    web.resource("web://b", "b")
    async with Guard([]).hub({"web": web}) as hub:
        server = hub.server()
        async with client(server, "legacy") as stays:
            async with client(server, "legacy") as goes:
                for peer in (stays, goes):
                    await peer.caller.subscribe_resource(uri("web://a"))
                    await peer.caller.subscribe_resource(uri("web://b"))
                if ends == "unsubscribes":
                    await goes.caller.unsubscribe_resource(uri("web://a"))
            await web.notify(UPDATED, {"uri": "web://a"})
            with anyio.fail_after(20):
                while UPDATED not in stays.heard:
                    await stays.changed.wait()
                    stays.changed = anyio.Event()
                assert "web://a" not in [params["uri"] for params in web.seen("resources/unsubscribe")]
                await stays.caller.unsubscribe_resource(uri("web://a"))
                await web.until_seen("resources/unsubscribe")
        assert goes.heard == []


async def test_more_resources_than_may_be_watched_are_refused() -> None:
    """The server behind the hub hears nothing of the one too many."""
    web = FakeServer()
    web.resource_template("web://page/{n}")
    async with Guard([]).hub({"web": web}) as hub, client(hub.server(), "legacy") as peer:
        for number in range(1024):
            await peer.caller.subscribe_resource(uri(f"web://page/{number}"))
        with pytest.raises(MCPError, match="more than 1024 resources are watched"):
            await peer.caller.subscribe_resource(uri("web://page/more"))
        assert {"uri": "web://page/more"} not in web.seen("resources/subscribe")
    assert len(web.seen("resources/subscribe")) == 1024


@pytest.mark.skipif(V1, reason="SDK 1.x knows no streams of changes")
async def test_a_server_that_lets_nobody_listen_is_not_watched() -> None:
    """The client that subscribes gets the server's error."""
    web = FakeServer(era="modern")
    web.resource("web://a", "a")
    web.on("subscriptions/listen").fails(-32011, "no streams here")
    async with Guard([]).hub({"web": web}) as hub, client(hub.server(), "legacy") as peer:
        with anyio.fail_after(20), pytest.raises(MCPError, match="no streams here"):
            await peer.caller.subscribe_resource(uri("web://a"))


@pytest.mark.skipif(not V1, reason="SDK 1.x only")
async def test_without_a_session_levels_are_set_and_nothing_is_watched() -> None:
    """A framework that calls the handlers itself has nobody who could be told of changes."""
    types: Any = import_module("mcp.types")
    web = FakeServer()
    web.tool("log")
    web.resource("web://a", "a")
    async with Guard([]).hub({"web": web}) as hub:
        handlers = hub.server().request_handlers

        async def ask(kind: Any, method: str, **params: Any) -> Any:
            return await handlers[kind](kind.model_validate({"method": method, "params": params}))

        await hub.tools()
        await ask(types.SetLevelRequest, "logging/setLevel", level="error")
        with pytest.raises(MCPError, match="no session"):
            await ask(types.SubscribeRequest, "resources/subscribe", uri="web://a")
        answer = await ask(types.UnsubscribeRequest, "resources/unsubscribe", uri="web://a")
        assert isinstance(answer.root, types.EmptyResult)
    assert [params["level"] for params in web.seen("logging/setLevel")] == ["error"]
    assert web.seen("resources/subscribe") == web.seen("resources/unsubscribe") == []
