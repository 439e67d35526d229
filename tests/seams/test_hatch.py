"""Large messages go past the SDK's own parser: what the client reads is what it would have read."""

import json
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import anyio
import pytest
from harness import V1
from mcp import ClientSession
from pydantic import TypeAdapter

from mcpguard import ConnectionLimits, Guard
from mcpguard.seams.limits.frames import Fault, parse, read, read_answer
from mcpguard.seams.limits.hatch import HANDED_BYTES
from mcpguard.seams.messages import body_of
from mcpguard.testing import RecordingSink

pytestmark = [
    pytest.mark.anyio,
    # What is not read to its end is the HTTP library's to collect.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

http: Any = import_module("httpx" if V1 else "httpx2")
types: Any = import_module("mcp.types")
LARGE = "a text " * HANDED_BYTES
TOKEN = "mcpguard/token"
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "raw", "version": "1"},
    "instructions": LARGE,
}
TOOLS = {"tools": [{"name": "go", "inputSchema": {"type": "object"}}]}
DONE = {"content": [{"type": "text", "text": LARGE}]}
Says = Callable[[int], list[dict[str, Any]]]


def result(id: Any, value: Any) -> dict[str, Any]:
    """An answer."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def told(level: str, data: str) -> dict[str, Any]:
    """A line for a log."""
    params = {"level": level, "data": data}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}


def client(says: Says, *, events: bool, posted: list[Any]) -> Any:
    """A client of a server that answers a call with what `says` makes of its id."""

    def answer(request: Any) -> Any:
        asked = json.loads(request.content or b"{}")
        if request.method != "POST" or "method" not in asked or "id" not in asked:
            posted.append(asked)
            return http.Response(202 if request.method == "POST" else 405)
        results = {"initialize": HELLO, "tools/list": TOOLS}
        value = results.get(asked["method"])
        messages = says(asked["id"]) if value is None else [result(asked["id"], value)]

        async def body() -> AsyncIterator[bytes]:
            for message in messages:
                text = json.dumps(message).encode()
                yield b"data: " + text + b"\n\n" if events else text

        kind = "text/event-stream" if events else "application/json"
        return http.Response(200, headers={"content-type": kind}, content=body())

    return http.AsyncClient(transport=http.MockTransport(answer))


async def called(says: Says, *, events: bool, **callbacks: Any) -> tuple[Any, list[Any], list[str]]:
    """What a guarded session gets or raises, what it posted besides, and the limits that were hit."""
    record, posted = RecordingSink(), list[Any]()
    guard = Guard(sinks=[record], connection=ConnectionLimits(answer_seconds=10))
    with anyio.fail_after(30):
        async with client(says, events=events, posted=posted) as one:
            streamable: Any = import_module("mcp.client.streamable_http")
            transport = streamable.streamable_http_client("http://files.example/mcp", http_client=one)
            async with (
                guard.transport(transport, name="raw") as (read, write, *_),
                ClientSession(read, write, **callbacks) as session,
            ):
                opened = await session.initialize()
                assert opened.instructions == LARGE
                await session.list_tools()
                try:
                    got: Any = await session.call_tool("go", {})
                except Exception as error:
                    got = error
                assert (await session.list_tools()).tools
    return got, posted, [event.state for event in record.events if event.interceptor == "connection"]


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("guess", [{}, {TOKEN: "0" * 32}])
async def test_a_large_answer_is_read_as_it_is(events: bool, guess: dict[str, str]) -> None:
    """In a body and in an event stream; a server has no token of its own."""
    got, _, hits = await called(lambda asked: [result(asked, {**DONE, "_meta": guess})], events=events)
    assert got.content[0].text == LARGE
    assert got.meta == guess
    assert hits == []


async def test_a_guessed_token_is_an_answer_like_any_other() -> None:
    """It stands for nothing, and the call ends with what it says."""
    small = {"content": [], TOKEN: "0" * 32}
    got, _, _ = await called(lambda asked: [result(asked, small)], events=True)
    assert got.content == []


@pytest.mark.parametrize("events", [False, True])
async def test_a_large_error_is_the_calls_own(events: bool) -> None:
    """With the server's message and data."""
    error = {"code": -5, "message": "no", "data": {"why": LARGE}}
    got, _, _ = await called(lambda asked: [{"jsonrpc": "2.0", "id": asked, "error": error}], events=events)
    assert (got.error.code, got.error.message) == (-5, "no")
    assert got.error.data == {"why": LARGE}


async def test_messages_of_a_stream_keep_their_order_whatever_their_size() -> None:
    """A small one, a large one, a small one, and the large answer."""
    heard: list[str] = []

    async def hear(params: Any) -> None:
        heard.append(params.data)

    says = ["first", "second " + LARGE, "third", "fourth " + LARGE, "fifth"]
    got, _, _ = await called(
        lambda asked: [*(told("info", one) for one in says), result(asked, DONE)],
        events=True,
        logging_callback=hear,
    )
    assert got.content[0].text == LARGE
    assert heard == says


async def test_a_large_request_of_the_servers_is_answered() -> None:
    """Sampling, with as large a prompt."""
    prompts: list[str] = []

    async def sample(_context: Any, params: Any) -> Any:
        prompts.append(params.messages[0].content.text)
        return types.CreateMessageResult.model_validate(
            {"role": "assistant", "content": {"type": "text", "text": "so"}, "model": "m"}
        )

    said = {"role": "user", "content": {"type": "text", "text": LARGE}}
    params = {"messages": [said], "maxTokens": 1}
    ask = {"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage", "params": params}
    got, posted, _ = await called(
        lambda asked: [ask, result(asked, DONE)], events=True, sampling_callback=sample
    )
    assert got.content[0].text == LARGE
    assert prompts == [LARGE]
    assert [one["id"] for one in posted if "result" in one] == ["s"]


@pytest.mark.parametrize("events", [False, True])
async def test_a_large_answer_to_another_request_is_refused(events: bool) -> None:
    """However far behind its id stands."""
    other = {"jsonrpc": "2.0", "result": DONE, "id": 777}
    got, _, hits = await called(lambda _: [other], events=events)
    assert got.error.data["why"] == ("connection_lost" if events else "refused_answer")
    assert hits == ["id"]


TEXTS = [
    '{"jsonrpc": "2.0", "id": %s, "result": {}}',
    '{"jsonrpc": "2.0", "id": 1, "result": %s}',
    '{"jsonrpc": "2.0", "id": 1, "result": {"a": %s}}',
    '{"jsonrpc": "2.0", "id": 1, "error": %s}',
    '{"jsonrpc": "2.0", "id": 1, "error": {"code": %s, "message": "m"}}',
    '{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": %s, "data": 1}}',
    '{"jsonrpc": "2.0", "id": 1, "method": %s, "params": {}}',
    '{"jsonrpc": %s, "method": "ping"}',
    '{"jsonrpc": "2.0", "method": "ping", "params": %s, "result": {}}',
    "%s",
]
VALUES = [
    *(
        "1",
        "-1",
        "1.0",
        "1.5",
        "1e3",
        "1e999",
        "NaN",
        "Infinity",
        "true",
        "null",
        '"1"',
        '"x"',
        '""',
        '"2.0"',
    ),
    *(
        "{}",
        "[]",
        "[1]",
        '{"a": 1, "a": 2}',
        '{"code": 1, "message": "m"}',
        '"\\ud800"',
        '"\\u00e9"',
        "1" * 30,
    ),
    *("[" * 60 + "]" * 60, "[" * 300 + "]" * 300, "", "{", '"\x01"', '{"_meta": {"a": 1}}', "-0", "01"),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("value", VALUES)
def test_a_message_is_what_the_sdk_makes_of_it(text: str, value: str) -> None:
    """It is parsed in another way, in which nothing may be taken that the SDK refuses, or the other way round."""
    adapter = TypeAdapter(types.JSONRPCMessage)
    message = (text % value).encode()
    limits = ConnectionLimits(depth=150)
    parsed = parse(message, limits)
    try:
        expected = adapter.validate_json(message)
    except ValueError:
        assert isinstance(parsed, Fault)
        return
    assert not isinstance(parsed, Fault)
    assert repr(parsed.message) == repr(expected)


async def test_an_answer_is_one_to_its_own_request() -> None:
    """An error may not know which that is."""
    limits = ConnectionLimits()
    ours, other = result(1, {}), result(2, {})
    nobodys = {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "m"}}
    found = [
        (await read_answer(json.dumps(one).encode(), limits, 1))[0]
        for one in (ours, other, nobodys, told("info", "x"))
    ]
    limited = [getattr(one, "limit", None) for one in found]
    assert (limited[:2], limited[3]) == ([None, "id"], "malformed")
    passed, text = await read_answer(json.dumps(ours).encode(), limits, "1")
    assert body_of(passed).result == {}
    assert text == json.dumps(ours).encode()


async def test_only_a_listing_that_is_waited_for_loses_what_breaks_a_limit() -> None:
    """Any other answer is refused: nobody would say what is missing."""
    deep: Any = {}
    for _ in range(100):
        deep = {"x": deep}
    text = json.dumps(result(1, {"tools": [{"name": "ok"}, deep]})).encode()
    for lists in (True, False):
        found, rest = await read(text, ConnectionLimits(), lambda _id, lists=lists: lists)
        assert isinstance(found, Fault) is not lists
        assert (rest == text) is not lists
