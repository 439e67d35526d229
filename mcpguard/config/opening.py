"""Sinks that were opened for a policy which is then refused are closed again: they hold files and locks."""

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import anyio

from mcpguard.core.events import Sink

__all__ = ["closing_if_refused"]

_log: Final = logging.getLogger("mcpguard")


@contextmanager
def closing_if_refused(opened: Sequence[Sink]) -> Generator[None]:
    """Close `opened`, as it is by then, if what is inside fails. Nothing has been written to any of them."""
    try:
        yield
    except BaseException:
        if opened:
            thread = threading.Thread(target=anyio.run, args=(_close, tuple(opened)), name="mcpguard-closing")
            thread.start()  # the thread this runs in may have an event loop, in which nothing can wait here
            thread.join()
        raise


async def _close(sinks: Sequence[Sink]) -> None:
    for sink in reversed(sinks):
        try:
            await sink.aclose()
        except Exception as error:  # noqa: BLE001 - why the policy is refused matters more
            _log.warning("sink %s failed with %s", type(sink).__name__, type(error).__name__)
