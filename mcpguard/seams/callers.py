"""Whose a message is: the run, the principal, and the call that a server's request interrupts.

A session belongs to one principal unless it was declared shared; a call under a run that has ended is
refused, because long-lived tasks inherit contexts; what cannot be attributed for certain is refused rather
than guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpguard.core.call import Call, refusal
from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.line import Line
from mcpguard.core.linked import ANONYMOUS, Handle
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial
from mcpguard.core.run import Run, bound_run
from mcpguard.core.wire import INPUT_METHODS, INTERRUPTIBLE, LIFECYCLE

if TYPE_CHECKING:
    from mcpguard.seams.connection import Connection

__all__ = ["Binding", "Callers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the user said when wrapping, and the guard that is to be bound.

    Args:
        handle: The guard.
        name: What the user calls the server: policy, stores and audit use this name.
        run: Binds every call to this run, whatever the context says.
        shared: Whether several principals may use the connection.
        register: Tells the guard of a connection, for `coverage()` and `status()`.
        limits: What the server is held to by the seam; None where nothing is limited, or something below it
            holds the server to it.
        is_limited: Whether the server is held to limits, here or below.
        line: What is known of the line to it.

    Raises:
        ValueError: If `name` is empty.
    """

    handle: Handle
    name: str
    run: Run | None
    shared: bool
    register: Callable[["Connection"], None]
    limits: ConnectionLimits | None = None
    is_limited: bool = False
    line: Line = field(default_factory=Line)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("name= is what the policy and the audit call this server; it must not be empty")


_NOBODY: Final[tuple[Run | None, Principal | None]] = (None, None)
_ANYBODY: Final[tuple[Run | None, Principal | None]] = (None, ANONYMOUS)


class Callers:
    """Who uses one connection, and for what at the moment.

    Args:
        binding: What the user said when wrapping.
    """

    __slots__ = ("_handle", "_is_shared", "_owner", "_run", "_server", "active")

    def __init__(self, binding: Binding) -> None:
        self._handle = binding.handle
        self._server = binding.name
        self._is_shared = binding.shared
        self._run = binding.run
        self._owner: Principal | None = None if binding.run is None else binding.run.principal
        self.active: dict[str, Call] = {}
        """Calls in flight that a server may interrupt, by id."""

    def may_pass(self, method: str) -> bool:
        """Whether nothing speaks against a message of whoever calls now."""
        run = self._run or bound_run()
        if run is None or method in LIFECYCLE:
            return True
        return self._handle.refusal_code(run) is None and self._owns(run.principal)

    def caller(self, method: str) -> tuple[Run | None, Principal | None] | Denial:
        """Whose an outbound request is, or why nobody may make it. The lifecycle's may always be made."""
        run = self._run or bound_run()
        if run is None:
            return _ANYBODY if self._handle.anonymous else _NOBODY
        principal = self.principal_of(run)
        if method in LIFECYCLE:
            return run, principal
        code = self._handle.refusal_code(run)
        if code is not None:
            return refusal(
                code=code,
                reason=f"run {run.id} may make no more calls",
                message="This task has ended; no more calls can be made in it.",
                source="guard",
            )
        if not self._owns(run.principal):
            return self._not_shared()
        return run, principal

    def refused_notification(self, method: str) -> Denial | None:
        """Why whoever calls now may not send a notification, or None.

        One that gives up a call may be sent when the run has ended, by whom the session belongs to.
        """
        if method in LIFECYCLE:
            run = self.run
            owned = run is None or self._owns(run.principal)
            return None if owned else self._not_shared()
        caller = self.caller(method)
        return caller if isinstance(caller, Denial) else None

    def _not_shared(self) -> Denial:
        return refusal(
            code="session_not_shared",
            reason=f"the session to {self._server} belongs to somebody else; wrap it with shared=True",
            source="guard",
        )

    def _owns(self, principal: Principal | None) -> bool:
        if principal is None or self._is_shared:
            return True
        if self._owner is None:
            self._owner = principal
        return self._owner is principal or self._owner == principal

    @property
    def run(self) -> Run | None:
        """The run an outbound message belongs to."""
        return self._run or bound_run()

    @property
    def principal(self) -> Principal | None:
        """On whose behalf an outbound message is sent."""
        return self.principal_of(self.run)

    def principal_of(self, run: Run | None) -> Principal | None:
        """On whose behalf `run` is, or nobody's where the guard allows that."""
        principal = None if run is None else run.principal
        return ANONYMOUS if principal is None and self._handle.anonymous else principal

    def interrupted(self, method: str) -> Call | Denial | None:
        """The call in flight that a server's request interrupts; None if it cannot be told which.

        A request that may be about calls of several principals is refused.
        """
        active = list(self.active.values())
        if method in LIFECYCLE:
            return None
        if any(other.principal != active[0].principal for other in active):
            return refusal(
                code="ambiguous_principal",
                reason="calls of several principals are in flight; whose this request is cannot be told",
                source="guard",
            )
        calls = [call for call in active if call.method in INTERRUPTIBLE]
        return calls[0] if len(calls) == 1 and method in INPUT_METHODS else None

    def inbound_run(self) -> Run | None:
        """The run that a message from the server belongs to, if that is certain."""
        if self._run is not None:
            return self._run
        runs = {id(call.run): call.run for call in list(self.active.values())}
        return next(iter(runs.values())) if len(runs) == 1 else None

    def inbound(self, interrupted: Call | None) -> tuple[Run | None, Principal | None]:
        """Whose a server's request is, given the call it interrupts."""
        if interrupted is not None:
            return interrupted.run, interrupted.principal
        run = self.inbound_run()
        principal = self.principal_of(run)
        if principal is None:
            known = [call.principal for call in list(self.active.values())]
            principal = known[0] if known and all(one == known[0] for one in known) else None
        if principal is None and not self._is_shared:
            principal = self._owner
        return run, principal
