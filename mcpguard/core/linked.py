"""A set of interceptors, linked for every (method, direction), and the handle that a reload swaps.

Methods come from outside, so only methods that some hook names get a chain of their own; all others share
one per direction.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from mcpguard.core.chain import Chain, Step, link, link_gate
from mcpguard.core.clock import Clock
from mcpguard.core.emitter import Emitter
from mcpguard.core.gate import Gate
from mcpguard.core.hit_counts import HitCounts
from mcpguard.core.host import Host
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.order import handled, handles
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run, Stops
from mcpguard.core.servers import ServerOptions
from mcpguard.core.views import statuses
from mcpguard.core.watching import Watcher
from mcpguard.core.wire import INPUT_METHODS, JSON, LIFECYCLE, Direction, is_notification

__all__ = ["ANONYMOUS", "Handle", "Linked", "OnDeny"]

OnDeny: TypeAlias = Literal["result", "raise"]

ANONYMOUS: Final = Principal()
"""Who calls where nobody said and the guard allows that: matches no rule about a principal."""

_ANY_REQUEST: Final = "any/request"
_ANY_NOTIFICATION: Final = "notifications/any"


class Linked:
    """Chains for requests and gates for notifications, by direction and method.

    Args:
        steps: Hooks in order, outermost first; their interceptors join here.
        emitter: Where events go, and the guard's clock.
        store: Where the guard keeps state; None leaves each interceptor to a store of its own.
        stops: Who may make no more calls.
        servers: What the user declares of servers.
        kept: Those of the interceptors that go on from the chains before these, with what they know: they
            do not join again.
    """

    __slots__ = (
        "_gates",
        "_requests",
        "_silent",
        "any_outbound",
        "emitter",
        "host",
        "listens",
        "outbound",
        "steps",
        "unasked",
    )

    def __init__(
        self,
        steps: Sequence[Step],
        emitter: Emitter,
        *,
        store: object | None = None,
        stops: Stops | None = None,
        servers: Mapping[str, ServerOptions] | None = None,
        kept: Sequence[Interceptor] = (),
    ) -> None:
        self.steps = tuple(steps)
        self.emitter = emitter
        self.host = Host(emitter, store, servers or {}, self.status)
        interceptors = dict.fromkeys(step.interceptor for step in steps)
        for interceptor in interceptors:
            if not any(interceptor is one for one in kept):
                interceptor.join(self.host)
        emitter.disclosure.hides = tuple(one.hides for one in interceptors if one.hides is not None)
        emitter.listeners = tuple(
            step.interceptor
            for step in steps
            if isinstance(step.interceptor, Watcher) and step.hook == "watch"
        )
        named = {method for step in steps for method, _ in handled(step) if not method.endswith("*")}
        methods = named | LIFECYCLE | {_ANY_REQUEST, _ANY_NOTIFICATION}
        directions: tuple[Direction, Direction] = ("outbound", "inbound")
        self._requests: dict[Direction, dict[str, Chain]] = {
            direction: {
                method: link([s for s in steps if handles(s, method, direction)], emitter, stops)
                for method in methods
                if not is_notification(method)
            }
            for direction in directions
        }
        self._gates: dict[Direction, dict[str, Gate | None]] = {
            direction: {
                method: self._gate(method, direction, emitter)
                for method in methods
                if is_notification(method)
            }
            for direction in directions
        }
        self._silent: dict[str, Gate | None] = {
            method: self._gate(method, "inbound", emitter.silent())
            for method in methods
            if is_notification(method)
        }
        self.outbound = self._requests["outbound"]
        """Chains of outbound requests by method, for the path every message takes."""
        self.any_outbound = self.outbound[_ANY_REQUEST]
        """The chain of outbound requests that have none of their own."""
        self.unasked = link([s for s in steps if handles(s, "tools/list", "outbound")], emitter.silent())
        """The chain of a listing that a session fetches for itself: only its filters count, unrecorded."""
        self.listens = any(not self.chain(method, "inbound").is_empty for method in INPUT_METHODS) or any(
            gate is not None for gate in self._gates["inbound"].values()
        )
        """Whether anything looks at what a server sends, so that calls in flight must be known."""

    def status(self) -> Mapping[str, Mapping[str, JSON]]:
        """What there is to see of the interceptors' state, by name."""
        return statuses([step.interceptor for step in self.steps])

    def chain(self, method: str, direction: Direction) -> Chain:
        """The chain that a request meets."""
        chains = self._requests[direction]
        return chains.get(method) or chains[_ANY_REQUEST]

    def gate(self, method: str, direction: Direction) -> Gate | None:
        """The checks that a notification meets; None if there are none."""
        gates = self._gates[direction]
        return gates[method] if method in gates else gates[_ANY_NOTIFICATION]

    def silent_gate(self, method: str) -> Gate | None:
        """The same for an inbound notification that has been recorded already, and arrives a second way."""
        return self._silent[method] if method in self._silent else self._silent[_ANY_NOTIFICATION]

    def _gate(self, method: str, direction: Direction, emitter: Emitter) -> Gate | None:
        steps = [step for step in self.steps if handles(step, method, direction)]
        return link_gate(steps, emitter) if steps else None


class Handle:
    """What seams hold of a guard: the linked chains of the moment, and what holds whatever is linked.

    Args:
        linked: Swapped by a reload; a call keeps the one it began with.
        stops: Who may make no more calls.
        clock: The guard's time.
        on_deny: Whether a denied tool call is answered or raised.
        anonymous: Whether calls may be made on nobody's behalf.
    """

    __slots__ = ("anonymous", "clock", "hits", "is_reloadable", "linked", "on_deny", "stops")

    def __init__(
        self, linked: Linked, *, stops: Stops, clock: Clock, on_deny: OnDeny, anonymous: bool
    ) -> None:
        self.linked = linked
        self.clock = clock
        self.on_deny: OnDeny = on_deny
        self.anonymous = anonymous
        self.stops = stops
        self.hits = HitCounts()
        """Limits that connections have hit."""
        self.is_reloadable = False
        """Whether other chains may take the place of these, so that nothing can be concluded from them."""

    def swap(self, linked: Linked, *, on_deny: OnDeny, anonymous: bool) -> None:
        """Let the calls that begin from now on meet other chains."""
        self.anonymous = anonymous
        self.on_deny = on_deny
        self.linked = linked

    def refusal_code(self, run: Run) -> str | None:
        """Why no call may be made in `run` any more, or None."""
        return self.stops.code(run)
