"""A policy that changes while a hub is used: lists are those of the new one, and clients are told."""

import signal
from pathlib import Path

import anyio
import pytest
from hub_peers import client

from mcpguard import Guard
from mcpguard.testing import FakeServer

pytestmark = pytest.mark.anyio


def allowing(tool: str) -> str:
    """A policy that allows one tool."""
    return f"version: 1\ninterceptors:\n  access: {{default: deny, allow: [{{tools: [{tool}]}}]}}\n"


def server() -> FakeServer:
    """With two tools."""
    git = FakeServer()
    git.tool("log")
    git.tool("reset")
    return git


async def test_a_hub_lists_what_the_policy_of_the_moment_allows(tmp_path: Path) -> None:
    """Its warm lists are dropped; what was denied meanwhile is not shown for a minute."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(allowing("log"))
    guard = Guard.from_policy(policy)
    async with guard, guard.hub({"git": server()}) as hub:
        assert [tool["name"] for tool in await hub.tools()] == ["git__log"]
        policy.write_text(allowing("reset"))
        assert guard.reload()
        assert [tool["name"] for tool in await hub.tools()] == ["git__reset"]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another thread"])
async def test_clients_of_a_hub_are_told_of_a_reload_by_call(tmp_path: Path, elsewhere: bool) -> None:
    """Whoever reloads, in whatever thread."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(allowing("log"))
    guard = Guard.from_policy(policy)
    async with (
        guard,
        guard.hub({"git": server()}) as hub,
        client(hub.server(), "legacy") as peer,
    ):
        assert await peer.tools() == ["git__log"]
        policy.write_text(allowing("reset"))
        assert await anyio.to_thread.run_sync(guard.reload) if elsewhere else guard.reload()
        with anyio.fail_after(60):
            while "notifications/tools/list_changed" not in peer.heard:
                await peer.changed.wait()
                peer.changed = anyio.Event()
        assert await peer.tools() == ["git__reset"]


async def test_a_reload_after_a_hub_was_left_is_as_any_other(tmp_path: Path) -> None:
    """Nobody is left to be told."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(allowing("log"))
    guard = Guard.from_policy(policy)
    async with guard:
        async with guard.hub({"git": server()}) as hub:
            await hub.tools()
        policy.write_text(allowing("reset"))
        assert await anyio.to_thread.run_sync(guard.reload)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_clients_of_a_hub_are_told_of_another_policy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the operator in one line."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(allowing("log"))
    guard = Guard.from_policy(policy)
    async with (
        guard,
        guard.hub({"git": server()}) as hub,
        guard.reloading(every=None, signals=[signal.SIGHUP]),
        client(hub.server(), "legacy") as peer,
    ):
        assert await peer.tools() == ["git__log"]
        policy.write_text(allowing("reset"))
        signal.raise_signal(signal.SIGHUP)
        with anyio.fail_after(60):
            while "notifications/tools/list_changed" not in peer.heard:
                await peer.changed.wait()
                peer.changed = anyio.Event()
        assert await peer.tools() == ["git__reset"]
    assert caplog.text.count("the policy has changed") == 1
