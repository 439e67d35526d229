"""What one principal has of what is there for all: requests under way, streams too, and sessions.

Who holds a good token takes no place from the others. The SDK's session manager bounds sessions for all
together, knows whose each is, and has one place where it opens them: both are names of its own.

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
        manager: The SDK's session manager: it asks here before it opens a session.
        limits: How much there is, and which part of it is one principal's.

    Raises:
        SeamError: If this release of the SDK does not say whose a session is, or where one is opened.
    """

    def __init__(self, manager: Any, limits: HTTPLimits) -> None:
        owners = getattr(manager, "_session_owners", None)
        admit = getattr(manager, "_admit_session", None)
        if not (isinstance(owners, dict) and callable(admit)):
            raise SeamError("this release of the SDK does not say whose a session is: mcp 1.30 and 2.3 do")
        self._owners: Mapping[str, Any] = owners
        self._admit = admit
        manager._admit_session = self._admitted
        self._requests = max(1, int(limits.connections * limits.share))
        self._sessions = max(1, int(limits.sessions * limits.share))
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def taken(self, principal: Principal) -> Generator[None]:
        """Have one request under way.

        Args:
            principal: Whose it is; inside, the sessions it opens are counted too.

        Raises:
            Refused: If that is more than the principal's share.
        """
        who = fingerprint(principal)
        if self._under_way[who] >= self._requests:
            raise Refused(429, "too_many_requests", ("retry-after", "1"))
        self._under_way[who] += 1
        try:
            yield
        finally:
            self._under_way[who] -= 1
            if not self._under_way[who]:
                del self._under_way[who]

    def _admitted(self, requestor: Any) -> Any:
        """A session that is opened, by nobody who has a share of them already.

        Asked by the SDK, and not told by a request's headers: what is opened counts, whatever a client says.

        Raises:
            Refused: If there is no room.
        """
        who = requestor["client_id"]
        if who in self._under_way and self._had(who) >= self._sessions:
            raise Refused(429, "too_many_sessions", ("retry-after", "30"))
        opened = self._admit(requestor)
        if opened is None:
            raise Refused(503, "too_many_clients", ("retry-after", "30"))
        return opened

    def _had(self, who: str) -> int:
        return sum(owner["client_id"] == who for owner in self._owners.values())
