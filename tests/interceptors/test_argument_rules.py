"""ArgumentRules: arguments are accepted by what is said of them, or the call does not go out."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from chains import ADA, OK, Wire, chain, linked, tool_call
from httpx import URL
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import (
    ALLOW,
    Accepted,
    Allow,
    ArgumentRule,
    ArgumentRules,
    Ask,
    Call,
    Deny,
    Guard,
    OrderError,
    PathRule,
    PolicyError,
    Principal,
    Run,
    ToolFacts,
    UrlRule,
)
from mcpguard.cli import main
from mcpguard.config import parse_policy
from mcpguard.core.verdict import Verdict
from mcpguard.testing import FakeServer, RecordingSink, ScriptedApprover

pytestmark = pytest.mark.anyio


def rules(*given: ArgumentRule, **options: Any) -> ArgumentRules:
    """Some rules, linked nowhere."""
    return ArgumentRules(rules=given, **options)


def code(verdict: Verdict) -> str | None:
    """The code of a refusal or question; None for what passes."""
    return verdict.code if isinstance(verdict, Deny | Ask) else None


def judged(wanted: Accepted, /, **arguments: Any) -> str | None:
    """What a rule about `x` says."""
    return code(rules(ArgumentRule(arguments={"x": wanted})).check(tool_call(**arguments)))


def of_tool(schema: Any, **arguments: Any) -> Call:
    """A call whose tool declares `schema`."""
    return tool_call(**arguments).with_tool(ToolFacts("read", {"name": "read", "inputSchema": schema}))


async def test_a_call_whose_argument_is_not_accepted_does_not_go_out() -> None:
    """And the same call goes out where the rules are not linked."""
    narrow = rules(ArgumentRule(tools=["read"], arguments={"path": Accepted(path=PathRule(roots=["/srv"]))}))
    for links, expected in (
        (chain(narrow), []),
        (chain(), [{"name": "read", "arguments": {"path": "/etc/x"}}]),
    ):
        wire = Wire(OK)
        await links(tool_call(path="/etc/x"), wire)
        assert wire.params == expected


async def test_a_refusal_names_the_argument_and_what_is_accepted_and_never_the_value() -> None:
    """To the model, to the record and in a repr."""
    sink = RecordingSink()
    marker = "value-that-nobody-repeats"
    one = rules(
        ArgumentRule(
            tools=["read"],
            arguments={"path": Accepted(path=PathRule(roots=["/srv"])), "n": Accepted(optional=True)},
            only=True,
        )
    )
    links = linked(one, sinks=[sink]).chain("tools/call", "outbound")
    for arguments in ({"path": f"/etc/{marker}"}, {"path": "/srv/a", marker: 1}):
        result = await links(tool_call(**arguments), Wire(OK))
        assert result.denial is not None
        assert marker not in f"{result.denial} {result!r} {[event.as_dict() for event in sink.events]}"
    refused = one.check(tool_call(path="/etc/x"))
    assert isinstance(refused, Deny)
    assert refused.message == "This call's arguments are not acceptable: path must be a path inside /srv."


def test_the_first_rule_that_is_about_a_call_decides() -> None:
    """A later one neither loosens nor tightens it."""
    strict = ArgumentRule(tools=["read"], roles=["auditor"], arguments={"x": Accepted(values=[1])})
    loose = ArgumentRule(tools=["*"])
    assert code(rules(strict, loose).check(tool_call(x=2))) == "argument_refused"
    assert rules(loose, strict).check(tool_call(x=2)) is ALLOW
    other = ArgumentRule(tools=["read"], roles=["other"], arguments={"x": Accepted(values=[1])})
    assert rules(other, loose).check(tool_call(x=2)) is ALLOW


def test_calls_that_no_rule_is_about_are_decided_by_the_default() -> None:
    """Both ways."""
    about_others = ArgumentRule(tools=["write"], arguments={"x": Accepted()})
    assert rules(about_others).check(tool_call()) is ALLOW
    assert code(rules(about_others, default="deny").check(tool_call())) == "arguments_denied"


def test_a_missing_argument_is_refused_unless_it_is_optional() -> None:
    """At the top, below, and in one element of a list."""
    assert judged(Accepted()) == "argument_missing"
    assert judged(Accepted(optional=True)) is None
    deep = rules(ArgumentRule(arguments={"a[*].b": Accepted(values=[1])}))
    assert deep.check(tool_call(a=[{"b": 1}, {"b": 1}])) is ALLOW
    assert code(deep.check(tool_call(a=[{"b": 1}, {}]))) == "argument_missing"
    assert code(deep.check(tool_call(a={"b": 1}))) == "argument_missing"
    assert code(deep.check(tool_call(a=[{"b": 1}, {"b": 2}]))) == "argument_refused"


@pytest.mark.parametrize("name", ["", "[*]", ".a", "a.", "a..b", "a[", "a[0]", "a]b", 'a["b]'])
def test_an_expression_that_names_no_argument_is_refused_when_the_rule_is_made(name: str) -> None:
    """It would be about nothing."""
    with pytest.raises(ValueError, match="names no argument"):
        ArgumentRule(arguments={name: Accepted()})


def test_a_name_with_a_dot_is_quoted() -> None:
    """Otherwise it means a member of an object."""
    one = rules(ArgumentRule(arguments={'o["a.b"].c': Accepted(values=[1])}))
    assert one.check(tool_call(o={"a.b": {"c": 1}})) is ALLOW
    assert code(one.check(tool_call(o={"a": {"b": {"c": 1}}}))) == "argument_missing"


@pytest.mark.parametrize(
    ("wanted", "good", "bad"),
    [
        (Accepted(values=[1, "a"]), [1, 1.0, "a"], [True, "A", "1", "a ", [1], None]),
        (Accepted(values=[True]), [True], [1, 1.0, "true"]),
        (Accepted(minimum=1, maximum=5), [1, 5, 2.5], [0, 6, 10**400, "3", True, float("nan"), [3], None]),
        (Accepted(min_length=1, max_length=3), ["a", [1, 2], {"a": 1}], ["", "aaaa", [], 12, None]),
        (Accepted(globs=["*@acme.org"]), ["a@acme.org"], ["a@acme.org\n", "a@acme.orga", "a\n@acme.org", 1]),
        (
            Accepted(patterns=["[a-z]+", "x.y"]),
            ["abc", "x-y"],
            ["abc\n", "abc1", "x\ny", "", 1, ["abc"], "\ud800"],
        ),
        (Accepted(type="integer"), [1, 2.0, -(10**400)], [1.5, True, "1", float("inf")]),
        (Accepted(type=["array", "null"]), [[], None], ["", {}, 0]),
        (Accepted(), [None, 1, "a"], []),
    ],
)
def test_a_value_is_accepted_only_as_it_is_written(wanted: Accepted, good: list[Any], bad: list[Any]) -> None:
    """Nothing is converted, trimmed or folded."""
    assert [judged(wanted, x=value) for value in good] == [None] * len(good)
    assert [judged(wanted, x=value) for value in bad] == ["argument_refused"] * len(bad)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Accepted(patterns=["(a"]),
        lambda: Accepted(patterns=[r"(a)\1"]),
        lambda: Accepted(minimum=2, maximum=1),
        lambda: Accepted(minimum=float("nan")),
        lambda: Accepted(type="text"),  # type: ignore[arg-type]
        lambda: PathRule(roots=["relative"]),
        lambda: PathRule(roots=[]),
        lambda: PathRule(roots=["/a", "C:\\a"]),
        lambda: UrlRule(schemes=["HTTP"]),
        lambda: UrlRule(schemes=["gopher"]),
        lambda: UrlRule(ports=[0]),
        lambda: UrlRule(hosts=["localhost"]),
        lambda: UrlRule(hosts=["169.254.169.254"]),
        lambda: UrlRule(hosts=["exämple.org"]),
        lambda: ArgumentRule(effect="deny", arguments={"x": Accepted()}),
        lambda: ArgumentRule(effect="warn"),  # type: ignore[arg-type]
        lambda: ArgumentRule(tools=["a"], prompts=["b"]),
        lambda: ArgumentRule(when="call.arguments."),
        lambda: ArgumentRule(when="callers.arguments.x == 1"),
        lambda: ArgumentRule(when="nope(1)"),
        ArgumentRules,
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_when_it_is_made(made: Any) -> None:
    """Not at the first call."""
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        made()


def test_schemas_without_their_package_are_refused_when_the_rule_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And `mcpguard check` says so, with the extra."""
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\ninterceptors:\n  argument_rules: {schema: true}\n")
    assert main(["check", str(file)]) == 0
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(PolicyError, match=r"3: .*mcpguard-inline\[rules\]"):
        Guard.from_policy(file)
    assert main(["check", str(file)]) == 2
    assert "pip install 'mcpguard-inline[rules]'" in capsys.readouterr().err


def test_a_hostile_pattern_and_a_hostile_text_take_linear_time() -> None:
    """A backtracking engine would not end this test."""
    one = rules(ArgumentRule(arguments={"x": Accepted(patterns=["(a+)+b", "(.*a){12}"])}))
    assert code(one.check(tool_call(x="a" * 1_000_000 + "!"))) == "argument_refused"


INSIDE = [
    "/srv/data",
    "/srv/data/",
    "/srv/data/a/b.txt",
    "/srv/data/a/../b",
    "/srv//data/./a",
    "/srv/data/.git/x",
]

OUTSIDE = [
    "/srv/data/../x",
    "/srv/database",
    "/srv",
    "/etc/passwd",
    "data/x",
    "",
    "~/x",
    "/srv/data/%2e%2e/x",
    "/srv/data/%252e%252e/x",
    "/srv/data/%25252e%25252e%25252fx",
    "/srv/data/..%2fx",
    "/srv/data/%u002e%u002e/x",
    "/srv/data/%c0%ae%c0%ae/x",
    "/srv/data/..\\x",
    "/srv/data/a\\b\\c/../../etc/passwd",
    "/srv/data/a%5cb%5cc/../../etc/passwd",
    "$HOME/.ssh/id",
    "${HOME}/x",
    "$(pwd)/x",
    "`pwd`/x",
    "%HOME%/x",
    "\uff04HOME/x",
    "/srv/data/\uff0e\uff0e/x",
    "/srv/data/\u2025/x",
    "/srv/data/..\u2215x",
    "/srv/data/..\u2044x",
    "/srv/data/.\u200b./x",
    "/srv/data/\u3002\u3002/x",
    "/srv/data/&#46;&#46;/x",
    "/srv/data/&period;&period;/x",
    "/srv/data/\\u002e\\u002e/x",
    "/srv/data/\\x2e\\x2e/x",
    "/srv/data/x\x00",
    "/srv/data/.. /x",
    "/srv/data/.../x",
    "/SRV/DATA/x",
    "C:\\srv\\data",
    "file:///etc/passwd",
    "file://evil/srv/data/x",
    "http://srv/data",
    "\\srv\\..\\etc",
    "/srv/data/" + "a/" * 5000,
    "%2Fetc",
]


@pytest.mark.parametrize("path", INSIDE)
def test_a_path_inside_a_root_is_accepted(path: str) -> None:
    """Dots that lead nowhere else included."""
    assert judged(Accepted(path=PathRule(roots=["/srv/data"])), x=path) is None


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leads_outside_in_any_reading_is_refused(path: str) -> None:
    """Whatever the server decodes."""
    for base in (None, "/srv/data"):
        if path == "data/x" and base is not None:
            continue
        assert judged(Accepted(path=PathRule(roots=["/srv/data"], base=base)), x=path) == "argument_refused"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C:\\data\\a", None),
        ("c:/DATA/a", None),
        ("a\\b", None),
        ("C:\\data\\..\\x", "argument_refused"),
        ("C:\\database", "argument_refused"),
        ("C:a", "argument_refused"),
        ("\\data\\a", "argument_refused"),
        ("D:\\data\\a", "argument_refused"),
        ("C:\\data\\a.txt:stream", "argument_refused"),
        ("C:\\data\\nul", "argument_refused"),
        ("C:\\data\\CONIN$", "argument_refused"),
        ("C:\\data\\COM\u00b9.txt", "argument_refused"),
        ("%USERPROFILE%\\a", "argument_refused"),
        ("C:\\data\\.. \\x", "argument_refused"),
        ("C:\\data\\a.", "argument_refused"),
        ("\\\\?\\C:\\data\\a", "argument_refused"),
        ("\\\\host\\data\\a", "argument_refused"),
        ("file:///C:/data/a", None),
        ("file:///D:/data/a", "argument_refused"),
    ],
)
def test_paths_of_windows_are_read_as_windows_does(path: str, expected: str | None) -> None:
    """Drives, streams, devices, and names whose end fades."""
    assert judged(Accepted(path=PathRule(roots=["C:\\Data"], base="C:\\Data")), x=path) == expected


def test_hosts_alone_are_inside_the_root_of_all_hosts() -> None:
    """A root that ends in its separators keeps them: nothing else begins with both."""
    every = Accepted(path=PathRule(roots=["\\\\"]))
    assert judged(every, x="\\\\host\\share\\a") is None
    assert [judged(every, x=path) for path in ("/:/", "\\a", "C:\\a")] == ["argument_refused"] * 3


def test_a_relative_path_is_refused_where_nobody_said_what_it_is_relative_to() -> None:
    """Which folder it starts from is the server's business; also if the root is this process's own folder."""
    here = str(Path.cwd())
    for rule in (PathRule(roots=[here]), PathRule(roots=[here], local=True)):
        assert [judged(Accepted(path=rule), x=path) for path in ("a", "./a", "a/../b")] == [
            "argument_refused"
        ] * 3
        assert judged(Accepted(path=rule), x=f"{here}/a") is None


def test_a_link_that_leads_outside_is_followed_where_the_folder_is_local(tmp_path: Path) -> None:
    """And a root that is a link itself still holds what is in it."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    root.mkdir()
    secret.mkdir()
    (secret / "key").touch()
    (root / "plain").touch()
    (root / "way").symlink_to(secret)
    (tmp_path / "alias").symlink_to(root)
    for folder in (root, tmp_path / "alias"):
        local = Accepted(path=PathRule(roots=[str(folder)], local=True))
        assert judged(local, x=f"{folder}/plain") is None
        assert judged(local, x=f"{folder}/new/file") is None
        assert judged(local, x=f"{folder}/way/key") == "argument_refused"
        assert judged(Accepted(path=PathRule(roots=[str(folder)])), x=f"{folder}/way/key") is None


STEPS = st.sampled_from(
    ["..", ".", "", "a", "%2e%2e", "..%2f..", "\uff0e\uff0e", "..\\..", ".\u200b.", "%252e%252e", "~"]
)
SEPARATORS = st.sampled_from(["/", "\\", "%2f", "%5c", "\u2215", "//", "%252F"])


@settings(deadline=None)
@given(st.lists(st.tuples(STEPS, SEPARATORS), max_size=8))
def test_no_path_escapes_its_root_by_being_encoded_again(steps: list[tuple[str, str]]) -> None:
    """The oracle decodes all it can and walks the path, a backslash being a separator and being none."""
    path = "/srv/data/" + "".join(step + separator for step, separator in steps)
    if judged(Accepted(path=PathRule(roots=["/srv/data"])), x=path) is not None:
        return
    decoded = path
    for _ in range(4):
        for written, meant in (
            ("%252e", "."),
            ("%252F", "/"),
            ("%2e", "."),
            ("%2f", "/"),
            ("%5c", "\\"),
            ("\u2215", "/"),
            ("\uff0e", "."),
            ("\u200b", ""),
        ):
            decoded = decoded.replace(written, meant)
    for meant in (decoded, decoded.replace("\\", "/")):
        assert os.path.normpath(meant) == "/srv/data" or os.path.normpath(meant).startswith("/srv/data/")


PUBLIC = [
    "https://api.example.org",
    "https://api.example.org/",
    "HTTPS://API.EXAMPLE.ORG/x?y=1#z",
    "https://api.example.org:443/x",
    "https://a.b.example.org./x",
    "https://api.example.org/a%2f..%2fb",
]

ELSEWHERE = [
    "http://api.example.org/",
    "https://example.org/",
    "https://api.example.org.evil.net/",
    "https://evil.net/api.example.org",
    "https://user@api.example.org/",
    "https://api.example.org@evil.net/",
    "https://api.example.org%2f@evil.net/",
    "https://api.example.org\\@evil.net/",
    "https://evil.net\\.example.org/",
    "https://evil.net%2f.example.org/",
    "https://evil.net#.example.org/",
    "https://evil.net?.example.org/",
    "https:/api.example.org/",
    "https:api.example.org",
    "https:///api.example.org/",
    "//api.example.org/",
    " https://api.example.org/",
    "https://api.example.org/\n",
    "ht\ntps://api.example.org/",
    "https://api.example.org:444/",
    "https://api.example.org:/",
    "https://api.example.org:99999/",
    "https://api.example.org:x/",
    "https%3A//api.example.org/",
    "https://\uff41pi.example.org/",
    "https://api\u3002example.org/",
    "https://api..example.org/",
    "https://-.example.org/",
    "https://" + "a." * 200 + "example.org/",
    "javascript:alert(1)//.example.org",
    7,
    None,
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_url_that_leads_to_a_listed_host_is_accepted(url: str) -> None:
    """Case, the scheme's own port and a final dot change nothing."""
    assert judged(Accepted(url=UrlRule(hosts=["*.example.org"])), x=url) is None


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_url_that_some_parser_reads_differently_is_refused(url: object) -> None:
    """Strict rather than clever."""
    assert judged(Accepted(url=UrlRule(hosts=["*.example.org"])), x=url) == "argument_refused"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - an address that is refused
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:0:0:0:0:80ff:fffe]",
        "[fe80::1%25eth0]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "intranet",
        "192.0.0.192",
        "[fec0::1]",
        "[2606:4700::5efe:7f00:1]",
        "[2606:4700::200:5efe:a00:1]",
    ],
)
def test_an_address_that_is_not_public_is_refused_however_it_is_written(host: str) -> None:
    """Decimal, octal, mapped, translated or tunnelled; and names at home."""
    assert judged(Accepted(url=UrlRule()), x=f"https://{host}/") == "argument_refused"


def test_a_private_address_is_accepted_where_the_rule_says_so() -> None:
    """Only the one that is listed."""
    one = Accepted(url=UrlRule(hosts=["127.0.0.1", "[::1]"], schemes=["http"], ports=[8080], private=True))
    assert judged(one, x="http://127.0.0.1:8080/") is None
    assert judged(one, x="http://[0:0::1]:8080/") is None
    assert judged(one, x="http://127.0.0.2:8080/") == "argument_refused"
    assert judged(one, x="http://127.0.0.1/") == "argument_refused"
    assert judged(Accepted(url=UrlRule()), x="https://8.8.8.8/") is None


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("/\\@:#?%.[]2fe0 \t\u3002\uff0fxa")), max_size=12))
def test_no_url_reaches_another_host_by_what_is_put_before_the_listed_one(inserted: str) -> None:
    """What is accepted has a host that ends as the rule says, by a parser that is not the rule's."""
    url = f"https://evil.net{inserted}.example.org/"
    if judged(Accepted(url=UrlRule(hosts=["*.example.org"])), x=url) is None:
        assert URL(url).host.rstrip(".").endswith(".example.org")


def test_a_condition_narrows_a_rule_to_the_calls_it_holds_for() -> None:
    """Over arguments, principal and run."""
    for when in (
        'call.arguments.mode == "write"',
        'principal.tenant == "acme" && "auditor" in principal.roles',
        'run.id == "task" && run.depth == 0',
        'call.tool == "read" && call.server == "files" && call.arguments.size() == 1',
        'has(call.arguments.mode) && call.params.name.startsWith("re")',
        'call.arguments.exists(name, name == "mode")',
    ):
        one = rules(ArgumentRule(when=when, effect="deny"))
        run = Run(id="task", principal=ADA)
        assert code(one.check(tool_call(mode="write", run=run))) == "arguments_denied", when
    narrow = rules(ArgumentRule(when='call.arguments.mode == "write"', effect="deny"))
    assert narrow.check(tool_call(mode="read")) is ALLOW


def test_a_condition_over_a_missing_field_never_lets_a_call_through() -> None:
    """Matched where it denies or asks; not matched where it allows, and refused if no other rule decides."""
    when = 'call.arguments.mode == "safe"'
    assert code(rules(ArgumentRule(when=when, effect="deny")).check(tool_call())) == "arguments_denied"
    assert code(rules(ArgumentRule(when=when, effect="ask")).check(tool_call())) == "arguments_need_approval"
    assert code(rules(ArgumentRule(when=when)).check(tool_call())) == "condition_unknown"
    strict = ArgumentRule(arguments={"x": Accepted(values=[1])})
    assert code(rules(ArgumentRule(when=when), strict).check(tool_call(x=2))) == "argument_refused"
    assert rules(ArgumentRule(when=when), strict).check(tool_call(x=1)) is ALLOW


@pytest.mark.parametrize(
    ("when", "arguments"),
    [
        ("call.arguments.x + 1 == 2", {"x": "text"}),
        ("call.arguments.x", {"x": "true"}),
        ("call.arguments.x[3] == 1", {"x": [1]}),
        ("1 / call.arguments.x == 1", {"x": 0}),
        ('call.arguments.x == "a"', {"x": "\ud800"}),
    ],
)
def test_a_condition_that_cannot_be_evaluated_refuses_the_call(when: str, arguments: dict[str, Any]) -> None:
    """Whatever the rule's effect."""
    for effect in ("allow", "ask", "deny"):
        one = rules(ArgumentRule(when=when, effect=effect))
        assert code(one.check(tool_call(**arguments))) == "condition_failed"


def nested(levels: int) -> Any:
    """A value so many levels deep."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_arguments_of_any_depth_and_size_are_judged_and_end_nothing() -> None:
    """The engines below recurse on the machine's stack; what they are given is bounded."""
    condition = rules(ArgumentRule(when="has(call.arguments.x.b)", effect="deny"))
    schema = rules(schema=True)
    recursive = {"properties": {"a": {"$ref": "#"}, "x": {"$ref": "#"}}}
    for levels in (50, 100_000):
        deep = nested(levels)
        assert code(condition.check(tool_call(x=deep))) == (None if levels == 50 else "condition_failed")
        assert code(schema.check(of_tool(recursive, x=deep))) == (None if levels == 50 else "schema_mismatch")
        assert judged(Accepted(type="object"), x=deep) is None
    long = "a" * 10_000_000
    assert judged(Accepted(max_length=100), x=long) == "argument_refused"
    assert code(condition.check(tool_call(x={"b": long}))) == "arguments_denied"
    assert code(condition.check(tool_call(x=[1] * 200_000))) == "condition_failed"


def test_the_tools_own_schema_is_enforced_where_wanted() -> None:
    """Beside the rules, and without them."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}, "required": ["n"]}
    one = rules(schema=True)
    assert one.check(of_tool(schema, n=3)) is ALLOW
    refused = one.check(of_tool(schema, n=4))
    assert isinstance(refused, Deny)
    assert refused.message == (
        "This call's arguments are not acceptable: argument 'n' fails 'maximum' of the tool's schema."
    )
    assert code(one.check(of_tool(schema))) == "schema_mismatch"
    assert code(one.check(tool_call(n=3))) == "tool_unknown"
    both = rules(ArgumentRule(arguments={"n": Accepted(maximum=2)}), schema=True)
    assert code(both.check(of_tool(schema, n=3))) == "argument_refused"
    asking = rules(ArgumentRule(effect="ask"), schema=True)
    assert code(asking.check(of_tool(schema, n=4))) == "schema_mismatch"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json#/x"},
        {"properties": {"n": {"pattern": "(a"}}},
        {"properties": {"n": {"pattern": "(a)\\1"}}},
        {"type": "nothing"},
        nested(500),
        {"enum": ["x" * 300_000]},
    ],
)
def test_a_schema_that_cannot_be_enforced_refuses_the_call(schema: Any) -> None:
    """References to elsewhere are never followed."""
    assert code(rules(schema=True).check(of_tool(schema, n="a"))) == "schema_unusable"


def test_a_schema_that_refers_to_itself_ends() -> None:
    """Whatever it then means."""
    for schema in (
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ):
        assert code(rules(schema=True).check(of_tool(schema, n=1))) in (
            None,
            "schema_mismatch",
            "schema_unusable",
        )


def doubled(levels: int, keyword: str) -> dict[str, Any]:
    """Definitions that each refer twice to the next."""
    chain = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**chain, f"d{levels}": {}}, "$ref": "#/$defs/d0"}


TWICE: dict[str, Any] = {"properties": {"x": {"$ref": "#/$defs/n"}}}


@pytest.mark.parametrize(
    "schema",
    [
        doubled(40, "allOf"),
        doubled(40, "anyOf"),
        {"$defs": {"n": {"oneOf": [TWICE, TWICE]}}, "$ref": "#/$defs/n"},
        {"properties": {"x": {"$ref": "#"}}, "patternProperties": {".": {"$ref": "#"}}},
        {"properties": {"x": {"$ref": "#"}}, "allOf": [{"additionalProperties": {"$ref": "#"}}]},
        {"prefixItems": [{"$ref": "#"}], "contains": {"$ref": "#"}, "not": {"items": {"$ref": "#"}}},
        {"properties": {f"p{n}": {"title": str(n)} for n in range(10_000)}},
        {
            "$defs": {"a": {"$id": "b", "properties": {"x": {"$ref": "#/$defs/y"}}}},
            "allOf": [{"$ref": "#/$defs/a"}],
        },
    ],
)
def test_a_schema_that_would_be_evaluated_without_end_is_not_evaluated(schema: Any) -> None:
    """Two ways to one place double the work, at each level of definitions or of values."""
    deep: Any = "a"
    for _ in range(30):
        deep = {"x": deep}
    assert code(rules(schema=True).check(of_tool(schema, **deep))) == "schema_unusable"


@pytest.mark.parametrize(
    "schema",
    [
        {
            "$defs": {"n": {"properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}}}},
            "$ref": "#/$defs/n",
        },
        {"anyOf": [{"type": "string"}, {"items": {"$ref": "#"}}, {"additionalProperties": {"$ref": "#"}}]},
        {
            "properties": {f"p{n}": {"$ref": "#/$defs/a~1b"} for n in range(50)},
            "$defs": {"a/b": {"type": "object"}},
        },
        {
            "properties": {
                "id": {"type": "string"},
                "l": {"anyOf": [{"$ref": "#/properties/id"}, {"type": "null"}]},
            }
        },
        doubled(5, "allOf"),
    ],
)
def test_a_schema_that_honest_servers_have_is_evaluated(schema: Any) -> None:
    """Trees, any JSON, many uses of one definition."""
    assert code(rules(schema=True).check(of_tool(schema, id="a"))) is None


def test_a_schema_that_changes_is_compiled_anew() -> None:
    """What was known of the tool is not used for its successor."""
    one = rules(schema=True)
    assert one.check(of_tool({"properties": {"n": {"maximum": 5}}}, n=5)) is ALLOW
    assert code(one.check(of_tool({"properties": {"n": {"maximum": 4}}}, n=5))) == "schema_mismatch"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 7},
        {"name": ["read"]},
        {"name": "read", "arguments": [1]},
        {"name": "read", "arguments": "x"},
    ],
)
def test_a_call_that_is_out_of_shape_is_refused(params: Any) -> None:
    """It might mean anything to the server."""
    one = rules(ArgumentRule(tools=["read"], arguments={"x": Accepted()}))
    assert code(one.check(Call(id="1", method="tools/call", params=params))) == "arguments_malformed"


def test_a_rule_about_prompts_judges_their_arguments_and_no_tools() -> None:
    """A prompt of the same name as a tool is another thing."""
    one = rules(ArgumentRule(prompts=["read"], arguments={"x": Accepted(values=["a"])}))
    params = {"name": "read", "arguments": {"x": "b"}}
    assert code(one.check(Call(id="1", method="prompts/get", params=params))) == "argument_refused"
    assert one.check(Call(id="1", method="tools/call", params=params)) is ALLOW


def test_a_rule_that_depends_on_who_calls_refuses_when_nobody_said() -> None:
    """Rather than being skipped."""
    one = rules(ArgumentRule(roles=["intern"], arguments={"x": Accepted(values=[1])}))
    nobody = Call(id="1", method="tools/call", params={"name": "read", "arguments": {"x": 2}})
    assert code(one.check(nobody)) == "no_principal"
    assert one.check(nobody.made_by(Principal(roles=frozenset({"boss"})))) is ALLOW


async def test_a_rule_that_asks_needs_an_approval_and_gets_its_answer() -> None:
    """A guard without one cannot be built; arguments that are not accepted are not asked about."""
    one = rules(ArgumentRule(effect="ask", arguments={"x": Accepted(minimum=0)}))
    with pytest.raises(OrderError):
        Guard([one])
    approver = ScriptedApprover().approves()
    links = chain(rules(ArgumentRule(effect="ask", arguments={"x": Accepted(minimum=0)})), approver)
    wire = Wire(OK)
    assert (await links(tool_call(x=1), wire)).denial is None
    refused = await links(tool_call(x=-1), wire)
    assert refused.denial is not None
    assert refused.denial.code == "argument_refused"
    assert len(wire.calls) == 1


def test_rules_that_can_never_match_are_warned_about() -> None:
    """Behind a wider one, or for a server that is not declared."""
    one = rules(
        ArgumentRule(tools=["*"]), ArgumentRule(tools=["read"]), ArgumentRule(servers=["web"], prompts=["a"])
    )
    assert list(one.warnings(["files"])) == [
        "argument_rules.rules[1] can never match: argument_rules.rules[0] decides about the same calls before it",
        "argument_rules.rules[2]: no declared server is called 'web'",
    ]


def test_a_policy_file_says_the_same() -> None:
    """Nested rules included."""
    policy = parse_policy(
        """
version: 1
interceptors:
  argument_rules:
    schema: true
    rules:
      - tools: [read]
        when: 'call.arguments.mode == "x"'
        arguments:
          path: {path: {roots: [/srv/data]}}
          "urls[*]": {url: {hosts: ["*.example.org"], ports: [443]}}
          mode: {values: [x, y]}
"""
    )
    (one,) = policy.build().interceptors
    assert isinstance(one, ArgumentRules)
    assert one.schema
    assert one.rules[0].arguments["path"] == Accepted(path=PathRule(roots=("/srv/data",)))


@pytest.mark.parametrize("schema", [False, True])
async def test_a_guarded_session_refuses_and_goes_on(schema: bool) -> None:
    """The server sees only what was accepted; the agent can read why."""
    from mcp import ClientSession

    server = FakeServer()
    server.tool("read").returns("text")
    limited = ArgumentRule(tools=["read"], arguments={"path": Accepted(path=PathRule(roots=["/srv"]))})
    guard = Guard([rules(limited, schema=schema)])
    async with server.connect() as (read, write), guard.run():
        async with guard.session(ClientSession(read, write), name="files") as session:
            await session.initialize()
            refused = await session.call_tool("read", {"path": "/srv/%2e%2e/etc/passwd"})
            assert "[argument_refused]" in refused.content[0].text  # type: ignore[union-attr]
            passed = await session.call_tool("read", {"path": "/srv/a"})
            assert passed.content[0].text == "text"  # type: ignore[union-attr]
    assert server.calls("read") == [{"path": "/srv/a"}]


@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_text_passes_a_pattern_that_it_does_not_match_as_a_whole(text: str) -> None:
    """The oracle is a set of letters."""
    passed = judged(Accepted(patterns=["[a-c]{1,5}"]), x=text) is None
    assert passed == (1 <= len(text) <= 5 and set(text) <= set("abc"))


def test_the_one_allowing_verdict_is_shared() -> None:
    """The chain's short path compares by identity."""
    assert isinstance(ALLOW, Allow)
    assert rules(ArgumentRule(tools=["read"])).check(tool_call()) is ALLOW
