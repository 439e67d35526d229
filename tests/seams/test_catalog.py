"""What is known of a server's tools, while the server pages, changes them, or does both."""

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from mcpguard import JSONObject
from mcpguard.seams.catalog import MAX_PAGES, Catalog

pytestmark = pytest.mark.anyio


class Pages:
    """A server's listing, a tool to a page; `tools` may change while it is being read."""

    def __init__(self, *tools: str) -> None:
        self.tools = list(tools)
        self.version = 1
        self.asked: list[Any] = []
        self.then: Callable[[], None] = lambda: None
        self.catalog = Catalog(self.page)

    async def page(self, params: JSONObject | None) -> JSONObject:
        """One page; `then` is what happens before it arrives."""
        cursor = None if params is None else params["cursor"]
        self.asked.append(cursor)
        place = 0 if cursor is None else int(str(cursor))
        page: dict[str, Any] = {"tools": [{"name": self.tools[place], "version": self.version}]}
        if place + 1 < len(self.tools):
            page["nextCursor"] = str(place + 1)
        await anyio.lowlevel.checkpoint()
        self.then()
        return page

    def change(self, *tools: str) -> None:
        """The tools are others from now on, and the server says so."""
        self.tools, self.version = list(tools), self.version + 1
        self.catalog.forget()

    async def version_of(self, name: str) -> Any:
        """Which version of a tool's definition is known."""
        facts = await self.catalog.get(name)
        return None if facts is None else facts.definition["version"]


async def test_a_tool_is_looked_up_once() -> None:
    """One walk, whoever waits for it; after it what is not there is not asked for again."""
    pages = Pages("read", "write")
    seen: list[Any] = []

    async def look(name: str) -> None:
        seen.append(await pages.version_of(name))

    async with anyio.create_task_group() as tasks:
        for name in ("read", "write", "drop"):
            tasks.start_soon(look, name)
    assert sorted(seen, key=str) == [1, 1, None]
    assert await pages.version_of("drop") is None
    assert pages.asked == [None, "1"]


async def test_tools_that_change_in_the_middle_of_a_walk_are_read_again_from_the_first() -> None:
    """A catalog that holds half of each list would say that a tool is not there, or is what it was."""
    pages = Pages("read", "write")

    def change() -> None:
        if pages.asked == [None, "1"]:
            pages.change("search", "write")

    pages.then = change
    assert await pages.version_of("search") == 2
    assert await pages.version_of("write") == 2
    assert await pages.version_of("read") is None
    assert pages.asked == [None, "1", None, "1"]


async def test_a_server_whose_tools_never_stay_gives_no_facts() -> None:
    """Nor does one that pages for ever: what asks is told, and the next may try anew."""
    pages = Pages("read", "write")
    pages.then = lambda: pages.change("read", "write")
    with pytest.raises(ValueError, match="does not end"):
        await pages.version_of("read")
    assert len(pages.asked) == MAX_PAGES
    pages.then = lambda: None
    assert await pages.version_of("read") == MAX_PAGES + 1


async def test_tools_that_change_after_the_walk_are_listed_again() -> None:
    """The server says when."""
    pages = Pages("read")
    assert await pages.version_of("read") == 1
    pages.change("read")
    assert pages.catalog.known("read") is None
    assert await pages.version_of("read") == 2
