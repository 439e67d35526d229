"""Ask the client that a call is made for, where a guard is served: the person who sits in front of it.

A client of MCP 2026-07-28 is asked inside a result (`input_required`), and the call is parked until it comes
again with the answer; an older one by a request during the call. Below: `elicitation`, which words it.
"""

from mcpguard.approvers.elicitation import ElicitationApprover
from mcpguard.core.asking import asker
from mcpguard.core.errors import HubError
from mcpguard.detectors.approval import Answer, ApprovalRequest

__all__ = ["ClientApprover"]


class ClientApprover:
    """Ask whoever makes the call, by a form."""

    async def __call__(self, request: ApprovalRequest, /) -> Answer:
        """Ask.

        Raises:
            HubError: If the call came through no server of a hub's, or its client does not answer forms.
        """
        ask = asker()
        if ask is None:
            raise HubError("no client of a server that is served here makes this call")
        return await ElicitationApprover(ask)(request)
