"""claude-agent-sdk: an agent with a guarded server, and a script for a model.

`python claude_agent_sdk_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from claude_agent_sdk import ClaudeSDKClient, Transport
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.claude_agent_sdk import guarded_options

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(Transport):
    """Stands where the command does that the SDK starts, and sends what its model would have sent."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[dict[str, Any]](10)
        handshake = {"protocolVersion": "2025-06-18", "capabilities": {}}
        client = {"clientInfo": {"name": "scripted", "version": "1"}}
        self._requests = iter(
            [
                ("initialize", {**handshake, **client}),
                ("notifications/initialized", {}),
                *(("tools/call", {"name": name, "arguments": given}) for name, given in SCRIPT),
            ]
        )
        self._asked: dict[str, Any] = {}

    async def write(self, data: str) -> None:
        """What the SDK says: a prompt, a request of its own, or the answer to the last request."""
        message = json.loads(data)
        if message["type"] == "control_request":
            answer = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            await self._send.send({"type": "control_response", "response": answer})
            return
        if message["type"] == "control_response" and self._asked["method"] == "tools/call":
            result = message["response"]["response"]["mcp_response"]["result"]
            print(f"{self._asked['params']['name']}: {result['content'][0]['text']}")
        await self._next()

    async def _next(self) -> None:
        method, params = next(self._requests, (None, {}))
        if method is None:
            times = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1}
            end = {"type": "result", "subtype": "success", "is_error": False, "session_id": "one", **times}
            await self._send.send(end)
            return
        self._asked = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            self._asked["id"] = method
        request = {"subtype": "mcp_message", "server_name": "tickets", "message": self._asked}
        await self._send.send({"type": "control_request", "request_id": "one", "request": request})

    async def connect(self) -> None:
        """It is here."""

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        """What it sends."""
        async for message in self._receive:
            yield message

    async def close(self) -> None:
        """No more is sent."""
        self._send.close()

    def is_ready(self) -> bool:
        """It always is."""
        return True

    async def end_input(self) -> None:
        """It ends when its script does."""


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_options(guard, {"tickets": SERVER}, max_turns=5) as options,
        ClaudeSDKClient(options, transport=Scripted()) as client,  # without transport=, the command itself
    ):
        await client.query("The printer is on fire.")
        async for _ in client.receive_response():
            pass


if __name__ == "__main__":
    asyncio.run(main())
