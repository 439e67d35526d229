"""What a view says of one tool, prompt or resource.

Rules know the server's own names. Beside: `names`, the way from these to the shown ones and back.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, cast

from mcpguard.core.scope import matcher
from mcpguard.core.wire import JSON

__all__ = ["PromptView", "ResourceView", "ToolView"]

_SLOW: Final = frozenset(
    {"pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef", "$recursiveRef"}
)
"""Keywords that take long on hostile values, or would have to be followed."""


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
