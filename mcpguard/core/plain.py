"""Enumerations whose members are plain attributes.

On Python 3.11 each reading of a member runs a Python function of `enum`, and a call reads dozens; later
releases keep members as plain attributes themselves.
"""

from enum import Enum
from typing import TypeVar

__all__ = ["plain"]

E = TypeVar("E", bound=Enum)


def plain(enumeration: type[E]) -> type[E]:
    """Make the members of `enumeration` plain attributes. They stay what they are otherwise."""
    for member in enumeration:
        type.__setattr__(enumeration, member.name, member)
    return enumeration
