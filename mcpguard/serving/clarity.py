"""Whether an HTTP request says one thing: what a proxy in front could read in another way is not answered.

Pure. Above: `endpoint`. Below: nothing; uvicorn and h11 have parsed the request, and refuse what is no HTTP.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["is_clear"]

ONCE: Final = (b"host", b"origin", b"content-type", b"mcp-session-id", b"mcp-protocol-version")
"""What would decide something by its first line here, and by its last elsewhere. `Authorization` is counted
where it is read."""

HOST: Final = re.compile(rb"([^\s:@/\\\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
"""A name or an address, with a port or without (RFC 9110, 7.2)."""


def is_clear(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether these headers, as ASGI has them, can be read in one way only.

    A body has one length (RFC 9112, 6.1: both of them smuggle a request past a proxy).
    """
    names = [name for name, _ in headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        return False
    if any(names.count(name) > 1 for name in ONCE):
        return False
    return all(HOST.fullmatch(value) for name, value in headers if name == b"host")
