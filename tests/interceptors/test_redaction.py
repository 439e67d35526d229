"""Redaction: no secret that was seeded anywhere in a message comes out, and what comes out is of use."""

import base64
import json
from typing import Any

import pytest
from chains import OK, Wire, linked, tool_call
from harness import LEGACY_SEAMS, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import FORMATS, password, token

from mcpguard import (
    Call,
    Fate,
    Guard,
    InjectionScan,
    Interceptor,
    Outcome,
    Principal,
    Redaction,
    Redactor,
    Result,
    ResultCache,
    Rewrite,
    Run,
    TextHygiene,
    WireError,
)
from mcpguard.core.interceptor import CallNext
from mcpguard.core.linked import Linked
from mcpguard.core.strings import strings_of
from mcpguard.core.wire import canonical
from mcpguard.detectors.vault import PLACEHOLDER
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

BY_KIND = {one.kind: one for one in FORMATS}
TOKEN = token(BY_KIND["github_token"])
PASSWORD = password()


def block(*texts: str) -> dict[str, Any]:
    """A tool's answer, a block for each text."""
    return {"content": [{"type": "text", "text": text} for text in texts]}


def leaks(result: Result, secret: str) -> bool:
    """Whether any string of an answer holds a secret."""
    return any(secret in text for text in strings_of(result).every)


async def answered(result: Result, *, run: Run | None = None, **options: Any) -> Result:
    """What comes out of a chain with nothing but a Redaction."""
    return await linked(Redaction(**options)).chain("tools/call", "outbound")(
        tool_call(run=run), Wire(result)
    )


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_token_in_a_result_reaches_the_agent_bare_and_not_through_the_guard(seam: str) -> None:
    """Through every seam; the rest of the text arrives."""
    server = FakeServer()
    server.tool("read").returns(f"Use {TOKEN} for it.")
    for guard, text in (
        (Guard(), f"Use {TOKEN} for it."),
        (Guard([Redaction()]), "Use [REDACTED:github_token] for it."),
    ):
        async with opened(guard, server, seam) as peer:
            assert (await peer.call("read", {}))["content"][0]["text"] == text


PLACES: dict[str, Any] = {
    "text": block(f"see {TOKEN}"),
    "over two blocks": block(f"see {TOKEN[:20]}", f"{TOKEN[20:]} there"),
    "structured": {"content": [], "structuredContent": {"a": [{"b": TOKEN}]}},
    "key": {"content": [], "structuredContent": {TOKEN: 1}},
    "meta": {"content": [], "_meta": {"x": TOKEN}},
    "resource": {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": TOKEN}}]},
    "blob": {
        "content": [{"type": "resource", "resource": {"blob": base64.b64encode(TOKEN.encode()).decode()}}]
    },
    "escapes": block(json.dumps({"x": TOKEN}).replace("g", "\\u0067")),
    "uri": {"content": [{"type": "resource_link", "name": "x", "uri": f"https://u:{TOKEN}@h/"}]},
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_token_is_redacted_wherever_it_is(place: str) -> None:
    """In what the walker reads, encodings included."""
    result = await answered(Result.of(PLACES[place]))
    assert result.value is not None
    assert not leaks(result, TOKEN)
    assert not leaks(result, TOKEN[20:])
    assert not any(
        TOKEN in str(json.loads(text)) for text in strings_of(result).every if text.startswith("{")
    )


async def test_a_value_that_is_a_secret_in_one_place_is_redacted_in_every_place() -> None:
    """A duplicate in prose has no name that says what it is."""
    value = {"user": "ada", "password": PASSWORD}
    given = {**block(json.dumps(value), f"The word is {PASSWORD}."), "structuredContent": value}
    result = await answered(Result.of(given))
    assert not leaks(result, PASSWORD)
    assert result.value is not None
    content: Any = result.value["content"]
    assert json.loads(content[0]["text"]) == result.value["structuredContent"]
    assert content[1]["text"] == "The word is [REDACTED:credential]."


class AddsInPlace(Interceptor):
    """Breaks what filters and layers promise."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.filters = {("tools/call", "outbound")} if hook == "filter" else ()
        self.layers = {("tools/call", "outbound")} if hook == "layer" else ()

    def filter(self, call: Call, result: Result) -> Result:
        structured: Any = result.value["structuredContent"]  # type: ignore[index]
        structured["added"] = TOKEN
        return result

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        return self.filter(call, await call_next(call))


@pytest.mark.parametrize("hook", ["filter", "layer"])
async def test_what_a_plugin_adds_to_an_answer_in_place_is_redacted_too(hook: str) -> None:
    """Whatever looked at the answer before it."""
    server = FakeServer()
    server.tool("read").returns({"content": [], "structuredContent": {"n": 1}})
    guard = Guard([Redaction(), InjectionScan(), AddsInPlace(hook), TextHygiene()])
    async with opened(guard, server, "session") as peer:
        answer = await peer.call("read", {})
    assert "added" in answer["structuredContent"]
    assert TOKEN not in json.dumps(answer)


async def test_an_errors_message_and_data_are_redacted_and_its_exception_is_gone() -> None:
    """The SDK's own error would be raised again as it was."""
    error = WireError(-32000, f"bad {TOKEN}", {"token": PASSWORD})
    given = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error, cause=ValueError(TOKEN))
    result = await answered(given)
    assert not leaks(result, TOKEN)
    assert not leaks(result, PASSWORD)
    assert result.cause is None


async def test_refusing_withholds_the_answer_and_says_what_kind_it_was() -> None:
    """No value in either text."""
    denial = (await answered(Result.of(block(TOKEN)), action="refuse")).denial
    assert denial is not None
    assert (denial.code, denial.reason) == ("redacted", "the answer holds 1 github_token")
    assert TOKEN not in denial.message


async def test_dropping_leaves_nothing_in_the_place() -> None:
    """For those who want no trace."""
    assert (await answered(Result.of(block(f"a {TOKEN} b")), action="drop")).value == block("a  b")


@pytest.mark.parametrize("action", ["mask", "drop", "refuse", "placeholder"])
async def test_what_the_agent_sends_is_redacted_only_where_that_is_asked_for(action: Any) -> None:
    """In arguments of any shape."""
    for directions, passes in ((("results",), True), (("results", "arguments"), False)):
        sent = Wire(OK)
        chain = linked(Redaction(action=action, directions=directions)).chain("tools/call", "outbound")
        result = await chain(tool_call(q=[f"x {TOKEN}"], password=PASSWORD), sent)
        reached = bool(sent.calls) and TOKEN in canonical(sent.calls[-1].params).decode()
        assert reached is passes
        assert (result.denial is not None) is (action == "refuse" and not passes)


async def test_a_placeholder_gives_its_value_back_to_where_it_came_from_and_nobody_else() -> None:
    """Bound to run, origin and destinations; the model never has the value."""
    one = Redaction(action="placeholder", directions=["results", "arguments"], destinations=["vault"])
    chain, run = linked(one).chain("tools/call", "outbound"), Run()
    shown = await chain(tool_call(run=run), Wire(Result.of(block(TOKEN))))
    assert shown.value is not None
    content: Any = shown.value["content"]
    name = content[0]["text"]
    assert name.startswith("<GITHUB_TOKEN_")
    assert len(name) > 24

    async def sent(server: str, within: Run | None) -> str:
        wire = Wire(OK)
        params = {"name": "use", "arguments": {"key": f"Bearer {name}"}}
        await chain(Call(id="2", method="tools/call", params=params, server=server, run=within), wire)
        value: str = wire.params[0]["arguments"]["key"]
        return value

    assert await sent("files", run) == f"Bearer {TOKEN}"
    assert await sent("vault", Run(parent=run)) == f"Bearer {TOKEN}"
    assert await sent("evil", run) == f"Bearer {name}"
    assert await sent("files", Run()) == f"Bearer {name}"
    assert await sent("files", None) == f"Bearer {name}"
    again = await chain(tool_call(run=run), Wire(Result.of(block(TOKEN))))
    assert again.value == shown.value


async def test_a_value_that_was_put_back_and_is_repeated_by_the_server_does_not_reach_the_model() -> None:
    """Known by its name in one answer, it stands in the next one with nothing that says what it is."""
    chain, run = linked(Redaction(action="placeholder")).chain("tools/call", "outbound"), Run()
    shown = await chain(tool_call(run=run), Wire(Result.of(block(f"password={PASSWORD}"))))
    (told,) = [text for text in strings_of(shown).every if text.startswith("password=")]
    name = told.removeprefix("password=")
    wire = Wire(Result.of({**block(f"unknown user {PASSWORD}"), "structuredContent": {"user": PASSWORD}}))
    params = {"name": "login", "arguments": {"user": name}}
    got = await chain(Call(id="2", method="tools/call", params=params, server="files", run=run), wire)
    assert wire.params[0]["arguments"] == {"user": PASSWORD}
    assert not leaks(got, PASSWORD)
    assert any(name in text for text in strings_of(got).every)


async def test_a_run_for_another_tenant_gets_no_value_of_the_run_that_it_is_part_of() -> None:
    """What a placeholder stands for belongs to a tenant, and so does the connection that it is sent by."""
    chain = linked(Redaction(action="placeholder")).chain("tools/call", "outbound")
    ours = Run(principal=Principal(user="ana", tenant="ours"))
    shown = await chain(tool_call(run=ours), Wire(Result.of(block(TOKEN))))
    (name,) = [text for text in strings_of(shown).every if text.startswith("<GITHUB_TOKEN_")]
    for tenant, expected in (("ours", TOKEN), ("theirs", name)):
        inner = Run(parent=ours, principal=Principal(user="bob", tenant=tenant))
        wire = Wire(OK)
        params = {"name": "use", "arguments": {"key": name}}
        await chain(Call(id="2", method="tools/call", params=params, server="files", run=inner), wire)
        assert wire.params[0]["arguments"] == {"key": expected}


async def test_without_a_run_a_placeholder_is_a_mask() -> None:
    """There is nobody it could belong to."""
    result = await answered(Result.of(block(TOKEN)), action="placeholder")
    assert result.value == block("[REDACTED:github_token]")


async def test_an_answer_with_a_placeholder_is_cached_for_no_other_run() -> None:
    """It stands for a value that other runs do not have."""
    cached = linked(ResultCache(tools=["read"]), Redaction(action="placeholder"))
    chain, wire = cached.chain("tools/call", "outbound"), Wire(Result.of(block(TOKEN)))
    shown = [(await chain(tool_call(run=Run()), wire)).value for _ in range(2)]
    assert len(wire.calls) == 2
    assert shown[0] != shown[1]
    masked = linked(ResultCache(tools=["read"]), Redaction()).chain("tools/call", "outbound")
    wire = Wire(Result.of(block(TOKEN)))
    assert len({repr((await masked(tool_call(run=Run()), wire)).value) for _ in range(2)}) == 1
    assert len(wire.calls) == 1


@pytest.mark.parametrize(("pattern", "passes"), [(r"^\S+$", True), ("^gh", False)])
async def test_a_redacted_answer_fits_its_schema_or_is_withheld_and_says_why(
    pattern: str, passes: bool
) -> None:
    """A program that validates is not given what it would fail on."""
    chains, schema = linked(Redaction()), {"properties": {"key": {"type": "string", "pattern": pattern}}}
    listed = Result.of({"tools": [{"name": "read", "inputSchema": {}, "outputSchema": schema}]})
    asked = Call(id="1", method="tools/list", params={}, server="files", principal=tool_call().principal)
    await chains.chain("tools/list", "outbound")(asked, Wire(listed))
    answer = Result.of({"content": [], "structuredContent": {"key": TOKEN}})
    result = await chains.chain("tools/call", "outbound")(tool_call(), Wire(answer))
    if passes:
        assert result.value == {"content": [], "structuredContent": {"key": "[REDACTED:github_token]"}}
    else:
        assert result.denial is not None
        assert "does not fit the tool's output schema" in result.denial.reason
    assert not leaks(result, TOKEN)


ASKED: dict[str, dict[str, Any]] = {
    "sampling/createMessage": {"messages": [{"role": "user", "content": {"type": "text", "text": TOKEN}}]},
    "elicitation/create": {"message": f"Is it {TOKEN}?", "requestedSchema": {}},
    "notifications/message": {"level": "info", "data": {"at": [f"see {TOKEN}"]}},
    "notifications/progress": {"progressToken": 1, "progress": 1, "message": TOKEN},
    "tools/list_changed": {"_meta": {"note": TOKEN}},
}


@pytest.mark.parametrize("method", ASKED)
def test_what_servers_ask_and_tell_is_redacted(method: str) -> None:
    """Requests and notifications; the protocol's own tokens stay."""
    verdict = Redaction().check(Call(id="1", method=method, params=ASKED[method], direction="inbound"))
    assert isinstance(verdict, Rewrite)
    said = canonical(verdict.params).decode()
    assert TOKEN not in said
    assert "[REDACTED:github_token]" in said
    assert verdict.params.get("progressToken") == ASKED[method].get("progressToken")


async def test_what_sinks_get_has_passed_the_redactor() -> None:
    """Payloads and names; in events no secret is left, in the result it is, as no Redaction is linked."""
    sink, server = RecordingSink(), FakeServer()
    server.tool("read").returns(f"see {TOKEN}")
    server.resource(f"db://u:{PASSWORD}@h/x").returns("row")
    guard = Guard(sinks=[sink], scrubber=Redactor())
    async with opened(guard, server, "session") as peer:
        result = await peer.call("read", {"password": PASSWORD})
        assert TOKEN in result["content"][0]["text"]
        await peer.read(f"db://u:{PASSWORD}@h/x")
    recorded = json.dumps([event.as_dict() for event in sink.events], default=str)
    assert TOKEN not in recorded
    assert PASSWORD not in recorded
    assert "[REDACTED:github_token]" in recorded


async def test_patterns_of_ones_own_take_linear_time() -> None:
    """RE2 has no backtracking; a pattern that is none is refused when it is built."""
    pytest.importorskip("re2")
    redactor = Redactor(patterns={"badge": r"EMP-\d{6}", "slow": r"(a+)+$"})
    assert redactor.redact("é EMP-123456 \ud800") == "é [REDACTED:badge] \ud800"
    assert redactor.redact("a" * 50_000 + "b") == "a" * 50_000 + "b"
    for wrong in ("(", "x*"):
        with pytest.raises(ValueError, match="pattern 'p'"):
            Redaction(patterns={"p": wrong})


@pytest.mark.parametrize(
    "wrong", [{"action": "hide"}, {"directions": []}, {"directions": "results"}, {"pii": ["name"]}]
)
def test_impossible_options_are_refused_when_it_is_built(wrong: dict[str, Any]) -> None:
    """Not when a call comes."""
    with pytest.raises(ValueError, match=r".+"):
        Redaction(**wrong)


SEEDS = st.sampled_from(FORMATS).flatmap(lambda one: st.integers(0, 50).map(lambda seed: token(one, seed)))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.text(max_size=10), st.integers(0, 4))
def test_a_seeded_secret_never_survives_and_a_second_pass_changes_nothing(
    secret: str, around: str, depth: int
) -> None:
    """In text, structure, JSON in text and error, at any depth; events through the scrubber, too."""
    value: Any = f"{around} {secret} {around}"
    for _ in range(depth):
        value = {"x": [value]}
    given = Result.of({**block(json.dumps(value)), "structuredContent": {"v": value}})
    one = Redaction()
    once = one.filter(tool_call(), given)
    assert not leaks(once, secret)
    assert one.filter(tool_call(), once) is once
    assert secret not in canonical(Redactor().scrub(given.value)).decode()


async def test_a_value_that_is_sent_is_masked_and_not_put_back_on_the_way() -> None:
    """A placeholder made of an argument would belong to the server that must not have the value."""
    wire = Wire(OK)
    chain = linked(Redaction(action="placeholder", directions=["arguments"])).chain("tools/call", "outbound")
    call = tool_call(run=Run()).replace(params={"name": "t", "arguments": {"q": f"use {TOKEN}"}})
    await chain(call, wire)
    assert wire.params[0]["arguments"] == {"q": "use [REDACTED:github_token]"}


async def test_an_answer_to_a_server_holds_no_placeholder() -> None:
    """The server could send it to the model, which would send it back: with the value."""
    chain = linked(Redaction(action="placeholder", directions=["arguments"])).chain(
        "elicitation/create", "inbound"
    )
    call = Call(id="1", method="elicitation/create", params={}, server="s", run=Run(), direction="inbound")
    result = await chain(call, Wire(Result.of({"action": "accept", "content": {"note": f"x {TOKEN}"}})))
    assert result.value == {"action": "accept", "content": {"note": "x [REDACTED:github_token]"}}


@pytest.mark.parametrize("is_reloaded", [False, True])
async def test_a_value_that_was_put_back_is_in_no_question_of_the_server_and_in_no_record(
    is_reloaded: bool,
) -> None:
    """A password that only its name gave away, repeated without it: in a question, and in its event.

    A rule that a reload keeps goes on hiding it in what is recorded under the policy after that.
    """
    sink, run = RecordingSink(), Run(principal=Principal(user="ana"))
    redaction = Redaction(action="placeholder")
    guarded = linked(redaction, sinks=[sink], scrubber=Redactor())
    tools = guarded.chain("tools/call", "outbound")
    known = await tools(tool_call("get", run=run), Wire(Result.of(block(f"password={PASSWORD}"))))
    (name,) = PLACEHOLDER.findall(canonical(known.value).decode())
    wire = Wire()
    await tools(tool_call("use", run=run, key=name), wire)
    assert PASSWORD in canonical(wire.calls[-1].params).decode()

    if is_reloaded:
        guarded = Linked(guarded.steps, guarded.emitter.following([sink], "later"), kept=[redaction])
    for method, params in (
        ("elicitation/create", {"message": f"unknown user {PASSWORD}", "requestedSchema": {}}),
        ("notifications/message", {"level": "info", "data": f"unknown user {PASSWORD}"}),
    ):
        asked = Wire()
        question = Call(id="q", method=method, params=params, direction="inbound", run=run)
        await guarded.chain(method, "inbound")(question, asked)
        assert name in canonical(asked.calls[-1].params).decode()
    recorded = json.dumps([event.as_dict() for event in sink.events], default=str)
    assert name in recorded
    assert PASSWORD not in recorded
