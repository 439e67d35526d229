"""Hub: one list, each call to its server, and a server that dies takes nothing with it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import pytest
from harness import MCPError, code, text, wire
from hypothesis import given
from hypothesis import strategies as st
from mcp import ClientSession

from mcpguard import Access, AccessRule, Budget, Guard, Hub, HubError, Principal, View, current_run
from mcpguard.hub.merge import merged, split
from mcpguard.testing import FakeClock, FakeServer, Gate

pytestmark = pytest.mark.anyio


def server(*tools: str) -> FakeServer:
    """A server with some tools."""
    one = FakeServer()
    for tool in tools:
        one.tool(tool).returns(f"{tool} done")
    return one


def opener(guard: Guard, one: FakeServer, name: str, before: Callable[[], Any] | None = None) -> Any:
    """What opens the guarded session of a server."""

    @asynccontextmanager
    async def connect(callbacks: Any) -> AsyncIterator[ClientSession]:
        if before is not None:
            await before()
        async with one.connect() as (read, write):
            session = ClientSession(read, write, **callbacks)
            async with guard.session(session, name=name, shared=True):
                await session.initialize()
                yield session

    return connect


def hub_of(guard: Guard, clock: FakeClock | None = None, **servers: FakeServer) -> Hub:
    """A hub of some servers behind one guard."""
    connects = {name: opener(guard, one, name) for name, one in servers.items()}
    return Hub(connects, clock=clock or FakeClock())


def names(tools: Any) -> list[str]:
    """The names in a list."""
    return [tool["name"] for tool in tools]


async def test_tools_are_merged_and_each_call_goes_to_its_server() -> None:
    """Two servers with a tool of one name."""
    git, web = server("log", "search"), server("search")
    async with hub_of(Guard([]), git=git, web=web) as hub:
        assert names(await hub.tools()) == ["git__log", "git__search", "web__search"]
        assert text(wire(await hub.call("web__search", {"q": 1}))) == "search done"
    assert (git.calls("search"), web.calls("search")) == ([], [{"q": 1}])


async def test_where_names_stay_a_name_that_two_servers_have_is_nobodys() -> None:
    """A server cannot take another's calls by offering a tool of its name."""
    git, web = server("log", "search"), server("search", "fetch")
    guard = Guard([])
    hub = Hub({"git": opener(guard, git, "git"), "web": opener(guard, web, "web")}, naming="refuse")
    async with hub:
        assert names(await hub.tools()) == ["log", "fetch"]
        await hub.call("fetch", {})
        with pytest.raises(HubError):
            await hub.call("search", {})
    assert git.calls("search") == web.calls("search") == []


@pytest.mark.parametrize(
    "name", ["", "log", "git", "git__", "__log", "Git__log", "web__log", "git_log", "git__log\0" * 500]
)
async def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    """Nothing is sent."""
    git = server("log")
    async with hub_of(Guard([Access(default="deny", allow=[AccessRule(tools=["log"])])]), git=git) as hub:
        try:
            refused = code(wire(await hub.call(name, {})))
        except HubError:
            refused = "none"
        assert refused
    assert git.calls("log") == []


async def test_servers_start_when_they_are_wanted_and_all_at_once() -> None:
    """The start takes as long as the slowest: each waits here until all have begun."""
    begun, all_there, guard = list[str](), anyio.Event(), Guard([])

    def opened(name: str) -> Any:
        async def begin() -> None:
            begun.append(name)
            if len(begun) == 3:
                all_there.set()
            await all_there.wait()

        return opener(guard, server("t"), name, begin)

    async with Hub({name: opened(name) for name in "abc"}) as hub:
        assert hub.status() == {"a": "idle", "b": "idle", "c": "idle"}
        assert begun == []
        assert names(await hub.tools()) == ["a__t", "b__t", "c__t"]
        assert hub.status() == {"a": "up", "b": "up", "c": "up"}


async def test_a_hundred_callers_start_a_server_once() -> None:
    """One start for all who want it."""
    git, starts = server("log"), list[int]()

    async def count() -> None:
        starts.append(1)

    async with Hub({"git": opener(Guard([]), git, "git", count)}) as hub:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(hub.call, "git__log", {})
    assert (len(starts), len(git.calls("log"))) == (1, 100)


async def test_a_dead_server_removes_its_own_tools_and_comes_back() -> None:
    """And a call that was under way is not sent again."""
    git, web, clock = server("log"), server("search"), FakeClock()
    async with hub_of(Guard([]), clock, git=git, web=web) as hub:
        await hub.tools()
        git.on_call("log").drops_connection().returns("back")
        with pytest.raises(MCPError):
            await hub.call("git__log", {})
        assert hub.status() == {"git": "down", "web": "up"}
        assert names(await hub.tools()) == ["web__search"]
        with pytest.raises(HubError, match="down"):
            await hub.call("git__log", {})
        assert text(wire(await hub.call("web__search", {}))) == "search done"
        assert len(git.calls("log")) == 1
        clock.advance(5)
        assert names(await hub.tools()) == ["git__log", "web__search"]
        assert text(wire(await hub.call("git__log", {}))) == "back"


async def test_a_server_that_does_not_start_is_left_alone_for_a_while() -> None:
    """It raises, or it hangs."""
    tries, clock, guard = list[str](), FakeClock(), Guard([])

    async def broken() -> None:
        tries.append("broken")
        raise ValueError("no such command")

    async def hangs() -> None:
        tries.append("hangs")
        await anyio.sleep_forever()

    servers = {
        "broken": opener(guard, server("t"), "broken", broken),
        "hangs": opener(guard, server("t"), "hangs", hangs),
        "web": opener(guard, server("search"), "web"),
    }
    async with Hub(servers, clock=clock, start_timeout=2) as hub:
        for _ in range(3):
            assert names(await hub.tools()) == ["web__search"]
        assert sorted(tries) == ["broken", "hangs"]
        clock.advance(5)
        await hub.tools()
        assert sorted(tries) == ["broken", "broken", "hangs", "hangs"]


async def test_a_server_that_never_lists_keeps_nobody_waiting_for_the_others() -> None:
    """What it offers is left out, and it is asked again the next time; its connection stays."""
    slow = server("t")
    slow.on("tools/list").hangs().returns({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
    guard = Guard([])
    servers = {"slow": opener(guard, slow, "slow"), "web": opener(guard, server("search"), "web")}
    async with Hub(servers, start_timeout=2) as hub:
        assert names(await hub.tools()) == ["web__search"]
        assert hub.status() == {"slow": "up", "web": "up"}
        assert names(await hub.tools()) == ["slow__t", "web__search"]
    assert len(slow.seen("initialize")) + len(slow.seen("server/discover")) == 1


async def test_a_server_that_failed_to_list_is_not_waited_for_again() -> None:
    """It is asked, beside those who want to know what the others have."""
    slow, web = server("t"), server("search")
    slow.on("tools/list").fails(-32000, "later").hangs()
    guard = Guard([])
    servers = {"slow": opener(guard, slow, "slow"), "web": opener(guard, web, "web")}
    async with Hub(servers, naming="refuse", start_timeout=60) as hub:
        with anyio.fail_after(20):
            for _ in range(3):
                assert names(await hub.tools()) == ["search"]
                assert text(wire(await hub.call("search", {}))) == "search done"
    assert len(slow.seen("tools/list")) == 2


async def test_an_error_of_the_tools_own_does_not_bring_a_server_down() -> None:
    """Also not one that borrows the code of a connection that ended."""
    git = server("log")
    git.on_call("log").fails(-32000, "quota")
    async with hub_of(Guard([]), git=git) as hub:
        with pytest.raises(MCPError):
            await hub.call("git__log", {})
        assert hub.status() == {"git": "up"}


async def test_each_principal_sees_their_own_view_of_one_hub() -> None:
    """Warm lists too: nobody is shown what another was given."""
    git = server("log", "push")
    view = View(hide_tools=["push"], roles=["junior"])
    guard = Guard([view], anonymous="allow")
    junior, senior = (Principal(tenant="acme", roles=frozenset({role})) for role in ("junior", "senior"))
    async with hub_of(guard, git=git) as hub:
        for _ in range(2):
            for who, shown in ((junior, ["git__log"]), (senior, ["git__log", "git__push"])):
                async with guard.run(principal=who):
                    assert names(await hub.tools()) == shown
        async with guard.run(principal=junior):
            assert code(wire(await hub.call("git__push", {}))) == "not_available"
    assert len(git.seen("tools/list")) == 2


async def test_a_list_that_failed_for_one_principal_is_there_for_the_others() -> None:
    """However often the one asks: a server is waited for that has not failed whoever is asking."""
    git, gate = server("log"), Gate()
    git.on("tools/list").fails(-32000, "not for you").waits_for(gate).returns(
        {"tools": [{"name": "log", "inputSchema": {"type": "object"}}]}
    )
    guard = Guard([])
    mallory, bob = Principal(user="mallory"), Principal(user="bob")
    listed: list[list[str]] = []

    async def ask() -> None:
        async with guard.run(principal=bob):
            listed.append(names(await hub.tools()))

    async with hub_of(guard, git=git) as hub:
        async with guard.run(principal=mallory):
            assert names(await hub.tools()) == []
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await gate.reached()
                gate.open()
    assert listed == [["git__log"]]


async def test_a_server_that_failed_to_start_is_hardly_waited_for_whoever_asks() -> None:
    """Nor after other rules have come: that it did not come has to do with neither."""
    git, web, guard, clock = server("log"), server("search"), Guard([]), FakeClock()
    tries: list[str] = []
    rules: list[object] = [object()]

    async def fails_and_then_hangs() -> None:
        tries.append("web")
        if len(tries) == 1:
            raise OSError("no such command")
        await anyio.sleep_forever()

    servers = {"git": opener(guard, git, "git"), "web": opener(guard, web, "web", fails_and_then_hangs)}
    async with Hub(servers, clock=clock, start_timeout=3600, enforced=lambda: rules[-1]) as hub:
        assert names(await hub.tools()) == ["git__log"]
        clock.advance(5)
        with anyio.fail_after(60):
            async with guard.run(principal=Principal(user="ana")):
                assert names(await hub.tools()) == ["git__log"]
            rules.append(object())
            async with guard.run(principal=Principal(user="bob")):
                assert names(await hub.tools()) == ["git__log"]
    assert len(tries) == 2


async def test_what_a_server_lists_late_is_told_to_clients() -> None:
    """It failed once, and nobody waited for long the second time."""
    git, gate, told = server("log"), Gate(), list[tuple[str, str]]()
    git.on("tools/list").fails(-32000, "later").waits_for(gate).returns(
        {"tools": [{"name": "log", "inputSchema": {"type": "object"}}]}
    )

    async def heard(name: str, method: str, _uri: str | None) -> None:
        told.append((name, method))

    servers = {"git": opener(Guard([]), git, "git")}
    async with Hub(servers, naming="refuse") as hub:
        hub.told(heard)
        with anyio.fail_after(20):
            assert names(await hub.tools()) == []
            with pytest.raises(HubError, match="does not list what it has"):
                await hub.call("log", {})
            gate.open()
            while not told:
                await anyio.lowlevel.checkpoint()
            assert text(wire(await hub.call("log", {}))) == "log done"
    assert told == [("git", "notifications/tools/list_changed")]


async def test_a_list_is_fetched_again_when_its_server_says_that_it_changed() -> None:
    """And after a minute."""
    git, web, clock = server("log"), server("search"), FakeClock()
    async with hub_of(Guard([]), clock, git=git, web=web) as hub:
        for _ in range(3):
            await hub.tools()
        assert len(git.seen("tools/list")) == len(web.seen("tools/list")) == 1
        git.tool("new")
        await git.notify("notifications/tools/list_changed")
        await hub.call("git__log", {})
        assert names(await hub.tools()) == ["git__log", "git__new", "web__search"]
        assert len(web.seen("tools/list")) == 1
        clock.advance(60)
        await hub.tools()
        assert len(web.seen("tools/list")) == 2


async def test_a_call_counts_once_and_for_whoever_makes_it() -> None:
    """The session was opened in a task of the hub's, in nobody's context."""
    git, seen = server("log"), list[Any]()

    async def remember() -> None:
        seen.append(current_run())

    guard = Guard([Budget(calls=2, per="run")])
    async with Hub({"git": opener(guard, git, "git", remember)}) as hub, guard.run():
        answers = [code(wire(await hub.call("git__log", {}))) for _ in range(3)]
    assert seen == [None]
    assert answers[:2] == [None, None]
    assert answers[2] is not None
    assert len(git.calls("log")) == 2


async def test_leaving_a_hub_ends_its_servers_also_those_that_are_starting() -> None:
    """Nothing outlives the block."""
    git, begun = server("log"), anyio.Event()

    async def hangs() -> None:
        begun.set()
        await anyio.sleep_forever()

    guard = Guard([])
    servers = {"git": opener(guard, git, "git"), "slow": opener(guard, server("t"), "slow", hangs)}
    ended = list[str]()

    async def listing() -> None:
        with pytest.raises(HubError, match="left"):
            await hub.tools()
        ended.append("tools")

    async with anyio.create_task_group() as tasks, Hub(servers) as hub:
        await hub.call("git__log", {})
        assert git.clients == 1
        tasks.start_soon(listing)
        await begun.wait()
    assert git.clients == 0
    assert ended == ["tools"]
    with pytest.raises(HubError):
        await hub.call("git__log", {})


@pytest.mark.parametrize("fails", [False, True], ids=["left", "left with an error"])
async def test_a_call_that_is_under_way_when_the_hub_is_left_ends_and_says_so(fails: bool) -> None:
    """Also where the server never answers and where whoever leaves does so with an error."""
    git, guard, ended = server("log"), Guard([Budget(calls=9, per="server")], anonymous="allow"), list[str]()
    git.on_call("log").hangs()

    async def calling() -> None:
        with pytest.raises(HubError, match="the hub was left while this was under way"):
            await hub.call("git__log", {})
        ended.append("call")

    async def leave() -> None:
        async with hub:
            tasks.start_soon(calling)
            await git.until_seen("tools/call")
            if fails:
                raise KeyError

    hub = hub_of(guard, git=git)
    async with anyio.create_task_group() as tasks:
        with pytest.raises(KeyError) if fails else nullcontext():
            await leave()
    assert ended == ["call"]
    assert git.clients == 0


async def test_other_calls_of_a_server_that_dies_end_as_well() -> None:
    """Each says so; those of other servers go on."""
    git, web, ended = server("log", "die"), server("search"), list[str]()
    git.on_call("log").hangs()
    git.on_call("die").drops_connection()

    async def calling() -> None:
        with pytest.raises((HubError, MCPError)):
            await hub.call("git__log", {})
        ended.append("log")

    async with hub_of(Guard([]), git=git, web=web) as hub:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calling)
            await git.until_seen("tools/call")
            with pytest.raises((HubError, MCPError)):
                await hub.call("git__die", {})
        assert text(wire(await hub.call("web__search", {}))) == "search done"
    assert ended == ["log"]


async def test_a_server_that_died_is_brought_back_also_if_nobody_wants_it() -> None:
    """Its start is the whole of it: the connection, the handshake, the lists."""
    git, starts, again = server("log"), list[int](), anyio.Event()

    async def count() -> None:
        starts.append(1)
        if len(starts) == 3:
            again.set()
        if len(starts) == 2:
            raise OSError

    hub = Hub({"git": opener(Guard([]), git, "git", count)}, retry_after=0.01)
    async with hub:
        await hub.tools()
        git.on_call("log").drops_connection().returns("back")
        with pytest.raises((HubError, MCPError)):
            await hub.call("git__log", {})
        with anyio.fail_after(10):
            await again.wait()
            assert text(wire(await hub.call("git__log", {}))) == "back"
    assert len(starts) == 3


async def test_a_caller_who_gives_up_does_not_end_the_start() -> None:
    """Others wait for it as well."""
    gate, begun, git = anyio.Event(), anyio.Event(), server("log")

    async def wait() -> None:
        begun.set()
        await gate.wait()

    async with Hub({"git": opener(Guard([]), git, "git", wait)}) as hub:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hub.call, "git__log", {})
            await begun.wait()
            tasks.cancel_scope.cancel()
        gate.set()
        await hub.call("git__log", {})
    assert len(git.calls("log")) == 1


async def test_a_list_without_end_shows_nothing_of_its_server() -> None:
    """A server that pages for ever."""
    git, web = server("log"), server("search")
    git.pages_forever()
    async with hub_of(Guard([]), git=git, web=web) as hub:
        assert names(await hub.tools()) == ["web__search"]
        assert len(git.seen("tools/list")) <= 101


NAMES = st.text("ab_-/é", min_size=1, max_size=8)


@given(
    lists=st.dictionaries(st.sampled_from(["a", "b", "a_b"]), st.lists(NAMES, max_size=5)),
    naming=st.sampled_from(["prefix", "refuse"]),
)
def test_every_shown_name_leads_to_the_tool_it_stands_for(lists: dict[str, list[str]], naming: Any) -> None:
    """And to no other, whatever servers call their tools."""
    listed = {name: [{"name": one} for one in tools] for name, tools in lists.items()}
    made = merged("tools/list", listed, naming)
    assert len({tool["name"] for tool in made.items}) == len(made.items) == len(made.routes)
    for shown, (owner, own) in made.routes.items():
        assert own in lists[owner]
        if naming == "prefix":
            assert split(shown) == (owner, own)
        else:
            assert sum(tools.count(own) for tools in lists.values()) == 1


def test_what_cannot_be_meant_is_refused_when_it_is_built() -> None:
    """Names that would make a tool's ambiguous, and numbers that are none."""
    connect = opener(Guard([]), server("t"), "t")
    for options in (
        {"naming": "first"},
        {"start_timeout": 0},
        {"retry_after": -1.0},
        {"list_for": float("nan")},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            Hub({"a": connect}, **options)  # type: ignore[arg-type]
    for name in ("", "a__b", "_a", "a_"):
        with pytest.raises(ValueError, match=r"\w"):
            Hub({name: connect})
    with pytest.raises(ValueError, match="servers"):
        Hub({})


@pytest.mark.anyio
async def test_a_hub_that_nobody_entered_says_how_it_is_used() -> None:
    """Of a list as of a call."""
    hub = hub_of(Guard(), crm=server("lookup"))
    with pytest.raises(HubError, match="inside its `async with`"):
        await hub.tools()
    with pytest.raises(HubError, match="inside its `async with`"):
        await hub.call("crm__lookup", {})
