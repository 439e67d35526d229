"""What stands in a listing's text for definitions that cannot be read; the rest stays as it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.listing_text import MAX_MARKS, may_list, without_broken

GOOD = {"name": 'a "quoted" {name', "inputSchema": {"type": "object", "enum": ["]", "\\", "}"]}}


def page(*definitions: bytes, listing: bytes = b"tools") -> bytes:
    """An answer with a list of definitions."""
    return b'{"jsonrpc": "2.0", "id": 1, "result": {"%s": [%s], "x": {}}}' % (
        listing,
        b", ".join(definitions),
    )


def is_bad(definition: bytes) -> str | None:
    """What these tests take for broken."""
    return "depth" if b"bad" in definition else None


@pytest.mark.parametrize("listing", ["tools", "prompts", "resources", "resourceTemplates"])
def test_a_broken_definition_is_left_out_for_its_limit(listing: str) -> None:
    """The name of the limit says which; nothing else is touched."""
    good = json.dumps(GOOD).encode()
    rest = without_broken(page(good, b'{"bad": [[{}]]}', good, listing=listing.encode()), is_bad, most=100)
    assert rest is not None
    assert json.loads(rest)["result"][listing] == [GOOD, "depth", GOOD]


@pytest.mark.parametrize("nested", [100, 100_000])
def test_what_no_parser_could_read_is_left_out_too(nested: int) -> None:
    """However deep, and not UTF-8."""
    deep = b'{"bad": ' + b"[" * nested + b"\xff" * 3 + b"]" * nested + b"}"
    rest = without_broken(page(deep, b"[%s]" % deep), is_bad, most=100)
    assert rest is not None
    assert json.loads(rest)["result"]["tools"] == ["depth", "depth"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"result": {"content": [{"bad": 1}]}}',
        b'{"result": {"tools": {"bad": {"bad": {}}}}}',
        b'{"result": [{"tools": [{"bad": 1}]}]}',
        b'{"error": {"tools": [{"bad": 1}]}}',
        b'{"result": {"structuredContent": {"tools": [{"bad": 1}]}}}',
        b'{"result": "tools", "x": {"tools": [{"bad": {"bad": 1}}]}}',
        b'{"result": {"tools": [{"bad": "',
        b"]]]}}}",
        b"",
    ],
)
def test_only_definitions_of_a_result_are_left_out(text: bytes) -> None:
    """Whatever else breaks a limit costs the message."""
    assert without_broken(text, is_bad, most=100) is None


def test_a_text_of_too_many_marks_is_not_searched() -> None:
    """Looking at each of them takes time."""
    assert may_list(page(b"{}"))
    assert not may_list(page(b"[" * (MAX_MARKS + 1)))
    assert not may_list(b'{"result": {"content": []}}')


def test_among_more_definitions_than_are_ever_shown_none_is_left_out() -> None:
    """Looking at each takes time."""
    assert without_broken(page(*[b'{"bad": 1}'] * 4), is_bad, most=3) is None
    assert without_broken(page(*[b'{"bad": 1}'] * 3), is_bad, most=3) is not None


_values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.booleans(), st.dictionaries(st.text(), _values)), max_size=6))
def test_whatever_stands_in_definitions_the_others_are_what_they_were(given_: list[Any]) -> None:
    """Brackets and quotes in strings are no brackets and quotes."""
    definitions = [{**one, "bad": 1} if broken else one for broken, one in given_]
    texts = [json.dumps(one).encode() for one in definitions]
    expected = [is_bad(text) or one for one, text in zip(definitions, texts, strict=True)]
    rest = without_broken(page(*texts), is_bad, most=100)
    if expected == definitions:
        assert rest is None
    else:
        assert rest is not None
        assert json.loads(rest)["result"] == {"tools": expected, "x": {}}
