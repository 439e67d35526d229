"""Rounds: several messages that are one logical call.

A message continues a call only if this guard saw the answer that asked for it, on the same connection, for
the same principal, method, parameters and state; once, and for a bounded time. Anything else that carries
`inputResponses` or `requestState` is a fresh call, and counts as one.

Two answers ask for another message: `input_required` (MCP 2026-07-28), and the header mismatch after which
a client lists again and resends the very same call. A server may answer either to whatever it likes; so the
second counts only where the client itself says that it resends.
"""

import secrets
import threading
from dataclasses import dataclass, field
from typing import Final

from cachetools import TTLCache

from mcpguard.core.call import Call
from mcpguard.core.clock import Clock
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, JSONObject, canonical

__all__ = ["HEADER_MISMATCH", "Continuation", "Rounds", "own_state"]

HEADER_MISMATCH: Final = -32020
"""JSON-RPC code after which a client lists the tools and resends (MCP 2026-07-28, streamable HTTP)."""

MAX_OPEN: Final = 1024
"""Calls per connection that may wait for their next round; the oldest is forgotten first."""

RESEND_LIFETIME: Final = 60.0
"""Seconds within which a client that lists again resends the call."""

LIFETIME: Final = 600.0
"""Seconds a call may wait for its next round."""

MAX_ROUNDS: Final = 32
"""Rounds of one call; a message after that is a fresh call."""

_OWN_STATE: Final = "mcpguard-"


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the next message of a logical call brings back.

    Args:
        call: The call as the client made it in the round before.
        answers: Answers the guard gave itself, by the server's key; the client never saw these requests.
        refused: Set where the guard refused what the server asked: the next message ends with this.
        asked: Methods the server asked for, by key.
        state: The `requestState` the server sent; None if it sent none.
    """

    call: Call
    answers: dict[str, JSON] = field(default_factory=dict[str, JSON])
    refused: list[Denial] = field(default_factory=list[Denial])
    asked: dict[str, str] = field(default_factory=dict[str, str])
    state: str | None = None


class Rounds:
    """The calls of one connection that wait for another message; safe across threads."""

    __slots__ = ("_lock", "_mismatched", "_open", "is_used")

    def __init__(self, clock: Clock) -> None:
        self._open: TTLCache[bytes, Continuation] = TTLCache(MAX_OPEN, LIFETIME, timer=clock.now)
        self._mismatched: TTLCache[bytes, Call] = TTLCache(MAX_OPEN, RESEND_LIFETIME, timer=clock.now)
        self.is_used = False
        """Whether any call waits for another message, or ever did."""
        self._lock = threading.Lock()

    def expect(self, continuation: Continuation, state: str | None) -> None:
        """Remember that a further message of this call may come, carrying `state`."""
        call = continuation.call
        if call.round >= MAX_ROUNDS:
            return
        key = _key(call.method, call.params, call.principal, call.run, state)
        with self._lock:
            self.is_used = True
            self._open[key] = continuation

    def mismatched(self, call: Call) -> None:
        """A server answered that the headers of `call` do not match; its client may list and resend it."""
        key = _resend_key(call.method, call.params, call.principal, call.run)
        with self._lock:
            self._mismatched[key] = call

    def expect_resend(self, target: str, run: Run | None) -> None:
        """A client is about to resend its call to `target`, made in `run`."""
        with self._lock:
            for key, call in list(self._mismatched.items()):
                if call.target == target and call.run is run:
                    del self._mismatched[key]
                    self.is_used = True
                    self._open[key] = Continuation(call)

    def take(
        self, method: str, params: JSONObject, principal: Principal | None, run: Run | None
    ) -> Continuation | None:
        """The call that this message continues, if it does; it can be continued once."""
        with self._lock:
            found = self._open.pop(_resend_key(method, params, principal, run), None)
            if found is None and ("requestState" in params or "inputResponses" in params):
                state = params.get("requestState")
                if state is None or isinstance(state, str):
                    found = self._open.pop(_key(method, params, principal, run, state), None)
            return found

    def asking(self, key: str, method: str, principal: Principal | None) -> Continuation | None:
        """The one call that waits for an answer to `method` under `key`; None if it is not clear which."""
        with self._lock:
            found = [
                one
                for one in self._open.values()
                if one.asked.get(key) == method and one.call.principal == principal
            ]
        return found[0] if len(found) == 1 else None


def own_state() -> str:
    """A `requestState` for a round whose every request the guard answered itself."""
    return _OWN_STATE + secrets.token_hex(16)


def _key(
    method: str, params: JSONObject, principal: Principal | None, run: Run | None, state: str | None
) -> bytes:
    """Method, target, arguments, caller, run and state; not what differs from round to round."""
    body = {name: value for name, value in params.items() if name not in _PER_ROUND}
    return _digestible(["round", method, body, state], principal, run)


def _resend_key(method: str, params: JSONObject, principal: Principal | None, run: Run | None) -> bytes:
    body = {name: value for name, value in params.items() if name != "_meta"}
    return _digestible(["resend", method, body], principal, run)


def _digestible(parts: list[JSON], principal: Principal | None, run: Run | None) -> bytes:
    """A key that holds as long as the call, and with it its run, is remembered."""
    who: JSON = None
    if principal is not None:
        who = [principal.tenant, principal.user, principal.agent, sorted(principal.roles)]
    return canonical([*parts, who, None if run is None else id(run)])


_PER_ROUND: Final = frozenset({"_meta", "inputResponses", "requestState"})
