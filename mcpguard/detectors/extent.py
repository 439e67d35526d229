"""How deep and how wide a JSON value is, found without recursion.

What is written in another language recurses over values on the machine's stack: a deep one ends the
process. So nothing is handed to it that has not been measured.
"""

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["MAX_DEPTH", "MAX_VALUES", "is_bounded"]

MAX_DEPTH: Final = 64
"""Levels of lists and objects; hand-written arguments have five."""

MAX_VALUES: Final = 100_000
"""Values in all, so that a condition over lists ends in time."""


def is_bounded(value: object) -> bool:
    """Whether `value` has at most `MAX_DEPTH` levels and `MAX_VALUES` values."""
    level: list[object] = [value]
    count = 1
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for one in level:
            if isinstance(one, str):
                continue
            if isinstance(one, Mapping):
                below.extend(one.values())
            elif isinstance(one, Sequence):
                below.extend(one)
        if not below:
            return True
        count += len(below)
        if count > MAX_VALUES:
            return False
        level = below
    return False
