"""ResultLimit: what is too long is cut or refused, and nothing else is touched."""

import base64
import json
from typing import Any

import pytest
from chains import ADA, LOST, Wire, linked, tool_call
from harness import LEGACY_SEAMS, MODERN_SEAMS, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import Call, Fate, Guard, Outcome, Result, ResultCap, ResultLimit, WireError
from mcpguard.detectors.shortening import shortened, shortened_text, shortened_units
from mcpguard.detectors.size import Size, size, text_size
from mcpguard.testing import FakeServer, RecordingSink, structured

pytestmark = pytest.mark.anyio

BYTES, TOKENS = 4096, 512
IMAGE = base64.b64encode(bytes(range(255, 127, -1)) * 18).decode()
LONG = "".join(f"line {number}\n" for number in range(5_000))


def block(text: str) -> dict[str, Any]:
    """A tool's answer with one block."""
    return {"content": [{"type": "text", "text": text}]}


async def answered(value: dict[str, Any] | Result, *, call: Call | None = None, **options: Any) -> Result:
    """What comes out of a chain with nothing but a ResultLimit."""
    call = call or tool_call()
    options = {"bytes": BYTES, "tokens": TOKENS, **options}
    result = value if isinstance(value, Result) else Result.of(value)
    return await linked(ResultLimit(**options)).chain(call.method, "outbound")(call, Wire(result))


def about(method: str, **params: Any) -> Call:
    """A call of another method."""
    return Call(id="1", method=method, server="files", params=params)


def content_of(result: Result) -> Any:
    """Its content blocks."""
    assert result.value is not None
    return result.value["content"]


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_long_answer_arrives_whole_bare_and_cut_through_the_guard(seam: str) -> None:
    """Through every seam; beginning, end and what is missing are there."""
    server = FakeServer()
    server.tool("read").returns(LONG)
    async with opened(Guard(), server, seam) as peer:
        assert (await peer.call("read", {}))["content"][0]["text"] == LONG
    async with opened(Guard([ResultLimit(tokens=TOKENS)]), server, seam) as peer:
        text = (await peer.call("read", {}))["content"][0]["text"]
    assert text.startswith("line 0\n")
    assert text.endswith("line 4999\n")
    assert "[Cut here: " in text
    assert "Ask for less" in text
    assert text_size(text).tokens <= TOKENS


@pytest.mark.parametrize("seam", MODERN_SEAMS)
async def test_a_long_answer_is_cut_in_the_newest_protocol(seam: str) -> None:
    """The revision without a handshake has other results, with the same content."""
    server = FakeServer(era="modern")
    server.tool("read").returns(LONG)
    async with opened(Guard([ResultLimit(tokens=TOKENS)]), server, seam, modern=True) as peer:
        assert "[Cut here: " in (await peer.call("read", {}))["content"][0]["text"]


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_prompts_and_resources_are_cut_too(seam: str) -> None:
    """A server chooses by which method its text comes."""
    server = FakeServer()
    server.prompt("brief").returns(LONG)
    server.resource("file:///notes").returns(LONG)
    async with opened(Guard([ResultLimit(tokens=TOKENS)]), server, seam) as peer:
        for got in (await peer.prompt("brief"), await peer.read("file:///notes")):
            assert "[Cut here: " in json.dumps(got)
            assert size({name: part for name, part in got.items() if name != "_meta"}).tokens <= TOKENS + 20


async def test_what_fits_is_the_same_object() -> None:
    """Up to the last token, images included."""
    image = {"type": "image", "mimeType": "image/png", "data": IMAGE}
    for value in (block("x" * 1_700), {"content": [image]}, {"content": []}, {"content": None}):
        result = Result.of(value)
        assert await answered(result) is result


async def test_bytes_and_tokens_each_count() -> None:
    """Chinese has more tokens for its characters, an image has none."""
    assert "[Cut" in content_of(await answered(block("字" * 600)))[0]["text"]
    assert "[Cut" not in content_of(await answered(block("x" * 600)))[0]["text"]
    image = {"type": "image", "mimeType": "image/png", "data": "A" * 5_000}
    kept = content_of(await answered({"content": [{"type": "text", "text": "a chart"}, image]}))
    assert [one["type"] for one in kept] == ["text", "text"]
    assert kept[0]["text"] == "a chart"
    assert "bytes of this answer are left out" in kept[1]["text"]


async def test_an_image_cannot_carry_text_past_the_cap_under_another_type() -> None:
    """Only what is declared an image or audio counts in bytes alone."""
    hidden = {"type": "resource", "resource": {"uri": "x:y", "mimeType": "text/plain", "blob": "A" * 3_000}}
    other = {"type": "text", "text": "", "data": "word " * 700}
    for one in (hidden, other):
        kept = content_of(await answered({"content": [one]}))
        assert "left out" in kept[0]["text"]


PROSE = "word " * 700
SVG = base64.b64encode(PROSE.encode()).decode()


@pytest.mark.parametrize(
    "value",
    [
        {"content": [], "structuredContent": {"type": "image", "data": PROSE}},
        {"content": [], "structuredContent": {"rows": [{"type": "audio", "data": IMAGE}]}},
        {"content": [], "structuredContent": {"blob": PROSE, "mimeType": "x/y"}},
        {"content": [{"type": "image", "mimeType": "image/png", "data": PROSE}]},
        {"content": [{"type": "text", "text": "", "x": {"type": "image", "data": IMAGE}}]},
        {"content": [{"type": "resource", "resource": {"uri": "a:b", "mimeType": "x/y", "blob": PROSE}}]},
        {
            "content": [
                {"type": "resource", "resource": {"uri": "a:b", "mimeType": "image/svg+xml", "blob": SVG}}
            ]
        },
        {
            "content": [
                {
                    "type": "resource",
                    "resource": {"uri": "a:b", "mimeType": "application/x-yaml", "blob": SVG},
                }
            ]
        },
        {"content": [], **{f"member{number}": "x" * 190 for number in range(40)}},
        {"contents": [{"text": "x" * 900}], "messages": [{"text": "x" * 1_500}], "other": "x" * 1_500},
        {"inputRequests": {"a": {"method": "elicitation/create", "params": {"message": PROSE}}}},
        {"resultType": "input_required", "inputRequests": {"a": {"data": IMAGE, "type": "image"}}},
    ],
)
async def test_nothing_counts_less_by_what_it_is_called(value: dict[str, Any]) -> None:
    """Only base64 of bytes, where the protocol has it, is not read as text; and what is spread is one answer."""
    result = await answered(value)
    shown = json.dumps(result.value)
    assert result.denial is not None or "cut" in shown.lower()
    assert len(shown) < 4 * TOKENS + 600


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
@pytest.mark.parametrize("action", ["cut", "refuse"])
async def test_instructions_are_cut(method: str, action: str) -> None:
    """Hosts put them into the system prompt; without them the server is still of use."""
    result = await answered(
        {"instructions": LONG, "serverInfo": {"name": "x"}}, call=about(method), action=action
    )
    assert result.value is not None
    text = str(result.value["instructions"])
    assert text.startswith("line 0\n")
    assert "[Cut here: " in text
    assert text_size(text).tokens <= TOKENS
    assert result.value["serverInfo"] == {"name": "x"}


async def test_an_image_in_what_a_server_asks_for_counts_in_bytes_only() -> None:
    """Sampling has content blocks like a tool's answer."""
    image = {"type": "image", "mimeType": "image/png", "data": IMAGE}
    asked = {"method": "sampling/createMessage", "params": {"messages": [{"role": "user", "content": image}]}}
    result = Result.of({"resultType": "input_required", "inputRequests": {"a": asked}})
    assert await answered(result) is result


async def test_the_first_and_the_last_blocks_stay() -> None:
    """What stands first is asked for, what stands last is the sum or the error."""
    blocks = [{"type": "text", "text": f"row {number}"} for number in range(2_000)]
    kept = content_of(await answered({"content": blocks}))
    assert kept[0]["text"] == "row 0"
    assert kept[-1] == blocks[-1]
    assert sum("[Cut here: " in one["text"] for one in kept) == 1
    assert size(kept) <= Size.of(BYTES, TOKENS)


async def test_a_hundred_thousand_empty_blocks_are_cut() -> None:
    """Blocks cost tokens by being there."""
    kept = content_of(await answered({"content": [{"type": "text", "text": ""}] * 100_000}))
    assert len(kept) < 100


async def test_fifty_megabytes_in_one_string_in_many_and_in_a_structure_are_cut() -> None:
    """Each string is measured once and only what is kept is looked at again."""
    half = "ü" * (25 * 2**20)
    rows = [{"id": number, "text": "x" * 480} for number in range(100_000)]
    for value in (block(half), {"content": [], "structuredContent": {"rows": rows}}):
        result = await answered(value)
        assert result.value is not None
        assert size(result.value).bytes <= 2 * BYTES


async def test_structured_content_keeps_its_shape() -> None:
    """Keys stay, what is small stays whole, lists lose their middle and strings too."""
    rows = [{"id": number, "name": f"item {number}"} for number in range(1_000)]
    value = {
        **block("see there"),
        "structuredContent": {"total": 1000, "rows": rows, "log": LONG, "ok": True},
    }
    cut = (await answered(value)).value
    assert cut is not None
    got: Any = cut["structuredContent"]
    assert list(got) == ["total", "rows", "log", "ok"]
    assert (got["total"], got["ok"]) == (1000, True)
    assert got["rows"][0] == rows[0]
    assert got["rows"][-1] == rows[-1]
    assert got["log"].startswith("line 0\n")
    assert " [cut: " in got["log"]
    assert size(got) <= Size.of(BYTES, TOKENS)
    content: Any = cut["content"]
    assert content[0]["text"] == "see there"
    assert "structured content of this answer was cut" in content[1]["text"]
    meta: Any = cut["_meta"]
    assert meta["mcpguard/cut"]["kept"] < meta["mcpguard/cut"]["bytes"]


SCHEMAS: list[tuple[dict[str, Any], bool]] = [
    ({"type": "object", "properties": {"log": {"type": "string"}}, "required": ["log"]}, True),
    ({"type": "object", "properties": {"log": {"maxLength": 100_000}}}, True),
    ({"type": "object", "properties": {"log": {"minLength": 40_000}}}, False),
    ({"type": "object", "properties": {"log": {"enum": [LONG]}}}, False),
]


@pytest.mark.parametrize(("schema", "fits"), SCHEMAS)
@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_cut_answer_fits_the_tools_output_schema_or_is_refused(
    seam: str, schema: dict[str, Any], fits: bool
) -> None:
    """The SDK would raise otherwise; the refusal says why."""
    sink = RecordingSink()
    server = FakeServer()
    server.tool("read", output_schema=schema).returns(structured({"log": LONG}))
    async with opened(Guard([ResultLimit(tokens=TOKENS)], sinks=[sink]), server, seam) as peer:
        await peer.tools()
        result = await peer.call("read", {})
    if fits:
        assert result["structuredContent"]["log"].startswith("line 0\n")
        assert not result.get("isError")
    else:
        assert result["isError"] is True
        assert "[result_too_large]" in result["content"][0]["text"]
        assert "output schema" in str([event.reason for event in sink.events if event.verdict == "deny"])


async def test_a_schema_that_is_elsewhere_is_not_fetched_and_refuses_what_was_cut() -> None:
    """A server that names one chooses where the agent's process connects to."""
    chains = linked(ResultLimit(tokens=TOKENS))
    schema = {"$ref": "https://schemas.example/elsewhere"}
    listed = Result.of({"tools": [{"name": "look", "inputSchema": {}, "outputSchema": schema}]})
    await chains.chain("tools/list", "outbound")(about("tools/list"), Wire(listed))
    call = about("tools/call", name="look", arguments={})
    result = await chains.chain("tools/call", "outbound")(
        call, Wire(Result.of({"content": [], "structuredContent": {"log": LONG}}))
    )
    assert result.denial is not None
    assert "output schema" in result.denial.reason


async def test_what_cannot_be_cut_is_refused() -> None:
    """Members that are nobody's content, keys without end, and depth."""
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"a": deep}
    for value in (
        {"content": [], "extra": LONG},
        {"content": [], "structuredContent": {f"key {number}": number for number in range(5_000)}},
        {"content": [], "structuredContent": deep},
        {"content": [], "_meta": {"x": "y" * (BYTES + 1)}},
    ):
        result = await answered(value)
        assert result.denial is not None
        assert result.denial.code == "result_too_large"
        assert "Ask for less" in result.denial.message
        assert result.fate is Fate.ANSWERED


async def test_what_only_the_program_reads_counts_in_bytes() -> None:
    """Hosts draw widgets from `_meta`, and pass states on."""
    result = Result.of({"content": [], "_meta": {"widget": "y" * (BYTES - 100)}})
    assert await answered(result) is result


async def test_refuse_denies_what_is_too_long_and_tells_its_length() -> None:
    """For programs that must not work with half an answer."""
    result = await answered(block(LONG), action="refuse")
    assert result.denial is not None
    assert result.denial.code == "result_too_large"
    assert "bytes" in result.denial.message
    assert "line 7" not in result.denial.message + result.denial.reason
    assert (await answered(block("short"), action="refuse")).outcome is Outcome.OK


async def test_tools_may_have_other_caps() -> None:
    """The first that matches."""
    caps = {"read_*": ResultCap(tokens=100_000), "*": ResultCap(tokens=256)}
    for tool, is_cut in (("read_log", False), ("search", True)):
        result = await answered(block(LONG), call=tool_call(tool), caps=caps, bytes=2**20)
        assert ("[Cut here" in content_of(result)[0]["text"]) is is_cut


async def test_another_method_that_brings_a_tools_answer_is_cut() -> None:
    """A task's result is that of the tool (MCP 2025-11-25, tasks)."""
    result = await answered(block(LONG), call=about("tasks/result", taskId="1"))
    assert "[Cut here" in content_of(result)[0]["text"]


async def test_lists_are_not_cut() -> None:
    """A tool that is missing is worse than a long list; the connection's limits bound those."""
    result = Result.of({"tools": [{"name": "a", "description": LONG, "inputSchema": {}}]})
    assert await answered(result, call=about("tools/list")) is result


async def test_a_servers_error_is_cut_and_stays_an_error() -> None:
    """Hosts show the message to the model."""
    error = Result(
        outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32603, LONG, {"trace": LONG})
    )
    cut = await answered(error)
    assert cut.outcome is Outcome.PROTOCOL_ERROR
    assert cut.error is not None
    assert cut.error.code == -32603
    assert text_size(cut.error.message).tokens <= TOKENS
    assert cut.error.data is None
    assert await answered(LOST) is LOST


async def test_a_tools_error_stays_one() -> None:
    """The end of a trace is where the error stands."""
    cut = await answered({**block(LONG + "ValueError: no"), "isError": True})
    assert cut.outcome is Outcome.TOOL_ERROR
    assert content_of(cut)[0]["text"].endswith("ValueError: no")


async def test_a_narrowed_limit_leaves_others_alone_and_holds_where_nobody_is_known() -> None:
    """Who says nothing of themselves gets the cap."""
    mine = tool_call(principal=ADA)
    assert "[Cut" in str((await answered(block(LONG), call=mine, roles=["auditor"])).value)
    assert "[Cut" not in str((await answered(block(LONG), call=mine, roles=["other"])).value)
    assert "[Cut" in str((await answered(block(LONG), roles=["auditor"])).value)
    assert "[Cut" not in str((await answered(block(LONG), servers=["elsewhere"])).value)


async def test_an_auditing_limit_reports_and_cuts_nothing() -> None:
    """`mode="audit"` is enforced by the chain."""
    sink = RecordingSink()
    limit = ResultLimit(tokens=TOKENS, mode="audit")
    result = Result.of(block(LONG))
    assert (
        await linked(limit, sinks=[sink]).chain("tools/call", "outbound")(tool_call(), Wire(result)) is result
    )
    assert ("change", "audit") in [(event.verdict, event.mode) for event in sink.events]


async def test_the_record_says_how_much_was_cut_and_not_what() -> None:
    """Bytes before and after."""
    sink = RecordingSink()
    chain = linked(ResultLimit(tokens=TOKENS), sinks=[sink]).chain("tools/call", "outbound")
    await chain(tool_call(), Wire(Result.of(block(LONG))))
    [warning] = [event for event in sink.events if event.kind == "warning"]
    assert warning.code == "result_cut"
    assert warning.reason is not None
    assert warning.reason.startswith("cut ")
    assert "line" not in warning.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [({"bytes": 1023}, "1024"), ({"tokens": 255}, "256"), ({"action": "drop"}, "refuse")],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    """When it is built."""
    with pytest.raises(ValueError, match=said):
        ResultLimit(**options)


def mark(missing: int) -> str:
    """A short mark."""
    return f"[{missing}]"


@given(
    st.text(alphabet=st.characters() | st.sampled_from("\ud800\udfff😀"), max_size=400), st.integers(40, 300)
)
def test_cut_text_fits_is_made_of_its_ends_and_counts_what_is_missing(text: str, room: int) -> None:
    """No character is split, whatever its width, lone surrogates included."""
    cut = shortened_text(text, Size(room, room * 12), mark)
    assert text_size(cut).bytes <= room
    if cut != text:
        lengths = [
            (head, tail)
            for head in range(len(cut) + 1)
            for tail in [len(cut) - head - len(mark(0)) + 1 - extra for extra in range(1, 6)]
            if tail >= 0 and text.startswith(cut[:head]) and text.endswith(cut[len(cut) - tail :])
        ]
        missing = {
            text_size(text).bytes - text_size(cut[:head] + cut[len(cut) - tail :]).bytes
            for head, tail in lengths
        }
        assert any(mark(one) in cut for one in missing)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=6), inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=50)
@given(JSON_VALUES, st.integers(30, 400))
def test_a_cut_value_keeps_every_key_and_type(value: Any, room: int) -> None:
    """Lists may be shorter, strings may be cut; nothing is made up."""

    def agrees(cut: Any, whole: Any) -> bool:
        if isinstance(whole, dict):
            return list(cut) == list(whole) and all(agrees(cut[name], whole[name]) for name in whole)
        if isinstance(whole, list):
            return len(cut) <= len(whole) and (
                all(one in whole for one in cut) or (len(cut) == 1 and agrees(cut[0], whole[0]))
            )
        return isinstance(cut, str) if isinstance(whole, str) else cut == whole

    cut = shortened(value, Size(room, room * 12), mark)
    assert agrees(cut, value)
    if size(value) <= Size(room, room * 12):
        assert cut is value


@given(st.lists(st.text(max_size=60), max_size=30), st.integers(120, 900))
def test_cut_blocks_fit_and_keep_their_order(texts: list[str], room: int) -> None:
    """However the cut falls: inside a block, between two, over many."""
    units: list[Any] = [{"type": "text", "text": text} for text in texts]
    whole = Size(room, room * 12)
    if size(units) <= whole:
        return
    kept: Any = shortened_units(units, whole, mark, lambda said: {"type": "text", "text": said})
    assert size(kept) <= whole
    assert sum("[" in one["text"] for one in kept) >= 1
