"""A hub over real HTTP on loopback: servers behind it, and clients in front of it."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import anyio
import pytest
import uvicorn
from harness import V1, MCPError, text, wire
from hub_peers import ERAS, asking, elicited
from protected import Site, served

from mcpguard import Credential, Credentials, Guard, Principal, Run, Secret
from mcpguard.core.errors import HubError
from mcpguard.testing import FakeServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ANA = Principal(tenant="acme", user="ana")
BOB = Principal(tenant="other", user="bob")


@pytest.fixture
def site() -> Iterator[Site]:
    """A protected server."""
    with served() as one:
        yield one


async def test_two_tenants_share_a_hub_and_each_call_has_its_own_token(
    site: Site, anyio_backend: str
) -> None:
    """One connection, opened in nobody's run; 40 interleaved calls, as the server saw them."""
    if V1 and anyio_backend == "trio":
        pytest.skip("a bare session of SDK 1.x stalls on trio with many calls at once")
    tokens = {who.tenant: site.issue(str(who.tenant)) for who in (ANA, BOB)}
    rules = [
        Credential(
            servers=["crm"], header="Authorization", tenants=[tenant], secret=Secret(token), use="calls"
        )
        for tenant, token in tokens.items()
    ]
    program = Secret(site.issue("program"))
    rules.append(Credential(servers=["crm"], header="Authorization", secret=program))
    git = FakeServer()
    git.tool("log").returns("done")
    guard = Guard([Credentials(rules=rules)])
    answers = list[str]()

    async def work(who: Principal) -> None:
        async with guard.run(principal=who):
            for number in range(20):
                given = {"tenant": who.tenant, "number": number}
                answers.append(text(wire(await hub.call("crm__note", given))))
                await hub.call("git__log")

    async with guard.hub({"crm": site.url, "git": git}) as hub:
        async with anyio.create_task_group() as tasks:
            for who in (ANA, BOB):
                tasks.start_soon(work, who)
    calls = site.calls()
    assert len(calls) == 40
    assert [owner for owner, _ in calls] == [arguments["tenant"] for _, arguments in calls]
    assert sorted(answers) == sorted(f"{who.tenant} {number}" for who in (ANA, BOB) for number in range(20))


async def test_a_server_over_http_that_is_restarted_comes_back_with_its_credentials() -> None:
    """Its tools alone are gone while it is down, and nobody has to ask for it: it is opened anew, whole."""
    git = FakeServer()
    git.tool("log").returns("done")
    news = anyio.Event()

    async def told(server: str, method: str, uri: str | None) -> None:
        del server, method, uri
        news.set()

    async def until(names: set[str]) -> None:
        nonlocal news
        with anyio.fail_after(30):
            while {tool["name"] for tool in await hub.tools()} != names:
                await news.wait()
                news = anyio.Event()

    with ExitStack() as running:
        site = running.enter_context(served())
        token = Secret(site.issue("program"))
        guard = Guard(
            [Credentials(rules=[Credential(servers=["crm"], header="Authorization", secret=token)])]
        )
        async with guard.hub({"crm": site.url, "git": git}, retry_after=0.05) as hub:
            hub.told(told)
            before = {tool["name"] for tool in await hub.tools()}
            assert text(wire(await hub.call("crm__note", {"tenant": "acme", "number": 1}))) == "acme 1"
            running.close()
            with pytest.raises((HubError, MCPError, ConnectionError)):
                await hub.call("crm__note", {"tenant": "acme", "number": 2})
            await until({"git__log"})
            assert text(wire(await hub.call("git__log", {}))) == "done"
            with served(site) as again:
                await until(before)
                assert text(wire(await hub.call("crm__note", {"tenant": "acme", "number": 3}))) == "acme 3"
                assert {one.authorization for one in again.seen} == {f"Bearer {token.reveal()}"}
                assert [arguments["number"] for _, arguments in again.calls()] == [3]


@pytest.mark.skipif(V1, reason="the session manager of SDK 1.x has no clients of either era to tell apart")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("era", ERAS)
async def test_clients_reach_a_hub_over_http_and_are_asked(era: str) -> None:
    """A server object is what the SDK's HTTP server takes; its calls belong to the run it was made for."""
    mcp: Any = import_module("mcp")
    git, run = asking("legacy"), Run(principal=ANA)
    git.tool("log").reports(1, total=2).returns("done")
    seen, progress = list[Any](), list[float]()

    async def note(value: float, total: float | None, message: str | None) -> None:
        del total, message
        progress.append(value)

    guard = Guard([])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with guard.hub({"git": git}) as hub, anyio.create_task_group() as tasks:
            app = hub.server(run=run).streamable_http_app()
            server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
            tasks.start_soon(server.serve, [listening])
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
            mode = {"mode": "legacy"} if era == "legacy" else {}
            with anyio.fail_after(60):
                async with mcp.Client(url, cache=None, elicitation_callback=elicited, **mode) as client:
                    seen += [tool.name for tool in (await client.list_tools()).tools]
                    seen.append(text(wire(await client.call_tool("git__log", progress_callback=note))))
                    seen.append(text(wire(await client.call_tool("git__ask"))))
            server.should_exit = True
    assert seen == ["git__ask", "git__log", "done", "asked"]
    assert progress == [1]
    assert [reply["content"] for reply in git.replies] == [{"name": "who?"}]
