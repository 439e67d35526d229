"""What a user declares of servers and their tools: who may share them, and what their data is.

Declared by the user and nobody else: what a server says of itself is untrusted, by the specification. What
follows from a label is for the rules that name it.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field

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
    """

    _: KW_ONLY
    shared: bool = False
    trust: bool | None = None
    labels: Collection[str] = ()
    tools: Mapping[str, ToolOptions] = field(default_factory=dict[str, ToolOptions])
    resources: Mapping[str, Labelled] = field(default_factory=dict[str, Labelled])

    def __post_init__(self) -> None:
        _check(self.labels)


def _check(labels: Collection[str]) -> None:
    if isinstance(labels, str):
        raise TypeError(f"labels are a list of words, not the single word {labels!r}")
    if not all(isinstance(label, str) and label for label in labels):
        raise ValueError("a label is a word, and not empty")
