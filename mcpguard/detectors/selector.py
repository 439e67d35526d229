"""Which of a call's arguments a rule is about: `path`, `options.target`, `files[*].url`.

`[*]` means every element of a list; names with dots or brackets are quoted, as in `["a.b"].c`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from mcpguard.core.wire import JSON, canonical

__all__ = ["MISSING", "Selector"]


class _Missing:
    """Stands for an argument that is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

_STEP: Final = re.compile(r'\[\*\]|\["([^"]+)"\]|(?:^|(?<=.)\.)([^.\[\]"]+)')


class Selector:
    """Finds what an expression names in a call's arguments.

    Args:
        text: The expression.

    Raises:
        ValueError: If it is written otherwise, or begins with `[*]`.
    """

    __slots__ = ("_is_plain", "_steps", "name", "text")

    def __init__(self, text: str) -> None:
        steps: list[str | None] = []
        position = 0
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                break
            steps.append(match[1] or match[2])
            position = match.end()
        first = steps[0] if steps else None
        if first is None or position != len(text):
            raise ValueError(f"{text!r} names no argument; write 'path', 'options.target' or 'files[*].url'")
        self.text = text
        self.name = first
        self._steps = tuple(steps)  # None: `[*]`
        self._is_plain = len(steps) == 1

    def select(self, arguments: Mapping[str, JSON]) -> Sequence[object]:
        """Everything it names, `MISSING` for each that is not there. An empty list has no elements."""
        if self._is_plain:
            return (arguments.get(self.name, MISSING),)
        found: list[JSON | _Missing] = [arguments]
        for step in self._steps:
            below: list[JSON | _Missing] = []
            for value in found:
                if step is not None:
                    below.append(value.get(step, MISSING) if isinstance(value, (dict, Mapping)) else MISSING)
                elif isinstance(value, (list, Sequence)) and not isinstance(value, str):
                    below.extend(value)
                else:
                    below.append(MISSING)
            found = below
        return found

    def others(self, arguments: JSON) -> JSON:
        """`arguments` without what it names; of a list's elements, what is left of each, once."""
        return _without(arguments, self._steps)


def _without(value: JSON, steps: Sequence[str | None]) -> JSON:
    if not steps:
        return None
    step, below = steps[0], steps[1:]
    if step is None and isinstance(value, (list, Sequence)) and not isinstance(value, str):
        left = {canonical(one): one for one in (_without(element, below) for element in value)}
        return [left[key] for key in sorted(left)]
    if step is None or not isinstance(value, (dict, Mapping)) or step not in value:
        return value
    others = {name: one for name, one in value.items() if name != step}
    return {**others, step: _without(value[step], below)} if below else others
