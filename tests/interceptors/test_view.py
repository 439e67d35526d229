"""View: what is hidden is out of reach, what is shown reaches the server by its own name."""

import unicodedata
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from chains import OK, Checking, Wire, linked
from harness import LEGACY_SEAMS, MODERN_SEAMS, V1, MCPError, Peer, code, opened, text
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mcpguard import (
    ALLOW,
    Access,
    AccessRule,
    Call,
    Guard,
    LoopDetector,
    Principal,
    PromptView,
    ResourceView,
    Result,
    ToolView,
    View,
)
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

HISTORY = ToolView(
    "git_log",
    name="history",
    title="History",
    description="What happened.",
    pin={"repo": "/srv/repo"},
    default={"count": 10},
    narrow={"count": {"maximum": 50, "description": "How many, 50 at most."}},
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "repo": {"type": "string"},
        "count": {"type": "integer", "maximum": 1000},
        "author": {"type": "string"},
    },
    "required": ["repo", "count"],
}


def git(**options: Any) -> FakeServer:
    """A server with more than an agent needs."""
    server = FakeServer("git", **options)
    server.tool("git_log", description="Log.", input_schema=SCHEMA)
    server.tool("git_push")
    server.tool("git_diff")
    return server


async def passed(
    view: View, method: str, params: Any, answer: Result = OK, **about: Any
) -> tuple[Result, Wire]:
    """One request through a chain with the view: the result, and what reached the wire."""
    wire = Wire(answer)
    chain = linked(view).chain(method, "outbound")
    return await chain(
        Call(**{"id": "1", "method": method, "params": params, "server": "git", **about}), wire
    ), wire


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_a_tool_is_called_by_its_new_name_and_reaches_the_server_by_its_own(seam: str) -> None:
    """Pinned and defaulted arguments go along; the old name is nobody's."""
    server = git()
    guard = Guard([View(expose_tools=["git_*"], hide_tools=["git_push"], tools=[HISTORY])])
    async with opened(guard, server, seam) as peer:
        assert await peer.tools() == ["history", "git_diff"]
        await peer.call("history", {"author": "ana"})
        assert server.calls("git_log") == [{"repo": "/srv/repo", "author": "ana", "count": 10}]
        for name in ("git_log", "git_push", "rm"):
            assert code(await peer.call(name, {})) == "not_available"
        assert server.seen("tools/call") == [
            {**server.seen("tools/call")[0], "name": "git_log"},
        ]


@pytest.mark.skipif(V1, reason="SDK 1.x speaks no modern protocol")
@pytest.mark.parametrize("seam", MODERN_SEAMS)
async def test_headers_say_what_the_body_says(seam: str) -> None:
    """The name and marked arguments stand in headers as well (MCP 2026-07-28), also those that are pinned."""
    server = FakeServer(era="modern")
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "id": {"type": "string", "x-mcp-header": "Id"},
        },
    }
    server.tool("lookup", input_schema=schema)
    view = View(tools=[ToolView("lookup", name="find", pin={"region": "eu"})])
    async with opened(Guard([view]), server, seam, modern=True) as peer:
        for _ in range(2):
            await peer.call("find", {"id": "7"})
            sent = zip(server.received, server.headers, strict=True)
            *_, called = [stamps for message, stamps in sent if message.get("method") == "tools/call"]
            headers = {name.lower(): value for name, value in called.items()}
            assert headers["mcp-name"] == "lookup"
            assert headers["mcp-param-region"] == "eu"
            assert headers["mcp-param-id"] == "7"
            assert await peer.tools() == ["find"]


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_results_are_validated_against_the_schema_of_the_tool_they_come_from(seam: str) -> None:
    """The session knows output schemas by shown names: the one behind `a` is that of the server's `b`."""
    server = FakeServer()
    for name, kind in (("a", "string"), ("b", "integer")):
        schema = {"type": "object", "properties": {"v": {"type": kind}}, "required": ["v"]}
        server.tool(name, output_schema=schema)
    view = View(tools=[ToolView("a", name="b"), ToolView("b", name="a")])
    async with opened(Guard([view]), server, seam) as peer:
        assert (await peer.call("a", {"v": 1}))["structuredContent"] == {"v": 1}
        assert (await peer.call("b", {"v": "x"}))["structuredContent"] == {"v": "x"}
        with pytest.raises(RuntimeError):
            await peer.call("a", {"v": "x"})


async def test_rules_and_records_know_the_servers_own_names() -> None:
    """Whoever writes a rule reads the server's documentation, not the view."""
    server, sink, loops = git(), RecordingSink(), LoopDetector(warn_after=2, block_after=3)
    seen = Checking(lambda call: ALLOW, {("tools/call", "outbound")})
    seen.needs_tool = True
    access = Access(default="deny", allow=[AccessRule(tools=["git_log"])])
    guard = Guard([View(tools=[HISTORY]), access, seen, loops], sinks=[sink])
    async with opened(guard, server, "session") as peer:
        assert await peer.tools() == ["history"]
        await peer.call("history", {"author": "ana"})
        await peer.call("git_diff", {})
    targets = {event.target for event in sink.events if event.method == "tools/call"}
    assert targets == {"git_log", "git_diff"}
    call = seen.seen[0]
    assert call.target == "git_log"
    assert call.tool is not None
    assert call.tool.name == "git_log"


async def test_a_name_that_is_given_away_is_no_longer_the_tools_that_had_it() -> None:
    """`git_log` shown as `git_diff` takes the place of the server's `git_diff`."""
    server = git()
    guard = Guard([View(tools=[ToolView("git_log", name="git_diff")])])
    async with opened(guard, server, "session") as peer:
        assert await peer.tools() == ["git_diff", "git_push"]
        await peer.call("git_diff", {})
    assert server.calls("git_diff") == []
    assert len(server.calls("git_log")) == 1


async def test_the_schema_shows_what_may_be_given() -> None:
    """Pinned arguments are gone, defaults are told, bounds are the narrower."""
    definition = {
        "name": "git_log",
        "description": "Log.",
        "inputSchema": SCHEMA,
        "annotations": {"title": "Old"},
    }
    result, _ = await passed(View(tools=[HISTORY]), "tools/list", {}, Result.of({"tools": [definition]}))
    assert result.value is not None
    (shown,) = result.value["tools"]  # type: ignore[misc]
    assert shown == {
        "name": "history",
        "title": "History",
        "description": "What happened.",
        "annotations": {"title": "History"},
        "inputSchema": {
            "type": "object",
            "properties": {
                "count": {
                    "type": "integer",
                    "maximum": 50,
                    "description": "How many, 50 at most.",
                    "default": 10,
                },
                "author": {"type": "string"},
            },
            "required": [],
        },
    }
    assert definition["inputSchema"] is SCHEMA
    assert "repo" in SCHEMA["properties"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"repo": "/etc"},
        {"Repo": "/etc"},
        {"re\u200bpo": "/etc"},
        {" repo": "/etc"},
        {"%72epo": "/etc"},
        {"\uff52epo": "/etc"},
        {"count": 51},
        {"count": 1e9},
    ],
)
async def test_arguments_that_are_not_shown_are_refused(arguments: Any) -> None:
    """A server may read names leniently; a value never stands in what is said of it."""
    result, wire = await passed(
        View(tools=[HISTORY]), "tools/call", {"name": "history", "arguments": arguments}
    )
    assert wire.calls == []
    assert result.denial is not None
    assert "etc" not in result.denial.reason + result.denial.message


@pytest.mark.parametrize("arguments", [[], "x", 5, [["repo", "/etc"]]])
async def test_arguments_that_are_no_mapping_do_not_undo_a_pin(arguments: Any) -> None:
    """They cannot be given the pinned value."""
    result, wire = await passed(
        View(tools=[HISTORY]), "tools/call", {"name": "history", "arguments": arguments}
    )
    assert result.denial is not None
    assert wire.calls == []


async def test_a_call_that_changes_nothing_goes_on_as_it_is() -> None:
    """Progress tokens, tasks and unknown members included."""
    params = {"name": "git_diff", "arguments": {"a": 1}, "_meta": {"progressToken": 1}, "task": {}}
    _, wire = await passed(View(tools=[HISTORY]), "tools/call", params)
    assert wire.calls[0].params is params
    params = {**params, "name": "history"}
    _, wire = await passed(View(tools=[HISTORY]), "tools/call", params)
    assert wire.params == [
        {**params, "name": "git_log", "arguments": {"a": 1, "repo": "/srv/repo", "count": 10}}
    ]


HIDDEN = "delete_all"

VIEWS = [
    View(hide_tools=[HIDDEN]),
    View(hide_tools=["delete_*"]),
    View(expose_tools=["search", "read"]),
    View(tools=[ToolView(HIDDEN, name="clean", pin={"path": "/tmp/x"})], id="renamed"),  # noqa: S108
]


def lenient(name: str) -> str:
    """How a careless server reads a name."""
    from urllib.parse import unquote

    text = unicodedata.normalize("NFKC", unquote(name))
    kept = "".join(one for one in text if unicodedata.category(one)[0] not in "CZ")
    return kept.strip().lower()


def spelled(letter: str) -> st.SearchStrategy[str]:
    """Ways to write one letter."""
    wide = chr(ord(letter) + 0xFEE0)
    return st.sampled_from(
        [
            letter,
            letter.upper(),
            wide,
            letter + "\u200b",
            quote(letter),
            f"%{ord(letter):02x}",
            f"%25{ord(letter):02x}",
            " " + letter,
            letter + "\t",
            "\u2060" + letter,
            letter + "\u00ad",
            letter + "\ufe0f",
        ]
    )


@given(parts=st.tuples(*(spelled(letter) for letter in HIDDEN)), view=st.sampled_from(VIEWS))
@example(parts=tuple(HIDDEN), view=VIEWS[0])
@example(parts=("\u200b" * 9000, *HIDDEN), view=VIEWS[0])
def test_a_hidden_tool_is_reachable_under_no_spelling(parts: tuple[str, ...], view: View) -> None:
    """Neither by its name nor by one that a lenient server takes for it."""
    name = "".join(parts)
    assume(lenient(lenient(name)) == HIDDEN or name == HIDDEN)

    async def run() -> None:
        result, wire = await passed(view, "tools/call", {"name": name, "arguments": {}})
        assert wire.calls == []
        assert result.denial is not None

    anyio.run(run)


@given(name=st.text(), view=st.sampled_from(VIEWS))
def test_no_name_reaches_a_hidden_tool(name: str, view: View) -> None:
    """Whatever is sent on is a name that a server cannot take for the hidden one, but by the view's own rule."""

    async def run() -> None:
        _, wire = await passed(view, "tools/call", {"name": name})
        for call in wire.calls:
            assert call.target is not None
            assert lenient(call.target) != HIDDEN

    anyio.run(run)


@pytest.mark.parametrize(
    "name", [None, 5, ["delete_all"], {"delete_all": 1}, "", "x" * 10_000, "../delete_all"]
)
async def test_what_is_no_name_is_not_sent(name: Any) -> None:
    """A list of names is not a name, and 10 kB are nobody's."""
    view = View(expose_tools=["search"])
    result, wire = await passed(view, "tools/call", {"name": name})
    assert wire.calls == []
    assert result.denial is not None
    assert "delete" not in result.denial.reason


async def test_prompts_are_renamed_and_their_arguments_pinned() -> None:
    """In lists, when fetched, and where a client asks to complete an argument."""
    server = FakeServer()
    server.prompt("review", arguments=["repo", "style"]).answers(
        lambda given: {
            "messages": [{"role": "user", "content": {"type": "text", "text": str(sorted(given.items()))}}]
        }
    )
    server.prompt("secret")
    server.completion("review", {"style": ["short"], "repo": ["/a"]})
    view = View(
        hide_prompts=["secret"],
        prompts=[
            PromptView(
                "review", name="check", description="Look.", pin={"repo": "/r"}, default={"style": "s"}
            )
        ],
    )
    async with opened(Guard([view]), server, "session") as peer:
        (prompt,) = (await peer.session.list_prompts()).prompts
        assert (prompt.name, prompt.description) == ("check", "Look.")
        assert [(one.name, one.required) for one in prompt.arguments or []] == [("style", False)]
        told = await peer.prompt("check")
        assert told["messages"][0]["content"]["text"] == "[('repo', '/r'), ('style', 's')]"
        for name in ("review", "secret"):
            with pytest.raises(MCPError):
                await peer.prompt(name)
        assert [one["name"] for one in server.seen("prompts/get")] == ["review"]
        assert await complete(peer, "check", "style") == ["short"]
        for name, argument in (("review", "style"), ("secret", "x"), ("check", "repo")):
            with pytest.raises(MCPError):
                await complete(peer, name, argument)


async def complete(peer: Peer, prompt: str, argument: str) -> list[str]:
    """Complete a prompt's argument."""
    import mcp.types as types

    ref = types.PromptReference(type="ref/prompt", name=prompt)
    answer = await peer.session.complete(ref, {"name": argument, "value": ""})
    return list(answer.completion.values)


RESOURCES = View(
    expose_resources=["file:///docs/*", "file:///{path}"],
    hide_resources=["file:///docs/private/*"],
    resources=[ResourceView("file:///docs/a", uri="view://a", name="A", description="The first.")],
)


async def test_resources_are_read_and_watched_by_their_shown_uris() -> None:
    """What comes back names them as they were asked for, updates included."""
    server = FakeServer()
    server.resource("file:///docs/a", "one")
    server.resource("file:///docs/private/b", "two")
    server.tool("link").returns(
        {
            "content": [
                {"type": "resource_link", "uri": "file:///docs/a", "name": "a"},
                {"type": "resource", "resource": {"uri": "file:///docs/a", "text": "one"}},
                {"type": "text", "text": "file:///docs/a"},
            ]
        }
    )
    updated: list[str] = []

    async def heard(message: Any) -> None:
        root = getattr(message, "root", message)
        if getattr(root, "method", "") == "notifications/resources/updated":
            updated.append(str(root.params.uri))

    async with opened(Guard([RESOURCES]), server, "session", message_handler=heard) as peer:
        (listed,) = (await peer.session.list_resources()).resources
        assert (str(listed.uri), listed.name, listed.description) == ("view://a", "A", "The first.")
        read = await peer.read("view://a")
        assert read["contents"][0]["uri"] == "view://a"
        linked_to = (await peer.call("link"))["content"]
        assert linked_to[0]["uri"] == linked_to[1]["resource"]["uri"] == "view://a"
        assert linked_to[2]["text"] == "file:///docs/a"
        for uri in ("file:///docs/a", "file:///docs/private/b", "file:///docs/x/../a", "file:///docs/%61"):
            with pytest.raises(MCPError):
                await peer.read(uri)
        for uri in ("file:///docs/private/b", "file:///docs/a", "file:///docs/c"):
            await server.notify("notifications/resources/updated", {"uri": uri})
        await peer.call("link")
    assert updated == ["view://a", "file:///docs/c"]
    assert [one["uri"] for one in server.seen("resources/read")] == ["file:///docs/a"]


@pytest.mark.parametrize("context", [None, {}, {"arguments": {"style": "short"}}])
async def test_what_is_pinned_holds_while_another_argument_is_completed(context: Any) -> None:
    """Values are completed by those of other arguments, which would show what a pin keeps out."""
    view = View(prompts=[PromptView("review", pin={"tenant": "acme"}, default={"style": "long"})])
    asked = {"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "customer", "value": ""}}
    params = asked if context is None else {**asked, "context": context}
    result, wire = await passed(view, "completion/complete", params)
    assert result.denial is None
    given = {} if not context else context["arguments"]
    assert wire.calls[0].params["context"] == {"arguments": {**given, "tenant": "acme"}}


@pytest.mark.parametrize(
    "context", [{"arguments": {"tenant": "other"}}, {"arguments": {"TENANT": "x"}}, [], {"arguments": 7}]
)
async def test_a_completion_cannot_be_asked_for_by_another_value_of_what_is_pinned(context: Any) -> None:
    """Nor by what is no context."""
    view = View(prompts=[PromptView("review", pin={"tenant": "acme"})])
    asked = {"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "customer", "value": ""}}
    result, wire = await passed(view, "completion/complete", {**asked, "context": context})
    assert result.denial is not None
    assert wire.calls == []


@pytest.mark.parametrize(
    "uri",
    [
        "file:///docs/private/b",
        "FILE:///docs/private/b",
        "file:///docs/./private/b",
        "file:///docs/x/../private/b",
        "file:///docs//private/b",
        "file:///docs/%70rivate/b",
        "file:///docs/%2570rivate/b",
        "file:///docs/PRIVATE/b",
        "file:///docs/priv\tate/b",
        "file:///docs/../etc/passwd",
        "file:///docs/\\..\\..\\etc/passwd",
        "other://docs/x",
        "file:/docs/private/b",
        "file:docs/private/b",
        "file://localhost/docs/private/b",
        "URL:file:///docs/private/b",
        "file:///docs/private\uff0fb",
        "file:///docs/a\\b\\c/../../etc/passwd",
        "file:///docs/..;/etc/passwd",
        "file:///docs/a?raw",
        "file:///docs/a#1",
        "file:///docs/a/",
        "file:///docs/%ff",
    ],
)
@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
async def test_a_hidden_resource_is_reachable_under_no_spelling(uri: str, method: str) -> None:
    """Escapes, dots, case and blanks."""
    result, wire = await passed(RESOURCES, method, {"uri": uri})
    assert wire.calls == []
    assert result.denial is not None
    assert result.denial.code == "not_available"


@pytest.mark.parametrize(
    ("uri", "is_hidden"),
    [
        ("users://{id}", True),
        ("users://5", True),
        ("users://5?full", True),
        ("Users://5%2Fposts", True),
        ("users://{id}/posts", False),
        ("users://5/posts", False),
        ("files://a/b/c", True),
    ],
)
async def test_a_hidden_template_hides_what_it_is_expanded_to(uri: str, is_hidden: bool) -> None:
    """And no template that begins like it."""
    view = View(hide_resources=["users://{id}", "files://{+path}"])
    result, wire = await passed(view, "resources/read", {"uri": uri})
    assert (result.denial is not None) is is_hidden
    assert bool(wire.calls) is not is_hidden


async def test_a_stream_of_updates_is_asked_for_by_shown_uris_and_acknowledged_by_them() -> None:
    """MCP 2026-07-28: `subscriptions/listen` names resources, and so does its acknowledgement."""
    wanted = {"notifications": {"resourceSubscriptions": ["view://a"], "toolsListChanged": True}}
    _, wire = await passed(RESOURCES, "subscriptions/listen", wanted)
    assert wire.params == [
        {"notifications": {"resourceSubscriptions": ["file:///docs/a"], "toolsListChanged": True}}
    ]
    for uris in (["view://a", "file:///docs/a"], ["file:///docs/private/b"], "view://a", [5]):
        refused, wire = await passed(
            RESOURCES, "subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}
        )
        assert refused.denial is not None
        assert wire.calls == []
    gate = linked(RESOURCES).gate("notifications/subscriptions/acknowledged", "inbound")
    assert gate is not None
    told = {"notifications": {"resourceSubscriptions": ["file:///docs/a", "file:///docs/private/b"]}}
    admitted = gate.admit(
        Call(id="1", method="notifications/subscriptions/acknowledged", params=told, direction="inbound")
    )
    assert isinstance(admitted, Call)
    assert admitted.params == {"notifications": {"resourceSubscriptions": ["view://a"]}}


async def test_rules_about_notifications_see_the_servers_own_uri_and_nothing_else() -> None:
    """A translation is not judged again: no rule is ever asked about a shown URI."""
    asked = Checking(lambda call: ALLOW, {("notifications/resources/updated", "inbound")})
    gate = linked(RESOURCES, asked).gate("notifications/resources/updated", "inbound")
    assert gate is not None
    params = {"uri": "file:///docs/a"}
    admitted = gate.admit(
        Call(id="1", method="notifications/resources/updated", params=params, direction="inbound")
    )
    assert isinstance(admitted, Call)
    assert admitted.params == {"uri": "view://a"}
    assert [call.params["uri"] for call in asked.seen] == ["file:///docs/a"]


async def test_each_role_has_its_own_view_and_nobody_has_none() -> None:
    """Who is not known is refused, and shown nothing."""
    junior = View(expose_tools=["git_log"], roles=["junior"], id="junior")
    senior = View(expose_tools=["git_*"], roles=["senior"], id="senior")
    page = Result.of({"tools": [{"name": "git_log"}, {"name": "git_push"}]})
    for role, names in (("junior", ["git_log"]), ("senior", ["git_log", "git_push"])):
        who = Principal(tenant="acme", roles=frozenset({role}))
        wire = Wire(page)
        call = Call(id="1", method="tools/list", server="git", principal=who)
        result = await linked(junior, senior).chain("tools/list", "outbound")(call, wire)
        assert result.value is not None
        assert [one["name"] for one in result.value["tools"]] == names  # type: ignore[union-attr, index, call-overload]
    result, _ = await passed(junior, "tools/list", {}, page)
    assert result.value == {"tools": []}
    result, wire = await passed(junior, "tools/call", {"name": "git_log"})
    assert result.denial is not None
    assert result.denial.code == "no_principal"
    assert wire.calls == []


async def test_a_view_of_one_server_leaves_others_alone() -> None:
    """Names are a server's own."""
    view = View(servers=["web"], expose_tools=["search"])
    _, wire = await passed(view, "tools/call", {"name": "git_push"})
    assert len(wire.calls) == 1


async def test_an_auditing_view_changes_nothing_and_says_what_it_would() -> None:
    """Also not the names in the record."""
    sink, server = RecordingSink(), git()
    guard = Guard([View(tools=[HISTORY], hide_tools=["git_push"], mode="audit")], sinks=[sink])
    async with opened(guard, server, "session") as peer:
        assert await peer.tools() == ["git_log", "git_push", "git_diff"]
        assert text(await peer.call("git_push", {"a": 1})) == '{"a": 1}'
    decided = [event for event in sink.events if event.kind == "decision"]
    assert {event.mode for event in decided} == {"audit"}
    assert "not_available" in {event.code for event in decided}


async def test_without_the_view_the_hidden_tool_is_called() -> None:
    """The promise is the view's: a guard without one lets the call through."""
    server = git()
    async with opened(Guard([]), server, "session") as peer:
        assert code(await peer.call("git_push", {})) is None
    assert len(server.calls("git_push")) == 1


HOSTILE: list[Any] = [
    {"type": "object", "properties": {"repo": {}}, "required": ["repo"]},
    {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"repo": {"type": "string"}}, "required": ["repo"]}}},
    {"allOf": [{"$ref": "#"}, {"properties": {"repo": {}}}]},
    {"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}] * 9, "required": ["repo"]}}},
    {"$ref": "https://evil.example/repo.json"},
    {"$dynamicRef": "#repo"},
    {"properties": [["repo", 1]], "required": "repo"},
    {"if": {"required": ["repo"]}, "then": {"properties": {"repo": {}}}},
    {"dependentRequired": {"author": ["repo"], "repo": ["author"]}},
    {"propertyNames": {"enum": ["repo", "author"]}},
    "repo",
]


@pytest.mark.parametrize("schema", HOSTILE)
async def test_a_pinned_argument_is_in_no_corner_of_the_schema(schema: Any) -> None:
    """However a server writes it; nothing is fetched, and it ends."""
    item = {"name": "git_log", "inputSchema": schema}
    view = View(tools=[ToolView("git_log", pin={"repo": "x"})])
    result, _wire = await passed(view, "tools/list", {}, Result.of({"tools": [item]}))
    assert result.value is not None
    assert "repo" not in str(result.value).replace("[['repo', 1]]", "").replace("'required': 'repo'", "")


@pytest.mark.parametrize("name", ["Path", "PATH", "path ", "\uff50ath", "p\u200bath", "%70ath"])
async def test_a_narrowed_argument_is_not_given_under_another_spelling(name: str) -> None:
    """A lenient server would take it for the one that was not judged."""
    view = View(tools=[ToolView("t", narrow={"path": {"enum": ["/a"]}})])
    for arguments in ({name: "/etc"}, {"path": "/a", name: "/etc"}):
        result, wire = await passed(view, "tools/call", {"name": "t", "arguments": arguments})
        assert result.denial is not None
        assert result.denial.code == "argument_not_available"
        assert wire.calls == []
    result, _ = await passed(view, "tools/call", {"name": "t", "arguments": {"path": "/a", "other": 1}})
    assert result.denial is None


async def test_arguments_nested_deep_or_large_are_narrowed_or_refused() -> None:
    """50 levels and 10 MB."""
    view = View(tools=[ToolView("t", narrow={"a": {"maxLength": 10, "type": "string"}}, default={"b": 1})])
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    for value in (deep, "x" * 10_000_000):
        result, wire = await passed(view, "tools/call", {"name": "t", "arguments": {"a": value}})
        assert result.denial is not None
        assert wire.calls == []
    result, wire = await passed(view, "tools/call", {"name": "t", "arguments": {"a": "x", "c": deep}})
    assert wire.params[0]["arguments"] == {"a": "x", "c": deep, "b": 1}


@pytest.mark.parametrize(
    "page",
    [
        {"tools": "git_push"},
        {"tools": {"git_push": 1}},
        {"tools": ["git_push", 5, None, {"name": 5}, {"title": "git_push"}]},
        {},
    ],
)
async def test_a_list_that_is_none_shows_nothing(page: Any) -> None:
    """What has no name cannot be shown under one."""
    result, _ = await passed(View(hide_tools=["git_push"]), "tools/list", {}, Result.of(page))
    assert result.value is not None
    assert "git_push" not in str(result.value)


def test_what_cannot_be_meant_is_refused_when_it_is_built() -> None:
    """Two under one name, a rule said twice, an argument pinned and narrowed, a pattern."""
    for build in (
        lambda: View(tools=[ToolView("a", name="x"), ToolView("b", name="x")]),
        lambda: View(tools=[ToolView("a"), ToolView("a")]),
        lambda: View(tools=[ToolView("")]),
        lambda: ToolView("a", pin={"x": 1}, default={"x": 2}),
        lambda: ToolView("a", pin={"x": 1}, narrow={"x": {"type": "string"}}),
        lambda: ToolView("a", narrow={"x": {"items": [{"pattern": "(a+)+"}]}}),
        lambda: ToolView("a", narrow={"x": {"$ref": "https://evil.example"}}),
        lambda: ToolView("a", narrow={"x": {"items": {"uniqueItems": True}}}),
        lambda: View(tools=[ToolView("a", narrow={"x": {"type": "strin"}})]),
        lambda: ResourceView("file:///{path}", uri="view://x"),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            build()
    with pytest.raises(TypeError):
        View(hide_tools="git_push")


def test_rules_that_show_nothing_are_warned_of() -> None:
    """A rule for a hidden tool, and a server that is not declared."""
    view = View(expose_tools=["a"], tools=[ToolView("b", name="c")], servers=["web"])
    assert list(view.warnings(["git"])) == [
        "view: 'b' has a rule and is not shown",
        "view: no declared server is called 'web'",
    ]
