"""`guard.hub()`: from what servers are reached by, whichever that is."""

import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from harness import V1, MCPError, code, text, wire
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from protected import served

from mcpguard import (
    Access,
    AccessRule,
    Budget,
    ConnectionLimits,
    Credential,
    Credentials,
    Denied,
    Guard,
    HubError,
    Principal,
    SeamError,
    Secret,
    ServerOptions,
)
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio


def names(items: Any, key: str = "name") -> list[str]:
    """The names in a list."""
    return [one[key] for one in items]


def script(folder: Path) -> StdioServerParameters:
    """A server that is a process: it has a tool that answers, and one that kills it."""
    path = folder / "server.py"
    path.write_text(
        "import os\n"
        "from mcpguard.testing import FakeServer\n"
        "server = FakeServer()\n"
        "server.tool('who').answers(lambda given: os.environ.get('WHO', 'nobody'))\n"
        "server.tool('die').answers(lambda given: os._exit(1))\n"
        "server.run_stdio()\n"
    )
    return StdioServerParameters(
        command=sys.executable, args=[str(path)], env={"PYTHONPATH": ":".join(sys.path)}
    )


async def test_a_hub_is_made_from_what_servers_are_reached_by(tmp_path: Path) -> None:
    """A process, a transport of the SDK's, a function, and a fake server."""
    fake, made = FakeServer(), FakeServer()
    fake.tool("log").returns("a commit")
    made.tool("search").returns("a page")
    guard = Guard([Access(default="allow", deny=[AccessRule(servers=["git"], tools=["reset"])])])
    fake.tool("reset")
    servers = {
        "git": fake,
        "web": made.connect,
        "who": script(tmp_path),
        "again": stdio_client(script(tmp_path)),
    }
    async with guard.hub(servers) as hub:
        found = names(await hub.tools())
        assert found == ["git__log", "web__search", "who__who", "who__die", "again__who", "again__die"]
        assert text(wire(await hub.call("git__log"))) == "a commit"
        assert text(wire(await hub.call("web__search"))) == "a page"
        assert text(wire(await hub.call("who__who"))) == "nobody"
        assert text(wire(await hub.call("again__who"))) == "nobody"
        assert code(wire(await hub.call("git__reset"))) == "access_denied"
    assert fake.calls("reset") == []


async def test_a_process_that_was_killed_is_started_again_with_its_credentials(tmp_path: Path) -> None:
    """The whole start: process, environment, handshake and list."""
    token = "".join(["w", "h", "o"])
    guard = Guard([Credentials(rules=[Credential(servers=["who"], env="WHO", secret=Secret(token))])])
    async with guard.hub({"who": script(tmp_path)}, retry_after=0.01) as hub:
        assert text(wire(await hub.call("who__who"))) == token
        with pytest.raises(Exception, match=r"Connection closed|ended"):
            await hub.call("who__die")
        with anyio.fail_after(20):
            while hub.status() != {"who": "up"}:
                await anyio.lowlevel.checkpoint()
        assert text(wire(await hub.call("who__who"))) == token


async def test_a_server_that_dies_while_nobody_calls_is_missed_at_once() -> None:
    """Its tools are gone from the next list on, though no call has found it dead."""
    git, web = FakeServer(), FakeServer()
    git.tool("log")
    web.tool("search")
    async with Guard([]).hub({"git": git, "web": web}, retry_after=60) as hub:
        assert names(await hub.tools()) == ["git__log", "web__search"]
        git.drop_connections()
        with anyio.fail_after(10):
            while hub.status()["git"] == "up":
                await anyio.lowlevel.checkpoint()
        assert names(await hub.tools()) == ["web__search"]
        with pytest.raises(HubError, match="down"):
            await hub.call("git__log")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are supervised on POSIX")
async def test_a_connection_that_is_made_again_below_the_hub_does_not_end_there(tmp_path: Path) -> None:
    """Where the guard supervises connections the hub neither misses the server nor starts it a second time."""
    guard = Guard([], connection=ConnectionLimits(reconnects=3))
    async with guard.hub({"who": script(tmp_path)}, retry_after=60) as hub:
        assert text(wire(await hub.call("who__who"))) == "nobody"
        with pytest.raises(MCPError):
            await hub.call("who__die")
        assert hub.status() == {"who": "up"}
        assert text(wire(await hub.call("who__who"))) == "nobody"


async def test_each_server_is_guarded_under_its_name_and_shared() -> None:
    """Two principals, one connection, each with a budget of their own."""
    git = FakeServer()
    git.tool("log").returns("done")
    guard = Guard([Budget(calls=1, per="user")])
    ana, bob = (Principal(tenant="acme", user=user) for user in ("ana", "bob"))
    async with guard.hub({"git": git}) as hub:
        for who in (ana, bob):
            async with guard.run(principal=who):
                assert code(wire(await hub.call("git__log"))) is None
                assert code(wire(await hub.call("git__log"))) == "budget_exhausted"
        assert [(one.server, one.is_shared) for one in guard.coverage().connections] == [("git", True)]
    assert len(git.calls("log")) == 2


@pytest.mark.skipif(V1, reason="SDK 2.x only")
async def test_a_server_in_this_process_is_a_server_of_a_hub() -> None:
    """Of either class that the SDK has."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("sums")

    @server.tool()
    def add(one: int, other: int) -> int:
        return one + other

    async with Guard([]).hub({"sums": server, "again": server._lowlevel_server}) as hub:
        assert names(await hub.tools()) == ["sums__add", "again__add"]
        assert text(wire(await hub.call("sums__add", {"one": 1, "other": 2}))) == "3"


@pytest.mark.skipif(not V1, reason="SDK 1.x only")
async def test_a_server_in_this_process_is_a_server_of_a_hub_on_1x() -> None:
    """Of either class that the SDK has."""
    from mcp.server.fastmcp import FastMCP

    server = FastMCP("sums")

    @server.tool()
    def add(one: int, other: int) -> int:
        return one + other

    async with Guard([]).hub({"sums": server, "again": server._mcp_server}) as hub:
        assert names(await hub.tools()) == ["sums__add", "again__add"]
        assert text(wire(await hub.call("sums__add", {"one": 1, "other": 2}))) == "3"


def test_what_is_no_server_is_refused_when_the_hub_is_made() -> None:
    """Not when it is first wanted; also a transport that could be entered once only."""
    with pytest.raises(SeamError, match="int"):
        Guard([]).hub({"git": 5})
    with pytest.raises(SeamError, match="function"):
        Guard([]).hub({"git": Guard([]).transport(FakeServer().connect(), name="x")})
    with pytest.raises(ValueError, match="stand before"):
        Guard([]).hub({"a__b": FakeServer()})


async def test_prompts_resources_and_templates_are_merged_and_routed() -> None:
    """Names are prefixed, URIs stay; a URI that two servers list is nobody's."""
    git, web = FakeServer(), FakeServer()
    for one, label in ((git, "git"), (web, "web")):
        one.prompt("ask").returns(f"ask {label}")
        one.resource(f"{label}://readme", f"of {label}")
        one.resource("shared://both", label)
        one.resource_template(f"{label}://page/{{n}}").returns(f"page of {label}")
        one.resource_template("same://{n}")
    async with Guard([]).hub({"git": git, "web": web}) as hub:
        assert names(await hub.prompts()) == ["git__ask", "web__ask"]
        assert names(await hub.resources(), "uri") == ["git://readme", "web://readme"]
        assert names(await hub.templates(), "uriTemplate") == ["git://page/{n}", "web://page/{n}"]
        told = wire(await hub.prompt("web__ask"))
        assert "ask web" in str(told["messages"])
        assert "of web" in str(wire(await hub.read("web://readme")))
        assert "page of git" in str(wire(await hub.read("git://page/7")))
        for uri in ("shared://both", "same://1", "nowhere://x", "git://page/"):
            with pytest.raises(HubError, match="resource"):
                await hub.read(uri)
    read = [params["uri"] for one in (git, web) for params in one.seen("resources/read")]
    assert read == ["git://page/7", "web://readme"]


async def test_a_resource_that_nobody_lists_is_read_from_the_only_server_that_has_any() -> None:
    """Results of tools name such resources."""
    git, web = FakeServer(), FakeServer(capabilities={"tools": {}})
    git.resource("git://a", "a")
    git.on("resources/read").returns({"contents": [{"uri": "git://b", "text": "b"}]})
    web.tool("search")
    async with Guard([]).hub({"git": git, "web": web}) as hub:
        assert "b" in str(wire(await hub.read("git://b")))
    assert web.seen("resources/list") == []


@pytest.mark.parametrize("naming", ["prefix", "refuse"])
@pytest.mark.parametrize("on_deny", ["result", "raise"])
async def test_a_name_that_a_model_made_up_is_answered_as_that_of_a_hidden_tool(
    naming: Any, on_deny: Any
) -> None:
    """It does not end the agent's loop, and the record has it, with the name cleaned; nothing is sent."""
    git = FakeServer()
    git.tool("log")
    sink = RecordingSink()
    guard = Guard(sinks=[sink], on_deny=on_deny)
    name = "nope" * 100
    async with guard.hub({"git": git}, naming=naming) as hub, guard.run() as run:
        if on_deny == "raise":
            with pytest.raises(Denied, match="access_denied"):
                await hub.call(name, {"a": 1})
        else:
            assert code(wire(await hub.call(name, {"a": 1}))) == "access_denied"
    about = [one for one in sink.events if one.target == name[:256]]
    assert [one.kind for one in about] == ["received", "decision", "completed"]
    assert {(one.run_id, one.server) for one in about} == {(run.id, None)}
    assert git.calls("log") == []


async def test_a_run_that_has_ended_learns_nothing_of_names_either() -> None:
    """What it is told is the same for a name that leads somewhere."""
    git = FakeServer()
    git.tool("log")
    guard = Guard()
    async with guard.hub({"git": git}) as hub, guard.run() as run:
        guard.stop(run)
        told = {text(wire(await hub.call(name))) for name in ("git__log", "nope")}
    assert len(told) == 1


@pytest.mark.parametrize("naming", ["prefix", "refuse"])
async def test_a_server_that_is_down_is_named_whatever_the_names(naming: Any) -> None:
    """Where names stay as they are nothing is known of its tools."""

    def gone() -> Any:
        raise ConnectionRefusedError

    async with Guard().hub({"git": gone}, naming=naming) as hub:
        assert await hub.tools() == ()
        with pytest.raises(HubError, match="the server git is down"):
            await hub.call("git__log" if naming == "prefix" else "log")


async def logged(guard: Guard, given: Any, caplog: pytest.LogCaptureFixture) -> str:
    """What is logged of a server that does not start."""
    async with guard.hub({"crm": given}) as hub:
        assert await hub.tools() == ()
    return caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_why_a_server_did_not_start_is_logged_without_a_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Type and what the system says of it; nothing of URL, headers or arguments."""
    secret = "-".join(["only", "for", "tests"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = ServerOptions(url=f"http://127.0.0.1:{port}/{secret}", headers={"X-Key": secret})
    said = await logged(Guard(), gone, caplog)
    assert "the server crm ended with ConnectError: Connection refused" in said
    assert "tools/list of crm failed: the server crm did not start" in said
    with served() as site:
        said = await logged(Guard(), ServerOptions(url=site.url, headers={"X-Key": secret}), caplog)
        assert "the server crm ended with HTTP status 401" in said
    misspelt = StdioServerParameters(command="mcp-server-gti", args=[secret])
    said = await logged(Guard(), misspelt, caplog)
    assert "the server crm ended with FileNotFoundError: No such file or directory: 'mcp-server-gti'" in said
    ends = StdioServerParameters(command=sys.executable, args=["-c", "raise SystemExit(3)", secret])
    said = await logged(Guard(connection=ConnectionLimits()), ends, caplog)
    assert "ended with exit status 3" in said
    assert secret not in said
