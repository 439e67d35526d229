"""Calls of tools that no server behind a hub has: refused as a hidden one is, and recorded.

Models make up names. What they are told does not tell a tool that is hidden from one that is not there.
Above: the hub. Below: the guard's record.
"""

import secrets
from itertools import count
from typing import Final

from mcpguard.core.call import Call, refusal
from mcpguard.core.errors import Denied
from mcpguard.core.gate import report_denial
from mcpguard.core.linked import Handle
from mcpguard.core.nesting import continued
from mcpguard.core.result import Denial, Result
from mcpguard.core.verdict import NOT_AVAILABLE
from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.seams.callers import Binding, Callers
from mcpguard.seams.render import tool_refusal

__all__ = ["Nowhere"]

_CALL: Final = "tools/call"

_UNKNOWN: Final = refusal(
    code="access_denied",
    reason="no server has a tool of this name",
    message=NOT_AVAILABLE,
    source="guard",
)
"""In the words and with the code of `Access`."""


class Nowhere:
    """Refuse calls that are for no server.

    Args:
        handle: The guard.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._callers = Callers(
            Binding(handle=handle, name="hub", run=None, shared=True, register=lambda _connection: None)
        )
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    def __call__(self, name: str, arguments: JSONObject | None) -> JSONObject:
        """Record that whoever calls now wants this tool; the wire-shaped answer.

        Raises:
            Denied: Where the guard raises denials.
        """
        caller = self._callers.caller(_CALL)
        run, principal = (None, None) if isinstance(caller, Denial) else caller
        denial = caller if isinstance(caller, Denial) else _UNKNOWN
        params: JSONObject = {"name": name, "arguments": EMPTY if arguments is None else arguments}
        call_id = continued(_CALL) or f"{self._prefix}-{next(self._numbers)}"
        call = Call.outgoing(call_id, _CALL, params, "", principal, run, 0)
        emitter = self._handle.linked.emitter
        if emitter.is_active:
            emitter.received(call)
        report_denial(emitter, call, denial)
        if emitter.is_active:
            emitter.completed(call, Result.denied(denial), 0.0)
        if self._handle.on_deny == "raise":
            raise Denied(denial.message, code=denial.code, retry_after=denial.retry_after)
        return tool_refusal(denial)
