"""The scripted server, seen through the client sessions of whichever SDK is installed."""

import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import mcp.types as types
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from pydantic import AnyUrl

from mcpguard.testing.fake_server import FakeServer
from mcpguard.testing.gate import Gate
from mcpguard.testing.messages import (
    Elicit,
    ListRoots,
    RPCError,
    Sample,
    structured,
    tool_error,
)

V1 = version("mcp").startswith("1.")
MCPError: Any = getattr(import_module("mcp.shared.exceptions"), "McpError" if V1 else "MCPError")
modern_client = pytest.mark.skipif(V1, reason="SDK 1.x has no 2026-07-28 client")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The logging capability is deprecated"),
    pytest.mark.filterwarnings("ignore:resources/.*subscribe is removed"),
]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, for every test."""
    return request.param


@asynccontextmanager
async def connected(server: FakeServer, **callbacks: Any) -> AsyncIterator[ClientSession]:
    """A legacy session with `server`."""
    async with server.connect() as (read, write), ClientSession(read, write, **callbacks) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def modern(server: FakeServer, **options: Any) -> AsyncIterator[Any]:
    """A 2.x client, which finds out the era."""
    async with import_module("mcp").Client(server.transport(), **options) as client:
        yield client


def wire(model: Any) -> dict[str, Any]:
    """A model of either major as it is on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def text(result: Any) -> str:
    """The text of a tool's result."""
    return wire(result)["content"][0]["text"]


async def accept(context: Any, params: Any) -> Any:
    """Elicitation: accept, and repeat the question."""
    return types.ElicitResult(action="accept", content={"said": params.message})


async def complete(context: Any, params: Any) -> Any:
    """Sampling: one fixed answer."""
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text="Four."), model="m"
    )


async def roots(context: Any) -> Any:
    """Roots: one."""
    return types.ListRootsResult(roots=[types.Root(uri="file:///home")])  # type: ignore[arg-type]


def collector() -> tuple[list[Any], Callable[[Any], Any]]:
    """A message handler, and what it was given."""
    seen: list[Any] = []

    async def handle(message: Any) -> None:
        seen.append(message)

    return seen, handle


async def list_tools(session: ClientSession, cursor: str | None = None) -> dict[str, Any]:
    """One page of the tools, as on the wire."""
    return wire(await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor)))


# What a scripted tool answers


async def test_an_unscripted_tool_answers_with_its_arguments() -> None:
    """A declared name is enough to test what passes through a guard."""
    server = FakeServer()
    server.tool("read")
    async with connected(server) as session:
        assert text(await session.call_tool("read", {"path": "a"})) == '{"path": "a"}'


async def test_an_unscripted_tool_with_an_output_schema_answers_with_structured_content() -> None:
    """The SDK refuses a result without it (`validate_tool_result`)."""
    server = FakeServer()
    server.tool("read", output_schema={"type": "object", "required": ["path"]})
    async with connected(server) as session:
        assert wire(await session.call_tool("read", {"path": "a"}))["structuredContent"] == {"path": "a"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("plain", {"content": [{"type": "text", "text": "plain"}], "isError": False}),
        (
            structured({"n": 1}),
            {
                "content": [{"type": "text", "text": '{"n": 1}'}],
                "structuredContent": {"n": 1},
                "isError": False,
            },
        ),
        (
            {"content": [], "_meta": {"vendor/x": 1}},
            {"content": [], "_meta": {"vendor/x": 1}, "isError": False},
        ),
        (tool_error("no"), {"content": [{"type": "text", "text": "no"}], "isError": True}),
    ],
)
async def test_a_tool_returns_text_or_a_whole_result(answer: Any, expected: dict[str, Any]) -> None:
    """Short for what most tests need, whole for the rest."""
    server = FakeServer()
    server.tool("read").returns(answer)
    async with connected(server) as session:
        result = wire(await session.call_tool("read", {}))
    assert {name: result[name] for name in expected} == expected


async def test_a_tool_can_compute_its_answer_in_a_plain_or_an_async_function() -> None:
    """A function gets the arguments of the call."""

    async def later(arguments: dict[str, Any]) -> str:
        await anyio.lowlevel.checkpoint()
        return f"later {arguments['n']}"

    server = FakeServer()
    server.tool("add").answers(lambda arguments: str(arguments["n"] + 1)).answers(later)
    async with connected(server) as session:
        assert text(await session.call_tool("add", {"n": 1})) == "2"
        assert text(await session.call_tool("add", {"n": 2})) == "later 2"


async def test_a_tool_can_fail_in_the_protocol_or_in_its_result() -> None:
    """MCP 2025-11-25, server/tools: the two kinds of error."""
    server = FakeServer()
    server.tool("read").fails(-32000, "down", {"retry": 1}).is_error("no such file")
    async with connected(server) as session:
        with pytest.raises(MCPError) as failed:
            await session.call_tool("read", {})
        assert wire(failed.value.error) == {"code": -32000, "message": "down", "data": {"retry": 1}}
        assert wire(await session.call_tool("read", {}))["isError"] is True


async def test_a_scripted_function_can_raise_an_error_of_the_protocol() -> None:
    """The computed counterpart of `fails`."""

    def refuse(arguments: dict[str, Any]) -> str:
        raise RPCError(-32602, "bad argument")

    server = FakeServer()
    server.tool("read").answers(refuse)
    async with connected(server) as session:
        with pytest.raises(MCPError, match="bad argument"):
            await session.call_tool("read", {})


async def test_a_scripted_function_that_breaks_fails_the_test() -> None:
    """The client gets -32603; a test that swallows it meets the error where it connected."""
    server = FakeServer()
    server.tool("read").answers(lambda arguments: arguments["missing"])
    with pytest.raises(KeyError, match="missing"):  # noqa: PT012 - raised where the connection closes
        async with connected(server) as session:
            with pytest.raises(MCPError, match="KeyError") as failed:
                await session.call_tool("read", {})
            assert failed.value.error.code == -32603


async def test_what_a_client_does_to_a_result_does_not_reach_the_script() -> None:
    """Messages cross as JSON, in memory too."""
    server = FakeServer()
    server.tool("read").returns(structured({"items": [1]}))
    async with connected(server) as session:
        for _ in range(2):
            result = await session.call_tool("read", {})
            content = result.structuredContent if V1 else result.structured_content
            assert content == {"items": [1]}
            content["items"].append(2)


# Turns


async def test_turns_are_taken_in_order_and_the_last_one_repeats() -> None:
    """An ending closes a turn."""
    server = FakeServer()
    server.tool("read").returns("a").is_error("b").times(2).returns("c")
    async with connected(server) as session:
        texts = [text(await session.call_tool("read", {})) for _ in range(5)]
    assert texts == ["a", "b", "b", "c", "c"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(st.integers(1, 4), min_size=1, max_size=4), calls=st.integers(1, 12))
def test_any_sequence_of_turns_is_served_as_written(
    anyio_backend: str, turns: Sequence[int], calls: int
) -> None:
    """The model is the list written out, its last entry repeated for ever."""
    server = FakeServer()
    script = server.tool("read")
    for number, times in enumerate(turns):
        script.returns(str(number)).times(times)
    written_out = [str(number) for number, times in enumerate(turns) for _ in range(times)]

    async def main() -> list[str]:
        async with connected(server) as session:
            return [text(await session.call_tool("read", {})) for _ in range(calls)]

    served = anyio.run(main, backend=anyio_backend)
    assert served == (written_out + written_out[-1:] * calls)[:calls]


async def test_scripting_a_tool_again_starts_over() -> None:
    """A test can change its mind half way."""
    server = FakeServer()
    server.tool("read").returns("before")
    async with connected(server) as session:
        assert text(await session.call_tool("read", {})) == "before"
        server.on_call("read").returns("after")
        assert text(await session.call_tool("read", {})) == "after"


async def test_turns_are_given_out_in_the_order_in_which_concurrent_requests_arrive() -> None:
    """Not in the order in which tasks happen to run, which trio shuffles."""
    gate = Gate()
    server = FakeServer()
    server.tool("read").waits_for(gate).returns("first").returns("second")
    texts: dict[int, str] = {}
    async with connected(server) as session:

        async def call(number: int) -> None:
            texts[number] = text(await session.call_tool("read", {"n": number}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, 1)
            await gate.reached()
            await call(2)
            gate.open()
    assert texts == {1: "first", 2: "second"}


# Waiting, and misbehaving


async def test_a_call_waits_for_a_gate_or_an_event() -> None:
    """Delays are events, never sleeps."""
    gate, event = Gate(), anyio.Event()
    server = FakeServer()
    server.tool("read").waits_for(gate).waits_for(event).returns("late")
    async with connected(server) as session, anyio.create_task_group() as tasks:
        results: list[str] = []

        async def call() -> None:
            results.append(text(await session.call_tool("read", {})))

        tasks.start_soon(call)
        await gate.reached()
        gate.open()
        await session.send_ping()
        assert results == []
        event.set()
    assert results == ["late"]


async def test_a_cancelled_request_stops_and_is_not_answered() -> None:
    """MCP 2025-11-25, basic/utilities/cancellation."""
    gate, finished = Gate(), list[str]()
    server = FakeServer()
    server.tool("read").waits_for(gate).answers(lambda arguments: finished.append("done") or "done")
    async with connected(server) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call_tool, "read", {})
        await gate.reached()
        notice = types.CancelledNotification(
            params=types.CancelledNotificationParams.model_validate({"requestId": server.received[-1]["id"]})
        )
        await session.send_notification(types.ClientNotification(notice) if V1 else notice)
        await session.send_ping()
        gate.open()
        await session.send_ping()
        tasks.cancel_scope.cancel()
    assert finished == []


@modern_client
async def test_a_call_that_the_client_abandons_is_cancelled_at_the_server() -> None:
    """SDK 2.x sends a courtesy cancel; 1.x sends none."""
    server = FakeServer()
    server.tool("read").hangs()
    async with connected(server) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call_tool, "read", {})
        await server.until_seen("tools/call")
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            notice = await server.until_seen("notifications/cancelled")
    assert notice["requestId"] == next(one["id"] for one in server.received if one["method"] == "tools/call")


async def test_a_dropped_connection_fails_the_call_and_spares_other_clients() -> None:
    """A crash belongs to one connection."""
    server = FakeServer()
    server.tool("read").drops_connection().returns("still here")
    async with connected(server) as other:
        async with connected(server) as session:
            with pytest.raises(MCPError, match="Connection closed"):
                await session.call_tool("read", {})
        assert text(await other.call_tool("read", {})) == "still here"


async def test_a_test_can_drop_all_connections() -> None:
    """The outage that no call asked for."""
    server = FakeServer()
    server.tool("read").hangs()
    async with connected(server) as session, anyio.create_task_group() as tasks:

        async def call() -> None:
            with pytest.raises(MCPError, match="Connection closed"):
                await session.call_tool("read", {})

        tasks.start_soon(call)
        await server.until_seen("tools/call")
        server.drop_connections()


async def test_a_second_answer_to_one_request_reaches_the_client() -> None:
    """1.x hands it to the message handler; 2.x drops it. The first answer counts."""
    seen, handle = collector()
    server = FakeServer()
    server.tool("read").answers_twice("once").returns("next")
    async with connected(server, message_handler=handle) as session:
        assert text(await session.call_tool("read", {})) == "once"
        assert text(await session.call_tool("read", {})) == "next"
    assert len([one for one in seen if isinstance(one, RuntimeError)]) == (1 if V1 else 0)


@pytest.mark.parametrize("line", ["{not json", {"jsonrpc": "2.0", "id": []}])
async def test_garbage_reaches_the_client_as_an_exception_and_the_answer_follows(line: Any) -> None:
    """As the stdio transports of both majors do with a line they cannot parse."""
    seen, handle = collector()
    server = FakeServer()
    server.tool("read").sends_garbage(line).returns("after all")
    async with connected(server, message_handler=handle) as session:
        assert text(await session.call_tool("read", {})) == "after all"
        await session.send_ping()
    assert [isinstance(one, ValueError) for one in seen] == [True]


# During a call


async def test_progress_goes_to_the_call_that_asked_for_it() -> None:
    """MCP 2025-11-25, basic/utilities/progress: none without a token."""
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    server = FakeServer()
    server.tool("read").reports(0.5, 1.0, total=1.0, message="half").returns("done")
    async with connected(server) as session:
        await session.call_tool("read", {}, progress_callback=note)
        await session.call_tool("read", {})
        await session.send_ping()
    assert sorted(seen) == [(0.5, 1.0, "half"), (1.0, 1.0, "half")]


async def test_logs_below_the_level_that_a_legacy_client_set_are_not_sent() -> None:
    """MCP 2025-11-25, server/utilities/logging."""
    seen: list[tuple[str, Any, str | None]] = []

    async def note(params: Any) -> None:
        seen.append((params.level, params.data, params.logger))

    server = FakeServer()
    server.tool("read").logs("quiet").logs({"n": 1}, level="error", logger="disk").returns("done")
    async with connected(server, logging_callback=note) as session:
        await session.set_logging_level("warning")
        await session.call_tool("read", {})
        await session.send_ping()
    assert seen == [("error", {"n": 1}, "disk")]


async def test_a_call_can_send_any_notification() -> None:
    """What an honest server would not send, too."""
    seen, handle = collector()
    server = FakeServer()
    server.tool("read").notifies("notifications/resources/updated", {"uri": "file:///a"})
    async with connected(server, message_handler=handle) as session:
        await session.call_tool("read", {})
        await session.send_ping()
    assert [wire(one)["params"]["uri"] for one in seen] == ["file:///a"]


# Asking the client


async def test_a_legacy_call_asks_by_requests_and_echoes_the_replies() -> None:
    """MCP 2025-11-25, client features: all three of them."""
    server = FakeServer()
    server.tool("book").asks(Elicit("Sure?"), ListRoots()).asks(Sample("2 + 2?", temperature=0))
    callbacks = {"elicitation_callback": accept, "sampling_callback": complete, "list_roots_callback": roots}
    async with connected(server, **callbacks) as session:
        said = text(await session.call_tool("book", {}))
    assert server.replies[0] == {"action": "accept", "content": {"said": "Sure?"}}
    assert server.replies[1] == {"roots": [{"uri": "file:///home"}]}
    assert server.replies[2]["content"] == {"type": "text", "text": "Four."}
    assert '"said": "Sure?"' in said
    assert len(server.calls("book")) == 1


async def test_a_legacy_call_whose_question_is_refused_ends_as_an_error_result() -> None:
    """As the SDK servers do: the exception in the tool becomes its result."""
    server = FakeServer()
    server.tool("book").asks(Elicit("Sure?")).returns("booked")
    async with connected(server) as session:
        result = await session.call_tool("book", {})
    assert wire(result)["isError"] is True
    assert "elicitation/create was refused" in text(result)
    assert server.replies[0]["error"]["code"] == -32600


async def test_a_prompt_whose_question_is_refused_fails() -> None:
    """Only tools have error results."""
    server = FakeServer()
    server.prompt("greet").asks(ListRoots())
    async with connected(server) as session:
        with pytest.raises(MCPError, match="roots/list was refused"):
            await session.get_prompt("greet")


async def test_an_answer_can_depend_on_what_the_client_replied() -> None:
    """`server.replies` is there before the function runs."""
    server = FakeServer()
    server.tool("book").asks(Elicit("Sure?", url="https://example.org/pay")).answers(
        lambda arguments: server.replies[-1]["action"]
    )
    async with connected(server, elicitation_callback=accept) as session:
        assert text(await session.call_tool("book", {})) == "accept"


async def test_a_server_can_ask_anything_at_any_time() -> None:
    """Requests outside any call, known to the client or not."""
    server = FakeServer()
    async with connected(server) as session:
        assert await server.request("ping") == {}
        reply = await server.request("vendor/unknown", {"n": 1})
        assert reply["error"]["code"] in {-32601, -32602}
        assert server.replies == [{}, reply]
        await session.send_ping()


async def test_asking_without_exactly_one_client_is_an_error() -> None:
    """There would be nobody, or somebody arbitrary, to ask."""
    server = FakeServer()
    with pytest.raises(RuntimeError, match="0 are connected"):
        await server.request("ping")
    async with connected(server), connected(server):
        with pytest.raises(RuntimeError, match="2 are connected"):
            await server.request("ping")


async def test_asking_a_client_that_leaves_is_an_error() -> None:
    """A test that asks must not hang."""
    server = FakeServer()

    async def ask() -> None:
        with pytest.raises(ConnectionError, match="roots/list"):
            await server.request("roots/list")

    async with anyio.create_task_group() as tasks, server.connect() as (read, _):
        tasks.start_soon(ask)
        await read.receive()


async def test_a_notification_reaches_every_legacy_client() -> None:
    """Change notifications are for all who are connected."""
    seen, handle = collector()
    server = FakeServer()
    async with (
        connected(server, message_handler=handle) as one,
        connected(server, message_handler=handle) as two,
    ):
        assert await server.notify("notifications/tools/list_changed") == 2
        await one.send_ping()
        await two.send_ping()
    assert [wire(message)["method"] for message in seen] == ["notifications/tools/list_changed"] * 2


# Lists and definitions


async def test_a_tool_is_listed_as_it_was_declared() -> None:
    """Members by keyword, in snake case or as on the wire."""
    server = FakeServer()
    server.tool(
        "read",
        description="Read a file.",
        input_schema={"type": "object", "properties": {"path": {"type": "string"}}},
        annotations={"readOnlyHint": True},
        title="Reader",
        _meta={"vendor/x": 1},
    )
    async with connected(server) as session:
        assert (await list_tools(session))["tools"] == [
            {
                "name": "read",
                "description": "Read a file.",
                "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
                "annotations": {"readOnlyHint": True},
                "title": "Reader",
                "_meta": {"vendor/x": 1},
            }
        ]


async def test_tools_can_change_vanish_and_be_replaced_while_clients_are_connected() -> None:
    """The rug pull: a definition that changes after it was approved."""
    server = FakeServer()
    server.tool("read", description="Honest.").returns("scripted")
    async with connected(server) as session:
        server.change_tool("read", description="Poisoned.", input_schema={"type": "object", "title": "t"})
        (tool,) = (await list_tools(session))["tools"]
        assert tool["description"] == "Poisoned."
        assert tool["inputSchema"]["title"] == "t"
        server.change_tool("read", description=None)
        assert "description" not in (await list_tools(session))["tools"][0]
        server.remove_tool("read")
        assert (await list_tools(session))["tools"] == []
        with pytest.raises(MCPError, match="Unknown tool"):
            await session.call_tool("read", {})
        server.set_tools([{"name": "write", "inputSchema": {"type": "object"}}, {"name": "read"}])
        assert [one["name"] for one in (await list_tools(session))["tools"]] == ["write", "read"]
        assert text(await session.call_tool("read", {})) == "scripted"


async def test_an_unlisted_tool_can_be_called() -> None:
    """Filtering lists is not enforcement."""
    server = FakeServer()
    server.tool("hidden", listed=False).returns("found")
    async with connected(server) as session:
        assert (await list_tools(session))["tools"] == []
        assert text(await session.call_tool("hidden", {})) == "found"


async def test_lists_come_in_pages() -> None:
    """MCP 2025-11-25, server/utilities/pagination: -32602 for a cursor it does not know."""
    server = FakeServer(page_size=2)
    for name in "abc":
        server.tool(name)
        server.prompt(name)
    async with connected(server) as session:
        first = await list_tools(session)
        second = await list_tools(session, first["nextCursor"])
        assert [tool["name"] for tool in first["tools"] + second["tools"]] == ["a", "b", "c"]
        assert "nextCursor" not in second
        assert len(wire(await session.list_prompts())["prompts"]) == 2
        server.page_size = None
        assert len((await list_tools(session))["tools"]) == 3
        with pytest.raises(MCPError, match="Unknown cursor"):
            await list_tools(session, "page-9")
        with pytest.raises(MCPError, match="Unknown cursor"):
            await list_tools(session, "elsewhere")


async def test_a_list_can_have_no_end() -> None:
    """A hostile listing, which clients must bound."""
    server = FakeServer()
    server.tool("a")
    server.pages_forever()
    cursors: set[str] = set()
    async with connected(server) as session:
        cursor = None
        for _ in range(5):
            page = await list_tools(session, cursor)
            assert [tool["name"] for tool in page["tools"]] == ["a"]
            cursors.add(cursor := page["nextCursor"])
    assert len(cursors) == 5


# Prompts, resources, completion, other methods


async def test_prompts_answer_with_messages() -> None:
    """MCP 2025-11-25, server/prompts."""
    server = FakeServer()
    server.prompt("greet", description="Say hello.", arguments=["name", {"name": "mood"}])
    server.prompt("plain").returns("Hello.")
    async with connected(server) as session:
        (greet, _) = wire(await session.list_prompts())["prompts"]
        assert greet["arguments"] == [{"name": "name", "required": True}, {"name": "mood"}]
        (message,) = wire(await session.get_prompt("greet", {"name": "Ann"}))["messages"]
        assert message == {"role": "user", "content": {"type": "text", "text": '{"name": "Ann"}'}}
        (message,) = wire(await session.get_prompt("plain"))["messages"]
        assert message["content"]["text"] == "Hello."
        server.on_prompt("plain").fails(-32000, "tired")
        with pytest.raises(MCPError, match="tired"):
            await session.get_prompt("plain")
        with pytest.raises(MCPError, match="Unknown prompt"):
            await session.get_prompt("other")


def uri(address: str) -> Any:
    """An address in the type that the installed SDK takes."""
    return AnyUrl(address) if V1 else address


async def test_resources_answer_with_their_contents() -> None:
    """MCP 2025-11-25, server/resources: -32002 for one that is missing."""
    server = FakeServer()
    server.resource("file:///a.txt", "alpha", mime_type="text/plain")
    server.resource("file:///b.bin", b"\x00\x01", name="b")
    server.resource_template("log:///{day}/{+path}").answers(lambda found: f"{found['day']} {found['path']}")
    server.resource_template("echo:///{what}")
    async with connected(server) as session:
        listed = wire(await session.list_resources())["resources"]
        assert [(one["uri"], one["name"]) for one in listed] == [
            ("file:///a.txt", "file:///a.txt"),
            ("file:///b.bin", "b"),
        ]
        templates = wire(await session.list_resource_templates())["resourceTemplates"]
        assert [one["uriTemplate"] for one in templates] == ["log:///{day}/{+path}", "echo:///{what}"]
        reads = [
            wire(await session.read_resource(uri(one)))["contents"][0]
            for one in ("file:///a.txt", "file:///b.bin", "log:///monday/a/b", "echo:///hello")
        ]
        assert reads[0] == {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "alpha"}
        assert reads[1]["blob"] == "AAE="
        assert reads[2]["text"] == "monday a/b"
        assert reads[3]["text"] == "echo:///hello"
        server.on_read("file:///a.txt").returns("new")
        assert wire(await session.read_resource(uri("file:///a.txt")))["contents"][0]["text"] == "new"
        with pytest.raises(MCPError, match="Resource not found") as missing:
            await session.read_resource(uri("file:///missing"))
        assert missing.value.error.code == -32002


async def test_completion_offers_the_declared_values_that_begin_so() -> None:
    """MCP 2025-11-25, server/utilities/completion."""
    server = FakeServer()
    server.prompt("greet", arguments=["name"])
    server.completion("greet", {"name": ["Ann", "Anton", "Bob"]})
    async with connected(server) as session:
        ref = types.PromptReference(type="ref/prompt", name="greet")
        result = await session.complete(ref, {"name": "name", "value": "An"})
    assert wire(result)["completion"]["values"] == ["Ann", "Anton"]


async def test_any_method_can_be_scripted() -> None:
    """`on` goes before the scripts of single names."""
    server = FakeServer()
    server.tool("read")
    server.on("tools/list").fails(-32000, "not now").returns({"tools": []})
    server.on("tools/call").returns("every tool")
    async with connected(server) as session:
        with pytest.raises(MCPError, match="not now"):
            await session.list_tools()
        assert (await list_tools(session))["tools"] == []
        assert text(await session.call_tool("whatever", {})) == "every tool"


async def test_steps_without_an_ending_delay_the_servers_own_answer() -> None:
    """A turn is steps and an ending, and the ending has a default."""
    server = FakeServer()
    server.tool("read")
    seen, handle = collector()
    server.on("tools/list").notifies("notifications/tools/list_changed")
    async with connected(server, message_handler=handle) as session:
        assert [tool["name"] for tool in (await list_tools(session))["tools"]] == ["read"]
        await session.send_ping()
    assert len(seen) == 1


async def test_the_handshake_tells_what_was_declared() -> None:
    """MCP 2025-11-25, basic/lifecycle."""
    server = FakeServer("files", version="2", instructions="Be kind.", capabilities={"tools": {}})
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        result = wire(await session.initialize())
    assert result["serverInfo"] == {"name": "files", "version": "2"}
    assert result["instructions"] == "Be kind."
    assert result["capabilities"] == {"tools": {}}
    assert result["protocolVersion"] == server.seen("initialize")[0]["protocolVersion"]


async def test_a_server_can_be_held_to_an_older_revision() -> None:
    """Version negotiation lets the server choose."""
    server = FakeServer(protocol_version="2025-03-26")
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        assert wire(await session.initialize())["protocolVersion"] == "2025-03-26"


# Looking at what came


async def test_everything_the_client_sent_is_there_as_on_the_wire() -> None:
    """Nulls in arguments included."""
    server = FakeServer()
    server.tool("read")
    async with connected(server) as session:
        await session.call_tool("read", {"path": "a", "limit": None})
    assert [message["method"] for message in server.received][:3] == [
        "initialize",
        "notifications/initialized",
        "tools/call",
    ]
    assert server.calls("read") == [{"path": "a", "limit": None}]
    assert server.seen("tools/call")[0]["name"] == "read"
    assert len(server.headers) == len(server.received)


# Connections


async def test_several_clients_share_one_script() -> None:
    """One server, many sessions; nothing is left when they have gone."""
    server = FakeServer()
    server.tool("read").returns("a").returns("b")
    async with connected(server) as one, connected(server) as two:
        assert server.clients == 2
        assert text(await one.call_tool("read", {})) == "a"
        assert text(await two.call_tool("read", {})) == "b"
    assert server.clients == 0


async def test_a_connection_is_used_by_one_client_at_a_time() -> None:
    """It can be opened again after it was left."""
    connection = FakeServer().connect()
    async with connection:
        with pytest.raises(RuntimeError, match="connect\\(\\) of its own"):
            await connection.__aenter__()
    async with connection as (read, write), ClientSession(read, write) as session:
        await session.initialize()


async def test_the_error_of_a_test_comes_out_as_it_is() -> None:
    """Neither wrapped in a group nor swallowed."""
    server = FakeServer()
    with pytest.raises(AssertionError, match="mine"):
        async with server.connect():
            raise AssertionError("mine")
    assert server.clients == 0


async def test_a_connection_can_be_cancelled_from_outside() -> None:
    """Cancellation passes, with a request still under way."""
    server = FakeServer()
    server.tool("read").hangs()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def stop() -> None:
                await server.until_seen("tools/call")
                scope.cancel()

            tasks.start_soon(stop)
            async with connected(server) as session:
                await session.call_tool("read", {})
    assert scope.cancelled_caught
    assert server.clients == 0


# The modern era


async def test_a_modern_server_refuses_the_handshake() -> None:
    """MCP 2026-07-28: -32022 with the versions it serves."""
    server = FakeServer(era="modern")
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        with pytest.raises(MCPError) as refused:
            await session.initialize()
    assert refused.value.error.code == -32022
    assert refused.value.error.data["supported"] == ["2026-07-28"]


async def test_a_modern_server_refuses_a_request_without_its_envelope() -> None:
    """MCP 2026-07-28, basic: every request says its version and the client's capabilities."""
    server = FakeServer(era="modern")
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        with pytest.raises(MCPError, match="without its envelope") as refused:
            await session.send_ping()
    assert refused.value.error.code == -32602


@modern_client
@pytest.mark.parametrize(("era", "negotiated"), [("legacy", "2025-11-25"), ("modern", "2026-07-28")])
async def test_a_2x_client_finds_out_the_era(era: Any, negotiated: str) -> None:
    """`mcp.Client` probes `server/discover`, and falls back on -32601."""
    server = FakeServer("files", era=era, instructions="Be kind.")
    server.tool("read").returns("text")
    async with modern(server) as client:
        assert client.protocol_version == negotiated
        assert client.server_info.name == "files"
        assert client.instructions == "Be kind."
        assert text(await client.call_tool("read", {})) == "text"


@modern_client
async def test_a_modern_server_answers_every_method_of_its_era() -> None:
    """The SDK validates each result against the revision's schema."""
    server = FakeServer(era="modern")
    server.tool("read", output_schema={"type": "object"})
    server.prompt("greet", arguments=["name"])
    server.completion("greet", {"name": ["Ann"]})
    server.resource("file:///a", "alpha")
    server.resource_template("log:///{day}")
    async with modern(server) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["read"]
        assert (await client.call_tool("read", {"n": 1})).structured_content == {"n": 1}
        assert len((await client.list_prompts()).prompts) == 1
        assert len((await client.get_prompt("greet", {"name": "A"})).messages) == 1
        assert len((await client.list_resources()).resources) == 1
        assert len((await client.list_resource_templates()).resource_templates) == 1
        assert (await client.read_resource("file:///a")).contents[0].text == "alpha"
        ref = types.PromptReference(type="ref/prompt", name="greet")
        completed = await client.complete(ref, {"name": "name", "value": "A"})
        assert completed.completion.values == ["Ann"]
        with pytest.raises(MCPError) as missing:
            await client.read_resource("file:///missing")
        assert missing.value.error.code == -32602
        with pytest.raises(MCPError) as removed:
            await client.session.send_ping()
        assert removed.value.error.code == -32601


@modern_client
async def test_the_http_headers_of_a_modern_client_are_kept() -> None:
    """Headers leak what a rewrite removed; tests can see it without HTTP."""
    server = FakeServer(era="modern")
    server.tool("read")
    async with modern(server) as client:
        await client.call_tool("read", {})
    (headers,) = [
        headers
        for message, headers in zip(server.received, server.headers, strict=True)
        if message["method"] == "tools/call"
    ]
    assert headers["mcp-name"] == "read"


@modern_client
async def test_a_modern_call_asks_in_rounds_and_counts_once() -> None:
    """MCP 2026-07-28: `InputRequiredResult`; steps before a round are not repeated."""
    server = FakeServer(era="modern")
    server.tool("book").reports(0.1).asks(Elicit("Sure?"), ListRoots()).asks(Sample("2 + 2?"))
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    callbacks = {"elicitation_callback": accept, "sampling_callback": complete, "list_roots_callback": roots}
    async with modern(server, **callbacks) as client:
        said = text(await client.call_tool("book", {"day": "monday"}, progress_callback=note))
    assert server.replies[0] == {"action": "accept", "content": {"said": "Sure?"}}
    assert server.replies[1] == {"roots": [{"uri": "file:///home"}]}
    assert server.replies[2]["content"] == {"type": "text", "text": "Four."}
    assert '"said": "Sure?"' in said
    assert server.calls("book") == [{"day": "monday"}]
    assert len(server.seen("tools/call")) == 3
    assert seen == [0.1]


@modern_client
async def test_rounds_do_not_use_up_turns() -> None:
    """A turn is a logical call."""
    server = FakeServer(era="modern")
    server.tool("book").asks(Elicit("Sure?")).returns("first").returns("second")
    async with modern(server, elicitation_callback=accept) as client:
        assert text(await client.call_tool("book", {})) == "first"
        assert text(await client.call_tool("book", {})) == "second"


@modern_client
async def test_a_modern_call_whose_question_is_refused_never_comes_back() -> None:
    """The client gives up by itself; the server hears nothing."""
    server = FakeServer(era="modern")
    server.tool("book").asks(Elicit("Sure?")).returns("booked")
    async with modern(server) as client:
        with pytest.raises(MCPError, match="not supported"):
            await client.call_tool("book", {})
    assert server.replies == []
    assert len(server.seen("tools/call")) == 1


@modern_client
async def test_prompts_and_resources_ask_in_rounds_too() -> None:
    """MCP 2026-07-28: the three methods that may."""
    server = FakeServer(era="modern")
    server.prompt("greet").asks(Elicit("Who?")).answers(lambda _: server.replies[-1]["action"])
    server.resource("file:///a").asks(Elicit("Why?")).returns("because")
    async with modern(server, elicitation_callback=accept) as client:
        assert (await client.get_prompt("greet")).messages[0].content.text == "accept"
        assert (await client.read_resource("file:///a")).contents[0].text == "because"


@modern_client
async def test_a_continuation_that_the_server_never_asked_for_is_refused() -> None:
    """It accepts its own state any number of times, as a stateless server does."""
    server = FakeServer(era="modern")
    server.tool("book").asks(Elicit("Sure?")).returns("booked")
    async with modern(server) as client:
        with pytest.raises(MCPError, match="Unknown requestState"):
            await client.session.call_tool("book", {}, request_state="forged")
        asked = await client.session.call_tool("book", {}, allow_input_required=True)
        with pytest.raises(MCPError, match="No input response"):
            await client.session.call_tool("book", {}, request_state=asked.request_state)
        given = {"ask-1": types.ElicitResult(action="accept", content={})}
        for _ in range(2):
            answered = await client.session.call_tool(
                "book", {}, request_state=asked.request_state, input_responses=given
            )
            assert text(answered) == "booked"


@modern_client
async def test_listeners_get_the_changes_they_asked_for() -> None:
    """MCP 2026-07-28: `subscriptions/listen`, and its graceful end."""
    server = FakeServer(era="modern")
    async with modern(server) as client:
        assert await server.notify("notifications/tools/list_changed") == 0
        async with client.listen(tools_list_changed=True, resource_subscriptions=["file:///a"]) as events:
            assert await server.notify("notifications/prompts/list_changed") == 0
            assert await server.notify("notifications/resources/updated", {"uri": "file:///b"}) == 0
            assert await server.notify("notifications/tools/list_changed") == 1
            assert type(await anext(events)).__name__ == "ToolsListChanged"
            assert await server.notify("notifications/resources/updated", {"uri": "file:///a"}) == 1
            assert (await anext(events)).uri == "file:///a"
            server.end_subscriptions()
            assert [event async for event in events] == []
        assert await server.notify("notifications/tools/list_changed") == 0


@modern_client
async def test_a_listener_that_leaves_is_forgotten() -> None:
    """A cancelled listen request ends its stream."""
    server = FakeServer(era="modern")
    async with modern(server) as client:
        async with client.listen(tools_list_changed=True):
            assert await server.notify("notifications/tools/list_changed") == 1
        await server.until_seen("notifications/cancelled")
        await client.list_tools()
        assert await server.notify("notifications/tools/list_changed") == 0


@modern_client
async def test_a_lost_connection_loses_the_subscription() -> None:
    """The abrupt end, as opposed to the graceful one."""
    subscriptions = import_module("mcp.client.subscriptions")
    server = FakeServer(era="modern")
    async with modern(server) as client, client.listen(tools_list_changed=True) as events:
        server.drop_connections()
        with pytest.raises(subscriptions.SubscriptionLost):
            await anext(events)


@modern_client
@pytest.mark.parametrize(("level", "expected"), [(None, []), ("warning", ["loud"])])
async def test_a_modern_client_gets_the_logs_it_opted_in_to(level: Any, expected: list[str]) -> None:
    """MCP 2026-07-28: a server sends none without the request's opt-in."""
    seen: list[Any] = []

    async def note(params: Any) -> None:
        seen.append(params.data)

    server = FakeServer(era="modern")
    server.tool("read").logs("quiet").logs("loud", level="error").returns("done")
    async with modern(server, logging_callback=note, log_level=level) as client:
        await client.call_tool("read", {})
        await client.list_tools()
    assert seen == expected


@modern_client
@pytest.mark.parametrize(("ttl_ms", "listings"), [(0, 2), (60_000, 1)])
async def test_a_modern_server_says_how_long_a_list_may_be_cached(ttl_ms: int, listings: int) -> None:
    """MCP 2026-07-28: `ttlMs`, which `mcp.Client` honours."""
    server = FakeServer(era="modern", ttl_ms=ttl_ms)
    async with modern(server) as client:
        await client.list_tools()
        await client.list_tools()
    assert len(server.seen("tools/list")) == listings


@modern_client
async def test_a_modern_server_can_break_its_era_and_send_a_request() -> None:
    """MCP 2026-07-28 has no requests to the client."""
    server = FakeServer(era="modern")
    async with modern(server):
        assert (await server.request("elicitation/create", {"message": "?"}))["error"]["code"] == -32601


# Mistakes in the script


@pytest.mark.parametrize(
    ("mistake", "error", "says"),
    [
        (lambda s: FakeServer(era="middle"), ValueError, "era is 'legacy' or 'modern'"),
        (lambda s: FakeServer(protocol_version="2026-07-28"), ValueError, "legacy servers speak"),
        (lambda s: FakeServer(page_size=0), ValueError, "at least 1"),
        (lambda s: setattr(s, "page_size", "2"), TypeError, "page_size"),
        (lambda s: s.tool("read"), ValueError, "already"),
        (lambda s: s.tool(""), ValueError, "not empty"),
        (lambda s: s.tool(7), TypeError, "a string"),
        (lambda s: s.tool("write", input_schema="x"), TypeError, "inputSchema is a mapping"),
        (lambda s: s.prompt("greet"), ValueError, "among the prompts already"),
        (lambda s: s.resource("file:///a"), ValueError, "among the resources already"),
        (lambda s: s.on_call("wirte"), ValueError, "no tool 'wirte'; declared are read"),
        (lambda s: s.on_prompt("other"), ValueError, "declared are greet"),
        (lambda s: s.on_read("other"), ValueError, "declared are file:///a"),
        (lambda s: s.change_tool("wirte"), ValueError, "no tool"),
        (lambda s: s.remove_tool("wirte"), ValueError, "no tool"),
        (lambda s: s.set_tools([{"name": "a"}, {"name": "a"}]), ValueError, "two of the tools"),
        (lambda s: s.set_tools([{}]), TypeError, "a tool's name is a string"),
        (lambda s: s.completion("other", {}), ValueError, "no prompt or template"),
        (lambda s: s.on("notifications/progress"), ValueError, "is a notification"),
        (lambda s: s.on("tools/list").returns("text"), TypeError, "a whole result"),
        (lambda s: s.on_call("read").returns(7), TypeError, "text or a whole result"),
        (lambda s: s.on_call("read").returns({"content": object()}), TypeError, "not JSON"),
        (lambda s: s.on_call("read").answers("text"), TypeError, "takes a function"),
        (lambda s: s.on_prompt("greet").is_error("no"), TypeError, "only tools"),
        (lambda s: s.on_call("read").times(2), ValueError, "follows an ending"),
        (lambda s: s.on_call("read").returns("a").times(0), ValueError, "at least 1"),
        (lambda s: s.on_call("read").asks(), ValueError, "at least one of"),
        (lambda s: s.on_call("read").logs("x", level="loud"), ValueError, "debug, info"),
        (lambda s: s.on_call("read").waits_for(1.5), TypeError, "a Gate or an anyio.Event"),
    ],
)
def test_a_mistake_in_the_script_is_told_where_it_is_made(
    anyio_backend: str, mistake: Callable[[FakeServer], Any], error: type[Exception], says: str
) -> None:
    """Not later, in the middle of a call."""
    server = FakeServer()
    server.tool("read")
    server.prompt("greet")
    server.resource("file:///a")
    with pytest.raises(error, match=says.replace("(", "\\(")):
        mistake(server)


# Processes


def test_importing_the_fakes_does_not_import_the_sdk() -> None:
    """`import mcp` costs 0.66 s."""
    code = "import sys, mcpguard.testing, mcpguard.testing.fake_server; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def script(tmp_path: Path) -> StdioServerParameters:
    """A server's script, as a user writes it."""
    path = tmp_path / "files.py"
    path.write_text(
        textwrap.dedent("""
            from mcpguard.testing.fake_server import FakeServer

            server = FakeServer("files")

            def chatty(arguments):
                print("this goes to stderr")
                return "done"

            server.tool("echo")
            server.tool("chatty").answers(chatty)
            server.tool("garbage").sends_garbage().returns("after all")
            server.tool("crash").drops_connection()

            if __name__ == "__main__":
                server.run_stdio()
        """)
    )
    root = str(Path(__file__).parents[2])
    return StdioServerParameters(
        command=sys.executable, args=["-W", "error", str(path)], env={"PYTHONPATH": root}
    )


async def test_a_script_runs_as_a_process(script: StdioServerParameters, tmp_path: Path) -> None:
    """What it prints goes to stderr; leaving ends it in good order."""
    with (tmp_path / "stderr").open("w+") as errors:
        async with (
            stdio_client(script, errlog=errors) as (read, write),
            ClientSession(read, write) as session,
        ):
            assert wire(await session.initialize())["serverInfo"]["name"] == "files"
            assert text(await session.call_tool("echo", {"é": "ü"})) == '{"\\u00e9": "\\u00fc"}'
            assert text(await session.call_tool("chatty", {})) == "done"
        errors.seek(0)
        assert errors.read() == "this goes to stderr\n"


async def test_a_process_can_send_garbage(script: StdioServerParameters) -> None:
    """The line goes out as it is."""
    seen, handle = collector()
    async with (
        stdio_client(script) as (read, write),
        ClientSession(read, write, message_handler=handle) as session,
    ):
        await session.initialize()
        assert text(await session.call_tool("garbage", {})) == "after all"
        await session.send_ping()
    assert [isinstance(one, ValueError) for one in seen] == [True]


async def test_a_process_that_drops_the_connection_is_gone(script: StdioServerParameters) -> None:
    """A crash in the middle of a call."""
    async with stdio_client(script) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        with pytest.raises(MCPError, match="Connection closed"):
            await session.call_tool("crash", {})


def test_a_process_answers_what_is_not_a_proper_request_with_an_error(script: StdioServerParameters) -> None:
    """JSON-RPC 2.0, and no SDK on either side; the process ends when its input does."""
    lines = [
        "{not json",
        '{"jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": {}}',
        '{"jsonrpc": "2.0", "id": 2, "method": "vendor/unknown"}',
    ]
    command = [script.command, *script.args]
    with subprocess.Popen(
        command, env=script.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        codes = {}
        for line in lines:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            codes[answer["id"]] = answer["error"]["code"]
        process.stdin.close()
        assert process.wait() == 0
    assert codes == {None: -32700, 1: -32602, 2: -32601}
