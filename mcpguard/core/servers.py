"""What a user declares of servers and their tools: who may share them, what is in them, how they are reached.

Declared by the user and nobody else: what a server says of itself is untrusted, by the specification. What
follows from a label is for the rules that name it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from urllib.parse import urlsplit

__all__ = ["Labelled", "ServerOptions", "ToolOptions"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels of some resources.

    Args:
        labels: Words that rules name, such as `untrusted`, `private` and `sink`, or any of your own.
    """

    _: KW_ONLY
    labels: Collection[str] = ()

    def __post_init__(self) -> None:
        _check(self.labels)


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What is said of some tools.

    Args:
        labels: Words that rules name, for a call and for what it answers.
        arguments: Labels of a call that gives this argument; `destination` says that it is where data goes.
    """

    _: KW_ONLY
    labels: Collection[str] = ()
    arguments: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])

    def __post_init__(self) -> None:
        _check(self.labels)
        for labels in self.arguments.values():
            _check(labels)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What is said of one server, by the name it is wrapped with.

    Args:
        shared: Whether one session of it may serve several principals.
        trust: Whether what it returns may be taken as the user's own word. False labels it `untrusted`.
            None: nothing is said.
        labels: Words that rules name, for all of its tools, prompts and resources.
        tools: The same for some tools, by name or glob.
        resources: The same for some resources, by URI or glob.
        command: What starts it, for `guard.hub()` and `mcpguard serve`. None: it is reached by `url`, or by
            what the program that wraps it knows.
        args: The command's arguments.
        env: Variables for it, beside the few that every process needs. Secrets are `Credentials`' business.
        url: Where it listens (Streamable HTTP).
        headers: For every request to `url`. Secrets are `Credentials`' business.

    Raises:
        ValueError: If it is said in two ways how it is reached, or `url` is none.
    """

    _: KW_ONLY
    shared: bool = False
    trust: bool | None = None
    labels: Collection[str] = ()
    tools: Mapping[str, ToolOptions] = field(default_factory=dict[str, ToolOptions])
    resources: Mapping[str, Labelled] = field(default_factory=dict[str, Labelled])
    command: str | None = None
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __post_init__(self) -> None:
        _check(self.labels)
        if self.command is not None and self.url is not None:
            raise ValueError("a server has a command or a url, not both")
        if self.command is None and (self.args or self.env):
            raise ValueError("args and env are for a command")
        if self.url is None:
            if self.headers:
                raise ValueError("headers are for a url")
        elif not self.url.isprintable():
            raise ValueError("url has no control characters in it")
        elif urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ValueError("url is http:// or https://, with a host")


def _check(labels: Collection[str]) -> None:
    if isinstance(labels, str):
        raise TypeError(f"labels are a list of words, not the single word {labels!r}")
    if not all(isinstance(label, str) and label for label in labels):
        raise ValueError("a label is a word, and not empty")
