"""What a guard lends to the interceptors linked in it: its clock, its store, and a way to report.

An interceptor that is linked nowhere yet has the machine's clock, no store, and nobody who listens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.emitter import Emitter
from mcpguard.core.servers import ServerOptions
from mcpguard.core.wire import JSON

if TYPE_CHECKING:
    from mcpguard.core.call import Call
    from mcpguard.core.interceptor import Interceptor

__all__ = ["ALONE", "Host"]


@dataclass(frozen=True, slots=True)
class Host:
    """What a guard lends.

    Args:
        emitter: Where reports go; it has the guard's clock.
        store: Where the guard keeps state, or None: `stores.lent` then makes one in memory.
        servers: What the user declares of servers, by name.
        status: What there is to see of the state of all interceptors of the guard, by name.
    """

    emitter: Emitter
    store: object | None = None
    servers: Mapping[str, ServerOptions] = field(default_factory=dict[str, ServerOptions])
    status: Callable[[], Mapping[str, Mapping[str, JSON]]] = dict

    @property
    def clock(self) -> Clock:
        """The guard's time."""
        return self.emitter.clock

    def warn(self, interceptor: "Interceptor", call: "Call", *, code: str, reason: str) -> None:
        """Report what is about to go wrong with a call, and did not yet; nothing of one only explained.

        Args:
            interceptor: Who reports.
            call: Which call it is about.
            code: Stable snake_case code.
            reason: For the operator; no argument or result value.
        """
        if call.explained:
            return
        self.emitter.about(
            "warning",
            call,
            interceptor=interceptor.label,
            mode=_mode(interceptor),
            code=code,
            reason=reason,
        )

    def labelled(self, interceptor: "Interceptor", call: "Call", *, label: str) -> None:
        """Report that the call's run has seen something of this kind for the first time.

        Args:
            interceptor: Who says so.
            call: The call by which it did.
            label: What was seen, as declared by the user.
        """
        self.emitter.about(
            "labelled", call, interceptor=interceptor.label, mode=_mode(interceptor), code=label
        )

    def spent(self, interceptor: "Interceptor", call: "Call", *, cost: int, currency: str) -> None:
        """Report what a call has cost.

        Args:
            interceptor: Who knows.
            call: Which call it is.
            cost: In millionths of `currency`.
            currency: Its code.
        """
        self.emitter.about("spent", call, interceptor=interceptor.label, cost=cost, currency=currency)

    def changed(
        self,
        interceptor: "Interceptor",
        *,
        state: str,
        reason: str,
        server: str | None = None,
        target: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Report that what an interceptor keeps about a server, a tool or a tenant has changed.

        Args:
            interceptor: Who reports.
            state: The new state, a stable snake_case word.
            reason: For the operator; no argument or result value.
            server: Whose state it is.
            target: Of which tool, prompt or resource.
            tenant: For which tenant.
        """
        self.emitter.about_state(
            interceptor=interceptor.label,
            mode=_mode(interceptor),
            state=state,
            reason=reason,
            server=server,
            target=target,
            tenant=tenant,
        )


ALONE: Final = Host(Emitter((), clock=SYSTEM_CLOCK))
"""What an interceptor has before a guard links it."""


def _mode(interceptor: "Interceptor") -> str | None:
    return "audit" if interceptor.mode == "audit" else None
