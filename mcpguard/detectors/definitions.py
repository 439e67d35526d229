"""How one definition of a tool differs from another.

Everything of a definition counts, known members and unknown ones, at any depth: whatever a server puts there
may reach a model. Only a member at the top that is null counts as one that is not there. Files, approvals
and who may see a tool are not decided here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mcpguard.core.wire import JSON, JSONObject, canonical, definition_digest

__all__ = ["MEMBERS", "Change", "changed_members", "changes", "definition_digest"]

MEMBERS: Final = (
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "icons",
    "execution",
    "_meta",
)
"""What a definition is made of (MCP 2025-11-25 and 2026-07-28, server/tools)."""

MAX_CHANGES: Final = 200
"""Differences that are told; a definition with more of them is another one."""

MAX_DEPTH: Final = 64
"""Levels that a comparison goes down; what is deeper is told as one value."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two definitions.

    Args:
        path: Where, as `inputSchema.properties.path.description`.
        before: The value as text, or None where there was none.
        after: The value as text, or None where there is none any more.
    """

    path: str
    before: str | None
    after: str | None


def changed_members(before: JSONObject, after: JSONObject) -> tuple[str, ...]:
    """Which members of `MEMBERS` differ; `other` stands for all the rest."""
    one, two = _present(before), _present(after)
    differing = {name for name in {*one, *two} if not _same(one, two, name)}
    known = tuple(name for name in MEMBERS if name in differing)
    return (*known, "other") if differing - set(MEMBERS) else known


def changes(before: JSONObject, after: JSONObject) -> tuple[Change, ...]:
    """Every difference, by path; at most 200 of them."""
    one, two = dict(_leaves(_present(before))), dict(_leaves(_present(after)))
    found: list[Change] = []
    for path in [*one, *(path for path in two if path not in one)]:
        if one.get(path) != two.get(path):
            found.append(Change(path, one.get(path), two.get(path)))
            if len(found) == MAX_CHANGES:
                break
    return tuple(found)


def _present(definition: JSONObject) -> JSONObject:
    return {name: value for name, value in definition.items() if value is not None}


def _same(one: JSONObject, two: JSONObject, name: str) -> bool:
    return name in one and name in two and canonical(one[name]) == canonical(two[name])


def _leaves(value: JSON, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every value that holds no other, with its path; empty lists and mappings are values too."""
    if depth < MAX_DEPTH and isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{_step(name)}" if path else _step(name), depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, Sequence) and not isinstance(value, str) and value:
        for position, member in enumerate(value):
            yield from _leaves(member, f"{path}[{position}]", depth + 1)
    else:
        yield path, value if isinstance(value, str) else canonical(value).decode("utf-8")


def _step(name: str) -> str:
    """A key that could be taken for a path is quoted."""
    return repr(name) if not name or set(name) & set(".[]'\"") else name
