"""Rules over what a run has seen, and what content puts a label on it."""

from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.scope import Match, Scope, matcher

__all__ = ["Action", "ContentLabel", "DestinationRule", "FlowRule"]

Action: TypeAlias = Literal["ask", "deny"]
"""What becomes of a call that a rule is about."""


@dataclass(frozen=True, slots=True)
class FlowRule:
    """Once a run has seen all of `after`, calls that have one of `never` are asked about.

    Args:
        after: Labels, all of which the run has seen. At least one.
        never: Labels of calls. At least one.
        action: `ask` a person, or `deny`.

    Raises:
        ValueError: If a member is empty, or `action` is neither word.
    """

    _: KW_ONLY
    after: Collection[str]
    never: Collection[str]
    action: Action = "ask"

    def __post_init__(self) -> None:
        for name in ("after", "never"):
            matcher(getattr(self, name))
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; a flow rule names labels on both sides")
        _check(self.action)


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """A call that sends data is asked about where its destination was read and not named by the user.

    It is about calls labelled `sink`, and arguments labelled `destination`. Without such an argument every
    address, URL and account in a sink's arguments is looked at.

    Args:
        allow: Destinations that need no question: addresses (`*@example.com`), hosts (`*.example.com`),
            accounts or values; names or globs.
        origin: `read`: only where it stood in the answer of a server that is not trusted. `unnamed`: wherever
            the user did not name it.
        after: Only once the run has seen all of these labels. Empty: always.
        action: `ask` a person, or `deny`.

    Raises:
        ValueError: If `origin` or `action` is none of its words.
    """

    _: KW_ONLY
    allow: Collection[str] = ()
    origin: Literal["read", "unnamed"] = "read"
    after: Collection[str] = ()
    action: Action = "ask"

    def __post_init__(self) -> None:
        matcher(self.allow)
        matcher(self.after)
        _check(self.action)
        if self.origin not in ("read", "unnamed"):
            raise ValueError(f"origin is 'read' or 'unnamed', not {self.origin!r}")


@dataclass(frozen=True, slots=True)
class ContentLabel:
    """An answer with one of these texts in it gets labels.

    Args:
        contains: Texts, as they are written; one is enough. At least one.
        labels: Labels that the run has seen then. At least one.
        servers: Only answers of these servers; names or globs. Empty: of all.
        tools: Only answers of these tools; names or globs. Empty: of all, and of prompts and resources.

    Raises:
        ValueError: If `contains` or `labels` is empty.
    """

    _: KW_ONLY
    contains: Collection[str]
    labels: Collection[str]
    servers: Collection[str] = ()
    tools: Collection[str] = ()
    _scope: Scope = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("contains", "labels", "servers", "tools"):
            matcher(getattr(self, name))
        if not self.contains or not self.labels:
            raise ValueError("a content label names texts, and labels for them")
        object.__setattr__(self, "_scope", Scope(servers=self.servers, tools=self.tools))

    def covers(self, call: Call) -> bool:
        """Whether it is about answers to `call`."""
        return self._scope.match(call) is Match.YES

    def is_in(self, texts: Iterable[str]) -> bool:
        """Whether one of its texts is in an answer."""
        return any(part in text for text in texts for part in self.contains)


def _check(action: object) -> None:
    if action not in ("ask", "deny"):
        raise ValueError(f"action is 'ask' or 'deny', not {action!r}")
