"""Access: what is denied neither appears in a list nor can be called by name."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import ClientSession

from mcpguard import (
    ALLOW,
    Access,
    AccessRule,
    Call,
    Deny,
    Event,
    Guard,
    Interceptor,
    Outcome,
    Principal,
    Result,
)
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.wire import LISTINGS
from mcpguard.testing.fake_server import FakeServer

ADMIN = Principal(tenant="acme", user="ada", agent="writer", roles=frozenset({"admin"}))

READ, RESET = "git_log", "git_reset"


class Recorded:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    async def aclose(self) -> None:
        pass


def call(method: str, params: dict[str, Any] | None = None, **about: Any) -> Call:
    """An outbound request to the server `git`, unless `about` says otherwise."""
    about = {"server": "git", **about}
    return Call(id="call-1", method=method, params=params or {}, **about)


def tool(name: object, **about: Any) -> Call:
    """A call of the tool `name`."""
    return call("tools/call", {"name": name, "arguments": {}}, **about)


def page(names: Sequence[object], method: str = "tools/list", **more: Any) -> Result:
    """A page of a list."""
    listing = LISTINGS[method]
    return Result.of({listing.items: [{listing.key: name} for name in names], **more})


def code(access: Access, asked: Call) -> str | None:
    """The code `asked` is refused with, or None."""
    verdict = access.check(asked)
    if isinstance(verdict, Deny):
        return verdict.code
    assert verdict is ALLOW
    return None


def shown(access: Access, names: Sequence[object], method: str = "tools/list", **about: Any) -> list[Any]:
    """What a list of `names` comes back as."""
    listing = LISTINGS[method]
    result = access.filter(call(method, **about), page(names, method))
    assert result.value is not None
    items: Any = result.value[listing.items]
    return [item[listing.key] for item in items]


def through(interceptors: Sequence[Interceptor], asked: Call, answer: Result) -> tuple[Result, int, Recorded]:
    """What a call meets in a linked chain: the result, how often it was sent, and the events."""
    sent = 0
    seen = Recorded()

    async def wire(_: Call) -> Result:
        nonlocal sent
        sent += 1
        return answer

    linked = Linked(arrange(interceptors), Emitter([seen], clock=SYSTEM_CLOCK))
    steps = linked.chain(asked.method, asked.direction)(asked, wire)
    with pytest.raises(StopIteration) as ended:  # nothing in this chain waits, so no event loop is needed
        steps.send(None)
    result: Result = ended.value.value
    return result, sent, seen


def test_a_denied_tool_leaves_the_list_and_is_refused_by_name() -> None:
    """Codewhale #5157: denied in the list only is not denied."""
    access = Access(default="allow", deny=[AccessRule(tools=["git_re*"])])
    assert shown(access, [READ, RESET]) == [READ]
    result, sent, seen = through([access], tool(RESET), Result.of({"content": []}))
    assert (result.outcome, sent) == (Outcome.DENIED, 0)
    assert result.denial is not None
    assert (result.denial.code, result.denial.source) == ("access_denied", "access")
    assert [event.verdict for event in seen.events if event.kind == "decision"] == ["deny"]


def test_default_deny_lets_pass_what_is_named_and_nothing_else() -> None:
    """By their names, one by one."""
    access = Access(default="deny", allow=[AccessRule(tools=["git_*"])])
    assert code(access, tool(READ)) is None
    assert code(access, tool("rm")) == "access_denied"
    assert shown(access, [READ, "rm"]) == [READ]


def test_deny_wins_over_allow() -> None:
    """Design: deny wins, whatever the order."""
    access = Access(default="deny", allow=[AccessRule(tools=["git_*"])], deny=[AccessRule(tools=[RESET])])
    assert shown(access, [READ, RESET]) == [READ]
    assert code(access, tool(RESET)) == "access_denied"


def test_the_default_must_be_chosen() -> None:
    """A guardrail that silently allows is what people fear most (litellm #26565)."""
    with pytest.raises(TypeError, match="default"):
        Access()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="'allow' or 'deny'"):
        Access(default="maybe")  # type: ignore[arg-type]


def test_the_model_cannot_tell_a_denied_tool_from_one_that_does_not_exist() -> None:
    """Kong 3.13.0.1: denied tools were leaked."""
    access = Access(default="deny", allow=[AccessRule(tools=[READ])], deny=[AccessRule(tools=[RESET])])
    denied, absent = access.check(tool(RESET)), access.check(tool("no_such_tool"))
    assert isinstance(denied, Deny)
    assert isinstance(absent, Deny)
    assert (denied.code, denied.message) == (absent.code, absent.message)
    assert denied.reason != absent.reason


def test_the_operator_is_told_which_rule_decided() -> None:
    """Two texts for a denial."""
    access = Access(default="allow", deny=[AccessRule(tools=["x"]), AccessRule(tools=["y"])], id="tools")
    verdict = access.check(tool("y"))
    assert isinstance(verdict, Deny)
    assert "tools.deny[1]" in verdict.reason
    assert verdict.message is not None
    assert "deny" not in verdict.message
    assert "y" not in verdict.message.split()


def test_a_cursor_and_everything_else_in_a_page_stay() -> None:
    """Counts and cursors stay sound."""
    access = Access(default="deny", allow=[AccessRule(tools=["b"])])
    answer = page(["a", "b", "c"], nextCursor="page-2", _meta={"k": 1}, ttlMs=5)
    result = access.filter(call("tools/list"), answer)
    assert result.value == {"tools": [{"name": "b"}], "nextCursor": "page-2", "_meta": {"k": 1}, "ttlMs": 5}
    assert (result.outcome, result.fate) == (answer.outcome, answer.fate)


def test_an_emptied_page_is_still_a_page() -> None:
    """MCP pagination: an empty page with a cursor is followed by another."""
    access = Access(default="deny", allow=[AccessRule(prompts=["p"])])
    result = access.filter(call("tools/list"), page(["a"], nextCursor="n"))
    assert result.value == {"tools": [], "nextCursor": "n"}


def test_a_page_of_which_nothing_is_taken_is_the_same_page() -> None:
    """Nothing is copied, and the chain reports no change."""
    answer = page(["a", "b"])
    assert Access(default="allow").filter(call("tools/list"), answer) is answer


@pytest.mark.parametrize(
    ("method", "use", "key", "member"),
    [
        ("tools/list", "tools/call", "name", "tools"),
        ("prompts/list", "prompts/get", "name", "prompts"),
        ("resources/list", "resources/read", "uri", "resources"),
        ("resources/templates/list", "resources/read", "uri", "resources"),
    ],
)
def test_every_list_agrees_with_its_use(method: str, use: str, key: str, member: str) -> None:
    """One policy for what is seen and what is used."""
    access = Access(default="deny", allow=[AccessRule(**{member: ["a*"]})])
    assert shown(access, ["a1", "b1"], method) == ["a1"]
    assert code(access, call(use, {key: "a1"})) is None
    assert code(access, call(use, {key: "b1"})) == "access_denied"


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
def test_a_denied_resource_is_refused_however_it_is_used(method: str) -> None:
    """What is not in the lists cannot be used either."""
    access = Access(default="allow", deny=[AccessRule(resources=["file:///secret/*"])])
    assert code(access, call(method, {"uri": "file:///secret/key"})) == "access_denied"
    assert code(access, call(method, {"uri": "file:///open/key"})) is None


def test_an_error_page_of_a_hostile_server_is_filtered_too() -> None:
    """A list that says `isError` is read as a tool's error, and still shows names."""
    access = Access(default="deny", allow=[AccessRule(tools=["a"])])
    answer = page(["a", "b"], isError=True)
    assert answer.outcome is Outcome.TOOL_ERROR
    assert access.filter(call("tools/list"), answer).value == {"tools": [{"name": "a"}], "isError": True}


def test_a_rule_with_only_servers_covers_all_of_that_server() -> None:
    """A wide allow includes methods that have no list."""
    access = Access(default="deny", allow=[AccessRule(servers=["git"])])
    for asked in (
        tool("x"),
        call("prompts/get", {"name": "p"}),
        call("logging/setLevel"),
        call("vendor/odd"),
    ):
        assert code(access, asked) is None
        assert code(access, replace(asked, server="web")) == "access_denied"


def test_a_wide_deny_empties_lists_and_refuses_the_rest() -> None:
    """A refused list would fail hosts that list all their servers at once (agentgateway #1266)."""
    access = Access(default="allow", deny=[AccessRule(servers=["git"])])
    assert code(access, call("tools/list")) is None
    assert shown(access, ["a"]) == []
    for method in ("logging/setLevel", "subscriptions/listen", "completion/complete", "tasks/get"):
        assert code(access, call(method)) == "access_denied"


def test_several_kinds_in_a_rule_are_a_union() -> None:
    """A rule that names a tool and a method covers both, each by itself."""
    access = Access(
        default="deny", allow=[AccessRule(tools=["a"], prompts=["p"], methods=["logging/setLevel"])]
    )
    assert code(access, tool("a")) is None
    assert code(access, call("prompts/get", {"name": "p"})) is None
    assert code(access, call("logging/setLevel")) is None
    assert code(access, call("prompts/get", {"name": "a"})) == "access_denied"


def test_default_deny_permits_lists_and_nothing_else_without_a_rule() -> None:
    """Lists are safe, since they are filtered; completion, logging and unknown methods are not."""
    access = Access(default="deny", allow=[AccessRule(tools=["a"])])
    for method in LISTINGS:
        assert code(access, call(method)) is None
    for method in ("completion/complete", "logging/setLevel", "tasks/list", "vendor/odd"):
        assert code(access, call(method)) == "access_denied"


def test_a_rule_about_methods_covers_every_use_by_them() -> None:
    """`methods: [tools/call]` allows any tool, and so every tool is listed."""
    access = Access(default="deny", allow=[AccessRule(methods=["tools/*"])])
    assert code(access, tool("anything")) is None
    assert shown(access, ["anything"]) == ["anything"]
    assert code(access, call("prompts/get", {"name": "p"})) == "access_denied"


def test_a_list_is_refused_only_by_name_of_its_method() -> None:
    """What a rule says of methods is meant of lists as well."""
    access = Access(default="allow", deny=[AccessRule(methods=["tools/list"])])
    assert code(access, call("tools/list")) == "access_denied"
    assert code(access, tool("a")) is None


@pytest.mark.parametrize("method", ["initialize", "ping", "server/discover"])
def test_lifecycle_methods_need_to_be_spelled_out(method: str) -> None:
    """Pings are free: a policy about tools must not end the connection."""
    shut = Access(default="deny", deny=[AccessRule(methods=["*"]), AccessRule(servers=["*"])])
    answer = Result.of({})
    assert through([shut], call(method), answer)[0].outcome is Outcome.OK
    assert code(shut, call(method)) is None
    named = Access(default="allow", deny=[AccessRule(methods=[method])])
    assert through([named], call(method), answer)[0].outcome is Outcome.DENIED


def test_notifications_and_inbound_requests_are_none_of_its_business() -> None:
    """Design: `InboundRequests` has those."""
    shut = Access(default="deny", deny=[AccessRule(methods=["*"]), AccessRule(servers=["*"])])
    linked = Linked(arrange([shut]), Emitter([], clock=SYSTEM_CLOCK))
    assert linked.chain("sampling/createMessage", "inbound").is_empty
    for direction in ("inbound", "outbound"):
        assert linked.gate("notifications/progress", direction) is None  # type: ignore[arg-type]
        assert linked.gate("notifications/cancelled", direction) is None  # type: ignore[arg-type]


def test_completion_needs_its_method_and_what_it_completes() -> None:
    """Completing the arguments of a denied prompt would tell that it exists."""
    access = Access(
        default="deny",
        allow=[AccessRule(prompts=["p"], resources=["file:///{path}"], methods=["completion/complete"])],
    )
    about = {"argument": {"name": "a", "value": ""}}

    def completing(ref: object) -> str | None:
        return code(access, call("completion/complete", {"ref": ref, **about}))

    assert completing({"type": "ref/prompt", "name": "p"}) is None
    assert completing({"type": "ref/resource", "uri": "file:///{path}"}) is None
    assert completing({"type": "ref/prompt", "name": "q"}) == "access_denied"
    assert completing({"type": "ref/resource", "uri": "file:///{other}"}) == "access_denied"
    assert completing({"type": "ref/prompt", "name": "p", "uri": "db://secret"}) == "access_denied"
    for malformed in (None, "p", {}, {"type": "ref/prompt"}, {"type": "ref/prompt", "name": 1}):
        assert completing(malformed) == "access_denied"
    no_method = Access(default="deny", allow=[AccessRule(prompts=["p"])])
    asked = call("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}})
    assert code(no_method, asked) == "access_denied"


def test_completion_of_what_a_deny_rule_names_is_refused() -> None:
    """Under either default."""
    access = Access(default="allow", deny=[AccessRule(prompts=["p"])])
    for name, wanted in (("p", "access_denied"), ("q", None)):
        asked = call("completion/complete", {"ref": {"type": "ref/prompt", "name": name}})
        assert code(access, asked) == wanted


def test_listening_is_judged_by_the_resources_it_asks_for() -> None:
    """MCP 2026-07-28, subscriptions/listen: URIs are in `notifications.resourceSubscriptions`."""
    access = Access(default="deny", allow=[AccessRule(resources=["file:///open/*"])])

    def listening(notifications: object) -> str | None:
        return code(access, call("subscriptions/listen", {"notifications": notifications}))

    assert listening({"toolsListChanged": True}) is None
    assert listening(None) is None
    assert listening({"resourceSubscriptions": ["file:///open/a"]}) is None
    assert listening({"resourceSubscriptions": ["file:///open/a", "file:///b"]}) == "access_denied"
    for malformed in ("x", {"resourceSubscriptions": "file:///open/a"}, {"resourceSubscriptions": [1]}, 7):
        assert listening(malformed) == "access_denied"


def test_names_are_compared_as_the_server_spells_them() -> None:
    """No folding of case, no normal form: a look-alike is another name."""
    access = Access(default="deny", allow=[AccessRule(tools=["café", "Read"])])
    assert code(access, tool("café")) is None
    for look_alike in ("cafe\u0301", "read", "Re\u0430d", "Read ", "Read\x00", " Read"):
        assert code(access, tool(look_alike)) == "access_denied"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///open/../secret/key",
        "file:///open/%2e%2e/secret/key",
        "file:///open/%252e%252e/secret/key",
        "file:///open/%2525252e%2525252e/secret/key",
        "file:///open/..%2fsecret/key",
        "file:///open//../../secret/key",
        "file:///open/..\\secret\\key",
        "file:///open/./.././secret/key",
        "file:///open/.\t./secret/key",
        "file:///open/.\n./secret/key",
        "file:///open/%2e%0d%2e/secret/key",
        " file:///open/../secret/key",
        "file:///open/a\\b\\c/../../secret/key",
        "file:///open/a%5Cb%5Cc/../../secret/key",
        "file:///open/\uff0e\uff0e/secret/key",
        "file:///open/.\u200b./secret/key",
        "file:///open/..;/secret/key",
        "file:///open/..%20/secret/key",
        "file:///open/&#46;&#46;/secret/key",
    ],
)
def test_a_uri_cannot_climb_out_of_what_is_allowed(uri: str) -> None:
    """A glob's `*` matches `/` and `..`; a server resolves them."""
    access = Access(default="deny", allow=[AccessRule(resources=["file:///open/*"])])
    assert code(access, call("resources/read", {"uri": uri})) == "access_denied"
    assert shown(access, [uri], "resources/list") == []


@pytest.mark.parametrize(
    "uri", ["file:///open/%" + "25" * 100 + "2e", "file:///open/%ff", "file:///open/" + "%2e" * 9000]
)
def test_a_uri_that_cannot_be_read_to_its_end_is_vouched_for_by_no_rule(uri: str) -> None:
    """Escapes in escapes, or in no UTF-8, cost no more than a bound; a rule that denies may mean them."""
    asked = call("resources/read", {"uri": uri})
    rule = AccessRule(resources=["file:///open/*"])
    assert code(Access(default="deny", allow=[rule]), asked) == "access_denied"
    other = AccessRule(resources=["file:///secret/*"])
    assert code(Access(default="allow", deny=[other]), asked) == "access_denied"


@pytest.mark.parametrize(
    "uri",
    [
        "FILE:///secret/key",
        "file:///x/../secret/key",
        "file:////secret/key",
        "file:///%73ecret/key",
        "file:///sec\tret/key",
        "file:/secret/key",
        "file:secret/key",
        "file://localhost/secret/key",
        "url:file:///secret/key",
        "<file:///secret/key>",
        "file:///s\uff45cret/key",
        "file:///x\\..\\secret/key",
    ],
)
def test_a_denied_uri_is_denied_in_other_spellings(uri: str) -> None:
    """The spellings RFC 3986, section 6.2.2, calls equivalent, and some more."""
    access = Access(default="allow", deny=[AccessRule(resources=["file:///secret/*"])])
    assert code(access, call("resources/read", {"uri": uri})) == "access_denied"


@pytest.mark.parametrize(
    ("rule", "uri"),
    [
        ("https://h.example/a", "https://h.example:443/a"),
        ("https://h.example/a", "https://somebody@h.example/a"),
        ("https://h.example/a", "https://h.example./a"),
        ("https://h.example/a", "https:h.example/a"),
        ("file:///secret", "file:///secret?x"),
        ("file:///secret", "file:///secret#x"),
        ("file:///secret", "file:///secret/"),
        ("file:///secret", "file:///secret%00.png"),
        ("file:///secret", "file:///secret::$DATA"),
        ("users://{id}", "users://5"),
        ("db://{table}/rows{?limit}", "db://t/rows?limit=1"),
    ],
)
def test_what_a_server_may_not_read_of_a_uri_does_not_hide_what_is_denied(rule: str, uri: str) -> None:
    """A query, a fragment, a port that is the scheme's own; and a template denies what it is expanded to."""
    access = Access(default="allow", deny=[AccessRule(resources=[rule])])
    assert code(access, call("resources/read", {"uri": uri})) == "access_denied"
    assert code(access, call("resources/read", {"uri": "https://other.example/b"})) is None


@pytest.mark.parametrize(
    ("rule", "uri"),
    [
        ("note://My%20Note", "note://My%20Note"),
        ("file:///My%20Files/*", "file:///My%20Files/a%20b.txt"),
        ("https://Example.com/a//b", "https://Example.com/a//b"),
        ("file:///open/*", "file:///open/"),
        ("file:///{path}", "file:///{path}"),
        ("urn:isbn:*", "urn:isbn:0451450523"),
        ("file:///C:\\data\\*", "file:///C:\\data\\x"),
        ("note://\uff21\ufb01", "note://\uff21\ufb01"),
        ("https://h.example/a?copy=1&lt=2", "https://h.example/a?copy=1&lt=2"),
    ],
)
def test_an_allowed_uri_is_allowed_as_it_is_written(rule: str, uri: str) -> None:
    """The second look at a URI must not refuse what a rule spells out."""
    access = Access(default="deny", allow=[AccessRule(resources=[rule])])
    assert code(access, call("resources/read", {"uri": uri})) is None


def test_a_rule_may_be_for_some_callers() -> None:
    """Design: rules are narrowed by roles, tenants and agents."""
    rule = AccessRule(tools=["a"], roles=["admin"], tenants=["ac*"], agents=["writer"])
    access = Access(default="deny", allow=[rule])
    assert code(access, tool("a", principal=ADMIN)) is None
    assert shown(access, ["a", "b"], principal=ADMIN) == ["a"]
    for other in (
        replace(ADMIN, roles=frozenset({"user"})),
        replace(ADMIN, tenant="other"),
        replace(ADMIN, agent=None),
        Principal(),
    ):
        assert code(access, tool("a", principal=other)) == "access_denied"
        assert shown(access, ["a"], principal=other) == []


def test_a_decision_for_one_caller_is_not_another_callers() -> None:
    """What is remembered of a name holds for everybody or is asked again."""
    access = Access(
        default="deny",
        allow=[AccessRule(servers=["*"])],
        deny=[AccessRule(tools=["a"], tenants=["other"])],
    )
    other = replace(ADMIN, tenant="other")
    for _ in range(2):
        assert code(access, tool("a", principal=ADMIN)) is None
        assert code(access, tool("a", principal=other)) == "access_denied"
        assert code(access, tool("a")) == "no_principal"


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_nobody_is_refused_by_a_deny_rule_that_depends_on_who_calls(
    default: Literal["allow", "deny"],
) -> None:
    """`no_principal` when, and only when, the rest of the rule matches."""
    access = Access(
        default=default,
        allow=[AccessRule(tools=["a", "b"])],
        deny=[AccessRule(tools=["a"], roles=["intern"])],
    )
    assert code(access, tool("a")) == "no_principal"
    assert code(access, tool("b")) is None
    assert shown(access, ["a", "b"]) == ["b"]


def test_nobody_is_refused_by_an_allow_rule_that_depends_on_who_calls() -> None:
    """Unless another allow rule does not depend on it."""
    access = Access(
        default="deny",
        allow=[AccessRule(tools=["a", "b"], roles=["admin"]), AccessRule(tools=["b"])],
    )
    assert code(access, tool("a")) == "no_principal"
    assert code(access, tool("b")) is None
    assert code(access, tool("c")) == "access_denied"


HOSTILE = [
    None,
    7,
    True,
    1.5,
    [],
    ["git_log"],
    {"name": "git_log"},
    "",
    "\x00",
    "git_log\x00",
    "\ud800",
    "g\u0456t_log",
    "git_log" * 1500,
    "[" * 10_000,
    "*",
    "git_*",
    "?",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "resources/subscribe"])
def test_a_hostile_name_never_passes_a_default_deny(method: str, name: object) -> None:
    """Neither an exception nor a way in."""
    access = Access(
        default="deny",
        allow=[AccessRule(tools=["git_log"], prompts=["git_log"], resources=["git_log"])],
    )
    key = "name" if method in ("tools/call", "prompts/get") else "uri"
    assert code(access, call(method, {key: name})) == "access_denied"
    assert code(access, call(method)) == "access_denied"


def test_a_name_that_cannot_be_read_is_not_vouched_for_by_a_glob() -> None:
    """Not even by `*`: a rule about names is about names."""
    access = Access(default="deny", allow=[AccessRule(tools=["*"])])
    assert code(access, call("tools/call")) == "access_denied"
    assert code(access, tool(["rm"])) == "access_denied"
    assert code(access, tool("rm")) is None


def test_a_name_that_cannot_be_read_may_be_what_a_deny_rule_means() -> None:
    """A lenient server might make `rm` of `["rm"]`."""
    access = Access(default="allow", deny=[AccessRule(tools=["rm"])])
    assert code(access, tool(["rm"])) == "access_denied"
    assert code(access, call("prompts/get", {"name": ["rm"]})) is None


MALFORMED: list[Any] = [None, 7, "rm", [], {}, {"name": None}, {"name": 7}, {"title": "rm"}]


def test_malformed_items_are_removed_under_default_deny() -> None:
    """What cannot be judged is not allowed."""
    access = Access(default="deny", allow=[AccessRule(servers=["*"])])
    result = access.filter(call("tools/list"), Result.of({"tools": [*MALFORMED, {"name": "a"}]}))
    assert result.value == {"tools": [{"name": "a"}]}


def test_malformed_items_are_kept_under_default_allow() -> None:
    """The client's own validation has the last word, as without a guard."""
    access = Access(default="allow", deny=[AccessRule(tools=["rm"])])
    result = access.filter(call("tools/list"), Result.of({"tools": [*MALFORMED, {"name": "rm"}]}))
    assert result.value == {"tools": MALFORMED}
    shut = Access(default="allow", deny=[AccessRule(servers=["git"])])
    result = shut.filter(call("tools/list"), Result.of({"tools": [*MALFORMED]}))
    assert result.value == {"tools": []}


@pytest.mark.parametrize("items", [None, 7, "rm", {"0": {"name": "rm"}}])
def test_what_is_not_a_list_shows_nothing_under_default_deny(items: Any) -> None:
    """A page of another shape must not be a way round."""
    answer = Result.of({"tools": items, "nextCursor": "n"})
    shut = Access(default="deny", allow=[AccessRule(tools=["a"])])
    assert shut.filter(call("tools/list"), answer).value == {"tools": [], "nextCursor": "n"}
    assert Access(default="allow").filter(call("tools/list"), answer) is answer


def test_a_page_without_items_is_left_to_the_client() -> None:
    """Nothing to take out of it."""
    shut = Access(default="deny")
    for answer in (Result.of({}), Result(outcome=Outcome.TIMEOUT, fate=Result.of({}).fate)):
        assert shut.filter(call("tools/list"), answer) is answer


def test_a_million_names_are_not_remembered() -> None:
    """Names come from outside; what is kept of them is bounded, by number and by length."""
    access = Access(default="deny", allow=[AccessRule(tools=["a*"])])
    for number in range(1000):
        assert code(access, tool(f"b{number}" * 200)) == "access_denied"
    assert access.status() == {"remembered": 0}
    for number in range(10_000):
        assert code(access, tool(f"a{number}")) is None
    assert code(access, tool("a1")) is None
    assert access.status() == {"remembered": 10_001 % 2048}


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        ({}, ValueError, "names something"),
        ({"tools": []}, ValueError, "tools is empty"),
        ({"servers": ["git"], "tools": ()}, ValueError, "tools is empty"),
        ({"tools": ["a"], "roles": set()}, ValueError, "roles is empty"),
        ({"tools": "git_log"}, TypeError, "single string"),
        ({"tools": [7]}, TypeError, "int"),
        ({"tools": [""]}, ValueError, "empty name"),
    ],
)
def test_a_rule_that_would_not_mean_what_it_says_is_refused(
    members: dict[str, Any], error: type[Exception], text: str
) -> None:
    """`allow: [{servers: [git], tools: []}]` must not allow all of git."""
    with pytest.raises(error, match=text):
        AccessRule(**members)


def test_rules_are_rules() -> None:
    """Misuse is found when the object is built."""
    with pytest.raises(TypeError, match=r"access\.allow\[1\] is an AccessRule, not dict"):
        Access(default="deny", allow=[AccessRule(tools=["a"]), {"tools": ["b"]}])  # type: ignore[list-item]


def test_rules_are_equal_by_what_they_say() -> None:
    """Lists and tuples of names are the same rule."""
    assert AccessRule(tools=["a"]) == AccessRule(tools=("a",))
    assert hash(AccessRule(tools=["a"])) == hash(AccessRule(tools=("a",)))
    assert repr(AccessRule(tools=("a",), roles=["r"])) == "AccessRule(tools=['a'], roles=['r'])"


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (
            Access(default="deny", allow=[AccessRule(servers=["git", "gti*"])]),
            ["access.allow[0]: no declared server is called 'gti*'"],
        ),
        (
            Access(
                default="deny",
                allow=[AccessRule(tools=["a", "git_x"], servers=["git"]), AccessRule(tools=["git_*"])],
                deny=[AccessRule(tools=["a", "git_*"])],
            ),
            [
                "access.allow[0] can never match: access.deny[0] denies all of it",
                "access.allow[1] can never match: access.deny[0] denies all of it",
            ],
        ),
        (
            Access(default="allow", allow=[AccessRule(tools=["a"])]),
            ["access: allow rules change nothing while default is 'allow'"],
        ),
        (
            Access(default="deny", deny=[AccessRule(tools=["a"])]),
            ["access: default is 'deny' and no rule allows anything"],
        ),
        (
            Access(default="deny", allow=[AccessRule(tools=["a"]), AccessRule(tools=("a",))]),
            ["access.allow[1] says the same as access.allow[0]"],
        ),
        (
            Access(
                default="deny",
                allow=[
                    AccessRule(methods=["notifications/progress", "sampling/createMessage", "tools/call"])
                ],
            ),
            [
                "access.allow[0]: 'notifications/progress' is not something an agent requests",
                "access.allow[0]: 'sampling/createMessage' is not something an agent requests",
            ],
        ),
    ],
)
def test_rules_that_can_never_match_are_pointed_out(access: Access, expected: list[str]) -> None:
    """A guardrail configured and silently not running (what users ask, 12)."""
    assert list(access.warnings(["git", "web"])) == expected


def test_no_warning_is_given_of_what_is_not_certain() -> None:
    """A false alarm teaches people to ignore alarms."""
    access = Access(
        default="deny",
        allow=[
            AccessRule(tools=["git_*"]),
            AccessRule(tools=["a", "b"]),
            AccessRule(servers=["web"]),
            AccessRule(tools=["c"], prompts=["p"]),
        ],
        deny=[
            AccessRule(tools=["git_reset", "a", "c"]),
            AccessRule(tools=["b"], roles=["x"]),
            AccessRule(servers=["git"]),
        ],
    )
    assert list(access.warnings(["git", "web"])) == []
    assert list(Access(default="deny", allow=[AccessRule(servers=["any"])]).warnings([])) == []


WHERE: list[dict[str, list[str]]] = [{}, {"servers": ["git"]}, {"servers": ["w*"]}]
WHAT: list[dict[str, list[str]]] = [
    {},
    {"tools": ["a*"]},
    {"tools": ["git_*", "b"], "prompts": ["?"]},
    {"tools": ["*"]},
    {"prompts": ["ab"], "resources": ["file:///a"]},
    {"resources": ["file:///*"]},
    {"resources": ["[ab]"], "methods": ["prompts/get"]},
    {"methods": ["tools/*"]},
    {"methods": ["*"]},
]
WHO: list[dict[str, list[str]]] = [{}, {"roles": ["admin"]}, {"tenants": ["ac*"], "agents": ["writer"]}]

names = st.sampled_from(["a", "ab", "b", "git_log", "git_reset", "x/y", "file:///a", "file:///a/../b"])
servers = st.sampled_from(["git", "web"])
principals = st.sampled_from([None, ADMIN, Principal(), Principal(tenant="other", roles=frozenset({"user"}))])
defaults: st.SearchStrategy[Any] = st.sampled_from(["allow", "deny"])
rules = st.sampled_from(
    [
        AccessRule(**where, **what, **who)
        for where in WHERE
        for what in WHAT
        for who in WHO
        if where or what or who
    ]
)
rule_lists = st.lists(rules, max_size=4)


@settings(max_examples=300, deadline=None)
@given(defaults, rule_lists, rule_lists, names, servers, principals, st.sampled_from(sorted(LISTINGS)))
def test_what_is_listed_is_what_may_be_used(
    default: Literal["allow", "deny"],
    allow: list[AccessRule],
    deny: list[AccessRule],
    name: str,
    server: str,
    principal: Principal | None,
    method: str,
) -> None:
    """Under any rule set: neither listed nor callable, or both."""
    access = Access(default=default, allow=allow, deny=deny)
    use, key = {
        "tools/list": ("tools/call", "name"),
        "prompts/list": ("prompts/get", "name"),
        "resources/list": ("resources/read", "uri"),
        "resources/templates/list": ("resources/read", "uri"),
    }[method]
    usable = code(access, call(use, {key: name}, server=server, principal=principal)) is None
    assert shown(access, [name], method, server=server, principal=principal) == ([name] if usable else [])


@settings(max_examples=300, deadline=None)
@given(st.data(), defaults, rule_lists, rule_lists, names, servers, principals)
def test_the_order_of_rules_never_matters(
    data: st.DataObject,
    default: Literal["allow", "deny"],
    allow: list[AccessRule],
    deny: list[AccessRule],
    name: str,
    server: str,
    principal: Principal | None,
) -> None:
    """Deny wins under any order."""
    asked = tool(name, server=server, principal=principal)
    one = Access(default=default, allow=allow, deny=deny)
    other = Access(
        default=default, allow=data.draw(st.permutations(allow)), deny=data.draw(st.permutations(deny))
    )
    assert code(one, asked) == code(other, asked)


@settings(max_examples=300, deadline=None)
@given(defaults, rule_lists, rule_lists, rules, names, servers, principals)
def test_another_deny_rule_never_allows_more(
    default: Literal["allow", "deny"],
    allow: list[AccessRule],
    deny: list[AccessRule],
    more: AccessRule,
    name: str,
    server: str,
    principal: Principal | None,
) -> None:
    """Deny rules only take away; a rule that covers a call denies it."""
    asked = tool(name, server=server, principal=principal)
    fewer = Access(default=default, allow=allow, deny=deny)
    stricter = Access(default=default, allow=allow, deny=[*deny, more])
    if code(fewer, asked) is not None:
        assert code(stricter, asked) is not None
    if code(Access(default="allow", deny=[more]), asked) is not None:
        assert code(stricter, asked) is not None


@settings(max_examples=150, deadline=None)
@given(rule_lists, names, servers, principals, st.sampled_from(sorted(LISTINGS)))
def test_a_chain_of_allows_equals_no_chain(
    allow: list[AccessRule], name: str, server: str, principal: Principal | None, method: str
) -> None:
    """Under default allow without deny rules, the very same answers come back."""
    chain = [Access(default="allow", allow=allow) for _ in range(3)]
    about = {"server": server, "principal": principal}
    for asked, answer in (
        (call(method, **about), page([name], method)),
        (tool(name, **about), Result.of({})),
    ):
        result, sent, _ = through(chain, asked, answer)
        assert result is answer
        assert sent == 1


@pytest.mark.anyio
async def test_in_a_session_a_denied_tool_is_neither_listed_nor_called() -> None:
    """Through the real SDK, on whichever major is installed."""
    server = FakeServer()
    server.tool(READ).returns("log")
    server.tool(RESET).returns("done")
    guard = Guard([Access(default="allow", deny=[AccessRule(servers=["git"], tools=[RESET])])])
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        guard.session(session, name="git")
        await session.initialize()
        listed = await session.list_tools()
        assert [one.name for one in listed.tools] == [READ]
        refused: Any = await session.call_tool(RESET, {})
        assert "access_denied" in refused.content[0].text
        allowed: Any = await session.call_tool(READ, {})
        assert allowed.content[0].text == "log"
    assert server.calls(RESET) == []


@pytest.mark.anyio
async def test_in_audit_mode_nothing_is_hidden_or_refused() -> None:
    """Shadow mode before enforcing (what users ask, 24)."""
    server = FakeServer()
    server.tool(RESET).returns("done")
    seen = Recorded()
    guard = Guard([Access(default="deny", mode="audit")], sinks=[seen])
    async with server.connect() as (read, write), ClientSession(read, write) as session:
        guard.session(session, name="git")
        await session.initialize()
        assert [one.name for one in (await session.list_tools()).tools] == [RESET]
        allowed: Any = await session.call_tool(RESET, {})
        assert allowed.content[0].text == "done"
    denials = [event for event in seen.events if event.verdict == "deny"]
    assert [(event.mode, event.code) for event in denials] == [("audit", "access_denied")]
