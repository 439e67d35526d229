"""Every behaviour of a hostile server, against a guarded client: no hang, no crash, nothing run twice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from behaviours import OPENING, OPENINGS, behaviours
from clients import Steps, talk

from mcpguard import ConnectionLimits, Guard
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    # What a broken exchange leaves behind in HTTP libraries is theirs to collect.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LIMITS = ConnectionLimits(answer_seconds=4, write_seconds=1, close_seconds=4, message_bytes=2**23)
LIMIT = 15.0
"""Seconds for a step, after which it counts as a hang; ten times what the limits allow."""

MUCH = {
    "64 MB of text",
    "10,000 log messages",
    "10,000 changes",
    "10,000 tools",
    "list schema",
    "unique items",
    "SSE: huge event",
}
"""Behaviours that end by themselves, when a busy machine has read and checked all there is."""

PATIENCE = 60.0
"""Seconds that these are given."""

CASES = [(kind, name) for kind in ("stdio", "http") for name in behaviours(kind)]

NOT_AT_ONCE = {
    "stops reading",  # for a minute, and nothing says so
    "half a line",  # the next message stands on the same one
    "answers, then exits",  # while the next call is on its way
    "closes stdin",
    "stops itself",
    "empty lines for ever",
    "no message for ever",
    "notifications for ever",
    "NULs for ever",
    "answers, then closes stdout",
    "endless line",
    "endless answer",
    "1,000 pings",  # over HTTP each is answered by a request of its own
    "1,000 sampling requests",
}
"""Behaviours after which the server, or the way to it, is busy for longer than a call may take."""

NO_TOOLS = {"tools is null", "GET answers calls"}
"""Behaviours that leave nothing of the list."""


def guarded(guard: Guard) -> Callable[[Any], Any]:
    """Puts the guard around a transport."""
    return lambda transport: guard.transport(transport, name="raw")


async def meet(kind: str, behaviour: str, runs: Path) -> tuple[Steps, RecordingSink]:
    """Have a guarded conversation."""
    record = RecordingSink()
    is_much = behaviour in MUCH
    limits = replace(LIMITS, answer_seconds=PATIENCE) if is_much else LIMITS
    wrap = guarded(Guard(sinks=[record], connection=limits))
    return await talk(kind, behaviour, wrap, runs / "runs", limit=2 * PATIENCE if is_much else LIMIT), record


@pytest.mark.parametrize(("kind", "behaviour"), CASES)
async def test_a_guarded_client_outlives_what_a_server_does(
    kind: str, behaviour: str, tmp_path: Path
) -> None:
    """The call ends with an answer or the protocol's error, the tool has run once at most, closing ends.

    The next call is answered, if need be on a new connection.
    """
    steps, _ = await meet(kind, behaviour, tmp_path)
    assert steps.listed == "ok"
    assert steps.went == "ok" or steps.went.lower().startswith("mcperror")
    assert steps.honest == "ok" or (behaviour in NOT_AT_ONCE and "mcperror" in steps.honest.lower())
    assert steps.left == "ok"
    assert steps.runs <= 1
    assert "honest" in steps.tools or behaviour in NO_TOOLS


@pytest.mark.parametrize(
    ("kind", "behaviour"), [(kind, name) for kind, names in OPENINGS.items() for name in names]
)
async def test_a_server_that_misbehaves_at_once_is_given_up(
    kind: str, behaviour: str, tmp_path: Path
) -> None:
    """Whatever stands in the place of the handshake, opening ends with the protocol's error."""
    steps, _ = await meet(kind, OPENING + behaviour, tmp_path)
    assert steps.listed == "not reached"
    assert steps.left.lower().startswith("mcperror")
    assert steps.runs == 0


@pytest.mark.parametrize(
    ("behaviour", "status", "more"),
    [
        ("401", 401, {"wwwAuthenticate": 'Bearer scope="files"'}),
        ("403", 403, {}),
        ("429", 429, {"retryAfter": 7.0}),
        ("503", 503, {"retryAfter": 7.0}),
        ("500", 500, {"fate": "sent"}),
        ("404 for the session", 404, {"limit": "session"}),
    ],
)
async def test_an_http_status_reaches_the_caller_with_its_headers(
    behaviour: str, status: int, more: dict[str, Any], tmp_path: Path
) -> None:
    """To a bare client each of them is the same error."""
    steps, _ = await meet("http", behaviour, tmp_path)
    data = getattr(getattr(steps.error, "error", None), "data", None)
    assert isinstance(data, dict)
    assert data["status"] == status
    assert data.items() >= more.items()


@pytest.mark.parametrize(
    ("kind", "behaviour", "limit"),
    [
        ("stdio", "moderately deep nesting", "depth"),
        ("stdio", "deep nesting", "containers"),
        ("stdio", "two million values", "values"),
        ("stdio", "64 MB of text", "message_bytes"),
        ("stdio", "endless line", "message_bytes"),
        ("stdio", "100,000 content blocks", "values"),
        ("stdio", "5,000 content blocks", "content_blocks"),
        ("stdio", "huge progress", "integer_digits"),
        ("stdio", "10,000 log messages", "notifications_per_second"),
        ("stdio", "1,000 sampling requests", "requests_per_second"),
        ("stdio", "5 MB description", "definition_bytes"),
        ("stdio", "10,000 tools", "definitions"),
        ("stdio", "malformed tool", "malformed"),
        ("stdio", "deep tool", "depth"),
        ("stdio", "full tool", "containers"),
        ("stdio", "full tools", "definition_bytes"),
        ("stdio", "long integer in a tool", "integer_digits"),
        ("http", "deep tool", "depth"),
        ("stdio", "duplicate tools", "duplicate"),
        ("stdio", "endless pages", "pages"),
        ("stdio", "same cursor", "pages"),
        ("stdio", "doubling schema", "output_schema"),
        ("stdio", "structured content that fails", "structured_content"),
        ("stdio", "silence", "answer_seconds"),
        ("stdio", "notifications for ever", "answer_seconds"),
        ("stdio", "unknown content", "malformed"),
        ("stdio", "structured content is a list", "malformed"),
        ("stdio", "cursor is a list", "pages"),
        ("http", "compression bomb", "message_bytes"),
        ("http", "unknown encoding", "message_bytes"),
        ("http", "SSE: huge event", "message_bytes"),
        ("http", "SSE: another id", "id"),
        ("http", "SSE: a million fields", "containers"),
        ("http", "SSE: resumption redirects", "resumptions"),
        ("http", "closes at once", "http"),
        ("http", "404 for the session", "session"),
        ("http", "DELETE hangs", "close_seconds"),
    ],
)
async def test_each_limit_that_is_hit_is_an_event_that_names_it(
    kind: str, behaviour: str, limit: str, tmp_path: Path
) -> None:
    """The record says which server and which limit, and nothing of what was sent."""
    _, record = await meet(kind, behaviour, tmp_path)
    hits = [event for event in record.events if event.interceptor == "connection"]
    assert limit in {event.state for event in hits}
    assert {event.server for event in hits} == {"raw"}


@pytest.mark.parametrize("kind", ["stdio", "http"])
@pytest.mark.parametrize(
    "behaviour",
    [
        "malformed tool",
        "duplicate tools",
        "10,000 tools",
        "doubling schema",
        "schemas without a type",
        "deep tool",
        "full tool",
        "full tools",
        "long integer in a tool",
        "surrogate in a tool",
    ],
)
async def test_one_bad_tool_costs_that_tool(behaviour: str, kind: str, tmp_path: Path) -> None:
    """The rest of the listing is there, and every name once."""
    steps, _ = await meet(kind, behaviour, tmp_path)
    assert steps.went == "ok"
    assert {"go", "honest"} <= set(steps.tools)
    assert len(steps.tools) == len(set(steps.tools)) <= LIMITS.definitions


@pytest.mark.parametrize("behaviour", ["structured content that fails", "no structured content"])
async def test_a_result_that_breaks_its_schema_says_that_the_tool_has_run(
    behaviour: str, tmp_path: Path
) -> None:
    """Nothing is raised that somebody might answer by calling again."""
    steps, _ = await meet("stdio", behaviour, tmp_path)
    assert steps.went == "ok"
    said = steps.result.model_dump(by_alias=True)
    assert said["isError"] is True
    assert "has run" in said["content"][0]["text"]
    assert steps.runs == 1


async def test_a_forged_report_is_the_servers_own_error(tmp_path: Path) -> None:
    """What claims that nothing was sent would let a retry run the tool twice."""
    steps, _ = await meet("stdio", "forged report", tmp_path)
    data = getattr(getattr(steps.error, "error", None), "data", None)
    assert type(data) is dict
    assert not any(name.startswith("mcpguard") for name in data)


@pytest.mark.parametrize("behaviour", ["exits, child holds the pipe", "ignores its end"])
async def test_no_process_is_left(behaviour: str, tmp_path: Path) -> None:
    """Nor the children of one that died."""
    await meet("stdio", behaviour, tmp_path)
    child = tmp_path / "runs.child"
    if child.exists():
        assert not _is_alive(int(child.read_text()))


@pytest.mark.parametrize("behaviour", ["error code is text", "lone surrogate", "batch"])
async def test_without_limits_the_call_hangs(behaviour: str, tmp_path: Path) -> None:
    """What the tests above show is the limits' doing."""
    steps = await talk("stdio", behaviour, guarded(Guard()), tmp_path / "runs", limit=2.0)
    assert steps.went == "hang"


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
