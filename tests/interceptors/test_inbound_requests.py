"""InboundRequests: servers get from the agent what rules allow, and are not told of anything else."""

from typing import Any

import anyio
import pytest
from chains import OK, Wire, linked
from harness import LEGACY_SEAMS, MODERN_SEAMS, V1, accept, complete, opened, roots, text

from mcpguard import (
    Call,
    Denial,
    ElicitationRule,
    Fate,
    Guard,
    InboundRequests,
    Outcome,
    Principal,
    Result,
    RootsRule,
    Run,
    SamplingRule,
    UrlRule,
    WireError,
)
from mcpguard.config import parse_policy
from mcpguard.detectors.capabilities import META_KEY
from mcpguard.detectors.secret_fields import asks_for_secret
from mcpguard.testing import Elicit, FakeClock, FakeServer, Gate, ListRoots, RecordingSink, Sample

pytestmark = pytest.mark.anyio

HOST: dict[str, Any] = {
    "elicitation_callback": accept,
    "sampling_callback": complete,
    "list_roots_callback": roots,
}
SEAMS = [(seam, False) for seam in LEGACY_SEAMS] + [(seam, True) for seam in MODERN_SEAMS]
EVERY = {"sampling": [SamplingRule()], "elicitation": [ElicitationRule()], "roots": [RootsRule()]}


def asked(method: str, params: Any = None, **about: Any) -> Call:
    """A request of a server."""
    members = {"server": "files", "principal": Principal(tenant="acme", roles=frozenset({"a"})), **about}
    return Call(id="1", method=method, params=params or {}, direction="inbound", **members)


def sample(**params: Any) -> dict[str, Any]:
    """Parameters of a sampling request."""
    return {"messages": [], "maxTokens": 100, **params}


async def judged(one: InboundRequests, call: Call, wire: Wire | None = None, **options: Any) -> Denial | None:
    """What becomes of a request: why it is refused, or None."""
    result = await linked(one, **options).chain(call.method, call.direction)(call, wire or Wire(OK))
    return result.denial


@pytest.mark.parametrize(("seam", "modern"), SEAMS)
async def test_what_no_rule_allows_never_reaches_the_host_and_the_call_survives(
    seam: str, modern: bool
) -> None:
    """Without the interceptor the host is asked each time."""
    for guard, reached in ((Guard([InboundRequests()]), 0), (Guard(), 1)):
        server = FakeServer(era="modern" if modern else "legacy")
        server.tool("ask").asks(Elicit("Name?")).asks(ListRoots()).returns("went on")
        told: list[str] = []

        async def note(context: Any, params: Any, told: list[str] = told) -> Any:
            told.append("elicitation")
            return await accept(context, params)

        async with opened(
            guard, server, seam, modern=modern, **{**HOST, "elicitation_callback": note}
        ) as peer:
            assert text(await peer.call("ask")) == "went on"
        assert len(told) == reached


@pytest.mark.parametrize(("seam", "modern"), SEAMS)
async def test_refused_sampling_ends_as_a_tool_error_and_the_session_goes_on(seam: str, modern: bool) -> None:
    """It has no answer that declines it."""
    server = FakeServer(era="modern" if modern else "legacy")
    server.tool("think").asks(Sample("2+2?")).returns("never")
    server.tool("read").returns("text")
    async with opened(Guard([InboundRequests()]), server, seam, modern=modern, **HOST) as peer:
        assert (await peer.call("think"))["isError"] is True
        assert text(await peer.call("read")) == "text"


@pytest.mark.parametrize(("seam", "modern"), SEAMS)
async def test_what_is_refused_altogether_is_not_advertised(seam: str, modern: bool) -> None:
    """In the handshake, or in every request; what a rule may allow is."""

    async def told(*interceptors: InboundRequests) -> set[str]:
        server = FakeServer(era="modern" if modern else "legacy")
        server.tool("read")
        async with opened(Guard(interceptors), server, seam, modern=modern, **HOST) as peer:
            await peer.call("read")
        if modern:
            return set(server.seen("tools/call")[0]["_meta"][META_KEY])
        return set(server.seen("initialize")[0]["capabilities"])

    kinds = {"sampling", "elicitation", "roots"}
    assert await told() >= kinds
    assert not await told(InboundRequests()) & kinds
    assert await told(InboundRequests(**EVERY)) >= kinds  # type: ignore[arg-type]
    others = [SamplingRule(servers=["other"])]
    assert "sampling" not in await told(InboundRequests(sampling=others))


def test_ways_of_asking_that_are_refused_are_not_advertised() -> None:
    """Of elicitation the URLs, of sampling the tools, of tasks the requests."""
    capabilities = {
        "elicitation": {"form": {}, "url": {}},
        "sampling": {"tools": {}, "context": {}},
        "roots": {"listChanged": True},
        "tasks": {"list": {}, "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}}},
        "experimental": {"x": {}},
    }
    one = InboundRequests(sampling=[SamplingRule(tools=True)], elicitation=[ElicitationRule()])
    told = one.check(Call(id="1", method="initialize", params={"capabilities": capabilities}))
    assert told.params["capabilities"] == {  # type: ignore[union-attr]
        "elicitation": {"form": {}},
        "sampling": {"tools": {}},
        "tasks": {"list": {}, "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}}},
        "experimental": {"x": {}},
    }
    none = InboundRequests().check(Call(id="1", method="initialize", params={"capabilities": capabilities}))
    assert none.params["capabilities"] == {"tasks": {"list": {}, "requests": {}}, "experimental": {"x": {}}}  # type: ignore[union-attr]


@pytest.mark.skipif(not V1, reason="SDK 2.x reads on by itself")
async def test_a_person_who_takes_time_to_answer_does_not_hold_up_other_calls() -> None:
    """On 1.x a callback that waits in the read loop would."""
    server = FakeServer()
    server.tool("ask").asks(Elicit("Name?")).returns("asked")
    server.tool("read").returns("text")
    gate = Gate()

    async def slow(context: Any, params: Any) -> Any:
        await gate.wait()
        return await accept(context, params)

    guard = Guard([InboundRequests(elicitation=[ElicitationRule()])])
    async with opened(guard, server, "session", **{**HOST, "elicitation_callback": slow}) as peer:
        said: list[str] = []

        async def ask() -> None:
            said.append(text(await peer.call("ask")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await server.until_seen("tools/call")
            assert text(await peer.call("read")) == "text"
            assert said == []
            gate.open()
    assert said == ["asked"]


async def test_a_sampling_request_is_passed_on_without_what_a_server_may_not_choose() -> None:
    """Its tokens lowered, its prompt, context, metadata and preferences taken out."""
    params = sample(
        maxTokens=100_000,
        systemPrompt="obey",
        includeContext="allServers",
        metadata={"a": 1},
        modelPreferences={"hints": [{"name": "big"}, {"name": "small-1"}], "costPriority": 0},
        temperature=0.5,
    )
    wire = Wire(OK)
    assert (
        await judged(
            InboundRequests(sampling=[SamplingRule()]), asked("sampling/createMessage", params), wire
        )
        is None
    )
    assert wire.params == [{"messages": [], "maxTokens": 4096, "includeContext": "none", "temperature": 0.5}]
    hinted = InboundRequests(sampling=[SamplingRule(models=["small-*"])])
    await judged(hinted, asked("sampling/createMessage", params), wire)
    assert wire.params[1]["modelPreferences"] == {"hints": [{"name": "small-1"}], "costPriority": 0}
    free = SamplingRule(max_tokens=10**6, models=["*"], system_prompt=True, context=True, metadata=True)
    await judged(InboundRequests(sampling=[free]), asked("sampling/createMessage", params), wire)
    assert wire.params[2] == params


@pytest.mark.parametrize(
    "params",
    [{}, {"maxTokens": "9"}, {"maxTokens": True}, {"maxTokens": 0}, sample(tools=[]), sample(toolChoice={})],
)
async def test_a_sampling_request_that_is_out_of_bounds_is_refused(params: Any) -> None:
    """No number of tokens, or tools that are not allowed."""
    denial = await judged(InboundRequests(sampling=[SamplingRule()]), asked("sampling/createMessage", params))
    assert denial is not None
    assert denial.code == "sampling_denied"


async def test_a_run_has_so_many_sampling_requests_whichever_servers_make_them() -> None:
    """Runs inside it draw on the same count; another run has its own."""
    one = linked(InboundRequests(sampling=[SamplingRule(per_run=2)])).chain(
        "sampling/createMessage", "inbound"
    )
    outer = Run(id="outer")
    inner = Run(id="inner", parent=outer)

    async def code(**about: Any) -> str | None:
        result = await one(asked("sampling/createMessage", sample(), **about), Wire(OK))
        return None if result.denial is None else result.denial.code

    assert await code(run=outer, server="a") is None
    assert await code(run=inner, server="b") is None
    assert await code(run=inner, server="a") == "sampling_exhausted"
    assert await code(run=Run(id="outer"), server="a") is None
    assert [await code(server="c") for _ in range(3)] == [None, None, "sampling_exhausted"]


async def test_a_run_has_so_many_tokens_for_sampling() -> None:
    """Counted by what is asked for, after it was lowered."""
    rule = SamplingRule(max_tokens=60, tokens_per_run=100)
    one = linked(InboundRequests(sampling=[rule])).chain("sampling/createMessage", "inbound")
    run = Run(id="r")
    results = [
        await one(asked("sampling/createMessage", sample(maxTokens=tokens), run=run), Wire(OK))
        for tokens in (500, 50, 40)
    ]
    assert [result.denial is None for result in results] == [True, False, True]


async def test_a_server_has_so_many_sampling_requests_which_come_back_in_time() -> None:
    """Another tenant's are its own."""
    clock = FakeClock()
    rule = SamplingRule(per_server=2)
    one = linked(InboundRequests(sampling=[rule]), clock=clock).chain("sampling/createMessage", "inbound")

    async def code(tenant: str = "acme") -> str | None:
        call = asked("sampling/createMessage", sample(), run=Run(id="r"), principal=Principal(tenant=tenant))
        result = await one(call, Wire(OK))
        return None if result.denial is None else result.denial.code

    assert [await code() for _ in range(3)] == [None, None, "sampling_exhausted"]
    assert await code("other") is None
    clock.advance(1800)
    assert [await code(), await code()] == [None, "sampling_exhausted"]


SECRETS: list[dict[str, Any]] = [
    {"properties": {"password": {"type": "string"}}},
    {"properties": {"userPassword": {"type": "string"}}},
    {"properties": {"API-Key": {"type": "string"}}},
    {"properties": {"githubToken": {"type": "string"}}},
    {"properties": {"value": {"type": "string", "title": "Your p\u0430ssword"}}},
    {"properties": {"value": {"type": "string", "description": "Enter the p a s s w o r d"}}},
    {"properties": {"value": {"type": "string", "description": "pass\u200bword"}}},
    {
        "properties": {
            "value": {"type": "string", "description": "\uff30\uff21\uff33\uff33\uff37\uff2f\uff32\uff24"}
        }
    },
    {"properties": {"value": {"type": "string", "format": "password"}}},
    {"properties": {"p4ss": {"type": "string", "description": "P@ssw0rd"}}},
    {"properties": {"pin": {"type": "integer"}}},
    {"properties": {"card_number": {"type": "string"}}},
    {"properties": {"a": {"type": "string"}}, "message": "Paste your API key to go on"},
    {"properties": {"a": {"type": "string"}}, "message": "What is the seed phrase of your wallet?"},
    {"properties": {"a": {"type": "string"}}, "message": "Bitte das Passwort eingeben"},
    {"properties": {"a": {"type": "string"}}, "message": "x" * 30_000},
    {"properties": {"password": {"type": "string", "enum": []}}},
    {"properties": {"password": {"type": "string", "enum": [["any"]]}}},
    {"properties": {"password": {"type": "string", "oneOf": [{"type": "string"}]}}},
    {"properties": {"password": {"type": "boolean", "properties": {"x": {"type": "string"}}}}},
    {"properties": {"login": {"type": "object", "properties": {"password": {"type": "string"}}}}},
    {"properties": {"x": {"type": "array", "items": {"type": "string", "title": "Password"}}}},
    {"properties": {"x": {"anyOf": [{"type": "string", "title": "API key"}, {"type": "null"}]}}},
    {"properties": {"x": {"$ref": "#/$defs/password"}}, "$defs": {"password": {"type": "string"}}},
    {"properties": {"x": {"type": "string", "title": "Your pass-word"}}},
    {"properties": {"p4ssw0rd": {"type": "string"}}},
    {"properties": {f"x{n}": {"type": "string"} for n in range(3_000)}},
]

HONEST: list[dict[str, Any]] = [
    {"properties": {"name": {"type": "string"}}, "message": "What is your name?"},
    {"properties": {"max_tokens": {"type": "integer", "description": "How many tokens may be used"}}},
    {"properties": {"keyboard": {"type": "string"}}, "message": "Which key do you press?"},
    {"properties": {"reset_password": {"type": "boolean"}}, "message": "Go on?"},
    {"properties": {"password_policy": {"type": "string", "enum": ["strict", "lax"]}}},
    {"properties": {"credentials": {"oneOf": [{"const": "a", "title": "Ana"}, {"const": "b"}]}}},
    {"properties": {"nickname": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}},
    {"properties": {"passenger": {"type": "string"}, "destination": {"type": "string"}}},
    {"properties": {"opinion": {"type": "string"}}, "message": "Which message shall I pin?"},
]


@pytest.mark.parametrize("form", SECRETS)
async def test_a_form_that_asks_for_a_secret_is_refused(form: dict[str, Any]) -> None:
    """By the field's name, its description, or the message, disguised or not."""
    params = {"message": form.get("message", "Go on?"), "requestedSchema": form}
    one = InboundRequests(elicitation=[ElicitationRule()])
    denial = await judged(one, asked("elicitation/create", params))
    assert denial is not None
    assert denial.code == "elicitation_denied"


@pytest.mark.parametrize("form", HONEST)
def test_a_form_that_asks_for_none_passes(form: dict[str, Any]) -> None:
    """Words that merely look alike."""
    assert not asks_for_secret({"message": form.get("message", "Go on?"), "requestedSchema": form})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"mode": "url", "url": "https://login.example.org/x", "message": "a"}, None),
        ({"mode": "url", "url": "http://login.example.org/", "message": "a"}, "elicitation_denied"),
        ({"mode": "url", "url": "https://login.example.org@evil.net/", "message": "a"}, "elicitation_denied"),
        ({"mode": "url", "url": "https://evil.net/", "message": "a"}, "elicitation_denied"),
        ({"mode": "url", "url": "file:///bin/sh", "message": "a"}, "elicitation_denied"),
        ({"mode": "url", "url": "https://login.example.org/$(id)\n", "message": "a"}, "elicitation_denied"),
        ({"mode": "url", "message": "a"}, "elicitation_denied"),
        ({"mode": "voice", "message": "a"}, "elicitation_denied"),
        ({"url": "https://evil.net/", "message": "a"}, "elicitation_denied"),
        ({"message": "a"}, "elicitation_denied"),
    ],
)
async def test_a_person_is_sent_only_where_the_rule_allows(
    params: dict[str, Any], expected: str | None
) -> None:
    """Scheme and host are checked; whoever is not asked in a known way is not asked."""
    one = InboundRequests(
        elicitation=[ElicitationRule(forms=False, urls=UrlRule(hosts=["login.example.org"]))]
    )
    denial = await judged(one, asked("elicitation/create", params))
    assert (None if denial is None else denial.code) == expected


@pytest.mark.parametrize("method", ["tools/call", "tools/list", "completion/complete", "tasks/result"])
async def test_an_error_that_sends_a_person_to_a_url_is_held_to_the_same_rule(method: str) -> None:
    """MCP 2025-11-25 has it as the code -32042 of any answer."""

    async def code(one: InboundRequests, data: Any) -> str | None:
        error = WireError(-32042, "visit", data)
        answer = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error)
        call = Call(id="1", method=method, params={"name": "read"}, server="files")
        result = await linked(one).chain(method, "outbound")(call, Wire(answer))
        assert result.fate is Fate.ANSWERED
        return None if result.denial is None else result.denial.code

    def visit(url: str) -> Any:
        return {"elicitations": [{"mode": "url", "url": url, "message": "a", "elicitationId": "1"}]}

    one = InboundRequests(elicitation=[ElicitationRule(urls=UrlRule(hosts=["good.org"]))])
    assert await code(one, visit("https://good.org/")) is None
    for data in (visit("https://evil.net/"), {"elicitations": [7]}, {}, None):
        assert await code(one, data) == "elicitation_denied"
    assert await code(InboundRequests(), visit("https://good.org/")) == "elicitation_denied"


async def test_a_server_is_told_the_roots_that_match_however_they_are_written() -> None:
    """Dots do not lead a root in; names are told only if the rule says so."""
    roots = [
        {"uri": "file:///srv/data/a", "name": "A"},
        {"uri": "file:///srv/data/../secret", "name": "B"},
        {"uri": "file:///srv/data/%2e%2e/secret"},
        {"uri": "file:///srv/data/a\\b\\c/../../secret"},
        {"uri": "file:///srv/data/\uff0e\uff0e/secret"},
        {"uri": "file:///srv/data/%ff"},
        {"uri": "file:///home"},
        {"name": "no uri"},
    ]
    rule = RootsRule(uris=["file:///srv/data/*"], names=False)
    chain = linked(InboundRequests(roots=[rule])).chain("roots/list", "inbound")
    result = await chain(asked("roots/list"), Wire(Result.of({"roots": roots})))
    assert result.value == {"roots": [{"uri": "file:///srv/data/a"}]}


def test_a_server_without_roots_is_not_told_that_they_changed() -> None:
    """Otherwise it would know that there are some."""
    gone = Call(id="1", method="notifications/roots/list_changed", server="files")
    sink = RecordingSink()
    links = linked(InboundRequests(), sinks=[sink])
    gate = links.gate("notifications/roots/list_changed", "outbound")
    assert gate is not None
    assert isinstance(gate.admit(gone), Denial)
    allowed = linked(InboundRequests(roots=[RootsRule()])).gate(
        "notifications/roots/list_changed", "outbound"
    )
    assert allowed is not None
    assert allowed.admit(gone) is gone


async def test_a_method_that_nobody_knows_is_refused_unless_it_is_named() -> None:
    """What servers may ask tomorrow is not allowed today."""
    for method in ("tasks/get", "x/steal", "sampling/createmessage"):
        denial = await judged(InboundRequests(**EVERY), asked(method))  # type: ignore[arg-type]
        assert denial is not None
        assert denial.code == "request_denied"
    assert await judged(InboundRequests(methods=["tasks/*"]), asked("tasks/get")) is None


async def test_a_rule_is_limited_to_its_servers_and_callers() -> None:
    """Where it depends on the caller and nobody said, it refuses."""
    one = InboundRequests(elicitation=[ElicitationRule(servers=["files"], roles=["a"])])
    params = {"message": "Name?"}

    async def code(**about: Any) -> str | None:
        denial = await judged(one, asked("elicitation/create", params, **about))
        return None if denial is None else denial.code

    assert await code() is None
    assert await code(server="other") == "elicitation_denied"
    assert await code(principal=Principal(roles=frozenset({"b"}))) == "elicitation_denied"
    assert await code(principal=None) == "no_principal"


@pytest.mark.skipif(V1, reason="SDK 1.x has no 2026-07-28 client")
async def test_allowed_requests_of_a_modern_server_are_answered_and_counted() -> None:
    """Inside a result as well as by themselves."""
    server = FakeServer(era="modern")
    server.tool("think").asks(Sample("2+2?")).returns("done")
    guard = Guard([InboundRequests(sampling=[SamplingRule(per_run=1)])])
    async with opened(guard, server, "client", modern=True, **HOST) as peer, guard.run():
        assert text(await peer.call("think")) == "done"
        assert (await peer.call("think"))["isError"] is True


def test_a_policy_file_says_the_same() -> None:
    """Nested rules included."""
    policy = parse_policy(
        """
version: 1
interceptors:
  inbound_requests:
    sampling:
      - {servers: [files], max_tokens: 1000, models: ["small-*"]}
    elicitation:
      - {forms: true, urls: {hosts: [login.example.org]}}
    roots:
      - {uris: ["file:///srv/*"]}
"""
    )
    (one,) = policy.build().interceptors
    assert isinstance(one, InboundRequests)
    assert list(one.warnings(["web"])) == [
        "inbound_requests: rule 0 about sampling/createMessage: no declared server is called 'files'"
    ]


@pytest.mark.parametrize(
    "made",
    [
        lambda: SamplingRule(max_tokens=0),
        lambda: SamplingRule(per_run=True),
        lambda: ElicitationRule(forms=False),
        lambda: RootsRule(uris=[]),
        lambda: InboundRequests(sampling=[RootsRule()]),  # type: ignore[list-item]
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_when_it_is_made(made: Any) -> None:
    """Not at the first request."""
    with pytest.raises((TypeError, ValueError)):
        made()
