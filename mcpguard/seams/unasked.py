"""What a session fetches for itself: the listing that validates a result which has already arrived.

It is no call of the agent's: it costs nothing, no check refuses it, and it cannot fail the call it serves.
"""

import contextvars
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["fetching_for_itself", "is_fetching_for_itself"]

_fetching: contextvars.ContextVar[bool] = contextvars.ContextVar("mcpguard_fetching", default=False)


@contextmanager
def fetching_for_itself() -> Generator[None]:
    """Mark what is listed inside as the session's own."""
    token = _fetching.set(True)
    try:
        yield
    finally:
        _fetching.reset(token)


def is_fetching_for_itself() -> bool:
    """Whether a session is fetching something for itself here."""
    return _fetching.get()
