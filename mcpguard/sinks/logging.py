"""Hand events to the standard library's `logging`: a line for people, and the event itself for formatters.

Where the records go, and whether they survive, is the business of whoever configures `logging`; so this
sink can never hold a call back.
"""

import logging
import re
from typing import Final

from mcpguard.core.events import Event

__all__ = ["Logging"]

SHOWN: Final = (
    "method",
    "target",
    "server",
    "run_id",
    "tenant",
    "user",
    "agent",
    "interceptor",
    "verdict",
    "mode",
    "code",
    "reason",
    "outcome",
    "error_code",
)
"""What a line shows of an event; the rest is in the record's `mcpguard` member."""

_ALARMING: Final = frozenset({"deny", "drop"})

_PLAIN: Final = re.compile(r"[\w./:@*+-]+", re.ASCII)


class Logging:
    """Log every event.

    The line reads `decision method=tools/call target=git_reset server=git ... code=access_denied`. Values
    from outside are quoted and what is not printable in them is escaped, so that none of them can begin a
    line, forge a member or command a terminal. The record carries the whole event as `record.mcpguard`.

    Args:
        logger: Name of the logger.
        level: For ordinary events: a number, or a level's name in upper or lower case.
        denial_level: For denials, dropped notifications, failed interceptors and stopped runs.

    Raises:
        TypeError: If a level is neither a number nor a name.
        ValueError: If no level has that name.
    """

    def __init__(
        self,
        logger: str = "mcpguard.audit",
        *,
        level: int | str = logging.INFO,
        denial_level: int | str = logging.WARNING,
    ) -> None:
        self.level = _level(level)
        self.denial_level = _level(denial_level)
        self._logger = logging.getLogger(logger)

    def emit(self, event: Event) -> None:
        """Log one event."""
        level = self.denial_level if _is_alarming(event) else self.level
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _sentence(event), extra={"mcpguard": event.as_dict()})

    async def aclose(self) -> None:
        """Do nothing: handlers belong to whoever configured them."""

    def __repr__(self) -> str:
        return f"Logging({self._logger.name!r})"


def _is_alarming(event: Event) -> bool:
    return (
        event.verdict in _ALARMING
        or event.outcome == "denied"
        or event.kind in ("interceptor_failed", "stopped")
    )


def _sentence(event: Event) -> str:
    words: list[str] = [event.kind]
    for name in SHOWN:
        value = getattr(event, name)
        if value is not None:
            words.append(f"{name}={_shown(str(value))}")
    if event.duration is not None:
        words.append(f"duration={event.duration * 1000:.1f}ms")
    return " ".join(words)


def _shown(value: str) -> str:
    """`value`, quoted if it could be mistaken for something else than one value."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _level(level: int | str) -> int:
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    if not isinstance(level, str):
        raise TypeError(f"a level is a number or a name, not {level!r}")
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise ValueError(f"no level is called {level!r}; known are {', '.join(sorted(known))}")
    return known[level.upper()]
