"""The content walker: every string of a message is found, told what it is there for, and can be rewritten."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.core.content import (
    ContentError,
    Passage,
    Use,
    passages,
    passages_of,
    rewritten,
    rewritten_result,
)
from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.strings import strings_of, texts

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4).decode()

STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DATA: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=20,
)

NAMES = st.sampled_from(
    ["content", "structuredContent", "_meta", "id", "data", "blob", "type", "name", "uri", "inputSchema"]
)
MESSAGES: Any = st.dictionaries(
    NAMES | STRINGS,
    st.recursive(
        DATA | st.sampled_from(["image", PNG, "data:text/plain,seen", "aGVsbG8gd29ybGQ="]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | STRINGS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=4,
)


def b64(text: str) -> str:
    """Text as a blob carries it."""
    return base64.b64encode(text.encode()).decode()


def shout(passage: Passage) -> str:
    """Mark a passage."""
    return passage.text.replace("secret", "SECRET")


def uses(value: Any) -> dict[str, Use]:
    """What each string of a message is there for."""
    return {passage.text: passage.use for passage in passages(value)}


PLACES: dict[str, Any] = {
    "a text block": {"content": [{"type": "text", "text": "a secret"}]},
    "a text block's annotations": {"content": [{"type": "text", "text": "", "annotations": {"x": "secret"}}]},
    "structured content": {"content": [], "structuredContent": {"a": [{"b": "secret"}]}},
    "a key of structured content": {"content": [], "structuredContent": {"the secret": 1}},
    "an embedded resource": {"content": [{"type": "resource", "resource": {"uri": "x:y", "text": "secret"}}]},
    "a resource link": {"content": [{"type": "resource_link", "uri": "x:y", "name": "n", "title": "secret"}]},
    "a resource body": {"contents": [{"uri": "x:y", "text": "secret"}]},
    "a blob of text": {"contents": [{"uri": "x:y", "mimeType": "text/plain", "blob": b64("a secret\n")}]},
    "a blob without a type": {"contents": [{"uri": "x:y", "blob": b64("a secret\n")}]},
    "a blob that says it is an image": {"contents": [{"mimeType": "image/png", "blob": b64("a secret")}]},
    "a blob without padding": {"contents": [{"uri": "x:y", "blob": b64("a secret\n").rstrip("=")}]},
    "a blob with one character too many": {"contents": [{"uri": "x:y", "blob": b64("a secret.") + "A"}]},
    "a blob in lines": {"contents": [{"uri": "x:y", "blob": "\n".join(b64("a secret ..."))}]},
    "a picture that is text": {
        "content": [{"type": "image", "data": b64("<svg>secret</svg>"), "mimeType": "x"}]
    },
    "a picture that is no base64": {
        "content": [{"type": "image", "data": "the secret", "mimeType": "image/png"}]
    },
    "a prompt": {"messages": [{"role": "user", "content": {"type": "text", "text": "secret"}}]},
    "sampling": {"messages": [{"role": "user", "content": [{"type": "text", "text": "secret"}]}]},
    "a system prompt": {"messages": [], "systemPrompt": "secret"},
    "a tool use": {"content": {"type": "tool_use", "id": "1", "name": "n", "input": {"q": "secret"}}},
    "elicitation": {"message": "secret", "requestedSchema": {"properties": {"x": {"description": "a"}}}},
    "an elicitation form": {"requestedSchema": {"properties": {"x": {"enum": ["secret"]}}}},
    "an elicitation answer": {"action": "accept", "content": {"name": "secret"}},
    "a log message": {"level": "info", "data": {"x": "secret"}},
    "a bare log message": {"level": "info", "data": "secret"},
    "a progress message": {"progressToken": 1, "progress": 1, "message": "secret"},
    "_meta": {"content": [], "_meta": {"com.example/x": {"y": "secret"}}},
    "a tool's description": {"tools": [{"name": "t", "description": "secret", "inputSchema": {}}]},
    "a schema's default": {"tools": [{"inputSchema": {"properties": {"x": {"default": ["secret"]}}}}]},
    "a property's name": {"tools": [{"inputSchema": {"properties": {"secret": {}}}}]},
    "an icon": {"tools": [{"name": "t", "icons": [{"src": "https://x/secret"}]}]},
    "a data URI": {"icons": [{"src": "data:text/plain;base64," + b64("secret")}]},
    "a data URI of a picture of text": {
        "icons": [{"src": "DATA:image/svg+xml;base64," + b64("<a>secret</a>")}]
    },
    "arguments": {"name": "t", "arguments": {"a": {"b": ["secret"]}}},
    "an argument's name": {"name": "t", "arguments": {"secret": 1}},
    "instructions": {"serverInfo": {"name": "s"}, "instructions": "secret"},
    "a completion": {"completion": {"values": ["secret"]}},
    "a cursor": {"tools": [], "nextCursor": "secret"},
    "a key nobody knows": {"secret": {"x": 1}},
    "what a server asks inside a result": {
        "inputRequests": {"k": {"method": "m", "params": {"message": "secret"}}}
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_a_string_is_found_wherever_it_is_and_can_be_rewritten_there(place: str) -> None:
    """One walk, one quick look and one rewrite agree."""
    value = PLACES[place]
    assert any("secret" in passage.text for passage in passages(value))
    assert any("secret" in text for text in texts(value))
    changed = rewritten(value, shout)
    assert not any("secret" in text for text in texts(changed))
    assert any("SECRET" in text for text in texts(changed))


def test_what_a_string_is_there_for_is_told() -> None:
    """A name is sent back as it is, a cursor is never shown, and a form's `name` is text."""
    seen = uses(
        {
            "tools": [{"name": "tool", "title": "Tool", "inputSchema": {"type": "object", "title": "Args"}}],
            "nextCursor": "opaque",
            "structuredContent": {"name": "Ada"},
            "_meta": {"progressToken": "t-1", "note": "hi"},
        }
    )
    assert seen["tool"] is Use.HANDLE
    assert seen["object"] is Use.HANDLE
    assert seen["inputSchema"] is Use.HANDLE
    assert seen["Tool"] is seen["Args"] is seen["Ada"] is seen["hi"] is Use.TEXT
    assert seen["opaque"] is seen["t-1"] is Use.OPAQUE
    assert seen["note"] is Use.KEY


def test_a_passage_says_where_it_is() -> None:
    """Keys and positions from the top."""
    value = {"content": [{"type": "text", "text": "here"}]}
    assert [p.path for p in passages(value) if p.text == "here"] == [("content", 0, "text")]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "data": PNG, "mimeType": "image/png"},
        {"type": "audio", "data": PNG, "mimeType": "audio/wav"},
        {"type": "resource", "resource": {"uri": "x:y", "blob": PNG}},
        {"type": "resource", "resource": {"uri": "x:y", "blob": PNG, "mimeType": "application/pdf"}},
        {"type": "text", "text": "data:image/png;base64," + PNG},
    ],
)
def test_pictures_and_other_bytes_are_not_even_looked_at(block: Any) -> None:
    """A detector that finds something in them by chance breaks them."""
    value = {"content": [block]}
    assert not any(PNG[:40] in text for text in texts(value))
    assert not any(PNG[:40] in passage.text for passage in passages(value))
    assert (
        rewritten(value, lambda passage: passage.text[::-1] if PNG[:9] in passage.text else passage.text)
        is value
    )


def test_a_text_type_with_broken_bytes_is_read_and_keeps_its_bytes() -> None:
    """One bad byte is no way to be taken for a picture."""
    blob = base64.b64encode(b"\xff secret \xfe").decode()
    changed: Any = rewritten({"contents": [{"mimeType": "text/plain", "blob": blob}]}, shout)
    assert base64.b64decode(changed["contents"][0]["blob"]) == b"\xff SECRET \xfe"


def test_an_error_is_an_answer_too() -> None:
    """Its message and its data."""
    error = WireError(-32000, "a secret", {"detail": ["secret"]})
    result = Result(
        outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=error, cause=ValueError("a secret")
    )
    assert sum("secret" in passage.text for passage in passages_of(result)) == 2
    assert sum("secret" in text for text in strings_of(result).every) == 2
    changed = rewritten_result(result, shout)
    assert changed.error == WireError(-32000, "a SECRET", {"detail": ["SECRET"]})
    assert changed.cause is None
    assert changed.outcome is Outcome.PROTOCOL_ERROR


def test_keys_that_become_one_are_an_error_and_not_a_loss() -> None:
    """Else one member could hide another."""
    with pytest.raises(ContentError, match="become the same"):
        rewritten({"structuredContent": {"a": 1, "A": 2}}, lambda passage: passage.text.lower())


@given(DATA)
def test_what_nothing_changes_is_the_very_same_object(value: Any) -> None:
    """So that a clean message costs no copy, and a filter can tell."""
    message = {"content": [], "structuredContent": value}
    assert rewritten(message, lambda passage: passage.text) is message
    result = Result.of(message)
    assert rewritten_result(result, lambda passage: passage.text) is result


@given(DATA)
def test_the_quick_look_and_the_walk_see_the_same_strings(value: Any) -> None:
    """What one overlooked would pass untreated."""
    message = {"structuredContent": value, "_meta": value, "x": value}
    assert sorted(texts(message)) == sorted(passage.text for passage in passages(message))


@given(MESSAGES, st.none() | MESSAGES)
def test_the_strings_of_an_answer_are_those_of_the_walk_in_its_order(value: Any, data: Any) -> None:
    """An order to a model may be spread over its parts; what the model is not shown is told apart."""
    error = None if data is None else WireError(-32000, "failed", data)
    result = Result(outcome=Outcome.OK, fate=Fate.ANSWERED, value=value, error=error)
    found = list(passages_of(result))
    assert list(strings_of(result).every) == [one.text for one in found]
    assert list(strings_of(result).shown) == [one.text for one in found if one.use is not Use.OPAQUE]


def test_the_strings_of_an_answer_are_gathered_once_and_those_of_a_changed_one_anew() -> None:
    """Several interceptors look at an answer; what one of them puts in is looked at by the next."""
    result = Result.of({"content": [{"type": "text", "text": "before"}]})
    assert strings_of(result) is strings_of(result)
    changed = result.replace(value={"content": [{"type": "text", "text": "a secret"}]})
    assert "a secret" in strings_of(changed).shown
    assert "a secret" not in strings_of(result).shown
    assert result == Result.of({"content": [{"type": "text", "text": "before"}]})


@pytest.mark.parametrize("depth", [10, 60, 5000])
def test_the_strings_of_an_answer_are_gathered_at_any_depth(depth: int) -> None:
    """Nesting ends no look, and what only client and server read is told apart below it too."""
    deep: Any = {"_meta": {"progressToken": "hidden", "note": "bottom"}}
    for _ in range(depth):
        deep = [deep]
    found = strings_of(Result.of({"content": deep}))
    assert "bottom" in found.shown
    assert "hidden" in found.every
    assert "hidden" not in found.shown


@given(DATA)
def test_a_rewrite_reaches_every_string_and_nothing_else(value: Any) -> None:
    """Marked strings come out marked, in the same shape."""
    message: Any = {"structuredContent": value}
    changed = rewritten(message, lambda passage: passage.text + "!")
    assert sorted(text + "!" for text in texts(message)) == sorted(texts(changed))


def test_depth_and_width_stop_no_look() -> None:
    """A hundred thousand blocks, and ten thousand levels."""
    deep: Any = "bottom"
    for _ in range(10_000):
        deep = [deep]
    assert texts({"structuredContent": deep})[-1] == "bottom"
    assert next(p for p in passages(deep) if p.text == "bottom")
    wide = {"content": [{"type": "text", "text": str(n)} for n in range(100_000)]}
    assert len(texts(wide)) == 100_000 * 4 + 1


def test_an_error_that_nothing_changes_is_the_same_result() -> None:
    """No copy is made for nothing."""
    failed = Result(
        outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32000, "no", {"why": "busy"})
    )
    assert rewritten_result(failed, lambda passage: passage.text) is failed


def test_what_is_no_json_is_no_text() -> None:
    """A host's own objects may be in what an interceptor made."""
    strange: Any = {"a": b"bytes", "b": [object(), "seen"]}
    assert sorted(texts(strange)) == ["a", "b", "seen"]
