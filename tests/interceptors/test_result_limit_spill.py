"""ResultLimit with `spill`: what is cut can be read page by page, by its own run and nobody else."""

import gc
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chains import ADA, OK, Wire, linked, tool_call
from harness import LEGACY_SEAMS, Peer, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import (
    Access,
    AccessRule,
    Call,
    Guard,
    Principal,
    Redaction,
    Result,
    ResultCache,
    ResultLimit,
    Run,
)
from mcpguard.detectors.pages import paged
from mcpguard.detectors.size import Size, size, text_size
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

TOKENS = 512
LONG = "".join(f"line {number}\n" for number in range(2_000))
LAST_LINE = re.compile(r"\n\[Page (\d+) of (\d+)\. (?:The next is (\S+)|It is the last)\.\]\Z")


def spilling(**options: Any) -> ResultLimit:
    """A small cap."""
    return ResultLimit(tokens=TOKENS, action="spill", **options)


class Tried:
    """A chain with nothing but one interceptor, and a server that answers with what it is given."""

    def __init__(self, *interceptors: Any, **more: Any) -> None:
        self.chains = linked(*(interceptors or [spilling()]), **more)
        self.server = Wire(OK)

    async def call(self, value: dict[str, Any], run: Run | None) -> Any:
        """A tool's answer, as it comes out."""
        return await self.chains.chain("tools/call", "outbound")(tool_call(run=run), Wire(Result.of(value)))

    async def page(self, uri: str, run: Run | None, who: Principal | None = ADA, server: str = "x") -> Any:
        """What reading a resource comes to."""
        params = {"uri": uri}
        call = Call(id="2", method="resources/read", params=params, server=server, principal=who, run=run)
        return await self.chains.chain("resources/read", "outbound")(call, self.server)

    async def whole(self, uri: str | None, run: Run) -> str:
        """All pages from one on, put together."""
        read = ""
        while uri is not None:
            page = (await self.page(uri, run)).value["contents"][0]
            last = LAST_LINE.search(page["text"])
            assert last is not None
            assert size([page]).tokens <= TOKENS
            read += page["text"][: last.start()]
            uri = last[3]
        return read


def block(*texts: str) -> dict[str, Any]:
    """A tool's answer, a block for each text."""
    return {"content": [{"type": "text", "text": text} for text in texts]}


def kept(result: Result) -> str:
    """Where the whole of an answer is said to be; the model is told the same."""
    assert result.value is not None
    told: Any = result.value["_meta"]
    uri = str(told["mcpguard/cut"]["uri"])
    assert f"{told['mcpguard/cut']['pages']} pages; the first is the resource {uri}." in json.dumps(
        result.value["content"]
    )
    return uri


@asynccontextmanager
async def reading(seam: str, guard: Guard) -> AsyncIterator[Peer]:
    """A server with one long answer and no resources at all."""
    server = FakeServer()
    server.tool("read").returns(LONG)
    async with opened(guard, server, seam) as peer:
        yield peer


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_cut_answer_is_read_page_by_page_through_every_seam(seam: str) -> None:
    """The whole of it, in pages within the cap; the server is not asked for any."""
    guard, read = Guard([spilling()]), ""
    async with guard.run(), reading(seam, guard) as peer:
        said = (await peer.call("read", {}))["content"][0]["text"]
        assert text_size(said).tokens <= TOKENS
        found = re.search(r"the first is the resource (\S+)\.", said)
        uri: str | None = found and found[1]
        while uri is not None:
            text = (await peer.read(uri))["contents"][0]["text"]
            assert text_size(text).tokens <= TOKENS
            last = LAST_LINE.search(text)
            assert last is not None
            read, uri = read + text[: last.start()], last[3]
    assert read == LONG


async def test_a_policy_says_whether_pages_may_be_read() -> None:
    """They are resources like others for whoever allows resources."""
    for resources, may in ((["mcpguard://result/*"], True), (["file:///*"], False)):
        rules = [AccessRule(tools=["read"]), AccessRule(resources=resources)]
        one, run = Tried(Access(default="deny", allow=rules), spilling()), Run()
        page = await one.page(kept(await one.call(block(LONG), run)), run, server="files")
        assert (page.denial is None) is may


async def test_structured_content_and_several_blocks_are_kept_whole() -> None:
    """Blocks one after another, and structured content as JSON; images are not text."""
    one, run = Tried(), Run()
    rows = [{"row": number, "name": "é" * 40} for number in range(200)]
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    result = await one.call({**block("a" * 3000, "b" * 3000), "structuredContent": {"rows": rows}}, run)
    head, _, tail = (await one.whole(kept(result), run)).partition("\n{")
    assert head == "a" * 3000 + "\n" + "b" * 3000
    assert json.loads("{" + tail) == {"rows": rows}
    both = block("x" * 5000)
    both["content"].append(image)
    assert await one.whole(kept(await one.call(both, run)), run) == "x" * 5000


async def test_prompts_and_resources_are_kept_too() -> None:
    """Whatever is cut."""
    one, run = Tried(), Run()
    answers: dict[str, Any] = {
        "resources/read": {"contents": [{"uri": "a:b", "text": LONG}]},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": LONG}}]},
    }
    for method, value in answers.items():
        call = Call(id="1", method=method, params={"uri": "a:b"}, server="x", principal=ADA, run=run)
        result = await one.chains.chain(method, "outbound")(call, Wire(Result.of(value)))
        assert result.value is not None
        told: Any = result.value["_meta"]
        assert await one.whole(told["mcpguard/cut"]["uri"], run) == LONG


async def test_what_cannot_be_cut_is_refused_and_can_be_read_nevertheless() -> None:
    """A schema that no cut fits; the refusal says where all of it is."""
    one, run = Tried(), Run()
    schema = {"type": "object", "properties": {"log": {"type": "string", "minLength": 9000}}}
    listed = Result.of({"tools": [{"name": "read", "inputSchema": {}, "outputSchema": schema}]})
    call = Call(id="1", method="tools/list", params={}, server="files", principal=ADA, run=run)
    await one.chains.chain("tools/list", "outbound")(call, Wire(listed))
    result = await one.call({"content": [], "structuredContent": {"log": "z" * 9000}}, run)
    assert result.denial.code == "result_too_large"
    uri = re.search(r"the first is the resource (\S+)\.", result.denial.message)
    assert uri is not None
    assert "z" * 9000 in await one.whole(uri[1], run)


async def test_nobody_else_reads_a_page() -> None:
    """Another run, another tenant, no run, a name that was guessed: all the same refusal, and no server asked."""
    one, run = Tried(), Run()
    uri = kept(await one.call(block(LONG), run))
    tries = [
        (uri, Run(), ADA),
        (uri, None, ADA),
        (uri, run, Principal(tenant="other", user="ada")),
        (uri, run, None),
        (uri[:-8] + "00000000", run, ADA),
        (uri[:-1] + "0", run, ADA),
        (uri[:-1] + "9999", run, ADA),
        (uri[:-1] + "9" * 5000, run, ADA),
        (uri[:-1] + "-1", run, ADA),
        (uri[:-2], run, ADA),
    ]
    for where, whose, who in tries:
        denial = (await one.page(where, whose, who)).denial
        assert denial is not None
        assert (denial.code, denial.source) == ("page_gone", "result_limit")
    assert one.server.calls == []
    assert (await one.page(uri, Run(parent=run))).value is not None
    assert (await one.page("file:///x", run)).value == OK.value
    assert len(one.server.calls) == 1


async def test_pages_go_with_their_run() -> None:
    """Nothing is left that would grow with every task, and a closed run reads nothing."""
    limit = spilling()
    guard = Guard([limit])
    async with reading("session", guard) as peer:
        async with guard.run():
            await peer.call("read", {})
            assert limit.status() == {"kept": 1}
        gc.collect()
        assert limit.status() == {"kept": 0}


async def test_the_oldest_answers_of_a_run_go_when_there_are_too_many() -> None:
    """Of that run alone; one that is too large for all of it is cut as ever."""
    limit = spilling(keep_bytes=4 * 7000)
    one, run, other = Tried(limit), Run(), Run()
    uris = [kept(await one.call(block(letter * 3000), run)) for letter in "abc"]
    another = kept(await one.call(block("d" * 3000), other))
    assert (await one.page(uris[0], run)).denial.code == "page_gone"
    assert [await one.whole(uri, run) for uri in uris[1:]] == ["b" * 3000, "c" * 3000]
    assert await one.whole(another, other) == "d" * 3000
    result = await one.call(block("e" * 8000), run)
    assert "uri" not in result.value["_meta"]["mcpguard/cut"]
    assert "Ask for less" in result.value["content"][0]["text"]
    assert limit.status() == {"kept": 3}


async def test_without_a_run_or_in_mode_audit_nothing_is_kept() -> None:
    """There is nobody it could belong to, or nothing that was cut."""
    limit = spilling()
    result = await Tried(limit).call(block(LONG), None)
    assert "Ask for less" in result.value["content"][0]["text"]
    audited = spilling(mode="audit")
    result = await Tried(audited).call(block(LONG), Run())
    assert result.value == block(LONG)
    assert (limit.status(), audited.status()) == ({"kept": 0}, {"kept": 0})
    assert ResultLimit().status() == {}


async def test_an_answer_with_pages_is_cached_for_no_other_run() -> None:
    """It would name pages that are not there."""
    cached, run = Tried(ResultCache(tools=["read"]), spilling()), Run()
    for whose in (run, run, Run()):
        assert await cached.whole(kept(await cached.call(block(LONG), whose)), whose) == LONG
    short = Tried(ResultCache(tools=["read"]), spilling())
    assert [(await short.call(block(text), run)).value for text in ("a", "b")] == [block("a"), block("a")]


async def test_pages_hold_what_was_redacted_and_no_record_holds_a_page() -> None:
    """A page is made of what the model may see; a record says that something was kept, not what."""
    sink, run = RecordingSink(), Run()
    one = Tried(Redaction(), spilling(), sinks=[sink])
    secret = "r33-house" + "-9xQ"
    result = await one.call(block(LONG + f"password: {secret}\n" + LONG), run)
    read = await one.whole(kept(result), run)
    assert "password: [REDACTED:credential]" in read
    assert secret not in read
    assert not any("line 1" in repr(event) for event in sink.events)


async def test_two_limits_each_answer_for_their_own_pages() -> None:
    """As where tools have limits of their own."""
    one, run = Tried(spilling(id="a", tools=["read"]), spilling(id="b", tools=["other"])), Run()
    assert await one.whole(kept(await one.call(block(LONG), run)), run) == LONG


@given(st.text(max_size=400), st.integers(4, 60))
@settings(max_examples=60, deadline=None)
def test_pages_are_the_text_and_each_fits(text: str, room: int) -> None:
    """Nothing is lost between two pages, and nothing is on both."""
    pages = list(paged(text, Size.of(room, room)))
    assert "".join(pages) == text
    assert all(text_size(page) <= Size.of(room, room) for page in pages)


def test_fifty_megabytes_without_a_line_are_paged() -> None:
    """Each page is looked at once, whatever comes behind it."""
    text = "é" * 25_000_000
    assert sum(map(len, paged(text, Size.of(4 * 2**20, 50_000)))) == len(text)
