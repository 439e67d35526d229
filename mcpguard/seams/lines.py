"""What a server or transport that a user hands over says of the line to it, before anything is opened.

The SDK's transports are context managers that have not been entered: what they were made with is known. Of
any other nothing is said. Above: the seams.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any, Final
from urllib.parse import urlsplit

from mcpguard.core.line import Line

__all__ = ["generator_of", "line_of", "line_to", "sdk_transports"]

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def line_of(server: Any) -> Line:
    """The line to what `guard.client` or `guard.transport` takes."""
    if isinstance(server, str):
        return line_to(server)
    if hasattr(server, "command"):  # StdioServerParameters
        return Line("pipe")
    function = getattr(server, "func", None)
    kind = sdk_transports().get(function)
    if function is None or kind is None:
        return Line()
    try:
        given = signature(function).bind(*server.args, **server.kwds).arguments
    except TypeError:
        return Line()
    return Line("pipe") if kind == "stdio" else line_to(given.get("url"))


def line_to(url: object) -> Line:
    """The line to a URL: what else stands in it, a user or a query, is not among what is known."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return Line("tcp")
    return Line("tcp", address=parts.hostname, port=port if parts.hostname else None)


@cache
def sdk_transports() -> Mapping[object, str]:
    """The generator functions behind the SDK's transports, and what each is."""
    http: Any = import_module("mcp.client.streamable_http")
    found: dict[object, str] = {
        http.streamable_http_client.__wrapped__: "streamable",
        import_module("mcp.client.sse").sse_client.__wrapped__: "sse",
        import_module("mcp.client.stdio").stdio_client.__wrapped__: "stdio",
    }
    old = getattr(http, "streamablehttp_client", None)
    return found if old is None else {**found, generator_of(old): "old"}


def generator_of(function: Any) -> object:
    """The function that a context manager's `func` is, under whatever decorators."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function
