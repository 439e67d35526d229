"""Which calls a rule is about."""

from typing import Any

import pytest
from chains import ADA, tool_call
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import Call, Match, Principal, Scope
from mcpguard.core.scope import matcher

TEXT = st.text(st.characters(exclude_categories=()))
GLOBBY = st.text(alphabet="ab*?[]!^-&|~\\\n.")


@given(st.lists(TEXT.filter(bool) | GLOBBY.filter(bool), max_size=4), TEXT | GLOBBY)
def test_globs_never_raise_on_any_text(patterns: list[str], name: str) -> None:
    """Patterns come from operators, names from servers."""
    assert isinstance(matcher(patterns)(name), bool)


@given(TEXT.filter(lambda text: text and not set("*?[") & set(text)))
def test_a_name_without_wildcards_matches_itself_alone(name: str) -> None:
    """Names are exact and case-sensitive."""
    match = matcher([name])
    assert match(name)
    assert not match(name + "x")
    assert match(name.swapcase()) is (name.swapcase() == name)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("git_*", "git_log", True),
        ("git_*", "my_git_log", False),
        ("git_*", "git_log\nx", True),
        ("*", "", True),
        ("?", "a", True),
        ("?", "ab", False),
        ("[ab]x", "bx", True),
        ("[!ab]x", "bx", False),
        ("[ab", "[ab", True),
        ("GIT_*", "git_log", False),
    ],
)
def test_globs_match_whole_names(pattern: str, name: str, expected: bool) -> None:
    """The glob rules of the documentation."""
    assert matcher([pattern])(name) is expected


def test_a_hostile_name_is_matched_in_linear_time() -> None:
    """Names come from servers: a backtracking glob would be theirs to slow down."""
    match = matcher(["*a*a*a*a*a*a*a*a*a*a*b"])
    assert not match("a" * 20_000)


def test_names_and_globs_may_be_mixed() -> None:
    """One list, both kinds."""
    match = matcher(["exact", "pre_*"])
    assert (match("exact"), match("pre_x"), match("other")) == (True, True, False)


@pytest.mark.parametrize("member", ["servers", "tools", "roles", "tenants", "agents"])
def test_a_single_string_is_not_a_list_of_names(member: str) -> None:
    """`tools="git_*"` would otherwise be a list of letters."""
    with pytest.raises(TypeError, match="not the single string 'git'"):
        Scope(**{member: "git"})


@pytest.mark.parametrize("member", ["servers", "tools", "roles", "tenants", "agents"])
def test_names_are_strings_and_not_empty(member: str) -> None:
    """A rule that can never match is a mistake."""
    with pytest.raises(TypeError, match="expected names or globs, not int"):
        Scope(**{member: [5]})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="an empty name"):
        Scope(**{member: [""]})


def test_an_empty_scope_is_about_every_call() -> None:
    """Nothing said, nothing narrowed."""
    assert Scope().match(tool_call()) is Match.YES
    assert not Scope().needs_principal


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(servers=["files"]), Match.YES),
        (Scope(servers=["web"]), Match.NO),
        (Scope(tools=["re*"]), Match.YES),
        (Scope(tools=["write"]), Match.NO),
        (Scope(roles=["auditor", "root"]), Match.YES),
        (Scope(roles=["root"]), Match.NO),
        (Scope(tenants=["ac*"]), Match.YES),
        (Scope(tenants=["other"]), Match.NO),
        (Scope(agents=["tester"]), Match.YES),
        (Scope(agents=["other"]), Match.NO),
        (Scope(servers=["files"], tools=["read"], roles=["auditor"], tenants=["acme"]), Match.YES),
        (Scope(servers=["web"], tools=["read"]), Match.NO),
    ],
)
def test_every_member_of_a_scope_narrows(scope: Scope, expected: Match) -> None:
    """Members are joined by and, names inside one by or; roles are no globs."""
    assert scope.match(tool_call()) is expected


@pytest.mark.parametrize("scope", [Scope(roles=["a"]), Scope(tenants=["*"]), Scope(agents=["*"])])
def test_without_a_principal_a_rule_about_principals_cannot_be_decided(scope: Scope) -> None:
    """Design, "Runs and principals": such a rule denies with `no_principal`."""
    nobodys = tool_call().made_by(None)
    assert scope.needs_principal
    assert scope.match(nobodys) is Match.NO_PRINCIPAL
    assert scope.match(tool_call().made_by(Principal())) is Match.NO


def test_a_scope_of_another_server_is_not_about_a_call_by_nobody() -> None:
    """What is certainly not concerned does not need to know who calls."""
    assert Scope(servers=["web"], roles=["a"]).match(tool_call().made_by(None)) is Match.NO


@pytest.mark.parametrize("params", [{}, {"name": None}, {"name": 5}, {"name": ["read"]}, {"name": ""}])
def test_a_tool_scope_is_not_about_a_call_without_a_tool(params: Any) -> None:
    """A call without a proper name has no tool, and other methods have none either."""
    assert Scope(tools=["read"]).match(tool_call().replace(params=params)) is Match.NO
    prompt = Call(id="1", method="prompts/get", params={"name": "read"}, principal=ADA)
    assert Scope(tools=["read"]).match(prompt) is Match.NO


@given(TEXT, TEXT, TEXT)
def test_a_scope_gives_an_answer_for_any_call(server: str, tool: str, tenant: str) -> None:
    """Names come from outside."""
    scope = Scope(servers=["a*"], tools=["b*", "c"], tenants=["[d]"])
    call = Call(
        id="1",
        method="tools/call",
        params={"name": tool},
        server=server,
        principal=Principal(tenant=tenant),
    )
    assert scope.match(call) in (Match.YES, Match.NO)


def test_a_glob_is_no_role() -> None:
    """It would match nobody, and a rule that denies would deny nobody."""
    with pytest.raises(ValueError, match=r"roles are names, not globs: 'aud\*'"):
        Scope(roles=["aud*"])
