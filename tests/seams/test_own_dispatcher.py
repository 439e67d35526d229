"""Sessions of SDK 2.x on a dispatcher that is the host's own, not the SDK's."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pytest

if version("mcp").startswith("1."):
    pytest.skip("SDK 1.x has no dispatchers", allow_module_level=True)

import anyio
import anyio.abc
import mcp_types as types
from harness import MCPError, denying, watching
from mcp import ClientSession
from mcp.shared.dispatcher import CallOptions, OnNotify, OnNotifyIntercept, OnRequest

from mcpguard import Guard
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio

HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "serverInfo": {"name": "theirs", "version": "1"},
}


class Own:
    """A dispatcher that has what the SDK's protocol asks for, and nothing else."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.on_notify: OnNotify | None = None
        self.intercept: OnNotifyIntercept | None = None

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        self.on_notify, self.intercept = on_notify, on_notify_intercept
        task_status.started()
        await anyio.sleep_forever()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        self.sent.append(method)
        return HANDSHAKE if method == "initialize" else {"prompts": [], "content": []}

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        self.sent.append(method)

    async def arrives(self, method: str, params: dict[str, Any]) -> None:
        """A notification of the server arrives, as the protocol asks for."""
        context: Any = None
        assert self.on_notify is not None
        if self.intercept is None or not self.intercept(method, params):
            await self.on_notify(context, method, params)


@pytest.mark.parametrize("entered", [False, True])
async def test_what_is_sent_through_a_dispatcher_of_the_hosts_own_is_checked(entered: bool) -> None:
    """The seam stands on the SDK's protocol for dispatchers, not on the class the SDK ships."""
    own = Own()
    session = ClientSession(dispatcher=own)
    guard = Guard([denying(methods=["prompts/list"])])
    if not entered:
        guard.session(session, name="files")
    async with session:
        if entered:
            guard.session(session, name="files")
        await session.initialize()
        with pytest.raises(MCPError):
            await session.list_prompts()
    assert own.sent == ["initialize", "notifications/initialized"]


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("method", ["notifications/message", "notifications/tools/list_changed"])
async def test_what_arrives_through_it_is_seen_and_recorded_once(method: str, entered: bool) -> None:
    """An entered session shows its notifications where its callbacks are."""
    own, watcher, sink = Own(), watching(), RecordingSink()
    told: list[str] = []

    async def on_message(message: Any) -> None:
        told.append(message.method)

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        told.append(str(params.data))

    session = ClientSession(dispatcher=own, message_handler=on_message, logging_callback=on_log)
    guard = Guard([watcher], sinks=[sink])
    if not entered:
        guard.session(session, name="files")
    async with session:
        if entered:
            guard.session(session, name="files")
        await session.initialize()
        params = {"level": "info", "data": "hello"} if method == "notifications/message" else {}
        await own.arrives(method, params)
    assert method in told
    assert method in watcher.methods()
    recorded = [event for event in sink.events if event.method == method]
    assert [event.kind for event in recorded] == ["notification"]
