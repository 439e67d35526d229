"""Enumerations with plain members are enumerations like any other."""

import copy
from enum import Enum

import pytest

from mcpguard.core.content import Use, Zone
from mcpguard.core.plain import plain
from mcpguard.core.result import Fate, Outcome
from mcpguard.core.scope import Match
from mcpguard.detectors.condition import Held


@pytest.mark.parametrize("enumeration", [Fate, Held, Match, Outcome, Use, Zone])
def test_a_member_that_a_call_reads_is_a_plain_attribute(enumeration: type[Enum]) -> None:
    """On Python 3.11 it would be a descriptor that runs Python code at each reading."""
    members = enumeration.__members__
    assert members
    assert all(vars(enumeration)[name] is member for name, member in members.items())


def test_plain_members_are_found_and_copied_as_before() -> None:
    """By value and by name, in copies; and none can be set."""
    assert plain(Fate) is Fate
    assert Fate("sent") is Fate["SENT"] is Fate.SENT
    assert copy.deepcopy(Fate.SENT) is Fate.SENT
    assert [*Fate] == ["not_sent", "sent", "answered"]
    with pytest.raises(AttributeError, match="SENT"):
        Fate.SENT = Fate.ANSWERED  # type: ignore[assignment, misc]
