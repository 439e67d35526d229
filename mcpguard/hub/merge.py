"""The tools of several servers in one list, and the way from a shown name to its server.

Pure. With `prefix` every name begins with its server's, so that a tool that appears elsewhere never changes
or takes another's. With `refuse` names stay as they are, and one that two servers have is nobody's.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from mcpguard.core.wire import JSON, JSONObject

__all__ = ["SEPARATOR", "Merged", "Naming", "merged", "split"]

Naming: TypeAlias = Literal["prefix", "refuse"]

SEPARATOR: Final = "__"
"""Between a server's name and its tool's: what every client accepts in a tool's name."""


class Merged(NamedTuple):
    """What is shown.

    Args:
        tools: Definitions under their shown names.
        routes: Shown name -> server and its own name.
        clashes: Names that several servers have, and none is shown under.
    """

    tools: Sequence[JSONObject]
    routes: Mapping[str, tuple[str, str]]
    clashes: Sequence[str]


def merged(lists: Mapping[str, Sequence[JSONObject]], naming: Naming) -> Merged:
    """The lists of some servers as one."""
    tools: dict[str, JSONObject] = {}
    routes: dict[str, tuple[str, str]] = {}
    clashes: dict[str, None] = {}
    for server, definitions in lists.items():
        for definition in definitions:
            own: JSON = definition.get("name")
            if not isinstance(own, str):
                continue
            shown = f"{server}{SEPARATOR}{own}" if naming == "prefix" else own
            if shown in routes:
                clashes[shown] = None
                continue
            routes[shown] = server, own
            tools[shown] = {**definition, "name": shown} if naming == "prefix" else definition
    for name in clashes:
        del tools[name], routes[name]
    return Merged(tuple(tools.values()), routes, tuple(clashes))


def split(name: str) -> tuple[str, str] | None:
    """Server and own name of a prefixed name."""
    server, separator, own = name.partition(SEPARATOR)
    return (server, own) if separator and server and own else None
