"""A dispatcher of SDK 2.x that does what a test says: what a host of its own kind would bring."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.abc
from mcp.shared.dispatcher import CallOptions, OnNotify, OnNotifyIntercept, OnRequest

Answer = dict[str, Any] | Exception | Callable[[Mapping[str, Any]], dict[str, Any]]

HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "theirs", "version": "1"},
}


class Own:
    """A dispatcher that has what the SDK's protocol asks for, and nothing else.

    Args:
        answers: By method, what is answered to each request in turn; the last one repeats.
    """

    def __init__(self, **answers: list[Answer]) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.options: list[CallOptions] = []
        self.mark = "theirs"
        self.on_request: OnRequest | None = None
        self.on_notify: OnNotify | None = None
        self.intercept: OnNotifyIntercept | None = None
        self._answers = {method.replace("_", "/", 1): deque(given) for method, given in answers.items()}

    def answers(self, method: str, answer: Answer) -> None:
        """Answer every request of `method` with `answer`."""
        self._answers[method] = deque([answer])

    def methods(self) -> list[str]:
        """The methods that were sent, in order."""
        return [method for method, _ in self.sent]

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        self.on_request, self.on_notify, self.intercept = on_request, on_notify, on_notify_intercept
        task_status.started()
        await anyio.sleep_forever()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        self.sent.append((method, params or {}))
        self.options.append(opts or {})
        script = self._answers.get(method)
        if not script:
            return HANDSHAKE if method == "initialize" else {"prompts": [], "content": [], "tools": []}
        answer = script[0] if len(script) == 1 else script.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer(params or {}) if callable(answer) else answer

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        self.sent.append((method, params or {}))

    async def arrives(self, method: str, params: dict[str, Any]) -> None:
        """Let a notification of the server arrive, as the SDK's protocol asks for."""
        context: Any = None
        assert self.on_notify is not None
        if self.intercept is None or not self.intercept(method, params):
            await self.on_notify(context, method, params)

    async def asks(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Let a request of the server arrive, and return the answer."""
        context: Any = None
        assert self.on_request is not None
        return await self.on_request(context, method, params)
