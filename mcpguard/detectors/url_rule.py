"""URLs by scheme, host and port, with addresses that are nobody's business outside refused.

Strict rather than clever: what two URL parsers might read differently is refused. Addresses are judged by
`ipaddress`; names are not resolved, so a name that leads to a private address is for the network to stop.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from typing import Final
from urllib.parse import urlsplit

from mcpguard.core.scope import Matcher, matcher

__all__ = ["UrlRule", "is_private"]

MAX_URL: Final = 8192
"""Characters of a URL; servers refuse longer ones (RFC 9110, section 4.1, asks for 8000)."""

MAX_KNOWN: Final = 1024
"""Origins whose verdict is remembered."""

_SHAPE: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._\-\[\]:]{1,264})(?:[/?#][^\x00-\x20\x7f-\xa0\\]*)?"
)
"""Scheme; authority in ASCII, of bounded length, without user or escapes; a rest without blanks."""

_NUMERIC: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A last label that makes URL parsers read the host as an IPv4 address (WHATWG URL, host parsing)."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}

_LOCAL_NAMES: Final = (
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "lan",
    "localdomain",
    "intranet",
    "corp",
    "home",
)
"""Names at whose end a host is at home (RFC 6761, 6762, 8375, ICANN on .internal), or commonly is."""

_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""IPv6 addresses that carry an IPv4 one in their last 32 bits (RFC 6052, RFC 8215)."""

_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""What stands before an IPv4 address in the interface identifier of a tunnel's end (RFC 5214, 6.1)."""

_SPECIAL: Final = ipaddress.ip_network("192.0.0.0/24")
"""Protocol assignments (RFC 6890), which some releases of `ipaddress` take for global in part."""


@dataclass(frozen=True, slots=True)
class UrlRule:
    """Where a URL may lead.

    Args:
        hosts: Names or globs of hosts, and addresses; empty: any that is public. Names beyond ASCII are
            written as `xn--...`.
        schemes: Schemes, in lower case.
        ports: Ports; empty: the scheme's own.
        private: Whether private, loopback and link-local addresses, single-label names and names at home
            (`localhost`, `*.local`, `*.internal`) may be meant.

    Raises:
        TypeError: If a member is a single string or holds something else than it should.
        ValueError: If a scheme or port cannot be, or a host is listed that `private` refuses.
    """

    _: KW_ONLY
    hosts: Collection[str] = ()
    schemes: Collection[str] = ("https",)
    ports: Collection[int] = ()
    private: bool = False
    _host: Matcher | None = field(init=False, repr=False, compare=False)
    _schemes: frozenset[str] = field(init=False, repr=False, compare=False)
    _ports: frozenset[int] = field(init=False, repr=False, compare=False)
    _known: dict[tuple[str, str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        matcher(self.schemes)
        if not self.schemes:
            raise ValueError("schemes is empty, and no URL would be accepted")
        for scheme in self.schemes:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
                raise ValueError(f"{scheme!r} is no scheme in lower case, such as 'https'")
            if scheme not in _PORTS and not self.ports:
                raise ValueError(f"what port {scheme!r} has by itself is not known; give ports")
        for port in self.ports:
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                raise ValueError(f"a port is a whole number from 1 to 65535, not {port!r}")
        hosts = [host.lower().strip("[]").rstrip(".") for host in self.hosts] if self.hosts else []
        matcher(self.hosts)
        for host in hosts:
            if not host.isascii():
                raise ValueError("a host beyond ASCII is written as xn--...")
            if not self.private and not set("*?[") & set(host) and is_private(host):
                raise ValueError(f"hosts lists {host!r}, which is refused unless private is true")
        object.__setattr__(self, "_host", matcher(hosts) if hosts else None)
        object.__setattr__(self, "_schemes", frozenset(self.schemes))
        object.__setattr__(self, "_ports", frozenset(self.ports))
        object.__setattr__(self, "_known", {})

    def admits(self, url: object) -> bool:
        """Whether `url` may be used."""
        if not isinstance(url, str) or len(url) > MAX_URL:
            return False
        shape = _SHAPE.fullmatch(url)
        if shape is None:
            return False
        origin = shape[1], shape[2]
        known = self._known.get(origin)
        if known is None:
            known = self._leads_well(*origin)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[origin] = known
        return known

    def _leads_well(self, scheme: str, authority: str) -> bool:
        scheme = scheme.lower()
        if scheme not in self._schemes or authority.endswith(":"):
            return False
        try:
            parts = urlsplit(f"{scheme}://{authority}")
            host, port = parts.hostname, parts.port
        except ValueError:
            return False
        if not host or parts.netloc != authority:
            return False
        port = _PORTS.get(scheme) if port is None else port
        if port is None or (port not in self._ports if self._ports else port != _PORTS.get(scheme)):
            return False
        name = _host_of(host)
        if name is None or (not self.private and is_private(name)):
            return False
        return self._host is None or self._host(name)

    def described(self) -> str:
        """What would be accepted."""
        hosts = f" at {', '.join(self.hosts)}" if self.hosts else ""
        ports = f", port {', '.join(map(str, self.ports))}" if self.ports else ""
        public = "" if self.private else ", nothing private"
        return f"a URL with {', '.join(self.schemes)}{hosts}{ports}{public}"


def is_private(host: str) -> bool:
    """Whether a host is an address that is not public, or a name at home. `host` is in lower case."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(tuple(f".{name}" for name in _LOCAL_NAMES))
    carried = _carried(address)
    return _is_reserved(address) or (carried is not None and _is_reserved(carried))


def _is_reserved(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return (
        not address.is_global
        or address.is_private
        or address.is_link_local
        or address.is_loopback
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (address.is_site_local if isinstance(address, ipaddress.IPv6Address) else address in _SPECIAL)
    )


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to by translation or tunnel."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.teredo is not None:
        return address.teredo[1]
    is_tunnel = int(address) >> 32 & 0xFFFFFFFF in _ISATAP
    if is_tunnel or any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _host_of(host: str) -> str | None:
    """The host as it is compared; None if it is none, or might be read as another."""
    host = host.lower()
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            return None
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return None
    return host
