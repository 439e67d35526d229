"""A server as it is shown, both ways: requests in the server's own names, answers in the shown ones.

Pure: parameters and values in, parameters and values out. Whose view it is stands in `View`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, cast

from mcpguard.core.wire import JSON, LISTINGS, JSONObject
from mcpguard.detectors.curation import PromptView, ResourceView, ToolView
from mcpguard.detectors.edit import NO_SUCH_ARGUMENT, Edit, Refused
from mcpguard.detectors.names import Names

__all__ = ["Vista"]

_KINDS: Final[Mapping[str, int]] = {
    "tools/call": 0,
    "tools/list": 0,
    "prompts/get": 1,
    "prompts/list": 1,
    "resources/read": 2,
    "resources/subscribe": 2,
    "resources/unsubscribe": 2,
    "resources/list": 2,
    "resources/templates/list": 2,
}
_LINKING: Final = ("tools/call", "prompts/get", "resources/read")
"""Methods whose answers may mention resources."""

MAX_DEPTH: Final = 6
"""Levels of an answer that are searched for resources; deeper ones are no content the protocol knows."""


_HIDDEN: Final = Refused("not_available", "nothing is shown under this name")


class Vista:
    """What is shown of a server.

    Args:
        expose: Names of tools, prompts and resources that are shown; None for all.
        hide: Names of tools, prompts and resources that are not.
        tools: How tools are shown.
        prompts: How prompts are shown.
        resources: How resources are shown.
    """

    def __init__(
        self,
        *,
        expose: tuple[Collection[str] | None, Collection[str] | None, Collection[str] | None],
        hide: tuple[Collection[str], Collection[str], Collection[str]],
        tools: Sequence[ToolView],
        prompts: Sequence[PromptView],
        resources: Sequence[ResourceView],
    ) -> None:
        shown = (
            {rule.tool: rule.name or rule.tool for rule in tools},
            {rule.prompt: rule.name or rule.prompt for rule in prompts},
            {rule.resource: rule.uri or rule.resource for rule in resources},
        )
        if tuple(map(len, shown)) != (len(tools), len(prompts), len(resources)):
            raise ValueError("one thing has two rules in a view; say all of it in one")
        self._names = tuple(
            Names(expose=expose[kind], hide=hide[kind], shown=shown[kind], are_uris=kind == 2)
            for kind in range(3)
        )
        self._edits: tuple[dict[str, Edit], ...] = (
            {rule.tool: Edit(rule) for rule in tools},
            {rule.prompt: Edit(rule) for rule in prompts},
            {rule.resource: Edit(rule) for rule in resources},
        )
        self.pointless = [
            own
            for names, known in zip(self._names, shown, strict=True)
            for own in known
            if names.shown(own) is None
        ]
        """Things that a rule is about and that are not shown."""
        touched = {kind for kind in range(3) if not self._names[kind].hides_nothing or self._edits[kind]}
        self.answers = frozenset(
            {method for method in LISTINGS if _KINDS[method] in touched}
            | set(_LINKING if self._moves_resources else ())
        )
        """Methods whose answers may have to be changed."""
        requests = {method for method, kind in _KINDS.items() if kind in touched and method not in LISTINGS}
        if touched & {1, 2}:
            requests.add("completion/complete")
        if 2 in touched:
            requests.add("subscriptions/listen")
        self.methods = frozenset(requests)
        """Methods whose requests may have to be changed."""

    @property
    def _moves_resources(self) -> bool:
        return any(edit.shown != own for own, edit in self._edits[2].items())

    def own(self, method: str, name: str) -> str | None:
        """The server's own name of what a request of `method` names; None if nothing is shown so."""
        return self._names[_KINDS[method]].own(name) if method in _KINDS else name

    def shown(self, method: str, own: str) -> str | None:
        """The name under which a thing of the server's is shown; None if it is not."""
        return self._names[_KINDS[method]].shown(own)

    def inward(self, method: str, params: JSONObject) -> JSONObject | Refused:
        """The parameters as the server is to get them."""
        if method == "completion/complete":
            return self._completion(params)
        if method == "subscriptions/listen":
            return self._listen(params)
        kind = _KINDS[method]
        key = "uri" if kind == 2 else "name"
        name = params.get(key)
        own = self._names[kind].own(name) if isinstance(name, str) else None
        if own is None:
            return _HIDDEN
        edit = self._edits[kind].get(own)
        given = params.get("arguments")
        arguments = given if edit is None or kind == 2 else edit.arguments(given)
        if isinstance(arguments, Refused):
            return arguments
        if own == name and arguments is given:
            return params
        changed: dict[str, JSON] = {**params, key: own}
        if arguments is not given:
            changed["arguments"] = arguments
        return changed

    def outward(self, method: str, value: JSONObject) -> JSONObject:
        """An answer as it is to be seen."""
        listing = LISTINGS.get(method)
        if listing is None:
            return cast("JSONObject", self._relinked(value, 0))
        items = value.get(listing.items)
        if not isinstance(items, Sequence) or isinstance(items, str):
            return value if items is None else {**value, listing.items: []}
        shown = list(self._items(_KINDS[method], listing.key, items))
        if len(shown) == len(items) and all(one is other for one, other in zip(shown, items, strict=True)):
            return value
        return {**value, listing.items: shown}

    def acknowledged(self, params: JSONObject) -> JSONObject:
        """What a server says it will tell of, by shown URIs (MCP 2026-07-28, subscriptions)."""
        wanted = params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
        if not isinstance(wanted, Mapping) or not isinstance(uris, list | tuple):
            return params
        shown = [
            name for uri in uris if isinstance(uri, str) and (name := self._names[2].shown(uri)) is not None
        ]
        if shown == list(uris):
            return params
        return {**params, "notifications": {**wanted, "resourceSubscriptions": shown}}

    def _items(self, kind: int, key: str, items: Sequence[JSON]) -> Iterator[JSON]:
        for item in items:
            own = item.get(key) if isinstance(item, Mapping) else None
            if not isinstance(item, Mapping) or not isinstance(own, str):
                continue
            name = self._names[kind].shown(own)
            if name is None:
                continue
            edit = self._edits[kind].get(own)
            yield item if edit is None else edit.definition(item, key)

    def _relinked(self, value: JSON, depth: int) -> JSON:
        """Content with resources under their shown URIs; others keep a URI that may not be readable."""
        if depth > MAX_DEPTH:
            return value
        if isinstance(value, Mapping):
            changed: dict[str, JSON] = {}
            for name in ("contents", "content", "resource", "messages"):
                member = value.get(name)
                if member is not None and (new := self._relinked(member, depth + 1)) is not member:
                    changed[name] = new
            uri = value.get("uri")
            if isinstance(uri, str) and depth:
                edit = self._edits[2].get(uri)
                if edit is not None and edit.shown != uri:
                    changed["uri"] = edit.shown
            return {**value, **changed} if changed else value
        if isinstance(value, Sequence) and not isinstance(value, str):
            members = [self._relinked(one, depth + 1) for one in value]
            return value if all(a is b for a, b in zip(members, value, strict=True)) else members
        return value

    def _completion(self, params: JSONObject) -> JSONObject | Refused:
        ref = params.get("ref")
        argument = params.get("argument")
        if not isinstance(ref, Mapping) or ("uri" in ref) is ("name" in ref):
            return _HIDDEN
        kind, key = (2, "uri") if "uri" in ref else (1, "name")
        name = ref[key]
        own = self._names[kind].own(name) if isinstance(name, str) else None
        if own is None:
            return _HIDDEN
        edit = self._edits[kind].get(own)
        asked = argument.get("name") if isinstance(argument, Mapping) else None
        if edit is not None and isinstance(asked, str) and edit.hides(asked):
            return NO_SUCH_ARGUMENT
        changed = params if own == name else {**params, "ref": {**ref, key: own}}
        return changed if edit is None or kind == 2 else _in_context(changed, edit)

    def _listen(self, params: JSONObject) -> JSONObject | Refused:
        wanted = params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
        if uris is None:
            return params
        if not isinstance(uris, list | tuple) or not isinstance(wanted, Mapping):
            return _HIDDEN
        own = [self._names[2].own(uri) if isinstance(uri, str) else None for uri in uris]
        if None in own:
            return _HIDDEN
        if own == list(uris):
            return params
        return {**params, "notifications": {**wanted, "resourceSubscriptions": cast("JSON", own)}}


def _in_context(params: JSONObject, edit: Edit) -> JSONObject | Refused:
    """The parameters with what is pinned among the arguments that a completion goes by."""
    context = params.get("context")
    if context is not None and not isinstance(context, Mapping):
        return NO_SUCH_ARGUMENT
    given = None if context is None else context.get("arguments")
    arguments = edit.arguments(given, defaults=False)
    if isinstance(arguments, Refused):
        return arguments
    return (
        params if arguments is given else {**params, "context": {**(context or {}), "arguments": arguments}}
    )
