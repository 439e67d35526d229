"""What one principal has of what is there for all: requests under way, streams too, and sessions.

Who holds a good token takes no place from the others. The SDK's session manager bounds sessions for all
together, and knows whose each is: that is read from a name of its own, which a test pins.

Above: `endpoint`. Below: nothing.
"""

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from mcpguard.core.errors import SeamError
from mcpguard.core.http_limits import HTTPLimits
from mcpguard.core.principal import Principal
from mcpguard.serving.identity import Refused, fingerprint

__all__ = ["Shares"]


class Shares:
    """Count what each principal has.

    Args:
        manager: The SDK's session manager.
        limits: How much there is, and which part of it is one principal's.

    Raises:
        SeamError: If this release of the SDK does not say whose a session is.
    """

    def __init__(self, manager: Any, limits: HTTPLimits) -> None:
        owners = getattr(manager, "_session_owners", None)
        if not isinstance(owners, dict):
            raise SeamError("this release of the SDK does not say whose a session is: mcp 1.30 and 2.3 do")
        self._owners: Mapping[str, Any] = owners
        self._requests = max(1, int(limits.connections * limits.share))
        self._sessions = max(1, int(limits.sessions * limits.share))
        self._under_way: Counter[str] = Counter()
        self._opening: Counter[str] = Counter()

    @contextmanager
    def taken(self, principal: Principal, *, opens: bool) -> Generator[None]:
        """Have one request under way.

        Args:
            principal: Whose it is.
            opens: Whether it may open a session.

        Raises:
            Refused: If that is more than the principal's share.
        """
        who = fingerprint(principal)
        if self._under_way[who] >= self._requests:
            raise Refused(429, "too_many_requests", ("retry-after", "1"))
        if opens and self._had(who) >= self._sessions:
            raise Refused(429, "too_many_sessions", ("retry-after", "30"))
        self._under_way[who] += 1
        self._opening[who] += opens
        try:
            yield
        finally:
            for counter, count in ((self._under_way, 1), (self._opening, int(opens))):
                counter[who] -= count
                if not counter[who]:
                    del counter[who]

    def _had(self, who: str) -> int:
        """Sessions, with those that are about to be opened."""
        opened: int = sum(owner["client_id"] == who for owner in self._owners.values())
        return opened + self._opening[who]
