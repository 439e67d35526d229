"""Notifications of one connection: they meet checks only, at once, because the receive path must not wait.

Above: `connection`, which knows requests. Below: the gates of the guard.
"""

from mcpguard.core.call import Call, refusal
from mcpguard.core.linked import Handle
from mcpguard.core.result import Denial
from mcpguard.core.wire import EMPTY, Direction, JSONObject, is_notification
from mcpguard.seams.callers import Callers

__all__ = ["Notices"]


class Notices:
    """What becomes of one-way messages.

    Args:
        handle: The guard.
        callers: Who uses the connection.
        server: What the user calls the server.
    """

    __slots__ = ("_callers", "_handle", "_server")

    def __init__(self, handle: Handle, callers: Callers, server: str) -> None:
        self._handle = handle
        self._callers = callers
        self._server = server

    def admit(
        self, method: str, params: JSONObject | None, direction: Direction, id: str, *, again: bool = False
    ) -> JSONObject | Denial | None:
        """The parameters a notification goes on with, or why it is dropped.

        Args:
            method: The protocol's method.
            params: Wire-shaped parameters.
            direction: Which way it goes.
            id: What the record calls it.
            again: Whether it has passed here already and now arrives a second way.
        """
        linked = self._handle.linked
        gate = linked.silent_gate(method) if again else linked.gate(method, direction)
        emitter = linked.emitter
        callers = self._callers
        refused = None if direction == "inbound" else self._refused(method)
        if gate is None and not emitter.is_active:
            return params if refused is None else refused
        run = callers.run if direction == "outbound" else callers.inbound_run()
        call = Call(
            id=id,
            method=method,
            params=EMPTY if params is None else params,
            direction=direction,
            server=self._server,
            principal=callers.principal_of(run),
            run=run,
        )
        admitted: Call | Denial | None = refused
        if admitted is None:
            admitted = call if gate is None else gate.admit(call)
        if isinstance(admitted, Call) and admitted.asks:
            admitted = refusal(
                code="approval_required", reason="a notification cannot wait for approval", source="guard"
            )
        if not again:
            if isinstance(admitted, Denial):
                emitter.about(
                    "notification", call, verdict="drop", interceptor=admitted.source, code=admitted.code
                )
            else:
                emitter.about("notification", call)
        if isinstance(admitted, Denial):
            return admitted
        return params if admitted.params is call.params else admitted.params

    def _refused(self, method: str) -> Denial | None:
        """Why a notification to the server is dropped whatever its checks say, or None."""
        if not is_notification(method) and not self._handle.linked.chain(method, "outbound").is_empty:
            return refusal(
                code="not_a_notification",
                reason="a request that rules handle was sent as a notification, which they would not see",
                source="guard",
            )
        return self._callers.refused_notification(method)
