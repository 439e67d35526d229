"""Where a trail in PostgreSQL is: server and name, from a URL. Neither text nor repr has its password."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["SCHEMES", "Address"]

SCHEMES: Final = ("postgresql://", "postgres://")
"""How a URL of a trail in PostgreSQL begins."""

_LOCAL: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class Address:
    """A trail on a server.

    Args:
        trail: Its name.
        label: Server and trail for messages, without password.
        options: What libpq is to be told.
    """

    trail: str
    label: str
    options: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, url: str, trail: str | None = None) -> "Address":
        """The place that a URL names; the trail is what comes after `#`, `mcpguard` without.

        Raises:
            ValueError: If `url` is none of libpq's, leaves the line to a server elsewhere open, or `trail`
                is empty.
        """
        from psycopg import Error  # noqa: PLC0415 - an extra
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

        address, _, fragment = url.partition("#")
        name = trail if trail is not None else unquote(fragment) or "mcpguard"
        try:
            options = {
                key: str(value) for key, value in conninfo_to_dict(address).items() if value is not None
            }
        except Error:
            options = {}
        if not options or not address.startswith(SCHEMES):
            raise ValueError("url is postgresql://user@host:port/database, and says no more than libpq knows")
        if not name or not name.isprintable() or (trail is not None and fragment):
            raise ValueError("a trail's name is not empty, can be printed, and is given once")
        hosts = options.get("hostaddr", options.get("host", "")).split(",")
        is_local = all(host in _LOCAL or host.startswith("/") for host in hosts)
        if not is_local and options.setdefault("sslmode", "verify-full") not in _ENCRYPTED:
            raise ValueError("sslmode is require, verify-ca or verify-full, unless the server is local")
        where = options.get("host", options.get("hostaddr", ""))
        return cls(name, f"postgresql://{where}/{options.get('dbname', '')}#{name}", options)

    def connect(self, timeout: float) -> "Connection[tuple[object, ...]]":
        """A connection in which each statement commits.

        Raises:
            psycopg.Error: If there is none.
        """
        import psycopg  # noqa: PLC0415 - an extra

        told = {
            "connect_timeout": str(max(2, round(timeout))),
            "application_name": "mcpguard",
            **self.options,
            "client_encoding": "UTF8",
        }
        return psycopg.connect(autocommit=True, **told)  # type: ignore[arg-type]
