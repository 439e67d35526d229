"""Headers, and what else travels beside a message through a guarded transport."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from harness import Checking, code, watching
from line import CALLS, Line, Wire, message_of, modern_client, result, talking

from mcpguard import Call, Guard, Rewrite
from mcpguard.core.verdict import Verdict

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*is deprecated as of"),
    pytest.mark.filterwarnings("ignore:.*removed as of"),
]


_message = import_module("mcp.shared.message")

MARKED: Wire = {
    "name": "lookup",
    "inputSchema": {
        "type": "object",
        "properties": {"ssn": {"type": "string", "x-mcp-header": "Ssn"}, "city": {"type": "string"}},
    },
}


def rewriting(**changed: Any) -> Checking:
    """A check that puts other members into the parameters of every request it handles."""

    def check(call: Call) -> Verdict:
        kept = {name: value for name, value in call.params.items() if changed.get(name, "kept") is not None}
        return Rewrite({**kept, **{name: value for name, value in changed.items() if value is not None}})

    return Checking(check, {("*", "outbound")})


async def test_resumption_hints_stay_with_a_rewritten_request(way: Callable[..., Any]) -> None:
    """The transport calls them back; they are not the rewrite's business."""
    hints = _message.ClientMessageMetadata("resume here")
    async with talking(Guard([way(), rewriting(arguments={"path": "inside"})])) as (client, line):
        await client.calls("read", arguments={"path": "outside"}, metadata=hints)
        sent = await line.from_client.receive()
    assert message_of(sent)["params"] == {"name": "read", "arguments": {"path": "inside"}}
    assert sent.metadata is hints


def stamped(**headers: str) -> Any:
    """Metadata as a session of 2026-07-28 makes it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _message.ClientMessageMetadata(headers={"mcp-protocol-version": "2026-07-28", **named})


async def sent_headers(line: Line) -> dict[str, str]:
    """The headers of the next request, but for the protocol's version."""
    sent = await line.from_client.receive()
    headers: dict[str, str] = dict(sent.metadata.headers)
    assert headers.pop("mcp-protocol-version") == "2026-07-28"
    return headers


@modern_client
async def test_headers_of_arguments_are_derived_again(way: Callable[..., Any]) -> None:
    """Trap 1: what a rewrite removed must not stand in the headers; the definition says what does."""
    guard = Guard([way(), rewriting(arguments={"ssn": "***", "city": "Bonn"})])
    metadata = stamped(mcp_method="tools/call", mcp_name="lookup", Mcp_Param_Ssn="078-05-1120")
    async with talking(guard) as (client, line):
        for number in (1, 2):
            await client.calls("lookup", number, arguments={"ssn": "078-05-1120"}, metadata=metadata)
            if number == 1:
                assert (await line.answers(tools=[MARKED]))["method"] == "tools/list"
            assert await sent_headers(line) == {
                "mcp-method": "tools/call",
                "mcp-name": "lookup",
                "Mcp-Param-Ssn": "***",
            }
    assert metadata.headers["Mcp-Param-Ssn"] == "078-05-1120", "the client's own is left alone"


@modern_client
@pytest.mark.parametrize(
    ("method", "version", "schema", "headers"),
    [
        ("tools/call", "modern", MARKED["inputSchema"], {"Mcp-Param-Ssn": "***"}),
        ("tools/call", "legacy", MARKED["inputSchema"], {}),
        ("prompts/get", "modern", MARKED["inputSchema"], {}),
        ("tools/call", "modern", {"properties": {"ssn": {"type": "string", "x-mcp-header": "S S N"}}}, {}),
    ],
)
async def test_an_argument_that_a_rewrite_adds_is_a_header_where_it_is_one(
    method: str, version: str, schema: Wire, headers: Wire
) -> None:
    """The definition says so; only tools of 2026-07-28 have such arguments, and a bad mark is none."""
    stamp = {"mcp_method": method} if version == "modern" else {}
    async with talking(Guard([rewriting(arguments={"ssn": "***"})])) as (client, line):
        await client.says({"id": 1, "method": "tools/list", "params": {"arguments": {"ssn": "***"}}})
        await line.answers(tools=[{"name": "lookup", "inputSchema": schema}])
        await client.hears()
        await client.says(
            {"id": 1, "method": method, "params": {"name": "lookup"}}, metadata=stamped(**stamp)
        )
        sent = await sent_headers(line)
    assert {name: value for name, value in sent.items() if name.startswith("Mcp-Param")} == headers


@modern_client
@pytest.mark.parametrize("answer", ["error", "unknown tool", "no arguments"])
async def test_headers_of_arguments_go_where_it_cannot_be_told_what_belongs_there(
    way: Callable[..., Any], answer: str
) -> None:
    """The server then answers with a header mismatch: never a leak."""
    changed: Wire = {"arguments": None if answer == "no arguments" else {"ssn": "***"}}
    metadata = stamped(mcp_method="tools/call", Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(**changed)])) as (client, line):
        await client.calls("lookup", arguments={"ssn": "078-05-1120"}, metadata=metadata)
        if answer == "error":
            listing = await line.hears()
            await line.says({"id": listing["id"], "error": {"code": -1, "message": "no list"}})
        else:
            await line.answers(tools=[] if answer == "unknown tool" else [MARKED])
        assert await sent_headers(line) == {"mcp-method": "tools/call"}


@modern_client
@pytest.mark.parametrize(
    ("method", "params", "changed", "before", "after"),
    [
        ("tools/call", {"name": "fetch"}, {"name": "read"}, "fetch", "read"),
        ("tools/call", {"title": "read", "name": "read"}, {"name": "other"}, "read", "other"),
        ("prompts/get", {"name": "a"}, {"name": "bé"}, "a", "=?base64?YsOp?="),
        ("resources/read", {"uri": "file:///a"}, {"uri": "file:///b"}, "file:///a", "file:///b"),
        ("vendor/thing", {"x": 1, "thing": "a"}, {"thing": "b"}, "a", "b"),
        ("vendor/thing", {"thing": "a"}, {"thing": None}, "a", None),
        ("vendor/thing", {"thing": "a"}, {"thing": "b"}, "secret", None),
        ("tools/call", {"name": "fetch"}, {"name": "read"}, None, None),
    ],
)
async def test_the_name_in_the_headers_is_the_rewritten_one(
    method: str, params: Wire, changed: Wire, before: str | None, after: str | None
) -> None:
    """Trap 1: a renamed tool that left the header alone was a mismatch; what is in no parameter goes."""
    metadata = stamped(mcp_method=method, **({} if before is None else {"mcp_name": before}))
    async with talking(Guard([rewriting(**changed)])) as (client, line):
        await client.says({"id": 1, "method": method, "params": params}, metadata=metadata)
        if method == "tools/call":  # whether the other tool has arguments in headers, its definition says
            await line.answers(tools=[])
        assert await sent_headers(line) == {"mcp-method": method} | (
            {} if after is None else {"mcp-name": after}
        )


@modern_client
async def test_a_call_cancelled_while_its_definition_is_fetched_is_never_sent(
    way: Callable[..., Any],
) -> None:
    """The caller is gone; the listing that was for it is of no use either."""
    metadata = stamped(mcp_method="tools/call", Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(arguments={})])) as (client, line):
        await client.calls("lookup", metadata=metadata)
        listing = await line.hears()
        await client.cancels(1)
        await line.says({"id": listing["id"], "result": {"tools": [MARKED]}}, result(2))
        assert await client.hears() == result(2)
        await client.says({"method": "notifications/initialized"})
        heard = [await line.hears()]
        while heard[-1]["method"] != "notifications/initialized":
            heard.append(await line.hears())
    assert "tools/call" not in [one["method"] for one in heard]


@modern_client
async def test_a_call_whose_definition_comes_when_the_transport_is_closed_ends(
    way: Callable[..., Any],
) -> None:
    """There is nobody left in `send` to be told, so the answer is an error."""
    metadata = stamped(mcp_method="tools/call", Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([way(), rewriting(arguments={})])) as (client, line):
        await client.calls("lookup", metadata=metadata)
        listing = await line.hears()
        line.from_client.close()
        await line.says({"id": listing["id"], "result": {"tools": [MARKED]}})
        assert (await client.hears())["error"]["code"] == -32000


@modern_client
async def test_a_listing_of_the_guards_own_is_stamped_like_the_clients_requests() -> None:
    """A modern server refuses a request without the envelope; nothing else of the call goes with it."""
    needing = watching(CALLS)
    needing.needs_tool = True
    envelope = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    metadata = stamped(mcp_method="tools/call", mcp_name="lookup", Mcp_Param_Ssn="078-05-1120")
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup", _meta={**envelope, "progressToken": 1}, metadata=metadata)
        listing = await line.from_client.receive()
        assert message_of(listing)["params"] == {"_meta": envelope}
        assert listing.metadata.headers == {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/list",
        }
        await line.says({"id": message_of(listing)["id"], "result": {"tools": [], "nextCursor": "more"}})
        assert (await line.hears())["params"] == {"_meta": envelope, "cursor": "more"}


@modern_client
async def test_a_listing_of_the_guards_own_in_the_older_protocol_has_its_version_only() -> None:
    """Sessions of 2025-11-25 and before send one header and no envelope."""
    needing = watching(CALLS)
    needing.needs_tool = True
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup", metadata=stamped())
        listing = await line.from_client.receive()
    assert "params" not in message_of(listing)
    assert listing.metadata.headers == {"mcp-protocol-version": "2026-07-28"}


async def test_a_listing_of_the_guards_own_that_fails_denies_the_call_that_needs_it() -> None:
    """Fail closed; the next call lists again."""
    needing = watching(CALLS)
    needing.needs_tool = True
    async with talking(Guard([needing])) as (client, line):
        await client.calls("lookup")
        listing = await line.hears()
        assert set(listing) == {"id", "method"}
        await line.says({"id": listing["id"], "error": {"code": -1, "message": "no list"}})
        refused = (await client.hears())["result"]
        assert code(refused) == "tool_facts_unavailable"
        await client.calls("lookup", 2)
        await line.answers(tools=[MARKED])
        await line.answers(content=[])
        assert await client.hears() == result(2, content=[])
