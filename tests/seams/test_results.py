"""Results told to be readable without the SDK's parser: what it cannot read is never among them."""

from importlib import import_module
from typing import Any

import pytest
from harness import V1
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import CallToolResult
from pydantic import TypeAdapter

from mcpguard.seams.limits.results import is_result

OLD, NEW = "2025-06-18", "2026-07-28"

scalars = st.sampled_from(
    [None, True, 0, 7, 0.5, 1.5, "text", "user", "image", "complete", "caf\u00e9", "\ud800"]
)
notes = st.dictionaries(
    st.sampled_from(["audience", "priority", "lastModified", "more"]), scalars | st.lists(scalars, max_size=2)
)
named = st.dictionaries(st.sampled_from(["name", "version", "icons"]), scalars)
meta = st.dictionaries(st.sampled_from(["a", "io.modelcontextprotocol/serverInfo"]), scalars | named)
members = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "audio", "resource_link", 7])},
    optional={
        "text": scalars,
        "data": scalars,
        "mimeType": scalars,
        "annotations": scalars | notes,
        "_meta": scalars | meta,
        "uri": scalars,
    },
)
results = st.fixed_dictionaries(
    {},
    optional={
        "content": scalars | st.lists(scalars | members, max_size=3),
        "structuredContent": scalars | st.lists(scalars) | meta,
        "isError": scalars,
        "resultType": scalars,
        "_meta": scalars | meta,
    },
)


@given(results)
def test_what_counts_as_a_result_the_sdk_can_read(result: dict[str, Any]) -> None:
    """Else the session would raise with the result's values, after the tool has run."""
    if is_result("tools/call", OLD, result):
        CallToolResult.model_validate(
            {**result, "resultType": "complete"}
        )  # of a later version, not looked at
    if not V1 and is_result("tools/call", NEW, result):
        methods: Any = import_module("mcp_types.methods")
        for model in (methods.SERVER_RESULTS["tools/call", NEW], methods.MONOLITH_RESULTS["tools/call"]):
            TypeAdapter(model).validate_python(result)


def test_a_null_for_a_flag_is_no_result() -> None:
    """SDK 2.x reads a result twice, and only the second time looks at this."""
    assert not is_result("tools/call", OLD, {"content": [], "isError": None})


def test_members_of_later_versions_are_not_looked_at() -> None:
    """Whatever they hold: the SDK drops them first."""
    assert is_result("tools/list", OLD, {"tools": [], "ttlMs": "soon", "cacheScope": 7})


@pytest.mark.parametrize(
    "block",
    [
        {
            "type": "text",
            "text": "a",
            "annotations": {"audience": ["user"], "priority": 0.5},
            "_meta": {"a": 1},
        },
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
        {"type": "resource_link", "name": "a", "uri": "file:///a"},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "a"}},
    ],
)
@pytest.mark.parametrize("version", [OLD, NEW])
def test_honest_content_counts_as_a_result(block: dict[str, Any], version: str) -> None:
    """Whichever way it is told."""
    told = {"io.modelcontextprotocol/serverInfo": {"name": "a", "version": ""}}
    result = {
        "content": [block],
        "structuredContent": {"a": 1},
        "isError": False,
        "resultType": "complete",
        "_meta": told,
    }
    assert is_result("tools/call", version, result)


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "text", "text": 7},
        {"type": "text"},
        {"type": "image", "data": "aGk="},
        {"type": ["text"], "text": "a"},
        {"type": "text", "text": "a", "annotations": {"audience": ["nobody"]}},
        {"type": "text", "text": "a", "annotations": {"priority": 2.0}},
        {"type": "text", "text": "a", "_meta": 7},
    ],
)
def test_content_of_another_form_is_no_result(broken: dict[str, Any]) -> None:
    """Each of these the SDK's session would raise about."""
    assert not is_result("tools/call", OLD, {"content": [broken]})
