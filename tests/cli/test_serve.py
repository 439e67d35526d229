"""`mcpguard serve`, `wrap` and `init`: a server behind a policy, for whoever starts servers."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from inspect import signature
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hosts import SCRIPT, Server
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from protected import served
from replicas import environment, listening
from served import Served
from trails import kept

from mcpguard.cli import main
from mcpguard.cli.init import policy_text
from mcpguard.cli.servers_env import taken
from mcpguard.config import parse_policy

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

IS_SERVED = "max_sessions" in signature(StreamableHTTPSessionManager).parameters

POLICY = """
version: 1
servers:
  wire: {}
interceptors:
  access:
    default: deny
    allow:
      - {servers: [wire], tools: [echo, count], roles: [clerk]}
  budget: {per: run, calls: 2}
audit:
  - jsonl: {path: audit.jsonl}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The policy."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """How to start the server, and what it got."""
    log = tmp_path / "wire.jsonl"
    return Server(log, args=[SCRIPT, str(log), "stdio"])


@asynccontextmanager
async def client(command: str, args: list[str], **variables: str) -> AsyncIterator[Any]:
    """The SDK's own client of what is started."""
    started = StdioServerParameters(command=command, args=args, env=environment() | variables)
    async with stdio_client(started) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


def serving(policy: Path, server: Server, *more: str) -> list[str]:
    """The arguments of `mcpguard serve`."""
    given = ["-m", "mcpguard", "serve", str(policy), "--server", "wire", *more]
    return [*given, "--", server.command, *server.args]


@pytest.mark.anyio
async def test_a_client_that_starts_it_meets_the_policy(policy: Path, server: Server) -> None:
    """Lists, denials, progress, the run's budget, the record: as in process."""
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    async with client(sys.executable, serving(policy, server, "--role", "clerk", "--user", "ana")) as session:
        assert [tool.name for tool in (await session.list_tools()).tools] == ["echo", "count"]
        assert (await session.call_tool("echo", {"text": "hello"})).content[0].text == "echo: hello"
        assert "access_denied" in (await session.call_tool("delete", {"text": "all"})).content[0].text
        await session.call_tool("count", {}, progress_callback=progress)
        assert "budget_exhausted" in (await session.call_tool("echo", {"text": "on"})).content[0].text
    assert server.called() == ["echo", "count"]
    assert told == [1, 2, 3]
    events = kept(policy.with_name("audit.jsonl"))
    assert {event.get("user") for event in events if event.get("method") == "tools/call"} == {"ana"}


@pytest.mark.anyio
async def test_who_is_not_named_is_nobody(policy: Path, server: Server) -> None:
    """A rule about roles denies then."""
    async with client(sys.executable, serving(policy, server)) as session:
        assert (await session.list_tools()).tools == []
        assert "no_principal" in (await session.call_tool("echo", {"text": "hello"})).content[0].text
    assert server.called() == []


def test_it_ends_when_its_client_leaves(policy: Path, server: Server) -> None:
    """And the server with it: both pipes are closed, and nothing stays behind."""
    done = subprocess.run(
        [sys.executable, *serving(policy, server)],
        input=b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n',
        capture_output=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_a_line_without_end_is_dropped_and_the_next_is_read(policy: Path, server: Server) -> None:
    """A client cannot have it keep more than one message may have."""
    given = [sys.executable, *serving(policy, server)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(given, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, %s"method": "ping"}\n' % (b" " * 2**25))
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 2, "method": "ping"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 2
        _, said = process.communicate(timeout=60)
        assert b"longer than 16777216 bytes" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "/no/such/server"], "/no/such/server cannot be started"),
        (["--server", "other", "--", sys.executable], "name='other' is none of them"),
        (["--server", "gti"], "there is no server 'gti' to serve; there are 'crm', 'git'"),
    ],
)
def test_what_cannot_be_served_is_one_line(policy: Path, arguments: list[str], said: str) -> None:
    """On stderr: stdout is the protocol's."""
    if "gti" in arguments:
        policy.write_text("version: 1\nservers:\n  git: {command: /a}\n  crm: {url: 'http://a/mcp'}\n")
    given = [
        "-m",
        "mcpguard",
        "serve",
        str(policy),
        *(["--server", "wire"] if arguments[0] == "--" else []),
        *arguments,
    ]
    done = subprocess.run(
        [sys.executable, *given],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.anyio
async def test_several_servers_are_one_on_stdio(server: Server, tmp_path: Path) -> None:
    """Those of the policy, each under its name; what one of them does not, the others do."""
    policy = tmp_path / "several.yaml"
    reached = json.dumps({"command": server.command, "args": server.args})
    policy.write_text(
        f"version: 1\nservers:\n  wire: {reached}\n  gone: {{command: /no/such}}\n"
        "interceptors: {access: {default: allow, deny: [{tools: [delete]}]}}\n"
    )
    async with client(sys.executable, ["-m", "mcpguard", "serve", str(policy)]) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert names == ["wire__echo", "wire__count", "wire__wipe"]
        said = await session.call_tool("wire__echo", {"text": "hello"})
        assert said.content[0].text == "echo: hello"
        assert "access_denied" in (await session.call_tool("wire__delete", {"text": "x"})).content[0].text
    assert server.called() == ["echo"]


@pytest.mark.anyio
@pytest.mark.skipif(not IS_SERVED, reason="this release of the SDK does not bound sessions")
async def test_a_process_serves_a_clients_file_over_http_and_ends_when_told(
    policy: Path, server: Server, tmp_path: Path
) -> None:
    """Named for everybody who calls; SIGTERM ends it with 0."""
    file = configuration(tmp_path, {"wire": {"command": server.command, "args": server.args}})
    with listening(str(policy), "--servers", str(file), "--user", "ana", "--role", "clerk") as (
        served,
        process,
    ):
        async with served.client() as session:
            assert [tool.name for tool in (await session.list_tools()).tools] == ["wire__echo", "wire__count"]
            assert "echo: hi" in str(await session.call_tool("wire__echo", {"text": "hi"}))
            changed = anyio.Path(policy)
            await changed.write_text((await changed.read_text()).replace("[echo, count]", "[count]"))
            process.send_signal(signal.SIGHUP)
            with anyio.fail_after(30):
                while "access_denied" not in str(await session.call_tool("wire__echo", {"text": "hi"})):
                    pass
    assert process.returncode == 0


WAITING = """
import sys
from importlib.metadata import version
import anyio.to_thread
if version("mcp").startswith("1."):
    from mcp.server.fastmcp import FastMCP as Made
else:
    from mcp.server.mcpserver import MCPServer as Made
made = Made("waiting")
def opened(mode):
    with open(sys.argv[1], mode) as gate:
        return gate.read() if mode == "r" else gate.write("begun")
@made.tool()
async def wait() -> str:
    await anyio.to_thread.run_sync(opened, "w")
    return await anyio.to_thread.run_sync(opened, "r")
made.run("stdio")
"""
"""A server whose tool says on a FIFO that it has begun, and answers with what is then written there."""


@pytest.mark.anyio
@pytest.mark.skipif(not IS_SERVED or sys.platform == "win32", reason="it is not served, or there is no FIFO")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_is_told_to_end_answers_what_is_under_way(
    number: int, anyio_backend: str, tmp_path: Path
) -> None:
    """The server behind it stays for as long; who comes meanwhile is sent elsewhere."""
    gate, policy = tmp_path / "gate", tmp_path / "p.yaml"
    os.mkfifo(gate)
    reached = json.dumps({"command": sys.executable, "args": ["-c", WAITING, str(gate)]})
    policy.write_text(
        f"version: 1\nservers: {{slow: {reached}}}\ninterceptors: {{access: {{default: allow}}}}\n"
    )
    answers: list[str] = []
    with listening(str(policy)) as (served, process):
        async with served.client() as session, anyio.create_task_group() as tasks:
            await session.list_tools()  # SDK 2.x asks after a call for what it does not know

            async def call() -> None:
                answers.append(str(await session.call_tool("slow__wait", {})))

            tasks.start_soon(call)
            assert await anyio.to_thread.run_sync(gate.read_text) == "begun"
            process.send_signal(number)
            with anyio.fail_after(30):
                while (await served.get("/readyz")).json() != {"status": "draining"}:
                    pass
            assert (await served.post()).status_code == 503
            assert await anyio.to_thread.run_sync(gate.write_text, "in the end") > 0
    assert "in the end" in answers[0]
    assert process.returncode == 0


@pytest.mark.anyio
@pytest.mark.skipif(not IS_SERVED or sys.platform == "win32", reason="it is not served, or there is no FIFO")
async def test_a_process_that_is_told_twice_ends_at_once(tmp_path: Path) -> None:
    """Whatever is under way."""
    gate, policy = tmp_path / "gate", tmp_path / "p.yaml"
    os.mkfifo(gate)
    reached = json.dumps({"command": sys.executable, "args": ["-c", WAITING, str(gate)]})
    policy.write_text(
        f"version: 1\nservers: {{slow: {reached}}}\ninterceptors: {{access: {{default: allow}}}}\nhttp: {{drain: 600}}\n"
    )
    answers: list[str] = []

    async def call(served: Served) -> None:
        with suppress(Exception):  # each major has its own
            async with served.client() as session:
                answers.append(str(await session.call_tool("slow__wait", {})))

    with listening(str(policy)) as (served, process):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, served)
            assert await anyio.to_thread.run_sync(gate.read_text) == "begun"
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30):
                while (await served.get("/readyz")).json() != {"status": "draining"}:
                    pass
            process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(process.wait, 30) == 0
    assert answers == []


@pytest.mark.anyio
@pytest.mark.skipif(not IS_SERVED, reason="this release of the SDK does not bound sessions")
async def test_what_is_logged_of_allowed_calls_is_on_stderr(server: Server, tmp_path: Path) -> None:
    """The program has nobody else who could configure `logging`."""
    policy = tmp_path / "p.yaml"
    reached = json.dumps({"command": server.command, "args": server.args})
    policy.write_text(
        f"version: 1\nservers: {{wire: {reached}}}\ninterceptors: {{access: {{default: allow}}}}\n"
        "audit: [logging: {}]\n"
    )
    with listening(str(policy)) as (served, process):
        async with served.client() as session:
            await session.call_tool("wire__echo", {"text": "hi"})
        assert process.stderr is not None
        with anyio.fail_after(30):
            line = ""
            while "method=tools/call" not in line:
                line = await anyio.to_thread.run_sync(process.stderr.readline)
    assert "target=echo server=wire" in line


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.skipif(not IS_SERVED or sys.platform == "win32", reason="it is not served, or has no such limit")
async def test_idle_connections_do_not_use_up_its_files(policy: Path, server: Server, tmp_path: Path) -> None:
    """It allows itself what its connections need: a server is still started, and a policy still read."""
    file = configuration(tmp_path, {"wire": {"command": server.command, "args": server.args}})
    few = ("sh", "-c", 'ulimit -S -n 100 && exec "$@"', "sh")
    named = ("--servers", str(file), "--user", "ana", "--role", "clerk")
    with listening(str(policy), *named, before=few) as (served, process):
        port = int(served.origin.rpartition(":")[2])
        async with AsyncExitStack() as stack:
            for _ in range(150):
                await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            with anyio.fail_after(30):
                async with served.client() as session:
                    assert "echo: hi" in str(await session.call_tool("wire__echo", {"text": "hi"}))
                    await anyio.Path(policy).write_text("version: 1\ninterceptors: {nothing: {}}")
                    process.send_signal(signal.SIGHUP)
                    assert process.stderr is not None
                    said = await anyio.to_thread.run_sync(process.stderr.readline)
                    assert "the policy stays as it was" in said
                    assert "echo: hi" in str(await session.call_tool("wire__echo", {"text": "hi"}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--http", "0.0.0.0:0"], "anybody who reaches 0.0.0.0 could call"),
        (["--http", "nowhere"], "an address is HOST:PORT"),
        (["--http", "127.0.0.1:99999"], "an address is HOST:PORT"),
        ([], "no server to serve"),
        (["--http", "127.0.0.1:0", "--server", "wire", "--", "x"], "a COMMAND starts the one --server"),
        (["--", "x"], "a COMMAND starts the one --server"),
        (["--from-env"], "--from-env is how the one --server is reached"),
        (["--from-env", "--server", "wire", "--", "x"], "--from-env is how the one --server is reached"),
        (["--from-env", "--server", "wire"], "MCPGUARD_URL: url is http:// or https://"),
    ],
)
def test_what_cannot_be_listened_on_is_one_line(
    policy: Path, server: Server, arguments: list[str], said: str
) -> None:
    """And nothing is started."""
    if arguments[:1] == ["--http"]:
        reached = json.dumps({"command": server.command, "args": server.args})
        policy.write_text(policy.read_text().replace("wire: {}", f"wire: {reached}"))
    done = subprocess.run(
        [sys.executable, "-m", "mcpguard", "serve", str(policy), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert server.got() == []


def configuration(tmp_path: Path, servers: dict[str, Any], **more: Any) -> Path:
    """A client's configuration."""
    path = tmp_path / "client.json"
    path.write_text(json.dumps({"mcpServers": servers, **more}))
    return path


@pytest.mark.anyio
async def test_a_wrapped_configuration_starts_servers_behind_the_policy(
    policy: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is what a client starts; what else the file says stays."""
    entry = {"command": server.command, "args": server.args, "env": {"A": "b"}, "disabled": False}
    file = configuration(tmp_path, {"wire": entry}, theme="dark")
    before = file.read_text()
    assert main(["wrap", str(file), "--policy", str(policy)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert file.read_text() == before
    assert printed["theme"] == "dark"
    wrapped = printed["mcpServers"]["wire"]
    assert (wrapped["env"], wrapped["disabled"]) == ({"A": "b"}, False)
    async with client(wrapped["command"], wrapped["args"]) as session:
        assert "no_principal" in (await session.call_tool("echo", {"text": "hello"})).content[0].text
    assert server.called() == []


def test_wrapping_in_place_keeps_what_was_there_and_wraps_once(
    policy: Path, server: Server, tmp_path: Path
) -> None:
    """A second time changes nothing; the mode stays, because the file holds secrets."""
    file = configuration(tmp_path, {"wire": {"command": server.command, "args": server.args}})
    file.chmod(0o600)
    before = file.read_text()
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    once = file.read_text()
    assert file.with_name("client.json.bak").read_text() == before
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    assert file.read_text() == once != before
    assert file.with_name("client.json.bak").read_text() == before
    assert not file.with_name("client.json.bak1").exists()
    assert {one.stat().st_mode & 0o777 for one in tmp_path.glob("client.json*")} == {0o600}


def test_what_a_file_was_before_is_never_overwritten(policy: Path, server: Server, tmp_path: Path) -> None:
    """Whatever has the name already, it is somebody's."""
    file = configuration(tmp_path, {"wire": {"command": server.command, "args": server.args}})
    before = file.read_text()
    file.with_name("client.json.bak").write_text("mine")
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    assert file.with_name("client.json.bak").read_text() == "mine"
    assert file.with_name("client.json.bak1").read_text() == before


@pytest.mark.anyio
async def test_a_wrapped_server_behind_a_url_is_reached_through_the_policy(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under its tools' own names, with its headers, which nobody reads who lists processes."""
    by_name = POLICY.replace("wire", "crm").replace("[echo, count], roles: [clerk]", "[note]")
    await anyio.Path(policy).write_text(by_name)
    with served() as site:
        token = site.issue("ana")
        headers = {"Authorization": f"Bearer {token}"}
        entry = {"type": "http", "url": site.url, "headers": headers, "timeout": 9, "env": {"A": "b"}}
        file = configuration(tmp_path, {"crm": entry})
        assert main(["wrap", str(file), "--policy", str(policy)]) == 0
        made = json.loads(capsys.readouterr().out)["mcpServers"]["crm"]
        assert not {"url", "headers"} & set(made)
        assert (made["type"], made["timeout"], made["env"]["A"]) == ("stdio", 9, "b")
        assert site.url not in str(made["args"])
        assert token not in str(made["args"])
        async with client(made["command"], made["args"], **made["env"]) as session:
            assert [tool.name for tool in (await session.list_tools()).tools] == ["note"]
            assert "acme 1" in str(await session.call_tool("note", {"tenant": "acme", "number": 1}))
            assert "access_denied" in str(await session.call_tool("repeat", {}))
        assert site.calls() == [("ana", {"tenant": "acme", "number": 1})]


def test_secrets_of_a_wrapped_url_are_in_no_file_that_did_not_have_them(policy: Path, tmp_path: Path) -> None:
    """The file itself, and what it was; both as little readable as it was, and nothing else is written."""
    secret = "-".join(["only", "for", "tests"])
    entry = {"url": f"https://mcp.example.org/{secret}", "headers": {"X-Key": secret}}
    file = configuration(tmp_path, {"wire": entry})
    file.chmod(0o600)
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    once = file.read_text()
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    assert file.read_text() == once
    holding = [one for one in tmp_path.rglob("*") if one.is_file() and secret in one.read_text()]
    assert {one.name for one in holding} == {"client.json", "client.json.bak"}
    assert {one.stat().st_mode & 0o777 for one in holding} == {0o600}


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("wire", {"type": "sse"}, "not by Streamable HTTP"),
        ("wire", {"transport": "ws"}, "not by Streamable HTTP"),
        ("wire", {"oauth": {}}, "logs in to by itself"),
        ("wire", {"headersHelper": "x"}, "logs in to by itself"),
        ("wire", {"url": "ws://127.0.0.1:1/mcp"}, "url is http:// or https://"),
        ("wire", {"url": "${input:url}"}, "url is http:// or https://"),
        ("wire", {"headers": {"X": "hidden\nY: z"}}, "a value in one line"),
        ("wire", {"headers": {"X Y": "hidden"}}, "a header has a name"),
        ("wire", {"headers": {"X": "hidden\u00e9"}}, "in one line of ASCII"),
        ("wire", {"headers": {"Content-Length": "3"}}, "the header Content-Length is not given"),
        ("wire", {"headers": {"host": "hidden"}}, "the header host is not given"),
        ("wire", {"url": "http://127.0.0.1:1/m\ncp"}, "url has no control characters"),
        ("wire", {"command": "a"}, "command and url: keep one"),
        ("wire", {"httpUrl": "http://127.0.0.1:1/mcp"}, "url and httpUrl: keep one"),
        (
            "wire",
            {"command": "a", "args": ["-P", "-m", "mcpguard", "serve", "p", "--server", "wire"]},
            "command and url: keep one",
        ),
        ("wi__re", {}, "or __ in it"),
    ],
)
def test_a_server_behind_a_url_that_cannot_be_guarded_is_named_and_left_as_it_is(
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    entry: dict[str, Any],
    said: str,
) -> None:
    """Exit code 1: somebody has to look. What is said repeats no header."""
    policy.write_text(POLICY.replace("wire", name))
    given = {"url": "http://127.0.0.1:1/mcp", **entry}
    file = configuration(tmp_path, {name: given})
    assert main(["wrap", str(file), "--policy", str(policy)]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["mcpServers"] == {name: given}
    assert f"not guarded: {name}: " in printed.err
    assert said in printed.err
    assert "hidden" not in printed.err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("hidden", "a line for each header"),
        ("A B: hidden", "a line for each header"),
        ("A: b\nhidden", "a line for each header"),
        ("A: hidden\x00", "a line for each header"),
    ],
)
def test_headers_in_an_environment_that_are_none_are_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, lines: str, said: str
) -> None:
    """And what was read is in the environment no more: nothing that is started has it."""
    monkeypatch.setattr(os, "environ", {"MCPGUARD_URL": "http://a/mcp", "MCPGUARD_HEADERS": lines})
    with pytest.raises(ValueError, match=said) as raised:
        taken()
    assert "hidden" not in str(raised.value)
    assert os.environ == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "client.json:1: not JSON"),
        ('{"mcpServers": {"a": {"command": "a"}, "a": {"command": "b"}}}', "'a' stands there twice"),
        ("[]", "expected an object with mcpServers"),
        ('{"mcpServers": []}', "expected an object with mcpServers"),
        ('{"mcpServers": {"wire": 1}}', "expected a name and an object"),
        ('{"mcpServers": {"*": {}}}', "no name for a policy"),
        ('{"mcpServers": {"a\\n": {}}}', "no name for a policy"),
        ('{"mcpServers": {"wire": {}}}', "expected a command or a url"),
        ('{"mcpServers": {"wire": {"command": "a", "args": "b"}}}', "expected args to be a list"),
        ('{"mcpServers": {"wire": {"command": "a", "env": {"K": 1}}}}', "expected env to be an object"),
        ('{"mcpServers": {"other": {"command": "a"}}}', "declares no server 'other'"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["wrap", "init"])
def test_a_file_that_is_none_is_one_line(
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    content: str | None,
    said: str,
) -> None:
    """With no value of it: those may be secrets."""
    if command == "init" and content is not None and "other" in content:
        pytest.skip("init has no policy to compare with")
    file = tmp_path / "client.json"
    if content is not None:
        file.write_text(content)
    assert main([command, str(file), *(["--policy", str(policy)] if command == "wrap" else [])]) == 2
    assert said in capsys.readouterr().err


def test_a_first_policy_denies_everything_until_somebody_says_otherwise(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the servers say of their tools decides nothing; one that fails does not stop the others."""
    secret = "hunter" + "2"
    entry = {"command": server.command, "args": server.args, "env": {"TOKEN": secret}}
    file = configuration(tmp_path, {"wire": entry, "gone": {"command": "/no/such/server"}})
    out = tmp_path / "policy.yaml"
    assert main(["init", str(file), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "gone: not asked: it failed with" in said
    assert "written without their tools" in said
    text = out.read_text()
    assert secret not in text
    assert '# - {servers: ["wire"], tools: ["echo"]}  # [says nothing] Say it again.' in text
    parsed = parse_policy(text)
    assert set(parsed.servers) == {"wire", "gone"}
    assert '# - {servers: ["wire"], prompts: ["*"], resources: ["*"]}' in text
    assert main(["init", str(file), "--out", str(out)]) == 2
    assert out.read_text() == text
    allowed = text.replace(
        '# - {servers: ["wire"], tools: ["echo"]}', '- {servers: ["wire"], tools: ["echo"]}'
    )
    assert len(parse_policy(allowed).interceptors) == len(parsed.interceptors)


def test_init_asks_the_servers_behind_a_file_that_was_wrapped(
    policy: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the policy it would see what that allows, and write it down as all there is."""
    policy.write_text("version: 1\ninterceptors: {access: {default: deny}}")
    with served() as site:
        headers = {"Authorization": f"Bearer {site.issue('ana')}"}
        entries = {
            "wire": {"command": server.command, "args": server.args},
            "crm": {"url": site.url, "headers": headers},
        }
        file = configuration(tmp_path, entries)
        assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
        assert main(["init", str(file)]) == 0
    text = capsys.readouterr().out
    assert (
        '# - {servers: ["wire"], tools: ["delete"]}' in text
        or '# - {servers: ["wire"], tools: ["wipe"]}' in text
    )
    assert '# - {servers: ["crm"], tools: ["note"]}' in text


def test_a_file_that_was_wrapped_is_not_served(
    policy: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each call would pass two policies, one of them perhaps an old one."""
    file = configuration(tmp_path, {"wire": {"command": server.command, "args": server.args}})
    assert main(["wrap", str(file), "--policy", str(policy), "--write"]) == 0
    assert main(["serve", str(policy), "--servers", str(file), "--http", "127.0.0.1:0"]) == 2
    assert "wire is behind a policy already" in capsys.readouterr().err


def test_what_is_logged_is_as_it_was_when_serving_is_over(policy: Path) -> None:
    """Who calls it within a larger program has loggers of their own."""
    logger = logging.getLogger("mcpguard.audit")
    before = logger.level
    assert main(["serve", str(policy), "--server", "nobody", "--http", "127.0.0.1:0"]) == 2
    assert logger.level == before


def test_init_asks_a_server_behind_a_url_with_the_headers_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them it would be refused; the policy has none of them."""
    with served() as site:
        token = site.issue("ana")
        entry = {"url": site.url, "headers": {"Authorization": f"Bearer {token}"}}
        file = configuration(tmp_path, {"crm": entry, "bare": {"httpUrl": site.url}})
        assert main(["init", str(file)]) == 1
    printed = capsys.readouterr()
    assert '# - {servers: ["crm"], tools: ["note"]}' in printed.out
    assert "bare: not asked: it failed with" in printed.err
    assert token not in printed.out + printed.err


HOSTILE = "x\n    allow:\n      - {tools: ['*']}\u2028#\x85"


@pytest.mark.parametrize("name", ["*", "[a]", "delete_?", HOSTILE, '"', ""])
def test_what_a_server_calls_itself_and_its_tools_stays_in_its_comment(name: str) -> None:
    """A name cannot end the comment, and taken out of it matches itself alone."""
    tool = {"name": name, "description": HOSTILE, "annotations": {"readOnlyHint": True}}
    text = policy_text({"s": [tool]})
    plain = policy_text({"s": []})
    assert [one for one in text.splitlines() if not one.lstrip().startswith("#")] == [
        one for one in plain.splitlines() if not one.lstrip().startswith("#")
    ]
    assert text.isascii()
    parse_policy(text)
    if name:
        from mcpguard import Access, Call
        from mcpguard.core.verdict import Deny

        live = parse_policy(text.replace("      # - {", "      - {"))
        access = next(one for one in live.interceptors if isinstance(one, Access))
        judged = {
            other: access.check(Call.tool_call(other, server="s")) for other in (name, "other", "delete_x")
        }
        assert [other for other, verdict in judged.items() if not isinstance(verdict, Deny)] == [name]
