"""Answers that hold for further calls: for a run or a principal, for the same call or a pattern of calls.

Bounded and expiring; kept in this process alone. Nothing here decides whether an answer may be remembered.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcpguard.core.call import Call
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, canonical
from mcpguard.detectors.accepted import Accepted
from mcpguard.detectors.approval_rule import accepts
from mcpguard.detectors.selector import Selector

__all__ = ["Remembered"]

MAX_ENTRIES: Final = 1024
"""Answers kept; the oldest leave first, and their calls are asked about again."""


@dataclass(frozen=True, slots=True)
class _Kept:
    digest: str
    general: str
    codes: frozenset[tuple[str | None, str]]
    pattern: tuple[tuple[Selector, Accepted], ...] | None
    others: bytes
    run: weakref.ref[Run] | None
    who: tuple[object, ...] | None
    until: float

    def answers(self, call: Call, digest: str, general: str, now: float) -> bool:
        if now >= self.until or self.who != _who(call.principal):
            return False
        if self.run is not None and (call.run is None or self.run() not in call.run.lineage):
            return False
        if self.pattern is None:
            return digest == self.digest
        codes = {(one.source, one.code) for one in call.asks}
        return (
            general == self.general
            and codes <= self.codes
            and accepts(self.pattern, call)
            and _others(self.pattern, call) == self.others
        )


class Remembered:
    """What was answered; safe to use from several threads."""

    __slots__ = ("_kept", "_lock", "_next")

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._next = 0
        self._lock = threading.Lock()

    def add(
        self,
        call: Call,
        *,
        digest: str,
        general: str,
        for_run: bool,
        pattern: Mapping[str, Accepted] | None,
        until: float,
    ) -> None:
        """Keep one yes.

        Args:
            call: The call it was given for.
            digest: What binds it to exactly this call.
            general: The same without the arguments: server, tool definition, policy.
            for_run: Whether it ends with the call's run; else it is the principal's. Without the one or the
                other it is not kept.
            pattern: What the arguments it names may be; all others are as in this call. None: the same one.
            until: When it ends at the latest, on the clock that `answers` is asked by.
        """
        if (call.run if for_run else call.principal) is None:
            return
        selected = None if pattern is None else tuple((Selector(name), one) for name, one in pattern.items())
        kept = _Kept(
            digest=digest,
            general=general,
            codes=frozenset((one.source, one.code) for one in call.asks),
            pattern=selected,
            others=_others(selected or (), call),
            run=weakref.ref(call.run) if for_run and call.run is not None else None,
            who=_who(call.principal),
            until=until,
        )
        with self._lock:
            self._next += 1
            self._kept[self._next] = kept
            while len(self._kept) > MAX_ENTRIES:
                self._kept.popitem(last=False)

    def answers(self, call: Call, *, digest: str, general: str, now: float) -> bool:
        """Whether a yes that was given before answers this call."""
        with self._lock:
            for key in [key for key, one in self._kept.items() if now >= one.until]:
                del self._kept[key]
            kept = list(self._kept.values())
        return any(one.answers(call, digest, general, now) for one in kept)

    def __len__(self) -> int:
        return len(self._kept)


def _others(pattern: tuple[tuple[Selector, Accepted], ...], call: Call) -> bytes:
    """The arguments that a pattern does not name: nobody has said what else they may be."""
    left: JSON = call.arguments
    for selector, _ in pattern:
        left = selector.others(left)
    return canonical(left)


def _who(principal: Principal | None) -> tuple[object, ...] | None:
    if principal is None:
        return None
    return principal.tenant, principal.user, principal.agent, principal.roles
