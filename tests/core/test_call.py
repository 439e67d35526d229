"""Calls: what is derived from them, what may be changed, what they show."""

from types import MappingProxyType
from typing import Any

import pytest
from chains import ADA, tool_call
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import Ask, Call, Principal, Run, ToolFacts
from mcpguard.core.call import refusal
from mcpguard.core.wire import EMPTY

TEXT = st.text(st.characters(exclude_categories=()))
ODD: list[Any] = [None, True, 5, float("nan"), "", "\ud800", [], [[]], {}]

FACTS = ToolFacts(
    "read",
    {
        "name": "read",
        "inputSchema": {"type": "object"},
        "outputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
)


def test_tool_facts_give_the_parts_of_a_definition() -> None:
    """MCP: `Tool`."""
    assert FACTS.input_schema == {"type": "object"}
    assert FACTS.output_schema == {"type": "object"}
    assert FACTS.annotations == {"readOnlyHint": True}
    assert "readOnlyHint" not in repr(FACTS)


@pytest.mark.parametrize("value", ODD)
def test_a_garbled_definition_has_empty_parts(value: Any) -> None:
    """Definitions are a server's own claims, in whatever shape."""
    facts = ToolFacts("read", {"inputSchema": value, "outputSchema": value, "annotations": value})
    assert facts.input_schema == {}
    assert facts.annotations == {}
    assert facts.output_schema == ({} if value == {} else None)
    assert ToolFacts("read", {}).output_schema is None


@pytest.mark.parametrize(
    ("method", "params", "target"),
    [
        ("tools/call", {"name": "read"}, "read"),
        ("prompts/get", {"name": "hello"}, "hello"),
        ("resources/read", {"uri": "file:///a"}, "file:///a"),
        ("tools/list", {"name": "read"}, None),
        ("tools/call", {}, None),
        ("tools/call", {"name": 5}, None),
    ],
)
def test_a_call_is_aimed_at_what_its_method_names(method: str, params: Any, target: str | None) -> None:
    """MCP, server features: tools and prompts by name, resources by URI."""
    assert Call(id="1", method=method, params=params).target == target


@pytest.mark.parametrize("value", ODD)
def test_odd_parameters_derive_to_something(value: Any) -> None:
    """Whatever the shape, what interceptors share of a call can be asked for."""
    for method in ("tools/call", "prompts/get", "vendor/unheard-of"):
        call = Call(id="1", method=method, params={"name": value, "arguments": value, "_meta": value})
        assert isinstance(call.arguments, dict | type(EMPTY))
        assert isinstance(call.canonical_arguments, bytes)
        assert len(call.fingerprint) == 64
        assert all(isinstance(text, str) for text in call.texts)


def test_meta_never_counts() -> None:
    """It carries progress tokens and trace context, which differ on every call."""
    one = Call(id="1", method="vendor/x", params={"a": 1, "_meta": {"progressToken": 1}})
    other = Call(id="2", method="vendor/x", params={"a": 1, "_meta": {"progressToken": "secret"}})
    assert one.fingerprint == other.fingerprint
    assert other.texts == ()


def test_a_tool_call_without_arguments_is_one_with_none() -> None:
    """MCP: `arguments` is optional."""
    bare = Call(id="1", method="tools/call", params={"name": "read"})
    assert bare.canonical_arguments == b"{}"
    full = Call(id="1", method="tools/call", params={"name": "read", "arguments": {}})
    assert bare.fingerprint == full.fingerprint


@pytest.mark.parametrize("change", [{"name": "write"}, {"arguments": {"a": 2}}])
def test_calls_that_differ_have_other_fingerprints(change: Any) -> None:
    """Loops and approvals compare them."""
    one = tool_call(a=1)
    assert one.replace(params={**one.params, **change}).fingerprint != one.fingerprint


def test_calls_of_other_servers_have_other_fingerprints() -> None:
    """Design: state is never keyed by a bare tool name."""
    params = {"name": "read", "arguments": {}}
    one = Call(id="1", method="tools/call", params=params, server="a")
    other = Call(id="1", method="tools/call", params=params, server="b")
    assert one.fingerprint != other.fingerprint


@given(st.dictionaries(TEXT, TEXT | st.integers()))
def test_the_order_of_arguments_does_not_matter(arguments: dict[str, Any]) -> None:
    """Canonical JSON."""
    turned = dict(reversed(arguments.items()))
    one = tool_call().replace(params={"name": "read", "arguments": arguments})
    other = tool_call().replace(params={"name": "read", "arguments": turned})
    assert one.fingerprint == other.fingerprint


def test_what_is_derived_is_derived_once_and_dropped_by_a_rewrite() -> None:
    """Design, "The contract": shared by interceptors, invalidated by the rewrite."""
    call = tool_call(a="one")
    assert call.texts is call.texts
    assert call.fingerprint is call.fingerprint
    assert call.canonical_arguments is call.replace(asks=(Ask("x", reason="y"),)).canonical_arguments
    assert call.with_tool(FACTS).texts is call.texts
    rewritten = call.replace(params={"name": "read", "arguments": {"a": "two"}})
    assert rewritten.texts == ("read", "two")
    assert call.texts == ("read", "one")


def test_the_quick_way_to_make_a_call_makes_the_same_call() -> None:
    """A member that it left out would be another call's, or nobody's."""
    run = Run(principal=ADA)
    quick = Call.outgoing("1", "tools/call", {"name": "read"}, "files", ADA, run, 2)
    plain = Call(
        id="1",
        method="tools/call",
        params={"name": "read"},
        server="files",
        principal=ADA,
        run=run,
        round=2,
    )
    assert [getattr(quick, name) for name in Call.__dataclass_fields__] == [
        getattr(plain, name) for name in Call.__dataclass_fields__
    ]
    assert repr(quick) == repr(plain)
    assert quick.replace(params={"name": "write"}).target == "write"
    assert quick.shadow().enforced is False


def test_a_call_is_frozen() -> None:
    """Change is `replace`."""
    with pytest.raises(AttributeError):
        tool_call().method = "ping"  # type: ignore[misc]


def test_a_call_shows_no_value() -> None:
    """Reprs end up in logs and tracebacks."""
    principal = Principal(user="ada", claims={"jti": "canary"})
    call = tool_call(a="canary").made_by(principal).with_tool(ToolFacts("read", {"a": "canary"}))
    assert call.principal is principal
    assert "canary" not in repr(call)


def test_a_shadow_shares_no_json_and_is_not_enforced() -> None:
    """An auditing interceptor that changes what it was given changes nothing."""
    principal = Principal(user="ada", claims={"list": [1]})
    call = tool_call(a=[1]).made_by(principal).with_tool(FACTS)
    shadow = call.shadow()
    values: Any = shadow
    values.params["arguments"]["a"].append(2)
    values.tool.definition["inputSchema"]["x"] = 1
    values.principal.claims["list"].append(2)
    assert call.arguments == {"a": [1]}
    assert FACTS.input_schema == {"type": "object"}
    assert principal.claims == {"list": [1]}
    assert shadow.principal == principal
    assert (call.enforced, shadow.enforced) == (True, False)


def test_a_shadow_of_a_bare_call_is_bare() -> None:
    """No tool, no principal: nothing to copy."""
    shadow = Call(id="1", method="ping", params=MappingProxyType({})).shadow()
    assert (shadow.tool, shadow.principal, shadow.params) == (None, None, {})


def test_a_call_to_ask_about_is_its_runs() -> None:
    """`guard.explain(Call.tool_call(...))`."""
    run = Run(principal=ADA)
    assert Call.tool_call("read", server="files", run=run).principal is ADA
    other = Principal(user="bob")
    asked = Call.tool_call("read", {"a": 1}, server="files", run=run, principal=other)
    assert asked.principal is other
    assert asked.arguments == {"a": 1}
    assert Call.tool_call("read", server="files").principal is None


def test_requests_and_notifications_are_told_apart() -> None:
    """Notifications meet synchronous hooks only."""
    assert not tool_call().is_notification
    assert Call(id="1", method="notifications/progress").is_notification


def test_a_refusal_has_a_sentence_for_the_model_where_the_rule_gave_none() -> None:
    """Design: two texts; the model's has no policy internals."""
    final = refusal(code="x", reason="rule 7 of the file")
    assert final.message == "This call was refused by the operator's policy. Do not repeat it."
    later = refusal(code="x", reason="rule 7", retry_after=2.6)
    assert later.message.endswith("Try again in 3 seconds.")
    assert refusal(code="x", reason="rule 7", message="Mine.").message == "Mine."


def test_a_layer_refuses_with_a_result() -> None:
    """`call.denied` is what a layer returns."""
    denial = tool_call().denied(code="busy", reason="full", message="Wait.", retry_after=1.0).denial
    assert denial is not None
    assert (denial.code, denial.reason, denial.message, denial.retry_after) == ("busy", "full", "Wait.", 1.0)
    assert denial.source is None
