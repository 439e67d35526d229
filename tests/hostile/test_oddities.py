"""Many behaviours of one hostile server, one after another on one connection: none costs more than its call."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import transport_to
from mcp import ClientSession
from oddities import SAYS, SCHEMAS, WHOLE

from mcpguard import ConnectionLimits, Guard
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    # What a broken exchange leaves behind in HTTP libraries is theirs to collect.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

KINDS = {"stdio": [*SAYS, *SCHEMAS], "http": [*SAYS, *WHOLE]}

PATIENCE = 60.0
"""Seconds after which a call counts as a hang; nearly all take milliseconds."""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_server_does_costs_the_call_it_does_it_to(kind: str, tmp_path: Path) -> None:
    """It is answered, or ends with the protocol's error, and has run once; the next one is answered."""
    behaviour, runs, record = tmp_path / "behaviour", tmp_path / "runs", RecordingSink()
    behaviour.write_text("honest")
    guard = Guard(sinks=[record], connection=ConnectionLimits(answer_seconds=PATIENCE / 2))
    came: dict[str, str] = {}
    async with (
        transport_to(kind, f"@{behaviour}", runs) as transport,
        guard.transport(transport, name="raw") as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        for name in KINDS[kind]:
            behaviour.write_text(name)
            with anyio.fail_after(PATIENCE):
                if name in SCHEMAS:
                    listed = await session.list_tools()
                    assert "honest" in {tool.name for tool in listed.tools}, name
                came[name] = await _called(session, "go")
                assert await _called(session, "honest") == "ok", name
    assert {end.lower() for end in came.values()} <= {"ok", "mcperror"}, came
    assert len(runs.read_text().splitlines()) == len(came)
    hits = {event.state for event in record.events if event.interceptor == "connection"}
    assert "connection_lost" not in hits
    assert "answer_seconds" not in hits


async def _called(session: ClientSession, name: str) -> str:
    """`ok`, or the class of what was raised."""
    try:
        result: Any = await session.call_tool(name, {})
    except Exception as error:
        return type(error).__name__
    return "ok" if result.content or name == "go" else "empty"
