"""Values behind placeholders, for as long as their run lives: in memory, bounded, told to nobody.

A placeholder cannot be guessed, belongs to one run (and those inside it), and gives its value back only for
the server it came from and those that the policy names. It says nothing of the value but its kind.
"""

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from mcpguard.core.run import Run

__all__ = ["PLACEHOLDER", "Vault"]

MAX_VALUES: Final = 1024
"""Values of one run; what is found after that is masked."""

SHORTEST: Final = 4
"""Characters of a value that is found again where nothing says what it is."""

PLACEHOLDER: Final = re.compile(r"<[A-Z0-9_]{1,48}_[0-9a-f]{24}>")


@dataclass(slots=True)
class _Kept:
    """What one run has.

    Args:
        values: Value and origin by placeholder.
        names: Placeholder by value and origin.
        given: Placeholder by value, of those that were put back into something that was sent.
    """

    values: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    names: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    given: dict[str, str] = field(default_factory=dict[str, str])


class Vault:
    """What placeholders stand for, by run; safe across threads."""

    __slots__ = ("_kept", "_lock")

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Run, _Kept] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def keep(self, run: Run | None, origin: str, kind: str, value: str) -> str | None:
        """The placeholder of a value that came from `origin`; None if there is no run, or no room."""
        if run is None:
            return None
        with self._lock:
            kept = self._kept.setdefault(run, _Kept())
            known = kept.names.get((value, origin))
            if known is None and len(kept.values) < MAX_VALUES:
                known = f"<{kind.upper()[:48]}_{secrets.token_hex(12)}>"
                kept.names[value, origin] = known
                kept.values[known] = value, origin
            return known

    def restored(self, text: str, run: Run | None, may_have: Callable[[str], bool]) -> str:
        """`text` with the values of this run's placeholders in it.

        Args:
            text: Any text.
            run: Whose; a run has the placeholders of those it is part of, for the same tenant.
            may_have: Whether the receiver may have what came from a server.
        """
        if run is None or "<" not in text:
            return text

        def value(found: re.Match[str]) -> str:
            for kept in self._of(run):
                held = kept.values.get(found[0])
                if held is not None and may_have(held[1]):
                    kept.given[held[0]] = found[0]
                    return held[0]
            return found[0]

        with self._lock:
            return PLACEHOLDER.sub(value, text)

    def hidden(self, text: str, run: Run | None) -> str:
        """`text` with placeholders for values that were put back in this run: a server may repeat them."""
        if run is None:
            return text
        with self._lock:
            for kept in self._of(run):
                for value in sorted(kept.given, key=len, reverse=True):
                    if len(value) >= SHORTEST:
                        text = text.replace(value, kept.given[value])
        return text

    def knows(self, value: str, run: Run | None, may_have: Callable[[str], bool]) -> bool:
        """Whether `value` is one that a placeholder of this run stands for, and the receiver may have."""
        with self._lock:
            return run is not None and any(
                held == value and may_have(origin) for kept in self._of(run) for held, origin in kept.names
            )

    def _of(self, run: Run) -> Iterator[_Kept]:
        """What this run has, and what those that it is part of have for its tenant."""
        for one in run.lineage:
            kept = self._kept.get(one)
            if kept is not None and _tenant(one) == _tenant(run):
                yield kept


def _tenant(run: Run) -> str | None:
    return None if run.principal is None else run.principal.tenant
