"""Bound the time a tool call may take, and the time of a whole run; a person's thinking does not count.

One clock in place of the SDK's timeout, whose seconds are taken over where they are fewer. It stands still
while the server asks the agent's side something: an elicitation, a sampling, the roots. What stands further
out, such as an approval or the line for a slot, is not timed. A call whose time is up is given up, and the
server is told so; whether it was carried out is then unknown.
"""

import threading
import weakref
from collections.abc import Collection, Mapping
from functools import partial
from math import inf
from typing import Final, Unpack

import anyio

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.scope import Match, Scope
from mcpguard.core.wire import INPUT_METHODS, JSON

__all__ = ["Deadline"]

_RUN_OVER: Final = "This task's time is up; no more calls can be made in it. Finish with what you have."


class Deadline(Interceptor):
    """End calls that take too long, and deny calls of runs that have.

    Args:
        seconds: Time for each call; the caller's own timeout where that is less. None: only the caller's.
        run_seconds: Time for a run, from its first call on, the runs inside it included. None: without end.
        servers: Time only calls to these servers; names or globs. Empty: all.
        tools: Time only calls of these tools; names or globs. Empty: all.

    Raises:
        ValueError: If a number is not above 0, or there is none.
    """

    handles = frozenset({("tools/call", "outbound"), *((method, "inbound") for method in INPUT_METHODS)})
    place = Place.DEADLINE
    times = True

    def __init__(
        self,
        *,
        seconds: float | None = 60.0,
        run_seconds: float | None = None,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        for name, given in (("seconds", seconds), ("run_seconds", run_seconds)):
            if given is not None and not 0 < given < 1e9:
                raise ValueError(f"{name} is seconds, above 0, not {given}")
        if seconds is None and run_seconds is None:
            raise ValueError("neither seconds nor run_seconds is given, so nothing would ever end")
        self._seconds = seconds
        self._run_seconds = run_seconds
        self._scope = Scope(servers=servers, tools=tools)
        self._times_all = not (servers or tools)
        self._under_way: dict[str, _Timed] = {}
        self._runs: dict[int, _RunTime] = {}
        self._lock = threading.Lock()

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Time a call; or stop the clock of the call that a server interrupts."""
        if call.direction == "inbound":
            return await self._paused(call, call_next)
        if not (self._times_all or self._scope.match(call) is Match.YES):
            return await call_next(call)
        rest = self._rest(call.run)
        if rest <= 0:
            return call.denied(
                code="run_deadline",
                reason=f"the run has taken its {self._run_seconds:g} s",
                message=_RUN_OVER,
            )
        allowed = min(rest, self._seconds or inf, inf if call.timeout is None else call.timeout)
        if not call.enforced:
            return await self._watched(call, call_next, allowed)
        with anyio.CancelScope(deadline=anyio.current_time() + allowed) as scope:
            timed = self._under_way[call.id] = _Timed(call, scope)
            try:
                return await call_next(call)
            finally:
                if self._under_way.get(call.id) is timed:
                    del self._under_way[call.id]
        self.host.warn(self, call, code="deadline_exceeded", reason=f"it took longer than {allowed:g} s")
        return Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)

    def status(self) -> Mapping[str, JSON]:
        """Calls that are timed, and how many clocks stand still."""
        calls = list(self._under_way.values())
        return {"under_way": len(calls), "paused": sum(one.pauses > 0 for one in calls)}

    async def _watched(self, call: Call, call_next: CallNext, allowed: float) -> Result:
        """Say what would have been ended, and end nothing."""
        began = self.host.clock.now()
        result = await call_next(call)
        if self.host.clock.now() - began > allowed:
            self.host.warn(self, call, code="deadline_exceeded", reason=f"it took longer than {allowed:g} s")
        return result

    async def _paused(self, call: Call, call_next: CallNext) -> Result:
        """Let the clocks of what a server interrupts stand still while it is answered."""
        parent = None if call.parent is None else self._under_way.get(call.parent)
        stopped = (
            [parent]
            if parent is not None
            else [
                one
                for one in list(self._under_way.values())
                if one.call.server == call.server and one.call.run is call.run
            ]
        )
        if not call.enforced or not stopped:
            return await call_next(call)
        now = anyio.current_time()
        runs = [] if call.run is None else [self._run_time(run) for run in call.run.lineage]
        with self._lock:
            for one in stopped:
                one.stop(now)
            for run in runs:
                run.stop(self.host.clock.now())
        try:
            return await call_next(call)
        finally:
            now = anyio.current_time()
            with self._lock:
                for one in stopped:
                    one.go_on(now)
                for run in runs:
                    run.go_on(self.host.clock.now())

    def _rest(self, run: Run | None) -> float:
        """Seconds that are left of the run, and of those it is part of."""
        if self._run_seconds is None or run is None:
            return inf
        now = self.host.clock.now()
        return min(self._run_time(one).ends_at - now for one in run.lineage)

    def _run_time(self, run: Run) -> "_RunTime":
        with self._lock:
            time = self._runs.get(id(run))
            if time is None:
                ends_at = self.host.clock.now() + (self._run_seconds or inf)
                ref = weakref.ref(run, partial(self._leave, id(run)))
                time = self._runs[id(run)] = _RunTime(ends_at, ref)
        return time

    def _leave(self, key: int, _ref: "weakref.ref[Run]") -> None:
        """A run is gone. Called while garbage is collected, so without a lock."""
        self._runs.pop(key, None)


class _Clock:
    """What can stand still, several times over."""

    __slots__ = ("_since", "pauses")

    def __init__(self) -> None:
        self.pauses = 0
        self._since = 0.0

    def stop(self, now: float) -> None:
        """Stand still from `now` on."""
        if self.pauses == 0:
            self._since = now
            self.halt()
        self.pauses += 1

    def go_on(self, now: float) -> None:
        """Go on, once everybody who stopped it says so."""
        self.pauses -= 1
        if self.pauses == 0:
            self.put_off(now - self._since)

    def halt(self) -> None:
        """Nothing ends while it stands still."""

    def put_off(self, seconds: float) -> None:
        """End later by as much."""


class _Timed(_Clock):
    """One call under way."""

    __slots__ = ("_deadline", "_scope", "call")

    def __init__(self, call: Call, scope: anyio.CancelScope) -> None:
        super().__init__()
        self.call = call
        self._scope = scope
        self._deadline = scope.deadline

    def halt(self) -> None:
        self._scope.deadline = inf

    def put_off(self, seconds: float) -> None:
        self._deadline += seconds
        self._scope.deadline = self._deadline


class _RunTime(_Clock):
    """The time of one run."""

    __slots__ = ("_run", "ends_at")

    def __init__(self, ends_at: float, run: "weakref.ref[Run]") -> None:
        super().__init__()
        self.ends_at = ends_at
        self._run = run

    def put_off(self, seconds: float) -> None:
        self.ends_at += seconds
