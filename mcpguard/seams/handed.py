"""Tool calls that a framework hands over, with a function that carries them out: for its hooks around calls.

Not here: lists, prompts, resources and whatever a server sends by itself. A hook sees none of them, so a tool
is hidden from nobody and rules that need its definition refuse. The other seams see all of it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.errors import Denied
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.wire import JSONObject, mutable_copy
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection
from mcpguard.seams.render import tool_refusal

__all__ = ["HandedCalls", "Send"]

BLIND_SPOTS: Final = (
    "only the tool calls that are handed over are seen: no lists, prompts, resources, progress or requests of"
    " the server, and no call that goes another way; nothing can be put into `_meta`",
)

Send: TypeAlias = Callable[[str, dict[str, object]], Awaitable[JSONObject]]
"""Carries out a call, given the tool's name and its arguments; the answer is a wire-shaped tool result."""


class HandedCalls:
    """The chain around tool calls that go by a way of somebody else's.

    Args:
        binding: What the user said.
    """

    def __init__(self, binding: Binding) -> None:
        self._connection = Connection(
            binding, seam="handed_calls", list_page=_no_list, blind_spots=BLIND_SPOTS
        )

    async def call(self, tool: str, arguments: JSONObject, send: Send) -> JSONObject:
        """Carry out a call, or refuse it; the answer is that of `send` itself where nothing changed it.

        Args:
            tool: The server's own name of the tool.
            arguments: Its arguments.
            send: Carries it out. It may be awaited more than once where calls are repeated.

        Raises:
            Denied: If the call is refused and the guard raises denials.
            ConnectionError: If a layer ended the call without an answer.
            Exception: What `send` raised.
        """
        connection = self._connection
        chain = connection.chain("tools/call")
        if chain is None:
            return await send(tool, dict(arguments))

        async def wire(call: Call) -> Result:
            sent: Any = mutable_copy(call.sent(call.params))
            try:
                answer = await send(sent["name"], sent.get("arguments") or {})
            except Exception as error:  # noqa: BLE001 - every outcome is a Result; raised again below
                failed = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=error)
                return connection.answered(call, failed)
            return connection.answered(call, Result.of(answer))

        given: JSONObject = {"name": tool, "arguments": arguments}
        result = await connection.outbound("tools/call", given, chain, wire)
        denial = result.denial
        if denial is not None and connection.handle.on_deny == "raise":
            raise Denied(denial.message, code=denial.code, retry_after=denial.retry_after)
        if denial is not None:
            return tool_refusal(denial)
        if isinstance(result.cause, Exception):
            raise result.cause
        if result.value is None:
            raise ConnectionError(f"the call ended with {result.outcome}")
        return result.value


async def _no_list(_params: JSONObject | None) -> JSONObject:
    raise ConnectionError("calls that are handed over come without a list of tools")
