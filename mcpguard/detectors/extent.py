"""How deep and how wide a JSON value is, found without recursion.

What is written in another language recurses over values on the machine's stack: a deep one ends the
process. So nothing is handed to it that has not been measured.
"""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from mcpguard.core.wire import JSON

__all__ = ["MAX_DEPTH", "MAX_VALUES", "is_bounded"]

MAX_DEPTH: Final = 64
"""Levels of lists and objects; hand-written arguments have five."""

MAX_VALUES: Final = 100_000
"""Values in all, so that a condition over lists ends in time."""


def is_bounded(value: object) -> bool:
    """Whether `value` has at most `MAX_DEPTH` levels and `MAX_VALUES` values."""
    level: list[JSON] = [cast("JSON", value)]
    count = 1
    for _ in range(MAX_DEPTH):
        below: list[JSON] = []
        for one in level:
            if one is None or isinstance(one, (str, int, float)):
                continue
            if isinstance(one, (dict, Mapping)):
                below += one.values()
            elif isinstance(one, (list, Sequence)):
                below += one
        if not below:
            return True
        count += len(below)
        if count > MAX_VALUES:
            return False
        level = below
    return False
