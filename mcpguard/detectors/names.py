"""The names a view shows for a server's own: the way there and back.

What is hidden has no way, under whatever spelling a lenient server might take for it. Above: `vista`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from mcpguard.core.scope import Matcher, matcher
from mcpguard.detectors.spelling import folded
from mcpguard.detectors.uris import expansions, loose_spellings, spelled, spellings

__all__ = ["MAX_KNOWN", "MAX_REMEMBERED", "Names"]

MAX_NAME: Final = 8192
"""Characters of a name or URI; nothing is shown that has a longer one."""

MAX_KNOWN: Final = 2048
"""Names whose meaning is remembered; a client that makes up names makes them be worked out anew."""

MAX_REMEMBERED: Final = 256
"""Characters of a name beyond which it is not remembered."""


class Names:
    """The names of one kind of thing: shown, and the server's own.

    Args:
        expose: The server's own names or globs of what is shown. None: everything.
        hide: The server's own names or globs of what is not.
        shown: Own name -> shown name, of each thing that a rule is about.
        are_uris: Whether these are URIs, which can be written in more ways than names; and templates of such,
            which hide all that they may be expanded to.
    """

    __slots__ = (
        "_are_uris",
        "_expands",
        "_expose",
        "_guarded",
        "_hide",
        "_known",
        "_moved",
        "_renamed",
        "_shown",
        "hides_nothing",
    )

    def __init__(
        self,
        *,
        expose: Collection[str] | None,
        hide: Collection[str],
        shown: Mapping[str, str],
        are_uris: bool = False,
    ) -> None:
        for names in (expose or (), hide):
            matcher(names)
        self._are_uris = are_uris
        self._expose: Matcher | None = None
        if expose is not None:
            self._expose = matcher([*spelled(expose)] if are_uris else expose)
        hidden = [*spelled(hide)] if are_uris else hide
        self._expands = expansions([*hide, *map(folded, hide)] if are_uris else ())
        self._hide: Matcher | None = matcher([*hidden, *map(folded, hidden)]) if hide else None
        self._shown = dict(shown)
        self._renamed = {name: own for own, name in shown.items() if name != own}
        moved = [own for own, name in shown.items() if name != own]
        if len(self._renamed) != len(moved):
            raise ValueError("two things are shown under one name")
        self._guarded = frozenset(_folded(spelled(shown) if are_uris else shown))
        self._moved = frozenset(_folded(spelled(moved))) if are_uris else frozenset[str]()
        self._known: dict[str, str | None] = {}
        self.hides_nothing = expose is None and not hide and not self._renamed
        """Whether everything is shown, each thing under its own name."""

    def own(self, name: str) -> str | None:
        """The server's own name of what is shown as `name`; None if nothing is."""
        if name in self._known:
            return self._known[name]
        own = self._found(name)
        if len(name) <= MAX_REMEMBERED:
            if len(self._known) >= MAX_KNOWN:
                self._known = {}
            self._known[name] = own
        return own

    def shown(self, own: str) -> str | None:
        """What a thing of the server's is shown as; None if it is not."""
        name = self._shown.get(own, own)
        return name if self.own(name) == own else None

    def _found(self, name: str) -> str | None:
        own = self._renamed.get(name)
        if own is not None:
            return own if self._exposes(own) else None
        if self._shown.get(name, name) != name or not self._exposes(name):
            return None
        return name if name in self._shown or not self._may_be_guarded(name) else None

    def _exposes(self, own: str) -> bool:
        if len(own) > MAX_NAME:
            return False
        if self._hide is not None:
            readings = self._loose(own)
            if readings is None or any(map(self._hides, (own, own.casefold(), *_folded(readings)))):
                return False
        if self._expose is None:
            return True
        if not self._expose(own):
            return False
        exact = spellings(own) if self._are_uris else ()
        return exact is not None and all(map(self._expose, exact))

    def _may_be_guarded(self, name: str) -> bool:
        """Whether a server may take `name` for that of a thing which a rule is about."""
        if not self._guarded:
            return False
        if not self._are_uris:
            return folded(name) in self._guarded
        exact, loose = spellings(name), loose_spellings(name)
        if exact is None or loose is None:
            return True
        return not (self._guarded.isdisjoint(_folded(exact)) and self._moved.isdisjoint(_folded(loose)))

    def _hides(self, name: str) -> bool:
        return self._hide is not None and (self._hide(name) or self._expands(name))

    def _loose(self, own: str) -> Collection[str] | None:
        return loose_spellings(own) if self._are_uris else (own,)


def _folded(names: Iterable[str]) -> Iterator[str]:
    return map(folded, names)
