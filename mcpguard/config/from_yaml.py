"""YAML, in the part that every reader understands alike.

Left out on purpose: anchors and aliases, tags, merge keys, several documents, and plain words that YAML 1.1
and 1.2 take for different things (`no`, `010`, `1e3`, `12:30`). A policy means the same to every reader.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol, TypeAlias, cast

import yaml

from mcpguard.config.document import Node, Scalar, Tree, Unreadable
from mcpguard.core.errors import Problem

__all__ = ["read"]

Plain: TypeAlias = Literal["nothing", "a boolean", "a whole number", "a number", "text", "another type"]

_YAML_1_2: Final[tuple[tuple[Plain, re.Pattern[str]], ...]] = (
    ("nothing", re.compile(r"~|null|Null|NULL|")),
    ("a boolean", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("a whole number", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        "a number",
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
    ),
)
"""The core schema, YAML 1.2.2, section 10.3.2."""

_YAML_1_1: Final[dict[str, Plain]] = {
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:bool": "a boolean",
    "tag:yaml.org,2002:int": "a whole number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:str": "text",
}

_OTHER_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""What ends a line, and with it a comment, in YAML 1.1 and not in 1.2."""

_QUOTE: Final = "a glob goes in quotes, such as '*'"
"""The way out for who meant a glob."""

_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_WORD: Final = re.compile(r"[A-Za-z]{1,3}")


class _Parser(Protocol):
    """What is used of PyYAML's loaders."""

    def check_event(self) -> bool: ...
    def get_event(self) -> yaml.Event: ...
    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str: ...
    def dispose(self) -> None: ...


_Loader: Final = cast("Callable[[str], _Parser]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
"""libyaml where PyYAML was built with it: some ten times as fast."""


def read(text: str) -> tuple[Node, list[Problem]]:
    """Read one YAML document.

    Raises:
        Unreadable: If it is not YAML, is empty or nests too deep.
    """
    other = _OTHER_BREAKS.search(text)
    if other:
        line = text.count("\n", 0, other.start()) + 1
        raise Unreadable("a line break that not every reader of YAML knows: U+0085, U+2028 or U+2029", line)
    tree = Tree()
    loader: _Parser = _Loader(text)
    try:
        for event in _events(loader):
            _take(event, tree, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.problem, error.context) if part)
        if error.context == "while scanning an alias":
            what = f"a word that begins with * is an alias; {_QUOTE}"
        raise Unreadable(f"not YAML: {what}", None if mark is None else mark.line + 1) from None
    except yaml.YAMLError:
        raise Unreadable("not YAML") from None
    finally:
        loader.dispose()
    if tree.root is None:
        raise Unreadable("the file is empty; a policy begins with version: 1")
    return tree.root, tree.problems


def _events(loader: _Parser) -> Iterator[yaml.Event]:
    while loader.check_event():
        yield loader.get_event()


def _take(event: yaml.Event, tree: Tree, loader: _Parser) -> None:
    line = 0 if event.start_mark is None else event.start_mark.line + 1
    match event:
        case yaml.DocumentStartEvent() if tree.root is not None:
            raise Unreadable("a second document begins here; a policy is one document", line)
        case yaml.AliasEvent():
            tree.problem(f"aliases (*name) are refused: write the value out; {_QUOTE}", line)
            tree.scalar("", line)
        case yaml.ScalarEvent():
            _refuse_extras(event, tree, line)
            plain = event.implicit[0] and not event.style
            tree.scalar(_plain(event.value, tree, loader, line) if plain else event.value, line)
        case yaml.SequenceStartEvent():
            _refuse_extras(event, tree, line)
            tree.begin([], line)
        case yaml.MappingStartEvent():
            _refuse_extras(event, tree, line)
            tree.begin({}, line)
        case yaml.CollectionEndEvent():
            tree.end()
        case _:
            pass


def _refuse_extras(event: yaml.NodeEvent, tree: Tree, line: int) -> None:
    if event.anchor is not None:
        tree.problem("anchors (&name) are refused: write the value out where it is needed", line)
    if getattr(event, "tag", None) is not None:
        tree.problem("tags (!name) are refused: a policy is plain data", line)


def _plain(word: str, tree: Tree, loader: _Parser, line: int) -> Scalar:
    old: Plain = _YAML_1_1.get(loader.resolve(yaml.ScalarNode, word, (True, False)), "another type")
    kinds: Iterator[Plain] = (kind for kind, pattern in _YAML_1_2 if pattern.fullmatch(word))
    new = next(kinds, "text")
    if old != new or (old == "a whole number" and not _DECIMAL.fullmatch(word)):
        name = f"the plain word {word}" if _WORD.fullmatch(word) else "this plain value"
        readings = f"{old} to some readers of YAML and {new} to others"
        if old == new:
            readings = "one number to some readers of YAML and another to others"
        way_out = "put it in quotes, or write true or false" if old == "a boolean" else "put it in quotes"
        tree.problem(f"{name} is {readings}: {way_out}", line)
        return word
    return _value(word, old, tree, line)


def _value(word: str, kind: Plain, tree: Tree, line: int) -> Scalar:
    if kind == "nothing":
        return None
    if kind == "a boolean":
        return word.lower() == "true"
    try:
        if kind == "a whole number":
            return int(word)
        if kind == "a number":
            return float(word.replace(".", "") if word[-1].isalpha() else word)
    except ValueError:
        tree.problem("expected a finite number of at most 64 bits, got another", line)
        return None
    return word
