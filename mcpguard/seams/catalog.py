"""Tool definitions as the server last listed them, for interceptors that need them.

Definitions are taken from listings that pass by, before any filter. Where nobody has listed yet, the seam
lists first: bounded, and one walk at a time however many calls wait for it. A walk during which the server
says that its tools changed begins again: its pages are of two lists.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio

from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.wire import JSON, JSONObject, mutable_copy

__all__ = ["Catalog", "Lister"]

MAX_PAGES: Final = 100
"""Pages of one walk, those it began again included; a server that pages for ever gives no facts."""

MAX_TOOLS: Final = 10_000
"""Definitions kept per connection."""

Lister: TypeAlias = Callable[[JSONObject | None], Awaitable[JSONObject]]
"""Sends one `tools/list` past the chain: parameters in, wire-shaped result out; raises as the SDK does."""


class Catalog:
    """The definitions of one connection's tools."""

    __slots__ = ("_changes", "_is_complete", "_list_page", "_tools", "_walking")

    def __init__(self, list_page: Lister) -> None:
        self._list_page = list_page
        self._tools: dict[str, ToolFacts] = {}
        self._changes = 0
        self._is_complete = False
        self._walking: anyio.Event | None = None

    def record(self, listing: JSONObject | None) -> None:
        """Take the definitions from a `tools/list` result."""
        tools: JSON = None if listing is None else listing.get("tools")
        if not isinstance(tools, Sequence) or isinstance(tools, str):
            return
        for tool in tools:
            name = tool.get("name") if isinstance(tool, Mapping) else None
            if isinstance(tool, Mapping) and isinstance(name, str):
                if len(self._tools) >= MAX_TOOLS and name not in self._tools:
                    return
                self._tools[name] = ToolFacts(name, {key: mutable_copy(part) for key, part in tool.items()})

    def forget(self) -> None:
        """The server says its tools changed."""
        self._changes += 1
        self._tools = {}
        self._is_complete = False

    def known(self, name: str) -> ToolFacts | None:
        """The definition of `name`, if it has been listed already."""
        return self._tools.get(name)

    async def get(self, name: str) -> ToolFacts | None:
        """The definition of `name`, listing first if need be; None if the server does not list it.

        Raises:
            Exception: Whatever listing raised, or ValueError for a server that pages for ever.
        """
        while name not in self._tools and not self._is_complete:
            if self._walking is not None:
                await self._walking.wait()
                continue
            self._walking = anyio.Event()
            try:
                await self._walk()
            finally:
                self._walking.set()
                self._walking = None
        return self._tools.get(name)

    async def _walk(self) -> None:
        cursor: JSON = None
        changes = self._changes
        for _ in range(MAX_PAGES):
            page = await self._list_page(None if cursor is None else {"cursor": cursor})
            if changes != self._changes:
                cursor, changes = None, self._changes
                continue
            self.record(page)
            cursor = page.get("nextCursor")
            if cursor is None:
                self._is_complete = True
                return
        raise ValueError(f"the tool list does not end within {MAX_PAGES} pages")
