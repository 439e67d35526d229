"""Listings that go wrong: bad definitions, duplicates, pages without an end."""

from typing import Any

from mcpguard import ConnectionLimits, JSONObject
from mcpguard.detectors.listings import MAX_TRAILS, Pages, Trail

LIMITS = ConnectionLimits(definitions=5, pages=3, definition_bytes=100)


def pages() -> Pages:
    """Follows listings."""
    return Pages(LIMITS)


def judge(definition: JSONObject) -> JSONObject | str:
    """Takes every definition but one."""
    return "malformed" if definition["name"] == "bad" else definition


def page(*names: str, cursor: str | None = None, **more: Any) -> JSONObject:
    """A page of tools."""
    following = {} if cursor is None else {"nextCursor": cursor}
    return {"tools": [{"name": name, **more} for name in names], **following}


def screened(follower: Pages, method: str, trail: Trail, listed: JSONObject) -> tuple[JSONObject, list[str]]:
    """A page looked through to its end."""
    screening = follower.screening(method, trail, listed, judge)
    while True:
        try:
            next(screening)
        except StopIteration as stop:
            found: tuple[JSONObject, list[str]] = stop.value
            return found


def names(shown: JSONObject) -> list[str]:
    """What a page lists."""
    tools: Any = shown["tools"]
    return [tool["name"] for tool in tools]


def test_an_honest_page_is_passed_on_as_it_is() -> None:
    """Not a copy of it."""
    follower, honest = pages(), page("a", "b", cursor="1")
    assert screened(follower, "tools/list", follower.trail("tools/list", None), honest) == (honest, [])
    assert screened(follower, "tools/list", follower.trail("tools/list", None), honest)[0] is honest


def test_one_bad_definition_costs_that_definition() -> None:
    """Whatever is wrong with it."""
    follower = pages()
    listed = {
        "tools": [
            {"name": "bad"},
            {"name": "a"},
            {"name": 7},
            "x",
            {"name": "big", "d": "x" * 200},
            {"name": "a"},
        ]
    }
    shown, broken = screened(follower, "tools/list", follower.trail("tools/list", None), listed)
    assert names(shown) == ["a"]
    assert broken == ["malformed", "malformed", "malformed", "definition_bytes", "duplicate"]


def test_a_listing_that_is_none_is_empty() -> None:
    """The SDK would raise."""
    follower = pages()
    for listed in ({}, {"tools": "x"}, {"tools": None}):
        shown, broken = screened(follower, "tools/list", follower.trail("tools/list", None), listed)
        assert shown["tools"] == []
        assert broken == ["malformed"]


def test_names_are_counted_over_pages() -> None:
    """Five of them, on however many pages; a name of an earlier page is a duplicate."""
    follower = pages()
    screened(follower, "tools/list", follower.trail("tools/list", None), page("a", "b", "c", cursor="1"))
    shown, broken = screened(
        follower, "tools/list", follower.trail("tools/list", "1"), page("a", "d", "e", "f", cursor="2")
    )
    assert names(shown) == ["d", "e"]
    assert broken == ["duplicate", "definitions", "pages"]
    assert "nextCursor" not in shown


def test_a_page_that_is_fetched_again_is_the_same_page() -> None:
    """Names are those of the pages before it, not of other listings."""
    follower = pages()
    for _ in range(3):
        first, broken = screened(
            follower, "tools/list", follower.trail("tools/list", None), page("a", cursor="1")
        )
        second, more = screened(follower, "tools/list", follower.trail("tools/list", "1"), page("b"))
        assert (names(first), names(second), broken + more) == (["a"], ["b"], [])


def test_a_listing_ends_at_its_limit_or_where_it_turns_in_a_circle() -> None:
    """Three pages; a cursor that led here; a cursor that is no text."""
    follower = pages()
    for number in range(2):
        asked = str(number) if number else None
        shown, broken = screened(
            follower,
            "tools/list",
            follower.trail("tools/list", asked),
            page(f"t{number}", cursor=str(number + 1)),
        )
        assert broken == []
    shown, broken = screened(follower, "tools/list", follower.trail("tools/list", "2"), page("x", cursor="3"))
    assert broken == ["pages"]
    assert "nextCursor" not in shown
    circle, broken = screened(
        follower, "tools/list", follower.trail("tools/list", "1"), page("y", cursor="1")
    )
    assert broken == ["pages"]
    odd, broken = screened(
        follower, "tools/list", follower.trail("tools/list", None), {"tools": [], "nextCursor": 3}
    )
    assert broken == ["pages"]


def test_cursors_are_forgotten_in_time() -> None:
    """Memory is bounded, whatever a server makes up."""
    follower = pages()
    for number in range(MAX_TRAILS + 10):
        screened(follower, "tools/list", follower.trail("tools/list", None), page("a", cursor=f"c{number}"))
    assert follower.trail("tools/list", "c0").names == frozenset()
    assert follower.trail("tools/list", f"c{MAX_TRAILS}").names == {hash("a")}
