"""JSON values: canonical form, digests, copies and strings."""

import hmac
import json
import math
from collections import UserList
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.core.wire import (
    EMPTY,
    LISTINGS,
    TARGETS,
    canonical,
    digest,
    is_notification,
    mutable_copy,
    strings_in,
)

TEXT = st.text(st.characters(exclude_categories=()))
"""Any text, lone surrogates included."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


DEEP = 100_000
"""Deeper than the encoder goes on any version of Python."""


def shuffled(value: Any) -> Any:
    """The same value with the members of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(list(value))}
    return [shuffled(member) for member in value] if isinstance(value, list) else value


def nested(depth: int, *, is_reversed: bool = False) -> Any:
    """A value nested deeper than Python recurses."""
    value: Any = ["b", {"z": 1, "a": "é\ud800"}]
    for level in range(depth):
        members = [("b", []), ("a", value)]
        value = [value, "end"] if level % 2 else dict(reversed(members) if is_reversed else members)
    return value


@given(VALUES)
def test_any_value_has_one_canonical_form_whatever_the_order_of_its_keys(value: Any) -> None:
    """Approvals, loops and digests compare canonical bytes."""
    assert canonical(value) == canonical(shuffled(value))
    canonical(value).decode()


@given(st.dictionaries(st.text(alphabet="abc"), st.integers() | st.text(alphabet="xyz")))
def test_the_canonical_form_is_json_with_sorted_keys_and_no_white_space(value: Any) -> None:
    """RFC 8785, for ASCII keys and small integers."""
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert canonical(value) == expected.encode()


def test_values_that_differ_have_canonical_forms_that_differ() -> None:
    """A digest that confuses `1` with `"1"`, or an escaped surrogate with its spelling, can be forged."""
    values: list[Any] = [None, "null", 1, "1", True, "true", [], {}, "", [[]], {"": ""}, "\ud800", "\\ud800"]
    values += [math.nan, math.inf, -math.inf, "NaN", "Infinity"]
    assert len({canonical(value) for value in values}) == len(values)


def test_mappings_and_sequences_of_any_class_have_a_canonical_form() -> None:
    """Params may be any Mapping, and sequences any Sequence, by their types."""
    odd: Any = MappingProxyType({"b": UserList([1, (2, 3)]), "a": EMPTY})
    assert canonical(odd) == b'{"a":{},"b":[1,[2,3]]}'


def test_what_is_no_json_at_all_is_written_as_its_kind_and_not_its_value() -> None:
    """In-process servers can hand over any object; its repr may hold a secret."""
    odd: Any = {"a": object()}
    assert canonical(odd) == b'{"a":"<object>"}'


@pytest.mark.parametrize("depth", [3, 30, 3000])
def test_depth_does_not_stop_a_canonical_form(depth: int) -> None:
    """A peer chooses how deep it nests; a digest that raises would lose an audit event."""
    value = nested(depth)
    text = canonical(value)
    assert text == canonical(nested(depth, is_reversed=True))
    assert text.count(b"end") == depth // 2
    if depth < 100:
        plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert text == plain.encode("utf-8", "backslashreplace")


def test_the_form_of_a_deep_value_is_the_one_a_shallow_value_has() -> None:
    """Both ways of writing must agree, or the same arguments would have two fingerprints."""
    part = {"b": [1, 2.5, None, True, "x\ud800"], "a": {}, "": []}
    text = canonical(part).decode()
    deep: Any = part
    for _ in range(DEEP):
        deep = [deep]
    assert canonical(deep).decode() == "[" * DEEP + text + "]" * DEEP


def test_a_digest_depends_on_its_key() -> None:
    """A plain hash of a short argument can be reversed by trying."""
    body = canonical("yes")
    assert digest(body, b"one") != digest(body, b"two")
    assert digest(body, b"one") == digest(body, b"one")
    assert len(digest(body, b"one")) == 32


@given(st.binary(), st.binary(max_size=200))
def test_a_digest_is_half_an_hmac(body: bytes, key: bytes) -> None:
    """RFC 2104, by the standard library, for keys that are shorter and longer than a block."""
    assert digest(body, key) == hmac.new(key, body, "sha256").hexdigest()[:32]


@given(VALUES)
def test_a_mutable_copy_is_equal_and_shares_nothing(value: Any) -> None:
    """Auditing interceptors work on such copies."""
    copy = mutable_copy(value)
    assert canonical(copy) == canonical(value)
    if isinstance(value, dict | list) and value:
        assert copy is not value


def test_a_mutable_copy_is_made_of_dicts_and_lists() -> None:
    """Callers get what `json.loads` would have made."""
    assert mutable_copy(MappingProxyType({"a": (1, UserList([2]))})) == {"a": [1, [2]]}


@given(VALUES)
def test_strings_in_finds_every_string_value_and_no_key(value: Any) -> None:
    """Scanners rely on it to see all there is."""

    def expected(one: Any) -> list[str]:
        if isinstance(one, str):
            return [one]
        members = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return [text for member in members for text in expected(member)]

    assert list(strings_in(value)) == expected(value)


def test_strings_are_found_at_any_depth() -> None:
    """A text nested deeper than Python recurses must not escape a scanner, nor stop it."""
    assert list(strings_in(nested(3000))).count("é\ud800") == 1


def test_notifications_are_told_by_their_name() -> None:
    """JSON-RPC has no other sign once the id is gone; MCP names all of them `notifications/`."""
    assert is_notification("notifications/message")
    assert not is_notification("tools/call")


def test_targets_and_listings_name_what_the_protocol_names() -> None:
    """MCP 2026-07-28, server features."""
    assert TARGETS["tools/call"] == "name"
    assert (LISTINGS["resources/list"].items, LISTINGS["resources/list"].key) == ("resources", "uri")
