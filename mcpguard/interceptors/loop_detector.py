"""Notice when a run goes round in circles: warn the model, then refuse what would go on, then stop the run.

What counts is the question *and* the answer: a tool that is asked the same and answers something else each
time is being polled, and that is no loop. Times, identifiers and durations in answers do not count as
something else. Calls that are under way together are one step. A run inside another is one step of it, when
it has ended; while it goes on it is watched for itself.

Calls outside any run are not watched: there is no telling where such a task began. How many calls a run may
make in all is `Budget`'s business.
"""

import threading
import weakref
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Outcome, Result
from mcpguard.core.run import Run
from mcpguard.core.scope import Match, Matcher, Scope, matcher
from mcpguard.core.wire import JSON
from mcpguard.detectors.loop_thresholds import LoopThresholds
from mcpguard.detectors.repeats import Finding
from mcpguard.detectors.steps import Steps
from mcpguard.detectors.volatile import check_pointer, essence

__all__ = ["LoopDetector", "LoopThresholds"]

_T = TypeVar("_T")
_Finished: TypeAlias = tuple[int, int, Outcome, str]

MAX_ERROR: Final = 200
"""Characters of a server's error that are compared."""

MAX_STATUS: Final = 100
"""Runs that `status()` lists."""


class LoopDetector(Interceptor):
    """Warn of loops, refuse to go on with them, and stop runs that will not be told.

    Three things are noticed: a block of up to 12 steps that repeats; steps that were all seen before; and one
    tool that fails in one way whatever it is given. A refused call costs nothing and is no step.

    Args:
        warn_after: How often something is repeated when the model is told, in a line after the answer. At
            least 2.
        block_after: The repetition that is refused; never with 0.
        stop_after: The refused call in a row that stops the run. None: none does.
        thresholds: Other numbers for some tools, by name or glob; the first that matches.
        volatile: What differs in a tool's answers by itself: for a name or glob, JSON pointers (RFC 6901)
            into its structured content, or into the result where it has none; `*` is every member.
        servers: Watch only calls to these servers; names or globs. Empty: all.
        tools: Watch only calls of these tools; names or globs. Empty: all.
        roles: Watch only calls of principals with one of these roles. Empty: all.
        tenants: Watch only calls of these tenants; names or globs. Empty: all.
        agents: Watch only calls of these agents; names or globs. Empty: all.

    Raises:
        ValueError: If a number is out of range, or a pointer is none.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.LOOP_DETECTOR

    def __init__(
        self,
        *,
        warn_after: int = 3,
        block_after: int = 5,
        stop_after: int | None = None,
        thresholds: Mapping[str, LoopThresholds] | None = None,
        volatile: Mapping[str, Collection[str]] | None = None,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if stop_after is not None and stop_after < 1:
            raise ValueError(f"stop_after is at least 1, not {stop_after}")
        self._default = LoopThresholds(warn_after=warn_after, block_after=block_after)
        self._stop_after = stop_after
        self._thresholds = [(matcher([name]), one) for name, one in (thresholds or {}).items()]
        self._volatile = [(matcher([name]), _pointers(given)) for name, given in (volatile or {}).items()]
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._states: dict[int, Steps] = {}
        self._under_way: set[str] = set()
        self._lock = threading.RLock()
        """One that its owner may take again: garbage is collected wherever a thread happens to be."""
        self._given_up: deque[Steps] = deque()
        """Runs of calls that ended without an answer, once for each; noted without a lock, because a call
        that nobody awaits any more ends while garbage is collected."""

    def take_over(self, before: Interceptor, /) -> None:
        """Go on with what runs have done so far."""
        if isinstance(before, LoopDetector):
            self._states, self._lock = before._states, before._lock
            self._given_up, self._under_way = before._given_up, before._under_way

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Refuse a call that would go on with a loop; else look at what came of it."""
        run = call.run
        if run is None:
            return await call_next(call)
        if call.is_nested and call.id in self._under_way:  # a guard further out watches it
            return await call_next(call)
        if not self._scope.matches_all:
            match = self._scope.match(call)
            if match is Match.NO:
                return await call_next(call)
            if match is Match.NO_PRINCIPAL:
                return call.denied(code="no_principal", reason="whether it is watched depends on who calls")
        tool = call.target or ""
        limits = _first(self._thresholds, tool, self._default)
        kind = hash((call.server, tool)) >> 4
        asked = hash((kind, call.canonical_arguments)) >> 4
        with self._lock:
            self._catch_up()
            state = self._state(run)
            found = _expected(state, asked, kind, limits) if call.round == 0 else None
            if found is None:
                state.under_way += 1
            else:
                state.refusals += 1
            refusals, last = state.refusals, state.answers.get(asked)
        if found is not None:
            return self._refused(call, run, found, refusals, last)
        self._under_way.add(call.id)
        try:
            result = await call_next(call)
            told = _told(result, _first(self._volatile, tool, ()))
        except BaseException:
            self._given_up.append(state)
            raise
        finally:
            self._under_way.discard(call.id)
        if result.outcome is Outcome.INPUT_REQUIRED:
            self._given_up.append(state)
            return result
        found = self._ended(state, (asked, kind, result.outcome, told))
        return result if found is None or not limits.warns(found) else self._warned(call, result, found)

    def status(self) -> Mapping[str, JSON]:
        """Open runs in which something repeats, and how often."""
        runs: list[JSON] = []
        with self._lock:
            self._catch_up()
            states = list(self._states.values())
        for state in reversed(states):
            run, found = state.run(), state.found
            if run is not None and run.ended is None and found is not None and len(runs) < MAX_STATUS:
                runs.append({"run": run.id, "rule": found.rule, "count": found.count, "period": found.period})
        return {
            "warn_after": self._default.warn_after,
            "block_after": self._default.block_after,
            "runs": runs,
        }

    def _ended(self, state: Steps, finished: _Finished) -> Finding | None:
        """A call came to its end; `finished` says what it was."""
        with self._lock:
            self._catch_up()
            state.under_way -= 1
            state.take(*finished)
            return state.step()

    def _catch_up(self) -> None:
        """Take note of calls that were given up. The lock is held."""
        while self._given_up:
            state = self._given_up.popleft()
            state.under_way -= 1
            state.step()

    def _state(self, run: Run) -> "Steps":
        """What is known of `run`, and of those it is part of."""
        state = self._states.get(id(run))
        if state is None:
            above = None if run.parent is None else self._state(run.parent)
            state = self._states[id(run)] = Steps(run, above, partial(self._leave, id(run)))
        return state

    def _leave(self, key: int, _ref: "weakref.ref[Run]") -> None:
        """A run is gone. Called while garbage is collected, so without a lock."""
        self._states.pop(key, None)

    def _refused(self, call: Call, run: Run, found: Finding, refusals: int, last: str | None) -> Result:
        if call.enforced and self._stop_after is not None and refusals >= self._stop_after:
            run.stop()
            self.host.warn(self, call, code="loop_stopped_run", reason=f"{found.reason}; the run is stopped")
        answer = "" if last is None else f" The answer was: {last}"
        return call.denied(
            code="loop_detected",
            reason=found.reason,
            message=f"This call was refused: {found.message}.{answer}\n"
            "Repeating it will not help. Do something else, or finish with what you have.",
        )

    def _warned(self, call: Call, result: Result, found: Finding) -> Result:
        self.host.warn(self, call, code="loop_suspected", reason=found.reason)
        if result.value is None:
            return result
        content = result.value.get("content")
        blocks: Sequence[JSON] = (
            content if isinstance(content, Sequence) and not isinstance(content, str) else ()
        )
        note: JSON = {
            "type": "text",
            "text": f"Note: {found.message}. If this leads nowhere, try something else.",
        }
        return result.replace(value={**result.value, "content": [*blocks, note]})


def _expected(state: Steps, asked: int, kind: int, limits: LoopThresholds) -> Finding | None:
    """What a call would go on with, in its run or in one around it, if that is to be refused."""
    one: Steps | None = state
    while one is not None:
        found = one.expected(asked, kind)
        if found is not None and limits.blocks(found):
            return found
        one = one.above
    return None


def _told(result: Result, pointers: Collection[str]) -> str:
    """What came back, for comparing."""
    if result.value is not None:
        return essence(result.value, pointers)
    if result.denial is not None:
        return result.denial.code
    return "" if result.error is None else f"{result.error.code} {result.error.message}"[:MAX_ERROR]


def _first(rules: Sequence[tuple[Matcher, _T]], tool: str, default: _T) -> _T:
    for matches, value in rules:
        if matches(tool):
            return value
    return default


def _pointers(given: Collection[str]) -> Collection[str]:
    if isinstance(given, str):
        raise TypeError(f"volatile lists pointers: [{given!r}], not a single string")
    for pointer in given:
        check_pointer(pointer)
    return tuple(given)
