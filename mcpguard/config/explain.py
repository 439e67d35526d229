"""What is wrong with a section, as sentences with a line: pydantic's errors in this package's words.

No sentence repeats a value from the file; only keys, and the words that would be accepted.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mcpguard.config.document import Node, Where, kind_of, shown
from mcpguard.core.errors import Problem

__all__ = ["explain", "one_line", "spelled", "unknown"]

MAX_LISTED: Final = 40
"""Names that a message lists as accepted."""

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
}
"""pydantic's type of error -> what would be accepted."""

_REFUSED: Final = frozenset({"refused", "value_error"})
"""Errors whose message is a sentence already: a constructor's, or that of an author's own validator."""

_HINTS: Final[Mapping[tuple[str, str], str]] = {
    ("a mapping", "nothing"): "write {} for the defaults",
    ("a list", "text"): "a list of one is written [like this]",
    ("a list", "nothing"): "an empty list is written []",
    ("text", "a whole number"): "put it in quotes",
    ("text", "a decimal number"): "put it in quotes",
    ("text", "a boolean"): "put it in quotes",
}
"""(expected, got) -> the way out."""


def explain(error: ValidationError, model: type[BaseModel], node: Node, path: Where) -> list[Problem]:
    """The problems behind `error`, which `model` raised over `node`; `path` leads from the root to it."""
    groups: dict[Where, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False, include_input=False):
        groups.setdefault(_where(details, node), []).append(details)
    problems: list[Problem] = []
    above = {where[:length] for where in groups for length in range(len(where))}
    for where, group in groups.items():
        if where in above and all(details["type"] in _EXPECTED for details in group):
            continue
        value = node.nearest(where)
        message = _sentence(group, where, value, model)
        problems.append(Problem(f"{_prefix((*path, *where), group)}{message}", value.line))
    return problems


def one_line(text: str) -> str:
    """A message from elsewhere on one line."""
    return " ".join(text.split()) or "refused, for no reason given"


def spelled(path: Iterable[str | int]) -> str:
    """A place in the file as people write it: `interceptors.access.allow[1].tools`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w$-]{1,60}", part) else shown(part)
            text += f".{name}" if text else name
    return text


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """The sentence for a name that is not one of `known`, with the nearest that is."""
    close = difflib.get_close_matches(name[:200], known, n=1)
    nearest = f"; did you mean {close[0]!r}?" if close else ";"
    listed = ", ".join(sorted(known)[:MAX_LISTED])
    more = ", ..." if len(known) > MAX_LISTED else ""
    accepted = f"accepted here: {listed}{more}" if known else "none is accepted here"
    return f"unknown {what} {shown(name)}{nearest} {accepted}"


def _where(details: ErrorDetails, node: Node) -> Where:
    """The error's place without pydantic's names for the branches of a union."""
    where: Where = ()
    here: Node | None = node
    last = len(details["loc"]) - 1
    for position, part in enumerate(details["loc"]):
        found = None if here is None else here.step(part)
        if found is not None:
            where, here = (*where, part), found
        elif position == last and details["type"] == "missing":
            where = (*where, part)
    return where


def _prefix(path: Where, group: Sequence[ErrorDetails]) -> str:
    if group[0]["type"] in ("missing", "extra_forbidden"):
        path = path[:-1]
    return f"{spelled(path)}: " if path else ""


def _sentence(group: Sequence[ErrorDetails], where: Where, value: Node, model: type[BaseModel]) -> str:
    first = group[0]
    if first["type"] == "missing":
        return f"{shown(str(where[-1]))} is missing"
    if first["type"] == "extra_forbidden":
        return unknown("key", str(where[-1]), _accepted(model, where[:-1]))
    for details in group:
        if details["type"] in _REFUSED:
            return one_line(details["msg"].removeprefix("Value error, "))
    expected = list(dict.fromkeys(_expected(details) for details in group))
    got = kind_of(value.value)
    hint = next((_HINTS[one, got] for one in expected if (one, got) in _HINTS), None)
    if hint is None and isinstance(value.value, str):
        hint = _nearest(value.value, group)
    sentence = f"expected {' or '.join(expected)}, got {got}"
    return sentence if hint is None else f"{sentence}; {hint}"


def _expected(details: ErrorDetails) -> str:
    """What would have been accepted."""
    kind = details["type"]
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in ("literal_error", "enum"):
        return str(details.get("ctx", {}).get("expected", ""))
    return re.sub(r"^(Input|String|Tuple|Data|List) should (be|have) (a |an )?", "", details["msg"])


def _nearest(value: str, group: Sequence[ErrorDetails]) -> str | None:
    options = [
        option
        for details in group
        if details["type"] in ("literal_error", "enum")
        for option in re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    ]
    close = difflib.get_close_matches(value[:200], options, n=1)
    return f"did you mean {close[0]!r}?" if close else None


def _accepted(hint: object, where: Where) -> Collection[str]:
    """The keys that the mapping at `where` may have, by the types of the model."""
    if get_origin(hint) is Annotated:
        return _accepted(get_args(hint)[0], where)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        members = {field.alias or name: field for name, field in hint.model_fields.items()}
        if not where:
            return tuple(members)
        field = members.get(str(where[0]))
        return () if field is None else _accepted(field.annotation, where[1:])
    arguments = get_args(hint)
    if where and get_origin(hint) in (tuple, list, frozenset, dict):
        return _accepted(arguments[-1 if get_origin(hint) is dict else 0], where[1:])
    return next((found for one in arguments if (found := _accepted(one, where))), ())
