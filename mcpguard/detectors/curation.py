"""What a view says of one tool, prompt or resource, and the names it shows for a server's own.

Rules know the server's own names. `Names` is the way there and back: what is hidden has no way, under
whatever spelling a lenient server might take for it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, cast

from mcpguard.core.scope import Matcher, matcher
from mcpguard.core.wire import JSON
from mcpguard.detectors.spelling import folded
from mcpguard.detectors.uris import expansions, loose_spellings, spelled, spellings

__all__ = ["MAX_KNOWN", "MAX_REMEMBERED", "Names", "PromptView", "ResourceView", "ToolView"]

_SLOW: Final = frozenset(
    {"pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef", "$recursiveRef"}
)
"""Keywords that take long on hostile values, or would have to be followed."""


MAX_NAME: Final = 8192
"""Characters of a name or URI; nothing is shown that has a longer one."""

MAX_KNOWN: Final = 2048
"""Names whose meaning is remembered; a client that makes up names makes them be worked out anew."""

MAX_REMEMBERED: Final = 256
"""Characters of a name beyond which it is not remembered."""


@dataclass(frozen=True, slots=True)
class ToolView:
    """How one tool is shown, and what becomes of its arguments.

    Args:
        tool: The server's own name for it.
        name: The name it is shown and called by. None: its own.
        title: Its title. None: the server's.
        description: Its description. None: the server's.
        pin: Arguments that always have this value, and are not shown. A call that gives one is refused.
        hide: Arguments that are not shown and cannot be given.
        default: Arguments that have this value where a call gives none; they are shown as optional.
        narrow: By argument: a JSON Schema its value must satisfy beside the server's, and is shown to. It
            may hold a `description`. Patterns, references and `uniqueItems` are not taken.

    Raises:
        ValueError: If a name is empty, an argument is pinned or hidden and something else as well, or a
            schema has a keyword that is not taken.
    """

    tool: str
    _: KW_ONLY
    name: str | None = None
    title: str | None = None
    description: str | None = None
    pin: Mapping[str, object] = field(default_factory=dict[str, object])
    hide: Collection[str] = ()
    default: Mapping[str, object] = field(default_factory=dict[str, object])
    narrow: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])

    def __post_init__(self) -> None:
        _check_names(self.tool, self.name)
        _check_arguments(self.pin, self.hide, self.default)
        for argument, schema in self.narrow.items():
            if argument in self.pin or argument in self.hide:
                raise ValueError(f"the argument {argument!r} is hidden, so that nothing is left to narrow")
            _check_schema(argument, cast("JSON", schema))


@dataclass(frozen=True, slots=True)
class PromptView:
    """How one prompt is shown, and what becomes of its arguments.

    Args:
        prompt: The server's own name for it.
        name: The name it is shown and fetched by. None: its own.
        title: Its title. None: the server's.
        description: Its description. None: the server's.
        pin: Arguments that always have this text, and are not shown. A call that gives one is refused.
        hide: Arguments that are not shown and cannot be given.
        default: Arguments that have this text where a call gives none; they are shown as optional.

    Raises:
        ValueError: If a name is empty, or an argument is pinned or hidden and something else as well.
    """

    prompt: str
    _: KW_ONLY
    name: str | None = None
    title: str | None = None
    description: str | None = None
    pin: Mapping[str, str] = field(default_factory=dict[str, str])
    hide: Collection[str] = ()
    default: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        _check_names(self.prompt, self.name)
        _check_arguments(self.pin, self.hide, self.default)


@dataclass(frozen=True, slots=True)
class ResourceView:
    """How one resource is shown.

    Args:
        resource: The server's own URI of it, or a template as the server writes it.
        uri: The URI it is shown and read by; not for templates. None: its own.
        name: Its name. None: the server's.
        title: Its title. None: the server's.
        description: Its description. None: the server's.

    Raises:
        ValueError: If a URI is empty, or a template is to have another.
    """

    resource: str
    _: KW_ONLY
    uri: str | None = None
    name: str | None = None
    title: str | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        _check_names(self.resource, self.uri)
        if self.uri is not None and "{" in self.resource + self.uri:
            raise ValueError("a template cannot be shown under another URI")


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


def _check_names(own: str, shown: str | None) -> None:
    if not own or shown == "":
        raise ValueError("a name must not be empty")


def _check_arguments(pin: Collection[str], hide: Collection[str], default: Collection[str]) -> None:
    matcher(hide)
    for argument in (*pin, *default):
        if argument in hide or (argument in pin and argument in default):
            raise ValueError(
                f"the argument {argument!r} is pinned, hidden or has a default: one of the three"
            )


def _check_schema(argument: str, schema: JSON) -> None:
    """Refuse what takes long on hostile values, or would have to be fetched."""
    if isinstance(schema, Mapping):
        for keyword, member in schema.items():
            if keyword in _SLOW:
                raise ValueError(f"narrow[{argument!r}] takes no {keyword}")
            _check_schema(argument, member)
    elif isinstance(schema, list | tuple):
        for member in schema:
            _check_schema(argument, member)
