"""Real servers behind `mcpguard serve`, and clients of other makers in front of it, over stdio and HTTP.

The servers of PyPI and of npm are what users have; the official inspector is a client in another language. All
of them are installed by the nox session `served`, which says where: what is not there is skipped, unless
MCPGUARD_REQUIRE_SERVED is set.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import text, wire
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from served import Served

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

IS_REQUIRED = os.environ.get("MCPGUARD_REQUIRE_SERVED") == "1"
WHERE = os.pathsep.join(filter(None, (os.environ.get("MCPGUARD_SERVED"), os.environ.get("PATH"))))


def program(name: str) -> str:
    """Where a program is; without it the test is skipped, or fails where it has to be there."""
    found = shutil.which(name, path=WHERE)
    if found is None:
        assert not IS_REQUIRED, f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


SERVERS = {
    "git": (["mcp-server-git"], "git_status", "git_commit"),
    "time": (["mcp-server-time"], "get_current_time", "convert_time"),
    "fetch": (["mcp-server-fetch"], "fetch", "fetch"),
    "everything": (["mcp-server-everything"], "echo", "get-env"),
    "filesystem": (["mcp-server-filesystem", "{folder}"], "read_text_file", "write_file"),
    "memory": (["mcp-server-memory"], "read_graph", "delete_entities"),
}
"""Server -> what starts it, a tool that the policy allows, and one that it does not."""


@pytest.fixture
def anyio_backend() -> str:
    """What the clients run on."""
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to read, in a repository."""
    made = tmp_path / "folder"
    made.mkdir()
    (made / "note.txt").write_text("a note")
    subprocess.run(["git", "init", "-q", str(made)], check=True)
    return made


def policy_for(tmp_path: Path, folder: Path, *names: str) -> Path:
    """A policy that reaches these servers, and denies one tool of each."""
    servers = dict[str, Any]()
    for name in names:
        (command, *arguments), _, _ = SERVERS[name]
        given = [one.format(folder=folder) for one in arguments]
        servers[name] = {"command": program(command), "args": given}
    denied = [{"servers": [name], "tools": [SERVERS[name][2]]} for name in names]
    path = tmp_path / "policy.json"
    access = {"default": "allow", "deny": denied}
    audit = [{"jsonl": {"path": "audit.jsonl"}}]
    whole = {"version": 1, "servers": servers, "interceptors": {"access": access}, "audit": audit}
    path.write_text(json.dumps(whole))
    return path


def environment() -> dict[str, str]:
    """Processes find the package as this one does, and the programs."""
    found = os.pathsep.join(one for one in sys.path if one)
    return {**os.environ, "PYTHONPATH": found, "PATH": WHERE}


SERVE = ["-m", "mcpguard", "serve"]


@contextmanager
def listening(policy: Path) -> Iterator[Served]:
    """It, over HTTP."""
    command = [sys.executable, *SERVE, str(policy), "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"(http://\S+)/mcp", process.stderr.readline())
            assert found is not None
            yield Served(found[1])
        finally:
            process.terminate()
            process.wait(30)
    assert process.returncode == 0


@asynccontextmanager
async def connected(policy: Path, how: str) -> AsyncIterator[Any]:
    """The SDK's client of it."""
    if how == "http":
        with listening(policy) as served:
            async with served.client() as session:
                yield session
        return
    started = StdioServerParameters(command=sys.executable, args=[*SERVE, str(policy)], env=environment())
    async with stdio_client(started) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


ARGUMENTS = {
    "git": {"repo_path": "{folder}"},
    "time": {"timezone": "Europe/Berlin"},
    "everything": {"message": "hello"},
    "filesystem": {"path": "{folder}/note.txt"},
    "memory": {},
}
SAID = {
    "git": "On branch",
    "time": "Berlin",
    "everything": "hello",
    "filesystem": "a note",
    "memory": "entities",
}


@pytest.mark.parametrize("how", ["stdio", "http"])
@pytest.mark.parametrize("name", SERVERS)
async def test_a_real_server_is_served_under_a_policy(
    tmp_path: Path, folder: Path, name: str, how: str
) -> None:
    """What is allowed is done, what is denied is neither shown nor done."""
    _, allowed, denied = SERVERS[name]
    async with connected(policy_for(tmp_path, folder, name), how) as session:
        shown = {tool.name for tool in (await session.list_tools()).tools}
        if name == "fetch":
            assert shown == set()
        else:
            assert f"{name}__{allowed}" in shown
            given = {key: one.format(folder=folder) for key, one in ARGUMENTS[name].items()}
            answer = wire(await session.call_tool(f"{name}__{allowed}", given))
            assert SAID[name] in json.dumps(answer)
        assert f"{name}__{denied}" not in shown
        refused = wire(await session.call_tool(f"{name}__{denied}", {}))
        assert "access_denied" in text(refused)


@pytest.mark.parametrize("how", ["stdio", "http"])
def test_the_official_inspector_talks_to_it(tmp_path: Path, folder: Path, how: str) -> None:
    """A client in another language: lists, calls and denials of two servers as one."""
    inspector = program("mcp-inspector")
    policy = policy_for(tmp_path, folder, "filesystem", "memory")

    def inspected(target: list[str], *asked: str) -> Any:
        command = [inspector, "--cli", *target, *asked]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=180)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def all_of_it(target: list[str]) -> None:
        names = {tool["name"] for tool in inspected(target, "--method", "tools/list")["tools"]}
        assert {"filesystem__read_text_file", "memory__read_graph"} <= names
        assert not {"filesystem__write_file", "memory__delete_entities"} & names
        call = ("--method", "tools/call", "--tool-name")
        read = inspected(target, *call, "filesystem__read_text_file", "--tool-arg", f"path={folder}/note.txt")
        assert text(read) == "a note"
        denied = {"path": f"{folder}/note.txt", "content": "gone"}
        given = [f"{key}={one}" for key, one in denied.items()]
        command = [inspector, "--cli", *target, *call, "filesystem__write_file"]
        for one in given:
            command += ["--tool-arg", one]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=180)
        assert "note" in (folder / "note.txt").read_text()
        assert "access_denied" in done.stdout or done.returncode != 0

    if how == "stdio":
        all_of_it([sys.executable, *SERVE, str(policy)])
        return
    with listening(policy) as served:
        all_of_it([served.url, "--transport", "http"])
