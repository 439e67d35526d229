"""The runs that a guard has opened and that go on, and the switch that stops them, or a tenant for good.

Above: `Guard`. Below: `run`, one of them.
"""

import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from mcpguard.core.linked import Handle
from mcpguard.core.principal import Principal
from mcpguard.core.run import STOPPED, Run, bound, current_run

__all__ = ["OpenRuns"]


class OpenRuns:
    """Open, close and stop the runs of a guard; safe across threads.

    Args:
        handle: The guard: its record, and the tenants it has stopped.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self._lock = threading.Lock()

    def now(self) -> list[Run]:
        """Those that go on."""
        with self._lock:
            return [run for run in self._runs if run.ended is None]

    def open(self, *, principal: Principal | None, id: str | None, parent: Run | None) -> Run:
        """Open one that is bound to nothing."""
        run = Run(id=id, principal=principal, parent=parent)
        with self._lock:
            self._runs.add(run)
        self._handle.linked.emitter.about_run("run_opened", run)
        return run

    def close(self, run: Run) -> None:
        """End one as finished."""
        run.close()
        self._handle.linked.emitter.about_run("run_closed", run)

    def inside(
        self, *, principal: Principal | None, id: str | None, parent: Run | None
    ) -> AbstractAsyncContextManager[Run]:
        """One that is open and bound while inside. What is no id and no principal is refused at once.

        Args:
            principal: On whose behalf; by default the parent's.
            id: What the audit calls it; by default a random id.
            parent: The run it is part of; by default the one around it.
        """
        Run(id=id, principal=principal)
        return self._inside(principal, id, parent)

    @asynccontextmanager
    async def _inside(
        self, principal: Principal | None, id: str | None, parent: Run | None
    ) -> AsyncGenerator[Run]:
        run = self.open(principal=principal, id=id, parent=_run_around() if parent is None else parent)
        try:
            with bound(run):
                yield run
        finally:
            self.close(run)

    def stop(self, target: Run | str) -> None:
        """Refuse every further call of a run and those below it, or of a tenant.

        Args:
            target: A run, the id of some that go on, or the name of a tenant.

        Raises:
            TypeError: If it is none of these.
        """
        if isinstance(target, Run):
            self._stop(target, "run stopped")
            return
        if not isinstance(target, str):
            raise TypeError(f"stop takes a Run, a run's id or a tenant's name, not {type(target).__name__}")
        runs = self.now()
        named = [run for run in runs if run.id == target]
        for run in named:
            self._stop(run, "run stopped")
        owned = [run for run in runs if target in run.tenants]
        if named and not owned:
            return
        self._handle.stops.tenants.add(target)
        for run in owned:
            self._stop(run, "tenant stopped")

    def _stop(self, run: Run, reason: str) -> None:
        run.stop()
        self._handle.linked.emitter.about_run("stopped", run, reason=reason)


def _run_around() -> Run | None:
    """The innermost run of this context that is open, or the one that was stopped."""
    around = current_run()
    if around is None or around.ended == STOPPED:
        return around
    return next((run for run in around.lineage if run.ended is None), None)
