"""How often each kind of message may come from a server: a bucket for every kind.

A state machine without a clock. Kinds are few and fixed, so that a server cannot make up methods to get more
buckets. Below: nothing.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["Storms", "kind_of"]

BURST: Final = 10.0
"""Seconds of the rate that may come at once: progress of several calls, a log at start-up."""

_KINDS: Final[Mapping[str, str]] = {
    "notifications/progress": "progress",
    "notifications/message": "log messages",
    "notifications/cancelled": "cancellations",
    "notifications/tools/list_changed": "changes",
    "notifications/prompts/list_changed": "changes",
    "notifications/resources/list_changed": "changes",
    "notifications/resources/updated": "resource updates",
    "sampling/createMessage": "sampling requests",
    "elicitation/create": "elicitations",
    "roots/list": "requests for roots",
    "ping": "pings",
}


def kind_of(method: str, *, is_request: bool) -> str:
    """The kind a message of the server's is counted under."""
    return _KINDS.get(method, "other requests" if is_request else "other notifications")


class Storms:
    """Token buckets (ITU-T I.371, continuous-state leaky bucket), one for each kind.

    Args:
        notifications: Notifications of one kind per second.
        requests: Requests of one kind per second.
    """

    __slots__ = ("_levels", "_notifications", "_requests")

    def __init__(self, *, notifications: float, requests: float) -> None:
        self._notifications = notifications
        self._requests = requests
        self._levels: dict[str, tuple[float, float]] = {}

    def admits(self, kind: str, now: float, *, is_request: bool) -> bool:
        """Whether one more of `kind` may pass at `now`, in seconds of any steady clock."""
        rate = self._requests if is_request else self._notifications
        burst = max(1.0, rate * BURST)
        level, at = self._levels.get(kind, (0.0, now))
        level = max(0.0, level - (now - at) * rate)
        if level + 1.0 > burst:
            self._levels[kind] = (level, now)
            return False
        self._levels[kind] = (level + 1.0, now)
        return True
