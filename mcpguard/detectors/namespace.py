"""Tools of several servers side by side: which names are taken for one another, and who talks of whose.

A server whose tool has the name of another server's, or one that looks like it, gets the calls that were
meant for the other; one whose description speaks of another's tool steers how that is used. Neither is a
pattern in a text: it takes the names of all servers to see it. What is done about it is decided elsewhere.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from mcpguard.core.wire import JSONObject, strings_in
from mcpguard.detectors.confusables import skeleton

__all__ = ["MAX_NAMES", "Namespace"]

MAX_NAMES: Final = 4096
"""Names of one server that are kept: the more it lists, the less there is to know of it, and of no other."""

MAX_SCANNED: Final = 200_000
"""Characters of one definition that are searched for names."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_./-][A-Za-z0-9]+)*")
_CALLED: Final = re.compile(r"[`'\"]([A-Za-z][\w.-]{1,63})[`'\"]|\b([A-Za-z][\w-]{1,63})(?:\(|\s+tool\b)")
"""A name that is an ordinary word is one where it is quoted, called, or said to be a tool."""

_COMPOUND: Final = re.compile(r"[A-Za-z0-9]+[_.-][A-Za-z0-9]|[a-z][A-Z]")
"""A name that is no ordinary word."""


class Namespace:
    """The names of tools, by server."""

    __slots__ = ("_compound", "_count", "_plain", "_skeletons")

    def __init__(self) -> None:
        self._skeletons: dict[str, dict[str, str]] = {}
        self._compound: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self._count = Counter[str]()

    def add(self, server: str, name: str) -> None:
        """Take note of a tool of `server`; the first server that has a name keeps it."""
        if self._count[server] >= MAX_NAMES or server in self._skeletons.get(skeleton(name), {}):
            return
        self._count[server] += 1
        self._skeletons.setdefault(skeleton(name), {})[server] = name
        names = self._compound if _COMPOUND.search(name) else self._plain
        names.setdefault(name, server)

    def shadowed(self, server: str, definition: JSONObject) -> tuple[str, ...]:
        """In what ways a definition of `server` stands in the way of others, as codes; most telling first.

        `same_name`: another server has a tool of this name. `confusable_name`: of one that looks like it.
        `names_other_tool`: its texts speak of a tool of another server.
        """
        return tuple(dict.fromkeys(self._found(server, definition)))

    def _found(self, server: str, definition: JSONObject) -> Iterator[str]:
        name = definition.get("name")
        name = name if isinstance(name, str) else ""
        for other, taken in self._skeletons.get(skeleton(name), {}).items():
            if other != server:
                yield "same_name" if taken == name else "confusable_name"
            elif taken != name:
                yield "confusable_name"
        own = skeleton(name)
        if any(
            owner != server and skeleton(word) != own
            for text in _texts(definition)
            for word, owner in self._named(text)
        ):
            yield "names_other_tool"

    def _named(self, text: str) -> Iterator[tuple[str, str]]:
        for match in _WORD.finditer(text):
            owner = self._compound.get(match.group())
            if owner is not None:
                yield match.group(), owner
        if self._plain:
            for match in _CALLED.finditer(text):
                word = match[1] or match[2]
                owner = self._plain.get(word)
                if owner is not None:
                    yield word, owner


def _texts(definition: JSONObject) -> Iterator[str]:
    left = MAX_SCANNED
    for text in strings_in({name: value for name, value in definition.items() if name != "name"}):
        if left <= 0:
            return
        yield text[:left]
        left -= len(text)
