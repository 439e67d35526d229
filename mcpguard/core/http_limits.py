"""Who may reach a guard that is served over HTTP, and how much of it one client may take.

Above: `serving`, which holds clients to it.
"""

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from math import isfinite

__all__ = ["HTTPLimits"]


@dataclass(frozen=True, slots=True)
class HTTPLimits:
    """What HTTP clients may do.

    Args:
        hosts: Names that clients reach it by, as in their `Host` header: `mcp.example.org`, with a port where
            they send one, `mcp.example.org:*` for any port. On the loopback its own names are among them.
        origins: Origins of web pages that may call it, such as `https://agents.example.org`. Pages of others
            are refused, whatever token they have.
        resource: The URL that clients know it by, for the metadata of RFC 9728. None: none is published.
        stateless: Whether legacy clients have no session, so that any replica may answer any request. Servers
            can ask such clients nothing.
        sessions: Sessions that may be open, and principals without one whose run is kept; a further one is
            answered 503.
        idle: Seconds after which an unused session, or an unused client of MCP 2026-07-28, is forgotten.
        connections: Connections that may be open; a further one is closed at once.
        share: Part of `sessions`, and of `connections` with a request under way, that one principal may have
            where tokens tell them apart, above 0 and up to 1; what is more is answered 429.
        body: Bytes of a request.
        reading: Seconds in which a request has to be there whole, from its first byte on, or from the
            beginning of its connection.
        writing: Seconds a client may take to read a piece of an answer.
        drain: Seconds that calls under way have when it is told to end.

    Raises:
        ValueError: If a number is out of range.
    """

    _: KW_ONLY
    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    resource: str | None = None
    stateless: bool = False
    sessions: int = 1_000
    idle: float = 1_800.0
    connections: int = 2_000
    share: float = 0.25
    body: int = 4_194_304
    reading: float = 15.0
    writing: float = 30.0
    drain: float = 20.0

    def __post_init__(self) -> None:
        for name in ("sessions", "connections", "body"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 at least")
        for name in ("idle", "reading", "writing", "drain"):
            seconds = getattr(self, name)
            if not (isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} is seconds, above 0")
        if not 0 < self.share <= 1:
            raise ValueError("share is a part, above 0 and up to 1")
        if isinstance(self.hosts, str) or isinstance(self.origins, str):
            raise TypeError("hosts and origins are lists")
