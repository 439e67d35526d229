"""Small readings of HTTP for `http`: the request in a body, the error in an answer, what headers say."""

import json
import logging
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from importlib import import_module
from time import time
from typing import Any, Final

import anyio

from mcpguard.detectors.shapes import find_id
from mcpguard.seams.limits.events import Events
from mcpguard.seams.messages import Key
from mcpguard.seams.reports import Report

__all__ = ["asked_in", "closed", "cut", "error_text", "is_followed", "seconds", "stream_class"]

_log = logging.getLogger("mcpguard")

MAX_REDIRECTS: Final = 5
"""Redirects of one call that are followed."""

_STEPS: Final = "mcpguard.redirects"
"""Where a request says how many redirects led to it."""

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds; no server keeps anybody away for longer than a day."""

MAX_HEADER: Final = 4096
"""Characters of `WWW-Authenticate` that are kept."""


def stream_class(http: Any) -> Any:
    """A stream that httpx takes, over events."""

    class _Stream(http.AsyncByteStream):  # type: ignore[misc]  # the library is known at run time only
        def __init__(self, events: Events) -> None:
            self._events = events

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._events.__aiter__()

        async def aclose(self) -> None:
            await self._events.aclose()

    return _Stream


async def closed(response: Any) -> None:
    """Let go of an answer, whatever state it is in; one that was read to its end has been let go of."""
    if response.is_closed:
        return
    try:
        with anyio.move_on_after(1, shield=True):
            await response.aclose()
    except Exception as error:  # noqa: BLE001 - it was to be thrown away
        _log.debug("closing an HTTP answer failed with %s", type(error).__name__)


def is_followed(response: Any) -> bool:
    """Whether the SDK follows a redirect, and not for ever; over any other its client may end."""
    follows = getattr(import_module("mcp.shared._httpx_utils"), "next_request_within_origin", None)
    if follows is None:  # it leaves that to HTTP's client
        return True
    steps = response.request.extensions.get(_STEPS, 0) + 1
    response.next_request.extensions[_STEPS] = steps
    return steps <= MAX_REDIRECTS and follows(response) is not None


def asked_in(content: bytes) -> tuple[str | None, Key | None]:
    """Method and id of the request in a body of the SDK's own making; its params come last."""
    if len(content) > 2**16:
        return ("unknown" if b'"method"' in content[:512] else None), find_id(content)
    try:
        body = json.loads(content)
    except ValueError:
        return None, None
    if not isinstance(body, dict) or not isinstance(body.get("method"), str):
        return None, None
    return body["method"], body.get("id")


def error_text(id: Key, report: Report, said: str) -> bytes:
    """The answer that says `report`, as the SDK can parse it."""
    told = report.error(said)
    error = {"code": told.code, "message": told.message, "data": report.marked}
    return json.dumps({"jsonrpc": "2.0", "id": id, "error": error}).encode()


def seconds(given: str | None) -> float | None:
    """What `Retry-After` says, in seconds (RFC 9110, 10.2.3)."""
    if given is None or len(given) > 64:
        return None
    try:
        found = (
            float(given) if given.strip().isdecimal() else parsedate_to_datetime(given).timestamp() - time()
        )
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, found), MAX_RETRY_AFTER)


def cut(text: str | None) -> str | None:
    """A header's value, of bounded length."""
    return None if text is None else text[:MAX_HEADER]
