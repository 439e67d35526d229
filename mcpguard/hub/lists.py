"""What one server of a hub offers, as each principal was shown it.

A list is kept for a while, unless the server says that it changed, or ends. Above: `hub`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cachetools import TTLCache

from mcpguard.core.clock import Clock
from mcpguard.core.errors import HubError
from mcpguard.core.principal import Principal
from mcpguard.core.wire import LISTINGS, JSONObject

__all__ = ["CHANGES", "Lists", "has"]

MAX_LISTS: Final = 1024
"""Lists kept per server: four for each of 256 principals."""

MAX_PAGES: Final = 100
"""Pages of a list; a server that pages for ever shows nothing."""

METHOD_NOT_FOUND: Final = -32601

CHANGES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "notifications/tools/list_changed": ("tools/list",),
        "notifications/prompts/list_changed": ("prompts/list",),
        "notifications/resources/list_changed": ("resources/list", "resources/templates/list"),
    }
)
"""Notification -> the lists it is about."""


class _Verb(NamedTuple):
    method: str
    """The session's."""
    capability: str


_VERBS: Final[Mapping[str, _Verb]] = MappingProxyType(
    {
        "tools/list": _Verb("list_tools", "tools"),
        "prompts/list": _Verb("list_prompts", "prompts"),
        "resources/list": _Verb("list_resources", "resources"),
        "resources/templates/list": _Verb("list_resource_templates", "resources"),
    }
)


class Lists:
    """The lists of one server.

    Args:
        name: What the hub calls it.
        keep_for: Seconds a list is kept.
        clock: Time.
    """

    def __init__(self, name: str, keep_for: float, clock: Clock) -> None:
        self._name = name
        self._keep_for = keep_for
        self._clock = clock
        self._known: dict[str, TTLCache[Principal | None, Sequence[JSONObject]]] = {}
        self.forget(None)

    def known(self, method: str, principal: Principal | None) -> Sequence[JSONObject] | None:
        """The list that was shown to `principal`, if it still holds."""
        return self._known[method].get(principal)

    async def fetch(self, session: Any, method: str, principal: Principal | None) -> Sequence[JSONObject]:
        """Fetch a list for `principal`, who is the caller; an empty one where the server has no such list.

        Raises:
            HubError: If it has no end.
        """
        verb = _VERBS[method]
        session = getattr(session, "session", session)  # a client's
        kept = self._known[method]
        found: list[JSONObject] = []
        if has(session, verb.capability):
            found = await self._pages(getattr(session, verb.method), LISTINGS[method].items)
        whole = tuple(found)
        if kept is self._known[method]:
            kept[principal] = whole
        return whole

    def forget(self, notification: str | None) -> None:
        """Forget the lists that a notification is about; all for None."""
        for method in _VERBS if notification is None else CHANGES.get(notification, ()):
            self._known[method] = TTLCache(MAX_LISTS // len(_VERBS), self._keep_for, timer=self._clock.now)

    async def _pages(self, ask: Callable[..., Awaitable[Any]], items: str) -> list[JSONObject]:
        found: list[JSONObject] = []
        cursor: object = None
        for _ in range(MAX_PAGES):
            try:
                page = await (ask() if cursor is None else ask(params=_paginated(cursor)))
            except Exception as error:
                if getattr(getattr(error, "error", None), "code", None) == METHOD_NOT_FOUND:
                    return found
                raise
            told: JSONObject = page.model_dump(by_alias=True, mode="json", exclude_none=True)
            listed, cursor = told.get(items), told.get("nextCursor")
            found += [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            if cursor is None:
                return found
        raise HubError(f"a list of {self._name} has more than {MAX_PAGES} pages")


def has(session: Any, capability: str) -> bool:
    """Whether a server has said that it has something; where it has said nothing, it may."""
    session = getattr(session, "session", session)  # a client's
    if hasattr(session, "get_server_capabilities"):
        told = session.get_server_capabilities()
    else:
        told = session.server_capabilities
    return told is None or getattr(told, capability, None) is not None


def _paginated(cursor: object) -> Any:
    types: Any = import_module("mcp.types")
    return types.PaginatedRequestParams(cursor=cursor)
