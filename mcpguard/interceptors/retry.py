"""Try again what failed, where that is safe and where it can help.

What has certainly not been sent can be sent again; what may have been carried out only if doing it twice is
doing it once: reading, and tools that are named, hinted by a trusted server, or given an idempotency key.
A tool's own error, invalid parameters and refusals are answers. Each attempt spends budget and rate, which
stand further in.
"""

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Final, Protocol, Self, Unpack

import anyio

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Fate, Result
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.detectors.health import Health, asked_to_wait, health
from mcpguard.detectors.retry_tokens import RetryTokens

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["Retry"]

MAX_SERVERS: Final = 4096
"""Tenants' servers whose retry budget is remembered; the one not used for longest goes first."""

READING: Final = frozenset(
    {
        "resources/read",
        "prompts/get",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "completion/complete",
    }
)
"""Methods that change nothing, by the specification."""

_HINTS: Final = ("readOnlyHint", "idempotentHint")


class WaitStrategy(Protocol):
    """How long to wait before the next attempt: what `tenacity.wait_*` make."""

    def __call__(self, retry_state: "RetryCallState") -> float:
        """Seconds."""
        ...


class Retry(Interceptor):
    """Repeat calls that failed and may be repeated, with full jitter between the attempts.

    Args:
        attempts: Attempts at one call, the first included. At least 1.
        wait_for: Seconds of the first wait at most; each further one may be twice as long.
        wait_at_most: Seconds that one wait may take; what the server asks for beyond is not waited.
        safe: Tools that may be carried out twice, by name or glob.
        trusted: Servers whose hints (`readOnlyHint`, `idempotentHint`) are believed; names or globs.
        idempotency_argument: An argument that lets a server tell a repeated call from a new one; a call that
            has it may be repeated.
        servers: Repeat only calls to these servers; names or globs. Empty: all.
        tools: Repeat only calls of these tools; names or globs. Empty: all.
        wait: A wait strategy of tenacity in place of the two numbers; in Python only.
        sleep: Waits a number of seconds; in Python only.

    Raises:
        ValueError: If a number is out of range.
    """

    handles = frozenset({("tools/call", "outbound"), *((method, "outbound") for method in READING)})
    place = Place.RETRY
    repeats = True

    def __init__(
        self,
        *,
        attempts: int = 3,
        wait_for: float = 0.5,
        wait_at_most: float = 20.0,
        safe: Collection[str] = (),
        trusted: Collection[str] = (),
        idempotency_argument: str | None = None,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        wait: WaitStrategy | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if attempts < 1:
            raise ValueError(f"attempts is at least 1, not {attempts}")
        if not 0 <= wait_for <= wait_at_most < 1e9:
            raise ValueError(f"0 <= wait_for <= wait_at_most, in seconds; not {wait_for} and {wait_at_most}")
        if idempotency_argument == "":
            raise ValueError("idempotency_argument must not be empty; leave it out for none")
        self._attempts = attempts
        self._wait_for = wait_for
        self._wait_at_most = wait_at_most
        self._safe = matcher(safe)
        self._trusted = matcher(trusted)
        self._argument = idempotency_argument
        self._scope = Scope(servers=servers, tools=tools)
        self._wait = wait
        self._sleep = sleep
        self.needs_tool = bool(trusted)
        self._budgets: OrderedDict[tuple[str | None, str], RetryTokens] = OrderedDict()
        self._lock = threading.Lock()

    def take_over(self, before: Self) -> None:
        """Go on with what is left of each server's retries."""
        self._budgets, self._lock = before._budgets, before._lock

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Make the call, and make it again as long as that is safe and may help."""
        result = await call_next(call)
        if not call.enforced or self._scope.match(call) is not Match.YES:
            return result
        state = health(result)
        if state in ("alive", "neutral"):
            with self._lock:
                self._budget(call).give(1)
            return result
        return await self._again(call, call_next, result, state)

    async def _again(self, call: Call, call_next: CallNext, result: Result, state: Health) -> Result:
        taken = 0
        for attempt in range(1, self._attempts):
            if not self._may_repeat(call, result, state):
                return result
            seconds = self._seconds(attempt, result)
            with self._lock:
                taken = self._budget(call).take(is_throttled=state == "throttled")
            if not taken or seconds is None or (call.run is not None and call.run.ended):
                return result
            self.host.warn(
                self,
                call,
                code="retrying",
                reason=f"attempt {attempt} ended as {result.outcome}; the next is in {seconds:.2f} s",
            )
            await self._sleep(seconds)
            result = await call_next(call)
            state = health(result)
            if state in ("alive", "neutral"):
                with self._lock:
                    self._budget(call).give(taken)
                break
        return result

    def _may_repeat(self, call: Call, result: Result, state: Health) -> bool:
        """Whether another attempt may help, and does no harm."""
        if state not in ("failing", "throttled"):
            return False
        if state == "throttled" or result.fate is Fate.NOT_SENT or call.method in READING:
            return True
        tool = call.target or ""
        if self._safe(tool) or (self._argument is not None and self._argument in call.arguments):
            return True
        if call.tool is None or not self._trusted(call.server):
            return False
        return any(call.tool.annotations.get(hint) is True for hint in _HINTS)

    def _seconds(self, attempt: int, result: Result) -> float | None:
        """How long to wait before the next attempt; None if that is longer than may be waited."""
        asked = asked_to_wait(result, self.host.clock.time())
        if asked is not None:
            return asked if asked <= self._wait_at_most else None
        from tenacity import RetryCallState, wait_random_exponential  # noqa: PLC0415 - once a call has failed

        wait = self._wait or wait_random_exponential(multiplier=self._wait_for / 2, max=self._wait_at_most)
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = attempt + 1
        return min(float(wait(state)), self._wait_at_most)

    def _budget(self, call: Call) -> RetryTokens:
        key = (None if call.principal is None else call.principal.tenant, call.server)
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= MAX_SERVERS:
                self._budgets.popitem(last=False)
            budget = self._budgets[key] = RetryTokens()
        return budget
