"""A policy file's text as plain data that knows its lines, whatever the format.

Above: `from_yaml`, `from_json` and `from_toml` read one format each, into the same tree, under the same
limits. What the data means is not decided here.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mcpguard.core.errors import Problem
from mcpguard.core.wire import JSON

__all__ = [
    "Format",
    "Kind",
    "Node",
    "Reader",
    "Tree",
    "Unreadable",
    "Where",
    "kind_of",
    "refuse_what_is_not_text",
    "shown",
]

Format: TypeAlias = Literal["yaml", "json", "toml"]

MAX_DEPTH: Final = 64
"""Mappings and lists inside one another; a policy needs eight, and every reader stays off the stack limit."""

MAX_INTEGER: Final = 2**63 - 1
"""What all three formats and every store can hold."""

MAX_SHOWN: Final = 60
"""Characters of a name that a message repeats."""

Kind: TypeAlias = Literal[
    "nothing", "a boolean", "a whole number", "a decimal number", "text", "a list", "a mapping"
]

Scalar: TypeAlias = str | int | float | bool | None

Where: TypeAlias = tuple[str | int, ...]
"""The way from the root to a value: keys and positions."""

_NOT_TEXT: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow, and no policy in another format needs."""


class Unreadable(Exception):  # noqa: N818 - it becomes a PolicyError
    """The text cannot be read any further."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.problem = Problem(message, line)
        super().__init__(message)


@dataclass(slots=True)
class Node:
    """A value and the line its key or item stands in.

    Where the format does not say, it is the line of what is around it; None if nothing around it has one.
    """

    value: "Scalar | list[Node] | dict[str, Node]"
    line: int | None = None

    def plain(self) -> JSON:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {name: member.plain() for name, member in self.value.items()}
        if isinstance(self.value, list):
            return [member.plain() for member in self.value]
        return self.value

    def members(self) -> "Mapping[str, Node]":
        """The members of a mapping; of anything else, none."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> "list[Node]":
        """The items of a list; of anything else, none."""
        return self.value if isinstance(self.value, list) else []

    def step(self, key: str | int) -> "Node | None":
        """The member or item called `key`, or None."""
        if isinstance(key, str):
            return self.members().get(key)
        items = self.items()
        return items[key] if 0 <= key < len(items) else None

    def nearest(self, where: Where) -> "Node":
        """The value at `where`, or the innermost one around it that there is."""
        node = self
        for key in where:
            found = node.step(key)
            if found is None:
                break
            node = found
        return node


Reader: TypeAlias = Callable[[str], tuple[Node, list[Problem]]]
"""Reads one format; raises `Unreadable` where it cannot go on."""


class _Open:
    """A mapping or list that is being filled."""

    __slots__ = ("key", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: tuple[str, int | None] | None = None


class Tree:
    """Builds the tree from what a reader meets, in document order, and holds it to the limits."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[_Open] = []

    def begin(self, value: "list[Node] | dict[str, Node]", line: int | None) -> None:
        """A mapping or a list begins."""
        if self._expects_key():
            raise Unreadable("keys are text; got a list or a mapping as a key", line)
        if len(self._open) == MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep", line)
        node = Node(value, line)
        self._attach(node)
        self._open.append(_Open(node))

    def end(self) -> None:
        """The mapping or list begun last ends."""
        self._open.pop()

    def scalar(self, value: Scalar, line: int | None) -> None:
        """A key or a value."""
        if self._expects_key():
            self._key(value, line)
            return
        if isinstance(value, float) and not math.isfinite(value):
            self.problem("expected a finite number, got an infinite one or NaN", line)
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            self.problem("expected a whole number of at most 64 bits, got a longer one", line)
        elif isinstance(value, str) and _NOT_TEXT.search(value):
            self.problem("expected text, got control characters or half a surrogate pair", line)
        else:
            self._attach(Node(value, line))
            return
        self._attach(Node(None, line))

    def problem(self, message: str, line: int | None) -> None:
        """Note a fault and go on."""
        self.problems.append(Problem(message, line))

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].node.value, dict) and self._open[-1].key is None

    def _key(self, value: Scalar, line: int | None) -> None:
        if not isinstance(value, str):
            self.problem(f"keys are text; got {kind_of(value)} as a key: put it in quotes", line)
        elif _NOT_TEXT.search(value):
            self.problem("keys are text; got control characters or half a surrogate pair", line)
        name = str(value)
        top = self._open[-1]
        first = top.node.step(name)
        if first is not None:
            before = "" if first.line is None else f"; the first is in line {first.line}"
            self.problem(f"the key {shown(name)} stands here a second time{before}", line)
        top.key = (name, line)

    def _attach(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        node.line = node.line or top.node.line
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict) and top.key is not None:
            name, line = top.key
            node.line = line or node.line
            top.node.value[name] = node
            top.key = None


def refuse_what_is_not_text(text: str) -> None:
    """Raise `Unreadable` where `text` holds characters that no text file does."""
    found = _NOT_TEXT.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise Unreadable("not a text file: it holds control characters", line)


def kind_of(value: object) -> Kind:
    """What a value is, in the words of messages; never the value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int():
            return "a whole number"
        case float():
            return "a decimal number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def shown(name: str) -> str:
    """A name from the file, fit for one line of a message."""
    return repr(name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}...")
