"""How a server is reached by a URL, in the environment of the process that reaches it.

The URL and its headers are secrets as often as not. On a command line every user of the machine could read
them; in the environment that a client's configuration gives they stay in the file that had them before.
"""

import os
import re
from collections.abc import Mapping
from typing import Final

from mcpguard.core.servers import ServerOptions

__all__ = ["HEADERS", "URL", "reached_by", "taken", "variables"]

URL: Final = "MCPGUARD_URL"
"""Where the server listens."""

HEADERS: Final = "MCPGUARD_HEADERS"
"""What a request to it needs: a line for each header, `Name: value`."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, 5.1)."""


_NOT_OURS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers about one message or its connection: the HTTP library's, which a fixed value would contradict."""


def variables(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The variables that say it.

    Raises:
        ValueError: If the URL is none, or a header is none. No message repeats one.
    """
    ServerOptions(url=url)
    for name, value in headers.items():
        if not _is_header(name, value):
            raise ValueError("a header has a name, and a value in one line of ASCII")
        if name.lower() in _NOT_OURS:
            raise ValueError(f"the header {name} is not given, but made for each request")
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    return {URL: url} | ({HEADERS: lines} if lines else {})


def taken() -> ServerOptions:
    """What the variables of this process say. They are taken out: nothing that is started has them.

    Raises:
        ValueError: If they say nothing, or something else than a URL and headers.
    """
    return reached_by({name: os.environ.pop(name, "") for name in (URL, HEADERS)})


def reached_by(env: Mapping[str, str]) -> ServerOptions:
    """What such variables say.

    Raises:
        ValueError: If they say nothing, or something else than a URL and headers.
    """
    url, lines = env.get(URL, ""), env.get(HEADERS, "")
    headers = dict[str, str]()
    for line in filter(None, lines.split("\n")):
        name, colon, value = line.partition(":")
        if not (colon and _is_header(name, value)):
            raise ValueError(f"{HEADERS} has a line for each header, such as Name: value")
        headers[name] = value.strip()
    try:
        return ServerOptions(url=url, headers=headers)
    except ValueError as error:
        raise ValueError(f"{URL}: {error}") from None


def _is_header(name: str, value: str) -> bool:
    return bool(_NAME.fullmatch(name)) and value.isascii() and value.isprintable()
