"""What several servers offer in one list, and the way from what is shown to its server.

Pure. Tools and prompts: with `prefix` every name begins with its server's, so that one that appears elsewhere
never changes or takes another's; with `refuse` names stay as they are, and one that two servers have is
nobody's. URIs of resources always stay, since they stand in prompts and results too: one that two servers
list is nobody's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from mcpguard.core.wire import JSON, LISTINGS, JSONObject

__all__ = ["PREFIXED", "SEPARATOR", "Merged", "Naming", "fits", "merged", "split"]

Naming: TypeAlias = Literal["prefix", "refuse"]

SEPARATOR: Final = "__"
"""Between a server's name and its tool's: what every client accepts in a tool's name."""

PREFIXED: Final = frozenset({"tools/list", "prompts/list"})
"""Lists whose items have names, which can be prefixed."""


class Merged(NamedTuple):
    """What is shown.

    Args:
        items: Definitions under their shown names.
        routes: Shown name, URI or template -> server and its own.
        clashes: What several servers have, and nobody is shown.
    """

    items: Sequence[JSONObject]
    routes: Mapping[str, tuple[str, str]]
    clashes: Sequence[str]


def merged(method: str, lists: Mapping[str, Sequence[JSONObject]], naming: Naming) -> Merged:
    """The lists of some servers as one.

    Args:
        method: Which list.
        lists: Definitions by server.
        naming: What is done with names.
    """
    key = LISTINGS[method].key
    is_prefixed = naming == "prefix" and method in PREFIXED
    items: dict[str, JSONObject] = {}
    routes: dict[str, tuple[str, str]] = {}
    clashes: dict[str, None] = {}
    for server, definitions in lists.items():
        for definition in definitions:
            own: JSON = definition.get(key)
            if not isinstance(own, str):
                continue
            shown = f"{server}{SEPARATOR}{own}" if is_prefixed else own
            if shown in routes:
                clashes[shown] = None
                continue
            routes[shown] = server, own
            items[shown] = {**definition, key: shown} if is_prefixed else definition
    for name in clashes:
        del items[name], routes[name]
    return Merged(tuple(items.values()), routes, tuple(clashes))


def split(name: str) -> tuple[str, str] | None:
    """Server and own name of a prefixed name."""
    server, separator, own = name.partition(SEPARATOR)
    return (server, own) if separator and server and own else None


def fits(template: str, uri: str) -> bool:
    """Whether `uri` may be of `template` (RFC 6570), by what is before its first and after its last brace.

    More than fit may pass, never fewer: both come from outside, so nothing is searched.
    """
    head, brace, rest = template.partition("{")
    if not brace:
        return uri == template
    last = rest.rpartition("}")[2]
    return len(uri) > len(head) + len(last) and uri.startswith(head) and uri.endswith(last)


def owners(templates: Iterable[tuple[str, tuple[str, str]]], uri: str) -> set[str]:
    """The servers that have a template which `uri` may be of."""
    return {server for template, (server, _) in templates if fits(template, uri)}
