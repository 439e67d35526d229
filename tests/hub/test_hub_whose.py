"""To whom a server speaks that several clients use: never to one of what is another's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
from harness import V1
from hub_peers import ERAS, Peer, client, elicited
from mcp.types import PromptReference

from mcpguard import Deadline, Guard, Principal
from mcpguard.core.wire import JSONObject
from mcpguard.testing import FakeClock, FakeServer, Gate

pytestmark = pytest.mark.anyio

QUESTION: Final[JSONObject] = {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}
LIST: Final[JSONObject] = {"tools": [{"name": "log", "inputSchema": {"type": "object"}}]}

ANA, BOB = Principal(user="ana"), Principal(user="bob")


class Upstream:
    """A server, and who of its two clients heard what."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.gate = Gate()
        self.server.tool("wait").waits_for(self.gate).returns("done")
        self.server.tool("hang").hangs()
        self.server.prompt("greet").returns("hello")
        self.asked: list[str] = []

    async def says(self) -> dict[str, Any]:
        """Log something and ask something, outside of all that is under way; what the question is answered."""
        await self.server.notify("notifications/message", {"level": "error", "data": "a secret"})
        with anyio.fail_after(20):
            return await self.server.request("elicitation/create", QUESTION)

    @asynccontextmanager
    async def clients(self, guard: Guard) -> AsyncIterator[tuple[Peer, Peer]]:
        """Two clients of a hub on it, each of whom answers questions."""

        def answering(name: str) -> Any:
            async def answer(context: Any, params: Any) -> Any:
                self.asked.append(name)
                return await elicited(context, params)

            return answer

        async with guard.hub({"git": self.server}) as hub:
            runs = [guard.open_run(principal=who) for who in (ANA, BOB)]
            one, other = (hub.server(run=run) for run in runs)
            async with (
                client(one, "legacy", elicitation_callback=answering("ana")) as ana,
                client(other, "legacy", elicitation_callback=answering("bob")) as bob,
            ):
                yield ana, bob


async def given_up(server: FakeServer, peer: Peer) -> None:
    """A client calls a tool that does not answer, and leaves the call."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.call, "git__hang")
        await server.until_seen("tools/call")
        tasks.cancel_scope.cancel()
    with anyio.fail_after(20):
        await server.until_seen("notifications/cancelled")


@pytest.mark.skipif(V1, reason="SDK 1.x does not tell a server that a call is given up")
async def test_what_a_server_says_of_a_call_that_was_given_up_reaches_no_other_client() -> None:
    """It may work on, whatever it was told; for a minute that is reckoned with."""
    git, clock = Upstream(), FakeClock()
    async with git.clients(Guard([], clock=clock)) as (ana, bob):
        await given_up(git.server, ana)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bob.call, "git__wait")
            await git.gate.reached()
            assert "error" in await git.says()
            clock.advance(59)
            assert "error" in await git.says()
            assert (git.asked, bob.said, ana.said) == ([], [], [])
            clock.advance(1)
            assert (await git.says())["action"] == "accept"
            git.gate.open()
    assert (git.asked, bob.said, ana.said) == (["bob"], ["a secret"], [])


async def test_what_a_server_says_of_a_call_whose_client_has_left_reaches_no_other() -> None:
    """Its session ended with it. It is asked itself when it comes back, as whoever it was."""
    git, guard = Upstream(), Guard([])
    async with guard.hub({"git": git.server}) as hub:
        of_ana, of_bob = (hub.server(run=guard.open_run(principal=who)) for who in (ANA, BOB))
        async with client(of_bob, "legacy", elicitation_callback=elicited) as bob:
            async with anyio.create_task_group() as tasks, client(of_ana, "legacy") as ana:
                tasks.start_soon(ana.call, "git__hang")
                await git.server.until_seen("tools/call")
                tasks.cancel_scope.cancel()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bob.call, "git__wait")
                await git.gate.reached()
                assert "error" in await git.says()
                git.gate.open()
        async with client(of_ana, "legacy", elicitation_callback=elicited) as ana:
            git.server.tool("later").waits_for(later := Gate()).returns("done")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ana.call, "git__later")
                await later.reached()
                assert (await git.says())["action"] == "accept"
                later.open()
    assert bob.said == []


@pytest.mark.skipif(V1, reason="SDK 1.x does not tell a server that a call is given up")
async def test_who_gave_a_call_up_is_asked_in_the_next_one() -> None:
    """It is nobody else's, whichever call it is about; and outside of a call nobody is asked."""
    git = Upstream()
    async with git.clients(Guard([])) as (ana, _):
        await given_up(git.server, ana)
        assert "error" in await git.says()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ana.call, "git__wait")
            await git.gate.reached()
            assert (await git.says())["action"] == "accept"
            git.gate.open()
    assert (git.asked, ana.said) == (["ana"], ["a secret"])


async def test_a_call_whose_time_was_up_was_given_up() -> None:
    """By the guard here, which answers the client with an error."""
    git = Upstream()
    async with git.clients(Guard([Deadline(seconds=0.05, tools=["hang"])])) as (ana, bob):
        with pytest.raises(Exception, match="ended with timeout"):
            await ana.call("git__hang")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bob.call, "git__wait")
            await git.gate.reached()
            assert "error" in await git.says()
            git.gate.open()
    assert (git.asked, bob.said) == ([], [])


async def test_what_a_server_says_while_it_completes_is_the_clients_who_asks_for_that() -> None:
    """And where another's call is under way, nobody's."""
    git, completing = Upstream(), Gate()
    values: JSONObject = {"completion": {"values": ["x"]}}
    on = git.server.on("completion/complete")
    on.waits_for(completing).returns(values)
    async with git.clients(Guard([])) as (ana, bob):

        async def complete() -> None:
            await bob.caller.complete(
                PromptReference(type="ref/prompt", name="git__greet"), {"name": "n", "value": "s"}
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ana.call, "git__wait")
            await git.gate.reached()
            async with anyio.create_task_group() as other:
                other.start_soon(complete)
                await completing.reached()
                assert "error" in await git.says()
                completing.open()
            git.gate.open()
        assert (git.asked, ana.said, bob.said) == ([], [], [])


@pytest.mark.skipif(V1, reason="SDK 1.x does not carry the context from client to server")
@pytest.mark.parametrize("who", [ANA, BOB])
async def test_what_a_server_logs_while_it_lists_for_another_principal_is_nobodys(who: Principal) -> None:
    """A list for the same principal is as good as none, and none is a reason to ask."""
    git, listing, guard = Upstream(), Gate(), Guard([])
    async with guard.hub({"git": git.server}) as hub:
        async with client(hub.server(), "legacy", elicitation_callback=elicited) as peer:
            async with guard.run(principal=ANA):
                await peer.tools()
            git.server.on("tools/list").waits_for(listing).returns(LIST)

            async def call() -> None:
                async with guard.run(principal=ANA):
                    await peer.call("git__wait")

            async def again() -> None:
                async with guard.run(principal=who):
                    await peer.tools()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await git.gate.reached()
                await git.server.notify("notifications/tools/list_changed")
                with anyio.fail_after(20):
                    while "notifications/tools/list_changed" not in peer.heard:
                        await anyio.lowlevel.checkpoint()
                tasks.start_soon(again)
                await listing.reached()
                assert (await git.says())["action"] == "accept"
                listing.open()
                git.gate.open()
    assert peer.said == (["a secret"] if who is ANA else [])


@pytest.mark.skipif(V1, reason="SDK 1.x does not carry the context from client to server")
async def test_more_principals_that_gave_calls_up_than_are_remembered_silence_a_server() -> None:
    """Nothing is guessed; and after a minute it is heard again."""
    git, clock = Upstream(), FakeClock()
    guard = Guard([], clock=clock)
    async with guard.hub({"git": git.server}) as hub:
        async with client(hub.server(), "modern") as peer:
            for number in range(1, 1030):
                async with (
                    guard.run(principal=Principal(user=str(number))),
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(peer.call, "git__hang")
                    await git.server.until_seen("tools/call", number)
                    tasks.cancel_scope.cancel()
        async with client(hub.server(), "legacy", elicitation_callback=elicited) as bob:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bob.call, "git__wait")
                await git.gate.reached()
                assert "error" in await git.says()
                clock.advance(60)
                assert (await git.says())["action"] == "accept"
                git.gate.open()


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_nobody_is_named_for_is_asked_after_it_gave_a_call_up(era: str) -> None:
    """There is no other principal whose call it could be about, of a client of MCP 2026-07-28 neither."""
    git = Upstream()
    async with Guard([]).hub({"git": git.server}) as hub:
        async with client(hub.server(), era, elicitation_callback=elicited) as peer:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "git__hang")
                await git.server.until_seen("tools/call")
                tasks.cancel_scope.cancel()
        async with client(hub.server(), "legacy", elicitation_callback=elicited) as peer:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.call, "git__wait")
                await git.gate.reached()
                assert (await git.says())["action"] == "accept"
                git.gate.open()
