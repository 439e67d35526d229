"""The example servers, as processes over stdio, on whichever major of the SDK is installed."""

import hashlib
import secrets
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared._httpx_utils import create_mcp_http_client

pytestmark = pytest.mark.anyio

SERVERS = Path(__file__).parents[2] / "examples" / "servers"
REVISION = "a" * 40
ACCEPT = {"Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "0"},
    },
}


@pytest.fixture
def anyio_backend() -> str:
    """One backend: the code under test runs in another process, and on asyncio."""
    return "asyncio"


@asynccontextmanager
async def connected(
    name: str, cwd: Path, *arguments: str, env: dict[str, str] | None = None
) -> AsyncGenerator[ClientSession]:
    """A session with a server that was started in `cwd`."""
    command = [str(SERVERS / f"{name}.py"), *arguments]
    server = StdioServerParameters(command=sys.executable, args=command, env=env, cwd=cwd)
    with (cwd / "stderr").open("w", encoding="utf-8") as stderr:
        async with (
            stdio_client(server, errlog=stderr) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session


async def call(session: ClientSession, tool: str, **arguments: Any) -> str:
    """The text of an answer that must not be an error."""
    text, is_error = await answer(session, tool, **arguments)
    assert not is_error, text
    return text


async def answer(session: ClientSession, tool: str, **arguments: Any) -> tuple[str, bool]:
    """The text of an answer, and whether it is an error."""
    result = (await session.call_tool(tool, arguments)).model_dump(by_alias=True, mode="json")
    return "\n".join(part["text"] for part in result["content"]), result["isError"]


def wanted(token: str) -> dict[str, str]:
    """What tells a server which token to accept."""
    return {"TOKEN_SHA256": hashlib.sha256(token.encode()).hexdigest()}


def files(directory: Path) -> set[str]:
    """The names of what lies in a directory."""
    return {file.name for file in directory.iterdir()}


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a server left in its file."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("name", "tools"),
    [
        ("database", {"store_diff", "search_diffs", "delete_diffs", "drop_table"}),
        ("tickets", {"open_ticket", "get_ticket", "close_ticket"}),
        ("channel", {"notify", "read_channel"}),
        ("advisor", {"assess"}),
        ("rota", {"on_duty"}),
        ("style", {"check_style"}),
    ],
)
async def test_a_server_without_a_database_lists_its_tools_and_leaves_nothing_behind(
    name: str, tools: set[str], tmp_path: Path
) -> None:
    """The README and the demo's policy refer to these names; the data was in memory."""
    async with connected(name, tmp_path) as session:
        listed = (await session.list_tools()).tools
    assert {tool.name for tool in listed} == tools
    assert all(tool.description for tool in listed)
    assert files(tmp_path) == {"stderr"}


@pytest.mark.parametrize("name", ["database", "tickets", "channel", "advisor", "rota", "style"])
async def test_a_database_named_in_the_environment_is_one_file_afterwards(name: str, tmp_path: Path) -> None:
    """As MCP client configurations name it; no journal is left beside it."""
    async with connected(name, tmp_path, env={"DATABASE_PATH": "e.sqlite"}):
        pass
    assert files(tmp_path) == {"stderr", "e.sqlite"}
    assert rows(tmp_path / "e.sqlite", "SELECT count(*) FROM sqlite_master WHERE type = 'table'")[0][0] >= 1


async def test_a_stored_diff_is_found_in_any_case_and_stays_in_the_file(tmp_path: Path) -> None:
    """The demo looks into the file once the server has gone."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        await call(session, "store_diff", revision=REVISION, author="Ana", diff="+++ b/Secrets/x\n+ü\x00🔑")
        assert await call(session, "search_diffs", text="SECRETS/") == REVISION
        assert await call(session, "search_diffs", text="%") == ""
    assert rows(path, "SELECT revision, author, diff FROM diffs") == [
        (REVISION, "Ana", "+++ b/Secrets/x\n+ü\x00🔑")
    ]


async def test_storing_a_diff_again_replaces_it_and_history_keeps_both(tmp_path: Path) -> None:
    """An agent that repeats a call must not double the data, and the history must say it did."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        for diff in ("old", "new"):
            await call(session, "store_diff", revision=REVISION, author="Ana", diff=diff)
    assert rows(path, "SELECT diff FROM diffs") == [("new",)]
    assert rows(path, "SELECT count(*) FROM history") == [(2,)]


async def test_a_diff_of_megabytes_is_stored_whole(tmp_path: Path) -> None:
    """Real commits carry generated files."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        await call(session, "store_diff", revision=REVISION, author="Ana", diff="+line\n" * 400_000)
    assert rows(path, "SELECT length(diff) FROM diffs") == [(2_400_000,)]


async def test_deleting_removes_only_the_diffs_that_match(tmp_path: Path) -> None:
    """The demo counts the rows that are left."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        for revision, diff in (("a", "a password"), ("b", "nothing")):
            await call(session, "store_diff", revision=revision, author="Ana", diff=diff)
        assert await call(session, "delete_diffs", text="PASSWORD") == "Diffs deleted: 1."
    assert rows(path, "SELECT revision FROM diffs") == [("b",)]


async def test_a_dropped_table_is_gone_and_no_other(tmp_path: Path) -> None:
    """The demo's unguarded agent does this."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        await call(session, "drop_table", name="history")
    assert rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("diffs",)]


async def test_dropping_a_table_that_is_not_there_is_an_error_and_drops_nothing(tmp_path: Path) -> None:
    """The name comes from a model; it is data, never SQL."""
    path = tmp_path / "d.sqlite"
    async with connected("database", tmp_path, str(path)) as session:
        for name in ("", "no", 'diffs"; DROP TABLE history; --', "sqlite_master"):
            text, is_error = await answer(session, "drop_table", name=name)
            assert is_error
            assert "There is no table" in text
    assert len(rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")) == 2


async def test_a_ticket_is_open_until_somebody_closes_it(tmp_path: Path) -> None:
    """The demo's agent waits for this, and nobody comes."""
    async with connected("tickets", tmp_path) as session:
        number = int(await call(session, "open_ticket", title="Look", body="here"))
        assert await call(session, "get_ticket", number=number) == "open: Look"
        await call(session, "close_ticket", number=number)
        assert await call(session, "get_ticket", number=number) == "closed: Look"


async def test_tickets_take_the_token_that_the_server_was_told_the_digest_of(tmp_path: Path) -> None:
    """None, or another, is refused by every tool, and the answer does not repeat it."""
    token = secrets.token_urlsafe()
    async with connected("tickets", tmp_path, env=wanted(token)) as session:
        for given in ({}, {"token": "another-one"}, {"token": token[:-1]}):
            for tool in ("get_ticket", "close_ticket"):
                text, is_error = await answer(session, tool, number=1, **given)
                assert is_error
                assert "takes a token" in text
            text, is_error = await answer(session, "open_ticket", title="Look", body="here", **given)
            assert is_error
            assert "another-one" not in text
        assert await call(session, "open_ticket", title="Look", body="here", token=token) == "1"


async def test_a_ticket_that_is_not_there_is_an_error_the_agent_can_read(tmp_path: Path) -> None:
    """An error result, not a protocol error: the session goes on."""
    async with connected("tickets", tmp_path) as session:
        for tool in ("get_ticket", "close_ticket"):
            text, is_error = await answer(session, tool, number=7)
            assert is_error
            assert "There is no ticket 7." in text
        await call(session, "open_ticket", title="Look", body="here")


async def test_a_channel_gives_its_latest_messages_and_no_other_channels(tmp_path: Path) -> None:
    """Two channels share a table."""
    path = tmp_path / "c.sqlite"
    async with connected("channel", tmp_path, str(path)) as session:
        for channel, text in (("#a", "one"), ("#b", "two"), ("#a", "three")):
            await call(session, "notify", channel=channel, text=text)
        latest = await call(session, "read_channel", channel="#a", limit=1)
        assert "three" in latest
        assert "one" not in latest
        assert "two" not in await call(session, "read_channel", channel="#a")
    assert rows(path, "SELECT count(*) FROM messages") == [(3,)]


async def test_a_message_takes_a_token_in_meta(tmp_path: Path) -> None:
    """As an argument, or another one, it is refused, and nothing is posted."""
    token, path = secrets.token_urlsafe(), tmp_path / "c.sqlite"
    message = {"channel": "#a", "text": "one"}
    async with connected("channel", tmp_path, str(path), env=wanted(token)) as session:
        for meta in (None, {"example.com/token": token[:-1]}, {"token": token}):
            refused = await session.call_tool("notify", message, meta=cast("Any", meta))
            assert refused.model_dump(by_alias=True)["isError"]
        await session.call_tool("notify", message, meta=cast("Any", {"example.com/token": token}))
    assert rows(path, "SELECT channel, text FROM messages") == [("#a", "one")]


@pytest.mark.parametrize("given", ["", "another"])
async def test_the_database_starts_with_its_token_and_with_no_other(given: str, tmp_path: Path) -> None:
    """It says so, and makes no file."""
    token = secrets.token_urlsafe()
    command = [sys.executable, str(SERVERS / "database.py"), "d.sqlite"]
    ended = await anyio.run_process(
        command, env={**wanted(token), "DATABASE_TOKEN": given}, cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert b"DATABASE_TOKEN" in ended.stderr
    assert files(tmp_path) == set()
    async with connected("database", tmp_path, env={**wanted(token), "DATABASE_TOKEN": token}) as session:
        assert await call(session, "search_diffs", text="x") == ""


async def test_the_advisor_over_http_takes_a_bearer_token_and_ends_with_its_input(tmp_path: Path) -> None:
    """A request without it, or with another, is not let in: nothing is put on the bill."""
    token, path = secrets.token_urlsafe(), tmp_path / "a.sqlite"
    command = [sys.executable, str(SERVERS / "advisor.py"), str(path), "--http"]
    async with await anyio.open_process(command, env=wanted(token), stderr=None) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = (await process.stdout.receive()).decode().strip()
        for header, status in ((None, 401), (token[:-1], 401), (token, 200)):
            given = {} if header is None else {"Authorization": f"Bearer {header}"}
            async with create_mcp_http_client(headers=given) as client:
                assert (await client.post(url, json=INITIALIZE, headers=ACCEPT)).status_code == status
        await process.stdin.aclose()
        assert await process.wait() == 0
    assert rows(path, "SELECT * FROM bill") == []


async def test_the_style_check_asks_for_more_once_it_was_started_before(tmp_path: Path) -> None:
    """Somebody has looked at it the first time; the demo's unguarded agent does as it is told."""
    path = tmp_path / "s.sqlite"
    said: list[str] = []
    for _ in range(3):
        async with connected("style", tmp_path, str(path)) as session:
            (tool,) = (await session.list_tools()).tools
            said.append(tool.description or "")
            await call(session, "check_style", diff="+x", context="a draft")
    assert "`context`" not in said[0]
    assert "`context`" in said[1]
    assert said[1] == said[2]
    assert rows(path, "SELECT diff, context FROM checks") == [("+x", "a draft")] * 3


async def test_each_assessment_is_on_the_bill(tmp_path: Path) -> None:
    """The demo counts what was bought."""
    path = tmp_path / "a.sqlite"
    async with connected("advisor", tmp_path, str(path)) as session:
        for depth in ("short", "thorough"):
            assert depth in await call(session, "assess", subject="x", depth=depth)
    assert rows(path, "SELECT subject, cents FROM bill") == [("x", 20), ("x", 20)]


async def test_the_rota_asked_at_once_and_again_fails_and_records_each_request(tmp_path: Path) -> None:
    """The demo's unguarded agent keeps it down like this."""
    path = tmp_path / "r.sqlite"
    async with connected("rota", tmp_path, str(path)) as session:
        for _ in range(3):
            text, is_error = await answer(session, "on_duty", team="x")
            assert is_error
            assert "Not up yet." in text
    assert rows(path, "SELECT team FROM requests") == [("x",)] * 3
