"""Ask the host by MCP elicitation: a guard that is itself served asks whoever uses it.

Wire-shaped: how an `elicitation/create` gets to the host is the caller's, because it is theirs to know the
session. A form is answered by a choice of given words, never by free text that is taken for a yes.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from mcpguard.core.wire import JSONObject
from mcpguard.detectors.approval import Answer, ApprovalRequest, Approved, Declined

__all__ = ["ElicitationApprover"]

_SCHEMA: Final[JSONObject] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "title": "Decision", "enum": ["deny", "approve"]},
        "remember": {"type": "string", "title": "For how long", "enum": ["once", "run"]},
        "reason": {"type": "string", "title": "Reason of a denial", "maxLength": 500},
    },
    "required": ["decision"],
}


class ElicitationApprover:
    """Ask by a form.

    Args:
        ask: Sends the parameters of an `elicitation/create` in form mode, and returns the result: `action`
            and `content`. What it raises refuses the call.
    """

    def __init__(self, ask: Callable[[JSONObject], Awaitable[JSONObject]]) -> None:
        self._ask = ask

    async def __call__(self, request: ApprovalRequest, /) -> Answer:
        """Ask. Only a form that was accepted with `approve` in it is a yes."""
        message = "\n".join(("Shall this call be made?", *request.lines()))
        result = await self._ask({"mode": "form", "message": message, "requestedSchema": _SCHEMA})
        content = result.get("content")
        if result.get("action") != "accept" or not isinstance(content, Mapping):
            return Declined(by="elicitation")
        if content.get("decision") != "approve":
            reason = content.get("reason")
            return Declined(by="elicitation", reason=reason if isinstance(reason, str) else "")
        remember: Literal["once", "run"] = "run" if content.get("remember") == "run" else "once"
        return Approved(by="elicitation", remember=remember)
