"""Everything the protocol has passes the chain, by the SDK's own tables: a new method fails here."""

from importlib import import_module
from typing import Any, get_args

import anyio
import anyio.lowlevel
import mcp.types as types
import pytest
from harness import ALL, LEGACY_SEAMS, MODERN_SEAMS, V1, Peer, accept, complete, opened, roots, watching
from pydantic import AnyUrl

from mcpguard import Guard
from mcpguard.core.wire import LIFECYCLE
from mcpguard.testing import FakeServer, RecordingSink
from mcpguard.testing.messages import Elicit, ListRoots, Sample

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*removed as of"),
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
]

EVERYTHING = {*ALL, *((method, way) for method in LIFECYCLE for way in ("outbound", "inbound"))}
MODERN = "2026-07-28"

CANCELLED = "notifications/cancelled"
"""Sent by the SDK's dispatcher itself; the chain tells it as the call's `cancelled` event."""

TASKS = {"tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "notifications/tasks/status"}
"""Experimental on 1.x and gone from 2.x; they take the same path as any other method."""


def table(name: str, *, modern: bool) -> set[str]:
    """The methods of one kind: CLIENT_ or SERVER_, REQUESTS or NOTIFICATIONS."""
    if not V1:
        rows = getattr(import_module("mcp_types.methods"), name)
        return {method for method, version in rows if (version == MODERN) == modern}
    side, kind = name.split("_")
    union = getattr(types, f"{side.title()}{kind.title()[:-1]}").model_fields["root"].annotation
    return {model.model_fields["method"].default for model in get_args(union)} - TASKS


async def drive_legacy(peer: Peer, server: FakeServer) -> None:
    """Everything a handshake-era session and server can say to each other."""
    session: Any = peer.session
    uri: Any = AnyUrl("file:///notes") if V1 else "file:///notes"
    ref = types.PromptReference(type="ref/prompt", name="brief")
    await session.send_ping()
    await session.set_logging_level("info")
    await session.list_prompts()
    await session.get_prompt("brief")
    await session.complete(ref, {"name": "tone", "value": "f"})
    await session.list_resources()
    await session.list_resource_templates()
    await session.read_resource(uri)
    await session.subscribe_resource(uri)
    await session.unsubscribe_resource(uri)
    await session.list_tools()
    await session.call_tool("read", {}, progress_callback=_ignore)
    await session.send_progress_notification("token", 0.5)
    await session.send_roots_list_changed()
    await server.request("ping")
    for method, params in NOTIFIED.items():
        await server.notify(method, params)


async def drive_modern(peer: Peer, server: FakeServer) -> None:
    """Everything a 2026-07-28 client and server can say to each other."""
    client = peer.client
    await client.list_prompts()
    await client.get_prompt("brief")
    await client.complete(
        types.PromptReference(type="ref/prompt", name="brief"), {"name": "tone", "value": "f"}
    )
    await client.list_resources()
    await client.list_resource_templates()
    await client.read_resource("file:///notes")
    await client.list_tools()
    await client.call_tool("read", {}, progress_callback=_ignore)
    async with client.listen(
        tools_list_changed=True,
        prompts_list_changed=True,
        resources_list_changed=True,
        resource_subscriptions=["file:///notes"],
    ):
        for method, params in NOTIFIED.items():
            await server.notify(method, params)


NOTIFIED: dict[str, Any] = {
    "notifications/tools/list_changed": {},
    "notifications/prompts/list_changed": {},
    "notifications/resources/list_changed": {},
    "notifications/resources/updated": {"uri": "file:///notes"},
    "notifications/elicitation/complete": {"elicitationId": "e"},
    "notifications/cancelled": {"requestId": 999_999, "reason": "too late"},
}


async def _ignore(progress: float, total: float | None, message: str | None) -> None:
    pass


def scripted(era: Any) -> FakeServer:
    """A server that makes use of everything."""
    server = FakeServer(era=era)
    said = server.tool("read").reports(0.5).logs("working", level="error")
    said.asks(Elicit("who?"), Sample("2+2?"), ListRoots()).returns("done")
    server.prompt("brief", arguments=[{"name": "tone"}]).returns("Be brief.")
    server.completion("brief", {"tone": ["formal"]})
    server.resource("file:///notes").returns("remember")
    server.resource_template("file:///{name}")
    return server


CASES = [(seam, False) for seam in LEGACY_SEAMS] + [(seam, True) for seam in MODERN_SEAMS]


@pytest.mark.parametrize(("seam", "modern"), CASES)
async def test_every_method_of_the_protocol_passes_the_chain(seam: str, modern: bool) -> None:
    """Gateways that cover `tools/call` only leave the rest open (ContextForge #6088)."""
    server = scripted("modern" if modern else "legacy")
    seen = watching(EVERYTHING)
    sink = RecordingSink()
    guard = Guard([seen], sinks=[sink])
    callbacks: dict[str, Any] = {
        "elicitation_callback": accept,
        "sampling_callback": complete,
        "list_roots_callback": roots,
    }
    if modern:
        callbacks["log_level"] = "debug"
    outbound = table("CLIENT_REQUESTS", modern=modern) | table("CLIENT_NOTIFICATIONS", modern=modern)
    inbound = table("SERVER_REQUESTS", modern=modern) | table("SERVER_NOTIFICATIONS", modern=modern)
    inbound |= {"elicitation/create", "sampling/createMessage", "roots/list"}
    unseen = {("outbound", CANCELLED)}
    if seam == "entered" and not V1:
        assert "pings" in guard_blind_spot()
        unseen |= {("inbound", "ping")}
    wanted = {("outbound", one) for one in outbound} | {("inbound", one) for one in inbound}

    def found() -> set[tuple[str, str]]:
        return {(call.direction, call.method) for call in seen.seen}

    async with opened(guard, server, seam, modern=modern, **callbacks) as peer:
        await (drive_modern if modern else drive_legacy)(peer, server)
        with anyio.move_on_after(10):
            while wanted - unseen - found():
                await anyio.lowlevel.checkpoint()
        server.on_call("read").hangs()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.call, "read")
            await server.until_seen("tools/call", 2 + modern)
            tasks.cancel_scope.cancel()
    assert wanted - found() <= unseen
    assert "cancelled" in {event.kind for event in sink.events} or seam == "transport"


def guard_blind_spot() -> str:
    """What the seam of an entered session says it cannot see."""
    (spot,) = import_module("mcpguard.seams.sdk2.session").ENTERED_BLIND_SPOTS
    return str(spot)
