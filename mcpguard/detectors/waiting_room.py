"""The calls that wait for a person, and how many of the places anybody may have: nobody takes them all."""

from typing import TypeAlias

from mcpguard.core.principal import Principal
from mcpguard.detectors.approval import ApprovalRequest

__all__ = ["WaitingRoom"]

_Owner: TypeAlias = tuple[str | None, str | None]


class WaitingRoom:
    """Places for calls that wait.

    Args:
        places: How many there are.
    """

    __slots__ = ("_places", "_waiting")

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: dict[str, ApprovalRequest] = {}

    def has_room(self, principal: Principal | None) -> bool:
        """Whether a further call of the principal's may wait: it has at most half of the places left."""
        waiting = self.now()
        free = self._places - len(waiting)
        owned = sum(_owner(one.principal) == _owner(principal) for one in waiting)
        return free > 0 and owned < (free + 1) // 2

    def enter(self, call_id: str, request: ApprovalRequest) -> None:
        """A call waits from here on."""
        self._waiting[call_id] = request

    def leave(self, call_id: str) -> None:
        """It waits no longer."""
        self._waiting.pop(call_id, None)

    def now(self) -> list[ApprovalRequest]:
        """What is asked about those that wait."""
        return list(self._waiting.values())


def _owner(principal: Principal | None) -> _Owner:
    """Whose places a call takes."""
    return (None, None) if principal is None else (principal.tenant, principal.user)
