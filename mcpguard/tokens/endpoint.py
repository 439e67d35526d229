"""One request to an endpoint that is believed as little as any server.

All of it has one time, the answer a size, and nothing is followed, decompressed or kept. It is made with the
HTTP library that the SDK brings. What went out and what came back is in no message.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import anyio

from mcpguard.tokens.secret import TokenError

__all__ = ["exchange"]


async def exchange(
    url: str, *, seconds: float, limit: int, form: Mapping[str, str] | None = None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """Send a form, or nothing, and read the answer: status and body.

    Args:
        url: The endpoint. One of this machine is asked by no proxy, which would get it in the clear.
        seconds: For all of it.
        limit: Bytes of the answer; a longer one is none.
        form: What is posted. None: nothing, the endpoint is only read.
        headers: Beside those of the library.

    Raises:
        TokenError: If there is no answer in time, or it is too long.
    """
    try:
        with anyio.fail_after(seconds):
            return await _answer(url, seconds, limit, form, headers)
    except TokenError:
        raise
    except Exception as error:  # noqa: BLE001 - its text may hold what was sent
        raise TokenError(f"the endpoint failed with {type(error).__name__}") from None


async def _answer(
    url: str, seconds: float, limit: int, form: Mapping[str, str] | None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    library: Any = _http_library()
    body = bytearray()
    async with (
        library.AsyncClient(
            follow_redirects=False, timeout=seconds, trust_env=urlsplit(url).scheme == "https"
        ) as client,
        client.stream(
            "GET" if form is None else "POST",
            url,
            data=form,
            headers={**headers, "Accept-Encoding": "identity"},
        ) as response,
    ):
        async for part in response.aiter_raw():
            body += part
            if len(body) > limit:
                raise TokenError("the endpoint's answer has no end")
        return int(response.status_code), bytes(body)


def _http_library() -> object:
    """`httpx2` with SDK 2.x, `httpx` with 1.x."""
    try:
        return import_module("httpx2")
    except ImportError:
        return import_module("httpx")
