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
from mcpguard.core.timer import Timer
from mcpguard.core.wire import INPUT_METHODS, JSON
from mcpguard.detectors.countdown import Countdown

__all__ = ["Deadline"]

MAX_PAUSE: Final = 3600.0
"""Seconds a call's clock stands still at most, by default: an hour for a person to answer, and no longer for
a server that asks and asks."""

_RUN_OVER: Final = "This task's time is up; no more calls can be made in it. Finish with what you have."


class Deadline(Interceptor):
    """End calls that take too long, and deny calls of runs that have.

    Args:
        seconds: Time for each call; the caller's own timeout where that is less. None: only the caller's.
        run_seconds: Time for a run, from its first call on, the runs inside it included. None: without end.
        max_pause: Seconds for which the server's questions may stop a call's clock, all together.
        servers: Time only calls to these servers; names or globs. Empty: all.
        tools: Time only calls of these tools; names or globs. Empty: all.
        roles: Time only calls of principals with one of these roles. Empty: all.
        tenants: Time only calls of these tenants; names or globs. Empty: all.
        agents: Time only calls of these agents; names or globs. Empty: all.

    Raises:
        ValueError: If a number is out of range, or nothing is limited.
    """

    handles = frozenset({("tools/call", "outbound"), *((method, "inbound") for method in INPUT_METHODS)})
    place = Place.DEADLINE
    times = True

    def __init__(
        self,
        *,
        seconds: float | None = 60.0,
        run_seconds: float | None = None,
        max_pause: float = MAX_PAUSE,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        for name, given in (("seconds", seconds), ("run_seconds", run_seconds)):
            if given is not None and not 0 < given < 1e9:
                raise ValueError(f"{name} is seconds, above 0, not {given}")
        if not 0 <= max_pause < 1e9:
            raise ValueError(f"max_pause is seconds, at least 0, not {max_pause}")
        if seconds is None and run_seconds is None:
            raise ValueError("neither seconds nor run_seconds is given, so nothing would ever end")
        self._seconds = inf if seconds is None else seconds
        self._run_seconds = inf if run_seconds is None else run_seconds
        self._max_pause = max_pause
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._under_way: dict[tuple[str, bool], _Timed] = {}
        self._runs: dict[int, tuple[Countdown, weakref.ref[Run]]] = {}
        self._lock = threading.RLock()
        """Keeps the clocks of runs. Its owner may take it again: what nobody awaits any more ends while
        garbage is collected, wherever the collecting thread then is."""

    def take_over(self, before: Interceptor, /) -> None:
        """Go on with the clocks of runs, where they run as long; and know the calls under way."""
        if not isinstance(before, Deadline):
            return
        self._under_way = before._under_way
        if (self._run_seconds, self._max_pause) == (before._run_seconds, before._max_pause):
            self._runs, self._lock = before._runs, before._lock

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Time a call; or stop the clocks of what a server interrupts."""
        if call.direction == "inbound":
            return await self._paused(call, call_next)
        allowed = inf if call.timeout is None else call.timeout
        match = Match.YES if self._scope.matches_all else self._scope.match(call)
        if match is Match.NO_PRINCIPAL:
            return call.denied(code="no_principal", reason="how long this may take depends on who calls")
        if match is Match.YES:
            rest = self._rest(call.run)
            if rest <= 0:
                reason = f"the run has taken its {self._run_seconds:g} s"
                return call.denied(code="run_deadline", reason=reason, message=_RUN_OVER)
            allowed = min(allowed, rest, self._seconds)
        if allowed == inf:
            return await call_next(call)
        countdown = Countdown(allowed, self._now(), max_pause=self._max_pause)
        if call.enforced:
            scope, timer = anyio.CancelScope(deadline=countdown.ends_at), Timer(call.timer)
            try:
                with scope:
                    timed = call.with_timer(timer)
                    return await self._timed(timed, call_next, _Timed(call, countdown, scope))
            finally:
                timer.over(is_up=scope.cancelled_caught)
            self._report(call, allowed)
            return Result(outcome=Outcome.TIMEOUT, fate=Fate.SENT)
        result = await self._timed(call, call_next, _Timed(call, countdown, None))
        if countdown.rest(self._now()) < 0:
            self._report(call, allowed)
        return result

    def status(self) -> Mapping[str, JSON]:
        """Calls that are timed, and how many clocks stand still."""
        timed = list(self._under_way.values())
        return {"under_way": len(timed), "paused": sum(one.countdown.is_stopped for one in timed)}

    async def _timed(self, call: Call, call_next: CallNext, timed: "_Timed") -> Result:
        """Go on, known as under way."""
        key = (call.id, call.is_nested)  # a guard further out may have timed the same call
        self._under_way[key] = timed
        try:
            return await call_next(call)
        finally:
            if self._under_way.get(key) is timed:
                del self._under_way[key]

    async def _paused(self, call: Call, call_next: CallNext) -> Result:
        """Let the clocks of what a server interrupts stand still while it is answered."""
        calls = [one for one in list(self._under_way.values()) if one.may_be_interrupted_by(call)]
        runs = [] if call.run is None or self._run_seconds == inf else self._times(call.run)
        with self._lock:
            for run in runs:
                run.stop(self.host.clock.now())
        for one in calls:
            one.stop(self._now())
        try:
            return await call_next(call)
        finally:
            with self._lock:
                for run in runs:
                    run.go_on(self.host.clock.now())
            for one in calls:
                one.go_on(self._now())

    def _now(self) -> float:
        """The time for calls: the event loop's, which ends them; where nothing is ended, the guard's."""
        return anyio.current_time() if self.mode == "enforce" else self.host.clock.now()

    def _report(self, call: Call, allowed: float) -> None:
        self.host.warn(self, call, code="deadline_exceeded", reason=f"it took longer than {allowed:g} s")

    def _rest(self, run: Run | None) -> float:
        """Seconds that are left of the run, and of those it is part of."""
        if run is None or self._run_seconds == inf:
            return inf
        now = self.host.clock.now()
        with self._lock:
            return min(one.rest(now) for one in self._times(run))

    def _times(self, run: Run) -> list[Countdown]:
        """The clocks of a run and of those it is part of, started where they were not."""
        with self._lock:
            return [(self._runs.get(id(one)) or self._started(one))[0] for one in run.lineage]

    def _started(self, run: Run) -> "tuple[Countdown, weakref.ref[Run]]":
        ref = weakref.ref(run, partial(self._forget, id(run)))
        time = self._runs[id(run)] = (Countdown(self._run_seconds, self.host.clock.now()), ref)
        return time

    def _forget(self, key: int, _ref: "weakref.ref[Run]") -> None:
        """A run is gone. Called while garbage is collected; one dictionary operation."""
        self._runs.pop(key, None)


class _Timed:
    """One call under way: its clock, and what ends it, which only its own thread may move."""

    __slots__ = ("_call", "_scope", "_thread", "countdown")

    def __init__(self, call: Call, countdown: Countdown, scope: anyio.CancelScope | None) -> None:
        self._call = call
        self._scope = scope
        self._thread = threading.get_ident()
        self.countdown = countdown

    def may_be_interrupted_by(self, request: Call) -> bool:
        """Whether a server's request is about this call, as far as that can be told."""
        call = self._call
        if self._thread != threading.get_ident():
            return False
        if request.parent is not None:
            return request.parent == call.id
        return request.server == call.server and request.run is call.run

    def stop(self, now: float) -> None:
        """Let the clock stand still."""
        self.countdown.stop(now)
        self._move()

    def go_on(self, now: float) -> None:
        """Let the clock run again."""
        self.countdown.go_on(now)
        self._move()

    def _move(self) -> None:
        if self._scope is not None:
            self._scope.deadline = self.countdown.ends_at
