"""Why something failed, in words for a log that hold no secret.

What an error says may come from a server, and may repeat what it was given. So only what is known to be safe
is told: the type, what the system says, a status, and the errors of this package, which hold no values.
"""

import os
from collections.abc import Iterator
from typing import Final, cast

from mcpguard.core.errors import MCPGuardError

__all__ = ["cause", "noted"]

MAX_WALKED: Final = 32
"""Errors behind an error that are looked at."""

MAX_TEXT: Final = 256
"""Characters of a cause."""

_CLOSED: Final = "Connection closed"
"""What the SDKs say where a server has ended."""

_MARK: Final = "mcpguard: "
"""Before what was noted on an error here."""


def noted(error: BaseException, why: str) -> None:
    """Say on an error, for its log, what it does not say itself."""
    error.add_note(f"{_MARK}{why}")


def cause(error: BaseException) -> str:
    """The innermost reason, in a line."""
    behind = list(_behind(error))
    for one in behind:
        for note in getattr(one, "__notes__", ()):
            if isinstance(note, str) and note.startswith(_MARK):
                return note.removeprefix(_MARK)
    leaf = next((one for one in behind if not isinstance(one, BaseExceptionGroup)), error)
    if isinstance(leaf, MCPGuardError):
        return ascii(str(leaf).partition("\n")[0])[1:-1][:MAX_TEXT]
    said = next(filter(None, map(_said, behind)), None)
    return type(leaf).__name__ if said is None else f"{type(leaf).__name__}: {said}"


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error and those it comes from, the nearest first; of several at a time the first."""
    one: BaseException | None = error
    for _ in range(MAX_WALKED):
        if one is None:
            return
        yield one
        if isinstance(one, BaseExceptionGroup):
            one = cast("BaseExceptionGroup[BaseException]", one).exceptions[0]
        elif one.__cause__ is not None:
            one = one.__cause__
        elif one.__suppress_context__:
            one = next((given for given in one.args if isinstance(given, BaseException)), None)
        else:
            one = one.__context__


def _said(error: BaseException) -> str | None:
    """What may be told of an error beside its type."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return f"HTTP status {int(status)}"
    if str(error) == _CLOSED:
        return _CLOSED
    if not isinstance(error, OSError) or error.errno is None:
        return None
    said = os.strerror(error.errno)
    if isinstance(error, FileNotFoundError | PermissionError) and isinstance(error.filename, str):
        return f"{said}: {ascii(error.filename)[:MAX_TEXT]}"
    return said
