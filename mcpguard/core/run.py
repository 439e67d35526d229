"""Runs: one task of an agent, to which limits, loops, labels and audit attach.

Runs nest: a sub-agent's run has its parent's budget above its own. A run is bound to the calls made inside
its `async with` by context, or to a session explicitly when it is wrapped. A closed or stopped run stays
closed: long-lived tasks inherit contexts, and a call made under a stale one is refused.
"""

import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from mcpguard.core.principal import Principal
from mcpguard.core.said import Said

__all__ = ["STOPPED", "Run", "Stops", "bound", "bound_run", "current_run"]

MAX_DEPTH: Final = 32
"""Runs in one lineage, the innermost included; a deeper nesting is a program that calls itself."""

MAX_LABELS: Final = 64
"""Labels of one task; they are declared by people, so there are few."""

MAX_SOURCE: Final = 256
"""Characters of what is said of where a label comes from."""

STOPPED: Final = "run_stopped"
"""The code that calls of a stopped run are refused with."""

_current: ContextVar["Run | None"] = ContextVar("mcpguard_run", default=None)


class Run:
    """One task of an agent.

    Args:
        id: What the audit calls it. A random id by default. `key` tells runs of one id apart.
        principal: On whose behalf; by default the parent's.
        parent: The run this one is part of.

    Raises:
        TypeError: If `id` or `principal` is something else.
        ValueError: If the parent has ended, runs nest deeper than 32, or `id` is empty.
    """

    __slots__ = ("__weakref__", "_ended", "_labels", "_said", "id", "key", "lineage", "parent", "principal")

    def __init__(
        self, *, id: str | None = None, principal: Principal | None = None, parent: "Run | None" = None
    ) -> None:
        if not isinstance(id, str | None):
            raise TypeError(f"a run's id is text, not {type(id).__name__}")
        if not isinstance(principal, Principal | None):
            raise TypeError(f"principal is a Principal(user=...), not {type(principal).__name__}")
        if id == "":
            raise ValueError("a run's id must not be empty; leave it out for a random one")
        if parent is not None and parent.ended:
            raise ValueError(f"the parent run {parent.id!r} has ended ({parent.ended}); open a new one")
        inherited = None if parent is None else parent.principal
        self.key: str = secrets.token_hex(8)
        self.id: str = id or self.key
        self.parent = parent
        self.principal: Principal | None = inherited if principal is None else principal
        self.lineage: tuple[Run, ...] = (self,) if parent is None else (self, *parent.lineage)
        if len(self.lineage) > MAX_DEPTH:
            raise ValueError(f"runs nest deeper than {MAX_DEPTH}")
        self._ended: str | None = None
        self._said: Said | None = None
        self._labels: dict[str, str] = {}

    @property
    def labels(self) -> Mapping[str, str]:
        """What this task has seen, as labels: each with where it was seen first.

        A task is the outermost run with all below it: what a sub-agent has read, it tells.
        """
        return self.lineage[-1]._labels

    def mark(self, label: str, source: str) -> None:
        """Remember that the task has seen something with a label; 64 labels are told apart.

        Args:
            label: A word that rules name, such as `private` or `untrusted`.
            source: Where it was seen, for the record: a name, never a value.
        """
        labels = self.lineage[-1]._labels
        if label not in labels and len(labels) < MAX_LABELS:
            labels[label] = source[:MAX_SOURCE]

    @property
    def tenants(self) -> frozenset[str]:
        """The tenants on whose behalf this run and those above it are."""
        known = (run.principal.tenant for run in self.lineage if run.principal is not None)
        return frozenset(tenant for tenant in known if tenant is not None)

    @property
    def ended(self) -> str | None:
        """None while calls may be made; else the code a call is refused with.

        `run_closed` or `run_stopped`, of this run or of one above it; stopped outweighs closed.
        """
        ended: str | None = None
        for run in self.lineage:
            if run._ended is not None:
                if run._ended == STOPPED:
                    return STOPPED
                ended = run._ended
        return ended

    def close(self) -> None:
        """End the run as finished. A run that was stopped stays stopped."""
        self._ended = self._ended or "run_closed"

    def stop(self) -> None:
        """End the run and every run below it: the kill switch. Calls already sent are not called back."""
        self._ended = STOPPED

    def user_said(self, text: str) -> None:
        """Tell the run what the person provided.

        Addresses, URLs and account numbers in `text` are remembered as keyed digests, the newest 4,096.
        """
        if self._said is None:
            self._said = Said()
        self._said.add(text)

    def said(self, value: str) -> bool:
        """Whether the person provided `value`, here or in a run above; false when nothing is known."""
        return any(run._said is not None and value in run._said for run in self.lineage)

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, depth={len(self.lineage) - 1}, ended={self.ended!r})"


class Stops:
    """The tenants a guard has stopped, whichever runs are theirs: also those it has never seen.

    Attributes:
        tenants: Their names.
    """

    __slots__ = ("tenants",)

    def __init__(self) -> None:
        self.tenants: set[str] = set()

    def code(self, run: Run) -> str | None:
        """Why no call may be made in `run` any more, or None."""
        if self.tenants and not self.tenants.isdisjoint(run.tenants):
            return "tenant_stopped"
        return run.ended


bound_run: Final[Callable[[], Run | None]] = _current.get
"""The same as `current_run`, without a frame of Python's: for the path that every message takes."""


def current_run() -> Run | None:
    """The run bound by context, if any; it may have ended."""
    return _current.get()


@contextmanager
def bound(run: Run | None) -> Generator[None]:
    """Bind `run` to everything inside, tasks started there included. None unbinds."""
    before = _current.get()
    _current.set(run)
    try:
        yield
    finally:
        _current.set(before)
