"""What an HTTP client reads beside the answers of calls, within limits: redirects, what its `auth` fetches.

HTTP's libraries read the body of a redirect that they follow, and of whatever a flow of authentication asks
for or meets on its way, whole and decompressed. None of that needs to be large. Cut short it is no JSON, so
that nothing is taken for what it is not.

Above: `http`, which reads the answers of calls itself. Below: `inflate`.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from mcpguard.seams.limits.inflate import Inflater, TooLarge

__all__ = ["ASIDE_BYTES", "OURS", "PASSED_ON", "bound_aside"]

ASIDE_BYTES: Final = 2**20
"""Bytes of such a body that are read."""

OURS: Final = "mcpguard.ours"
"""Marks a request whose answer is bounded by whoever sent it; what it is redirected to has the mark too."""

PASSED_ON: Final = "mcpguard.passed_on"
"""Marks a request that a server has answered with a redirect, and so may have carried out."""


def bound_aside(client: Any, http: Any) -> None:
    """Let `client` read no more than a bounded part of what is no answer to a request with the mark."""

    async def ask(request: Any) -> None:
        request.headers["accept-encoding"] = "gzip, deflate"

    async def bound(response: Any) -> None:
        if response.has_redirect_location:
            response.request.extensions[PASSED_ON] = True
        if response.status_code < 300 and OURS in response.request.extensions:
            return
        response.stream = _stream(http, response.stream, response.headers.get("content-encoding"))
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)

    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks.get("request", ()), ask],
        "response": [bound, *hooks.get("response", ())],
    }


def _stream(http: Any, inner: Any, encoding: str | None) -> Any:
    class _Bounded(http.AsyncByteStream):  # type: ignore[misc]  # the library is known at run time only
        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = ASIDE_BYTES
            try:
                inflater = Inflater(encoding)
            except TooLarge:
                return
            async for chunk in inner:
                for piece in inflater.pieces(chunk):
                    yield piece[:left]
                    left -= len(piece)
                    if left <= 0:
                        return

        async def aclose(self) -> None:
            await inner.aclose()

    return _Bounded()
